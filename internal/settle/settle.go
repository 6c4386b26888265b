// Package settle turns the outcome of an attempt into the next state of its recipients, in ONE commit: delivered, later,
// held, or bounced. A report to the sender is a new message, written in the very commit that ends the recipients it is
// about; from there it makes its own trip, so a bounce can't be lost, and none is written twice.
//
// It never connects to anyone and has no schedule of its own. internal/mta calls Settle after each attempt and queues the
// messages it returns.
//
// What becomes of a recipient is decided in one place, decide:
//
//	2yz                              delivered; with a report if NOTIFY=SUCCESS asked for it and no next host took that over
//	4yz, younger than give-up        waiting for the next attempt (once: a note of delay)
//	4yz at give-up age, 5yz          bounced, with a report to the reverse-path (dropped, if NOTIFY wants none)
//	... with a null reverse-path     bounced, with the mail itself kept for the postmaster
//	... that was for the postmaster  held: there is nobody left to tell
package settle

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// Options of a Settler. All fields but Settled, Reported and Logger are needed.
type Options struct {
	Engine     spool.Engine
	IDs        *spool.IDs
	Hostname   string                       // the reporting MTA
	Rules      func(*spool.Recipient) Rules // how long this recipient is tried
	ReturnSize int64                        // up to this many octets a report carries the whole message, above it the header
	Logger     *slog.Logger                 // default: none

	// Settled is told of each recipient of m whose new state was committed, and what the outcome was; Reported of each
	// report that came of it. They are for the record, and must not block. nil: nobody is told.
	Settled  func(m *spool.Message, o spool.Outcome, now time.Time)
	Reported func(report *spool.Message)
}

// Rules say how often and how long a recipient is tried.
type Rules struct {
	// Next says when it is tried again after its attempts-th attempt failed at now, or that it is given up.
	Next      func(attempts int, started, now time.Time) (next time.Time, giveUp bool)
	GiveUp    time.Duration // age at which Next gives up, for the text of notes
	WarnAfter time.Duration // age at which the sender is told that mail is late; 0: never
}

// Settler settles attempts.
type Settler struct {
	Options
	kept atomic.Int64
}

// New makes a Settler.
func New(o Options) *Settler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Settler{Options: o}
}

// verdict is the new state of a recipient and what the sender is to hear of it.
type verdict struct {
	outcome   spool.Outcome
	recipient spool.Recipient
	tell      tell
	same      bool // it stays as it is
}

type tell uint8

const (
	tellNothing tell = iota
	tellDelay        // a note of delay
	tellSuccess      // a report of success, where it was asked for
	tellFailure      // a bounce to the reverse-path
	tellKept         // nobody to bounce to: keep the mail for the postmaster
)

// Settle commits the outcomes of one attempt. It changes m's recipients to what was committed and returns the reports that
// are now in the spool. On an error nothing was committed, and m is as it was.
func (s *Settler) Settle(ctx context.Context, m *spool.Message, outcomes []spool.Outcome, now time.Time) ([]*spool.Message, error) {
	var room [1]verdict // most attempts are for one recipient
	verdicts := slices.Grow(room[:0], len(outcomes))
	update := spool.Update{ID: m.ID, Recipients: make(map[int]spool.Recipient, len(outcomes))}
	for _, o := range outcomes {
		if v := s.decide(m, o, now); !v.same {
			verdicts = append(verdicts, v)
			update.Recipients[o.N] = v.recipient
		}
	}
	if len(verdicts) == 0 {
		return nil, nil
	}
	reports, puts, err := s.reports(ctx, m, verdicts, now)
	if err == nil {
		err = s.apply(ctx, verdicts, append(puts, update))
	}
	if err != nil {
		abort(puts)
		return nil, fmt.Errorf("settle message %s: %w", m.ID, err)
	}
	for _, v := range verdicts {
		m.Recipients[v.outcome.N] = v.recipient
		s.settled(m, v, now)
	}
	for _, r := range reports {
		s.reported(m, r)
	}
	return reports, nil
}

// apply commits what was decided. That everything was delivered need not wait for the disk: it joins the sync of the mail
// that comes next. Who loses power before it delivers that mail once more, as one who loses it before the commit does.
func (s *Settler) apply(ctx context.Context, verdicts []verdict, ops []spool.Op) error {
	for i := range verdicts {
		if len(ops) > 1 || verdicts[i].recipient.State != spool.Delivered {
			return s.Engine.Apply(ctx, ops...)
		}
	}
	return s.Engine.ApplySoon(ctx, ops...)
}

// settled puts on record what was committed for a recipient.
func (s *Settler) settled(m *spool.Message, v verdict, now time.Time) {
	s.log(m, v, now)
	if s.Settled != nil {
		s.Settled(m, v.outcome, now)
	}
}

// reported puts on record a report that is in the spool now.
func (s *Settler) reported(m, report *spool.Message) {
	if report.Kind == spool.Postmaster {
		s.kept.Add(1)
	}
	s.Logger.Info("report", "id", report.ID, "kind", report.Kind.String(), "about", m.ID, "to", report.Recipients[0].To.String())
	if s.Reported != nil {
		s.Reported(report)
	}
}

// Kept is how many messages were kept for the postmaster, for want of a reverse-path, since the start.
func (s *Settler) Kept() int64 { return s.kept.Load() }

// decide is the whole law of what an outcome leads to. Nothing here touches the store.
func (s *Settler) decide(m *spool.Message, o spool.Outcome, now time.Time) verdict {
	r := m.Recipients[o.N]
	if o.Untried || o.Reason == spool.ReasonOperator {
		return s.decideUntried(m, r, o, now)
	}
	if o.Reply.Positive() {
		o.Reason = spool.ReasonNew // it waits for nothing
	}
	r.Tried(spool.Attempt{At: now, Reason: o.Reason, Host: o.Host, TLS: o.TLS, Reply: o.Reply})
	v := verdict{outcome: o}
	switch {
	case o.Hold:
		r.State = spool.Held
	case o.Reply.Positive():
		r.State = spool.Delivered
		asked := r.Notify&smtp.NotifySuccess != 0 || m.Asked.ByTrace && o.Host != "" // RFC 2852 4: T
		if asked && !o.Passed && !m.From.IsNull() {
			v.tell = tellSuccess
		}
	case o.Reply.Permanent():
		s.fail(m, &r, &v)
	default:
		rules := s.Rules(&m.Recipients[o.N])
		next, giveUp := rules.next(m, r.Attempts, now)
		if giveUp {
			s.fail(m, &r, &v)
			break
		}
		r.Next = next
		s.warn(m, &r, &v, rules.WarnAfter, now)
	}
	v.recipient = r
	return v
}

// decideUntried is for a recipient that nothing was sent for. Most only wait: they grow older, and that alone may be told to
// the sender, or end it. It ends where its site is left alone, which the reply says; without a reply the site is only busy, and
// its turn will come. Its time of the next attempt stays, and why the last one failed. An operator may have ended it, too.
func (s *Settler) decideUntried(m *spool.Message, r spool.Recipient, o spool.Outcome, now time.Time) verdict {
	v := verdict{outcome: o}
	rules := s.Rules(&m.Recipients[o.N])
	_, giveUp := rules.next(m, r.Attempts, now)
	if r.Attempts == 0 && o.Reason != spool.ReasonNew {
		r.Reason = o.Reason
	}
	if r.Reply.IsZero() { // else what a host said is better than that nobody was asked
		r.Reply = o.Reply
	}
	switch {
	case o.Reply.Permanent():
		r.Reply, r.Host, r.Reason = o.Reply, o.Host, o.Reason
		s.fail(m, &r, &v)
	case giveUp && !o.Reply.IsZero():
		s.fail(m, &r, &v)
	default:
		s.warn(m, &r, &v, rules.WarnAfter, now)
		v.same = !r.Warned || m.Recipients[o.N].Warned
	}
	v.recipient = r
	return v
}

// warn notes that the sender is told of the delay, once, when it is time.
func (s *Settler) warn(m *spool.Message, r *spool.Recipient, v *verdict, after time.Duration, now time.Time) {
	if !late(m, r, after, now) {
		return
	}
	r.Warned = true
	if wants(*r, smtp.NotifyDelay) {
		v.tell = tellDelay
	}
}

// next says when a recipient is tried again. A time by which the message must be delivered or returned ends its tries
// (RFC 2852 4.1.4): the last one is made then.
func (r Rules) next(m *spool.Message, attempts int, now time.Time) (next time.Time, giveUp bool) {
	next, giveUp = r.Next(attempts, m.Started(), now)
	if by := m.Asked.By; !by.IsZero() && m.Asked.ByReturn {
		giveUp = giveUp || !now.Before(by)
		if next.After(by) {
			next = by
		}
	}
	return next, giveUp
}

// wants tells whether the sender wants to hear of something (RFC 3461 4.1). One who did not say hears of failure and delay.
func wants(r spool.Recipient, of smtp.Notify) bool {
	return r.Notify == smtp.NotifyDefault || r.Notify&of != 0
}

// fail ends a recipient. RFC 5321 6.1 and 4.5.5: nothing is ever sent because of mail with a null reverse-path.
func (s *Settler) fail(m *spool.Message, r *spool.Recipient, v *verdict) {
	switch {
	case !m.From.IsNull() && !wants(*r, smtp.NotifyFailure):
		r.State = spool.Dropped
	case !m.From.IsNull():
		r.State, v.tell = spool.Bounced, tellFailure
	case m.Kind != spool.Postmaster:
		r.State, v.tell = spool.Bounced, tellKept
	default:
		r.State, r.Reason = spool.Held, spool.ReasonNoReturn
	}
}

func late(m *spool.Message, r *spool.Recipient, after time.Duration, now time.Time) bool {
	passed := !m.Asked.By.IsZero() && !now.Before(m.Asked.By) // RFC 2852 4.1.4: mode N
	old := after > 0 && now.Sub(m.Started()) >= after
	return !r.Warned && !m.From.IsNull() && (old || passed)
}

// log writes the one line of a recipient's attempt.
func (s *Settler) log(m *spool.Message, v verdict, now time.Time) {
	r := v.recipient
	event, level := r.State.String(), slog.LevelInfo
	switch {
	case r.State == spool.Waiting && v.outcome.Untried:
		event = "late"
	case r.State == spool.Waiting:
		event = "deferred"
	}
	attrs := []slog.Attr{
		slog.String("id", m.ID.String()), slog.String("from", m.From.String()), slog.String("to", r.To.String()),
		slog.String("reply", r.Reply.Text()), slog.String("host", r.Host),
		slog.Int("attempt", r.Attempts), slog.String("age", now.Sub(m.Arrived).Round(time.Millisecond).String()),
	}
	switch r.State {
	case spool.Waiting:
		attrs = append(attrs, slog.String("reason", r.Reason.String()), slog.Time("next", r.Next))
	case spool.Held:
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("reason", r.Reason.String()))
	}
	s.Logger.LogAttrs(context.Background(), level, event, attrs...)
}
