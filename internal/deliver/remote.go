package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// Resolver is what Remote asks the DNS; *dns.Resolver is one.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]dns.MX, error)
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
}

// Options of Remote. Hostname and Resolver are needed.
type Options struct {
	Hostname       string // said in EHLO; an MX record that names it is this server
	Resolver       Resolver
	Port           int                                                                  // of MX hosts; default 25
	Self           func(netip.AddrPort) bool                                            // tells an address of this server; default: none is
	Shuffle        func(n int, swap func(i, k int))                                     // the order of MX hosts of one preference; default: as they came
	Dial           func(ctx context.Context, network, address string) (net.Conn, error) // default: net.Dialer
	ConnectTimeout time.Duration                                                        // for one address; default 30 seconds
	IdleTime       time.Duration                                                        // how long an unused session is kept; default 5 seconds
	Timeouts       sender.Timeouts                                                      // zero: those of RFC 5321 4.5.3.2
}

// maxAddresses bounds how many addresses one attempt tries: a domain with a hundred of them must not hold a message for
// hours. RFC 5321 5.1 asks for at least two.
const maxAddresses = 8

// maxUses bounds the messages sent in one session.
const maxUses = 100

// Remote delivers by SMTP and keeps sessions for reuse by site.
type Remote struct {
	options Options
	hello   smtp.Domain
	idle    pool
}

// NewRemote makes a Remote; Close ends the sessions it keeps.
func NewRemote(o Options) *Remote {
	if o.Port == 0 {
		o.Port = 25
	}
	if o.Self == nil {
		o.Self = func(netip.AddrPort) bool { return false }
	}
	if o.Shuffle == nil {
		o.Shuffle = func(int, func(int, int)) {}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 30 * time.Second
	}
	if o.IdleTime == 0 {
		o.IdleTime = 5 * time.Second
	}
	r := &Remote{options: o, idle: pool{keep: o.IdleTime}}
	r.hello, _ = smtp.ParseDomain(o.Hostname)
	return r
}

// Close ends all kept sessions.
func (r *Remote) Close() { r.idle.close() }

// ToMX delivers to the mail exchangers of a domain, or to the address of a literal (RFC 5321 5.1).
func (r *Remote) ToMX(ctx context.Context, site string, domain smtp.Domain, t Task) []spool.Outcome {
	return r.deliver(ctx, site, t, func() ([]group, *spool.Outcome) { return r.exchangers(ctx, domain) })
}

// ToHost delivers to a relay host, given by name or address.
func (r *Remote) ToHost(ctx context.Context, site, host string, port int, t Task) []spool.Outcome {
	return r.deliver(ctx, site, t, func() ([]group, *spool.Outcome) {
		return []group{{hosts: []string{host}, port: port, relay: true}}, nil
	})
}

// deliver uses a session that is at hand, else tries the hosts one after the other until nothing is pending.
func (r *Remote) deliver(ctx context.Context, site string, t Task, find func() ([]group, *spool.Outcome)) []spool.Outcome {
	a := newAttempt(t)
	if s := r.idle.take(site); s != nil {
		// A kept session may have died meanwhile: what it didn't decide goes to a new one.
		r.converse(ctx, site, s, a)
		if len(a.pending) == 0 {
			return a.outcomes()
		}
		if !s.client.Broken() {
			a.refusedBy = s.host
		}
	}
	groups, problem := find()
	if problem != nil {
		a.all(*problem)
		return a.outcomes()
	}
	r.walk(ctx, site, groups, a)
	return a.outcomes()
}

// walk tries the hosts in their order of preference.
func (r *Remote) walk(ctx context.Context, site string, groups []group, a *attempt) {
	tried := 0
	for _, g := range groups {
		addresses, problem, self := r.resolve(ctx, g)
		if g.relay {
			problem = ownFault(problem)
		}
		if problem != nil && tried == 0 {
			a.all(*problem)
		}
		if self {
			return // RFC 5321 5.1: this host, and with it every host that is not preferred to it
		}
		for _, h := range addresses {
			if h.String() == a.refusedBy {
				continue // it has just said so, in a session that was kept
			}
			if tried++; tried > maxAddresses || ctx.Err() != nil || len(a.pending) == 0 {
				return
			}
			r.try(ctx, site, h, a)
		}
	}
}

// try opens a session with one address and sends.
func (r *Remote) try(ctx context.Context, site string, h host, a *attempt) {
	s, err := r.connect(ctx, h)
	if err != nil {
		a.all(connectOutcome(ctx, h, err))
		return
	}
	r.converse(ctx, site, s, a)
}

// connect opens a session: connection, greeting, EHLO.
func (r *Remote) connect(ctx context.Context, h host) (*session, error) {
	dialing, cancel := context.WithTimeout(ctx, r.options.ConnectTimeout)
	defer cancel()
	conn, err := r.options.Dial(dialing, "tcp", h.addr.String())
	if err != nil {
		return nil, err
	}
	client, err := sender.NewClient(ctx, conn, sender.Options{Hello: r.hello, Timeouts: r.options.Timeouts})
	if err != nil {
		return nil, err
	}
	return &session{client: client, host: h.String()}, nil
}

// connectOutcome is what a host that gave no session means for the recipients. A refusal in the host's own words counts
// as it stands; everything else passes.
func connectOutcome(ctx context.Context, h host, err error) spool.Outcome {
	if reply, ok := smtp.AsReply(err); ok {
		return spool.Outcome{Reply: reply, Host: h.String(), Reason: spool.ReasonSession}
	}
	if ctx.Err() != nil {
		return Stopped(0)
	}
	reason, code := spool.ReasonConnect, smtp.EnhancedCode{4, 4, 1}
	var broken *sender.SessionError
	if errors.As(err, &broken) {
		reason, code = spool.ReasonSession, smtp.EnhancedCode{4, 4, 2}
	}
	return spool.Outcome{Reason: reason, Reply: smtp.Replyf(451, code, "No session with %s: %v", h, err)}
}

// converse sends the message to the pending recipients over one session, and keeps or ends the session.
func (r *Remote) converse(ctx context.Context, site string, s *session, a *attempt) {
	defer a.nextHost()
	for again := true; again; {
		var err error
		again, err = r.send(ctx, s, a)
		s.uses++
		if err != nil || s.client.Broken() {
			s.client.Close()
			return
		}
	}
	if s.uses >= maxUses || ctx.Err() != nil {
		quit(s)
		return
	}
	r.idle.give(site, s)
}

// send makes one transaction for the pending recipients and leaves those pending that the host may take in another one
// right away: it had enough of them for this. RFC 5321 4.5.3.1.10 has it say so with 452, and knows of hosts that say 552.
// again tells that there are such.
func (r *Remote) send(ctx context.Context, s *session, a *attempt) (again bool, err error) {
	to := a.pending
	a.pending = nil
	content, err := a.task.Open(ctx)
	if err != nil {
		for _, n := range to {
			a.last[n] = NotRead(ctx, n, err)
		}
		return false, nil
	}
	defer content.Close()
	m := a.task.Message
	env := sender.Envelope{From: m.From, Size: m.Size, EightBit: m.EightBit}
	for _, n := range to {
		env.To = append(env.To, m.Recipients[n].To)
	}
	result, err := s.client.Send(ctx, env, content)
	accepted := false
	for i, n := range to {
		o := result.Outcomes[i]
		a.last[n] = spool.Outcome{N: n, Reply: o.Reply, Host: s.host, Reason: spool.ReasonRefused}
		switch {
		case o.Reply.IsZero():
			a.undecided(ctx, s.host, n, err)
		case o.Reply.Positive():
			accepted = true
		case (o.Reply.Code == 452 || o.Reply.Code == 552 && accepted) && o.Stage == sender.StageRcpt:
			a.pending = append(a.pending, n)
		case o.Reply.Temporary():
			a.elsewhere = append(a.elsewhere, n)
		}
	}
	return accepted && len(a.pending) > 0 && err == nil, err
}

// undecided notes the outcome of a recipient for whom no reply came. Another host is tried for it unless the message
// may have been taken, can't be read, or this server stops.
func (a *attempt) undecided(ctx context.Context, host string, n int, err error) {
	o := spool.Outcome{N: n, Reason: spool.ReasonSession,
		Reply: smtp.Replyf(451, smtp.EnhancedCode{4, 4, 2}, "The session with %s broke: %v", host, err)}
	var broken *sender.SessionError
	switch {
	case errors.As(err, &broken) && broken.InDoubt:
		o.Reason = spool.ReasonInDoubt
		o.Reply = smtp.Replyf(451, smtp.EnhancedCode{4, 4, 2},
			"The session with %s broke after the message was sent; it may have been delivered: %v", host, err)
	case errors.Is(err, sender.ErrContent):
		o = NotRead(ctx, n, err)
	case ctx.Err() != nil:
		o = Stopped(n)
	default:
		a.elsewhere = append(a.elsewhere, n)
	}
	a.last[n] = o
}

// host is one address to try, with the name it was found by.
type host struct {
	name string
	addr netip.AddrPort
}

// String gives "mx.example.org [192.0.2.1]:25".
func (h host) String() string {
	return fmt.Sprintf("%s [%s]:%s", h.name, h.addr.Addr(), strconv.Itoa(int(h.addr.Port())))
}
