package deliver

import (
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// Hop is a next hop that the configuration names: a host with its port, or a channel.
type Hop struct {
	Host    string // name or address
	Port    int
	Channel string // "unix:/path" or "exec:program arguments"; "" where Host counts
}

// Manner is how a host is spoken to.
type Manner struct {
	TLS      sender.TLSMode
	Unproven bool // TLSImplicit: whatever certificate the host shows is good enough
	LMTP     bool // RFC 2033
	SevenBit bool // the channel carries 7 bits only
}

// envelope makes what is sent of a task's message to those of its recipients whose indices are in to, by a host that
// offers ext.
func envelope(t Task, to []int, ext smtp.Extensions, now time.Time) sender.Envelope {
	m := t.Message
	env := sender.Envelope{From: m.From, Size: m.Size, EightBit: m.EightBit, Binary: m.Asked.Binary, Verbatim: true,
		// What has UTF-8 in addresses alone may go to a host without SMTPUTF8, with its domains in A-labels (RFC 6531 3.2).
		UTF8:   m.Asked.UTF8 && (m.HighHeader || ext.UTF8),
		Return: m.Asked.Return, EnvelopeID: m.Asked.EnvelopeID, RequireTLS: m.Asked.RequireTLS}
	if by := m.Asked.By; !by.IsZero() {
		env.DeliverBy = &smtp.DeliverBy{Within: by.Sub(now), Return: m.Asked.ByReturn, Trace: m.Asked.ByTrace}
		if m.Asked.ByReturn { // RFC 2852 4: with R the time must be above zero; the last attempt may come a little late
			env.DeliverBy.Within = max(env.DeliverBy.Within, time.Second)
		}
	}
	env.To, env.Params = make([]smtp.Path, 0, len(to)), make([]sender.RecipientParams, 0, len(to))
	for _, i := range to {
		r := &m.Recipients[t.Recipients[i]]
		env.To = append(env.To, r.To)
		env.Params = append(env.Params, sender.RecipientParams{Notify: r.Notify, Original: r.Original})
		if r.Priority != 0 {
			priority := r.Priority
			env.Priority = &priority
		}
	}
	return env
}
