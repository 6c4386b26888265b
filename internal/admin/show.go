package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/spool"
)

// Show reads one message.
func (r *Reader) Show(ctx context.Context, id spool.ID) (*Shown, error) {
	return r.show(ctx, id, view{r: r})
}

func (r *Reader) show(ctx context.Context, id spool.ID, v view) (*Shown, error) {
	m, err := r.Engine.Load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", id, err)
	}
	s := &Shown{
		ID: m.ID.String(), Kind: m.Kind.String(), Sender: history.Address(m.From), Arrived: m.Arrived, Size: m.Size,
		Client: m.Client, EnvelopeID: m.Asked.EnvelopeID, Asked: asked(m),
	}
	if !m.Cause.IsZero() {
		s.Cause = m.Cause.String()
	}
	for n := range m.Recipients {
		s.Recipients = append(s.Recipients, v.shown(m, n))
	}
	return s, nil
}

// shown describes a recipient with its trail and its future.
func (v view) shown(m *spool.Message, n int) ShownRecipient {
	r := &m.Recipients[n]
	s := ShownRecipient{Entry: v.entry(m, n), Warned: r.Warned}
	for _, a := range r.Trail {
		shown := Attempt{At: a.At, Host: a.Host, TLS: a.TLS}
		if !a.Reply.Positive() {
			shown.Reason = a.Reason.String()
		}
		if !a.Reply.IsZero() {
			shown.Reply = a.Reply.Text()
		}
		s.Trail = append(s.Trail, shown)
	}
	if r.State == spool.Waiting {
		if policy := v.r.Route(spool.PendingOf(m, n, r)).Policy; policy != nil {
			s.GiveUp = m.Started().Add(policy.GiveUpAfter)
			if by := m.Asked.By; m.Asked.ByReturn && by.Before(s.GiveUp) {
				s.GiveUp = by
			}
		}
	}
	s.Future = v.future(m, r, &s)
	return s
}

// future says in words what happens next to a recipient.
func (v view) future(m *spool.Message, r *spool.Recipient, s *ShownRecipient) string {
	now := v.r.now()
	switch {
	case r.State.Done():
		return ""
	case r.State == spool.Held:
		return "it is held until an operator releases, bounces or removes it"
	case s.State == StateInFlight:
		return "it is being tried now"
	case now.Before(m.Asked.Held) && !r.Next.Before(m.Asked.Held):
		return fmt.Sprintf("its client asked to hold it until %s", clock(m.Asked.Held))
	}
	if !s.PausedUntil.IsZero() {
		return fmt.Sprintf("its site could not be reached and is left alone until %s", clock(s.PausedUntil))
	}
	if r.Next.After(now) {
		return fmt.Sprintf("it is tried at %s", clock(r.Next))
	}
	if v.siteOf == nil {
		return "it is tried when the server starts"
	}
	return "it is due, and tried when its turn comes"
}

// clock writes a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// asked says in words what the client asked for.
func asked(m *spool.Message) []string {
	var words []string
	add := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	a := m.Asked
	add(a.UTF8, "SMTPUTF8")
	add(a.Binary, "BINARYMIME")
	add(a.RequireTLS, "REQUIRETLS: no hop without verified TLS")
	add(!a.Held.IsZero(), "held until %s", clock(a.Held))
	add(!a.By.IsZero() && a.ByReturn, "delivered by %s or returned", clock(a.By))
	add(!a.By.IsZero() && !a.ByReturn, "delivered by %s, or told of the delay", clock(a.By))
	return words
}
