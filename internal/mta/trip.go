package mta

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/deliver"
	"github.com/holub-mail/holub/internal/deliver/local"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// attempt is the trip from the queue back into the spool: load, route, deliver, settle. It returns what is still owed of
// the work, and what it says of the site.
func (m *MTA) attempt(ctx context.Context, w queue.Work) queue.Result {
	l := m.live.Load()
	opened := m.open.take(ctx, m.engine, w.ID)
	defer m.open.giveBack(w.ID, opened)
	msg := opened.msg
	if opened.err != nil {
		return queue.Result{Owed: m.notLoaded(w.Job, opened.err)}
	}
	if w.Pause != nil {
		return m.lookAt(ctx, l, msg, w)
	}
	parts, moved := m.split(l, msg, w)
	var outcomes []spool.Outcome
	for i, p := range parts {
		brought := m.deliver(ctx, l, w.Site, p.to, m.task(msg, p.recipients))
		if i == 0 { // and nearly always the only one
			outcomes = brought
			continue
		}
		outcomes = append(outcomes, brought...)
	}
	result := verdict(outcomes)
	if !m.settleAll(ctx, l, msg, outcomes) {
		return result // the next start takes it up
	}
	var stayed []int
	for _, p := range parts {
		for _, n := range p.recipients {
			if msg.Recipients[n].State == spool.Waiting {
				stayed = append(stayed, n)
			}
		}
	}
	result.Owed = append(m.jobs(l, msg, stayed), m.apart(l, msg, moved)...)
	return result
}

// lookAt is what becomes of mail whose site is left alone, when its age asks for a look at it.
func (m *MTA) lookAt(ctx context.Context, l *live, msg *spool.Message, w queue.Work) queue.Result {
	var waiting []int
	for _, n := range w.Recipients {
		if msg.Recipients[n].State == spool.Waiting {
			waiting = append(waiting, n)
		}
	}
	untried := spool.Outcome{Untried: true, Reason: spool.ReasonNew}
	if since := w.Pause.Since; !since.IsZero() {
		untried.Reason = spool.ReasonPaused
		untried.Reply = smtp.Replyf(451, smtp.EnhancedCode{4, 4, 1}, "The site %s could not be reached since %s; the last word from there: %s",
			w.Site, since.UTC().Format(time.RFC3339), w.Pause.Said)
	}
	if !m.settleAll(ctx, l, msg, deliver.All(m.task(msg, waiting), untried)) {
		return queue.Result{}
	}
	owed := m.jobs(l, msg, waiting)
	for i := range owed {
		if now := time.Now(); !owed[i].Notice.After(now) { // nothing of it was due after all
			owed[i].Notice = now.Add(time.Hour)
		}
	}
	return queue.Result{Owed: owed}
}

// settleAll settles outcomes and queues the reports that come of them. It is false where the result can't be written: at the
// end of this server, or where the message was found damaged meanwhile and set aside.
func (m *MTA) settleAll(ctx context.Context, l *live, msg *spool.Message, outcomes []spool.Outcome) bool {
	// What the end of this server cut short is as if it had not been tried: the next start takes it up.
	outcomes = slices.DeleteFunc(outcomes, func(o spool.Outcome) bool { return o.Reason == spool.ReasonShutdown })
	if len(outcomes) == 0 {
		return true
	}
	reports, err := m.settle(ctx, l, msg, outcomes)
	if err != nil {
		m.log.Error("the result of an attempt was not written; what still waits is tried again after the next start", "id", msg.ID, "error", err)
		return false
	}
	for _, r := range reports {
		m.queue.Add(m.jobs(l, r, all(r))...)
	}
	return true
}

// verdict is what the outcomes of an attempt say of its site.
func verdict(outcomes []spool.Outcome) queue.Result {
	r := queue.Result{Signal: queue.Neutral}
	var first *smtp.Reply
	for i := range outcomes {
		o := &outcomes[i]
		if o.Reason == spool.ReasonShutdown {
			continue
		}
		if first == nil {
			first = &o.Reply
		}
		switch {
		case o.Reply.Positive(), o.Reason == spool.ReasonRefused && o.Host != "" && o.Reply.Code != 421:
			return queue.Result{Signal: queue.Worked, Said: o.Reply.Text()}
		case !o.Reply.Temporary(): // a site that refuses for good is there, and what it says is not the end of all its mail
		// Nor is trouble with the DNS of one domain the trouble of the hosts that it shares with others.
		case o.Reason == spool.ReasonConnect, o.Reason == spool.ReasonSession, o.Reason == spool.ReasonInDoubt,
			o.Reason == spool.ReasonRefused && o.Reply.Code == 421:
			r.Signal = queue.Failed
		}
	}
	if first != nil {
		r.Said = first.Text()
	}
	return r
}

// notLoaded is the end, or the pause, of a job whose message the spool did not give.
func (m *MTA) notLoaded(j queue.Job, err error) []queue.Job {
	m.log.Error("the message of an attempt can't be read", "id", j.ID, "error", err)
	if errors.Is(err, spool.ErrNotFound) || errors.Is(err, spool.ErrDamaged) || errors.Is(err, spool.ErrClosed) {
		return nil
	}
	j.Due = time.Now().Add(time.Minute)
	return []queue.Job{j}
}

// settlePause is the time between two tries to write a result.
const settlePause = time.Second

// settle commits, and does not let go of a result that could not be written: the next host may have the message, and to
// forget that would send it twice.
func (m *MTA) settle(ctx context.Context, l *live, msg *spool.Message, outcomes []spool.Outcome) ([]*spool.Message, error) {
	for {
		reports, err := l.settler.Settle(context.WithoutCancel(ctx), msg, outcomes, time.Now())
		if err == nil {
			return reports, nil
		}
		if errors.Is(err, spool.ErrNotFound) || errors.Is(err, spool.ErrDamaged) {
			return nil, err // it was set aside, or has left: no later try writes it
		}
		m.log.Error("the result of an attempt can't be written; trying again", "id", msg.ID, "pause", settlePause, "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(settlePause):
		}
	}
}

// part is the recipients of a job that one transaction is for.
type part struct {
	to         route.Destination
	recipients []int
}

// split asks the routes anew: since the job was queued they may have changed. What goes to another site now has moved, and
// waits for its turn there.
func (m *MTA) split(l *live, msg *spool.Message, w queue.Work) (parts []part, moved []int) {
	for i, n := range w.Recipients {
		r := &msg.Recipients[n]
		if r.State != spool.Waiting {
			continue
		}
		to := l.routes.For(r.To, r.Via)
		if to.Lane != w.Lane && m.siteOf(l, to) != w.Site {
			moved = append(moved, n)
			continue
		}
		known := false
		for k := range parts {
			if together(parts[k].to, to) {
				parts[k].recipients = append(parts[k].recipients, n)
				known = true
				break
			}
		}
		if !known {
			parts = append(parts, part{to, w.Recipients[i : i+1 : i+1]}) // whatever is appended goes elsewhere
		}
	}
	return parts, moved
}

// siteOf is where the queue has placed a lane, or would.
func (m *MTA) siteOf(l *live, to route.Destination) string {
	if site, ok := m.queue.SiteOf(to.Lane); ok {
		return site
	}
	return l.knownSite(to)
}

// together tells destinations at one site that a single transaction can serve.
func together(a, b route.Destination) bool {
	if a.Kind == config.TargetMX && b.Kind == config.TargetMX {
		return a.TLS == b.TLS && a.SevenBit == b.SevenBit
	}
	return a.Lane == b.Lane
}

func (m *MTA) task(msg *spool.Message, recipients []int) deliver.Task {
	return deliver.Task{Message: msg, Recipients: recipients,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return m.engine.Open(ctx, msg.ID) }}
}

// byGrace is how late the last attempt for mail may begin that is to be delivered by a time or returned.
const byGrace = time.Minute

// deliver makes the attempt that a destination asks for.
func (m *MTA) deliver(ctx context.Context, l *live, site string, to route.Destination, t deliver.Task) []spool.Outcome {
	if asked := t.Message.Asked; asked.ByReturn && time.Since(asked.By) > byGrace { // RFC 2852 4.1.4
		return deliver.All(t, spool.Outcome{Reply: smtp.NewReply(550, smtp.EnhancedCode{5, 4, 7},
			"The time by which the sender wanted it delivered has passed")})
	}
	switch to.Kind {
	case config.TargetMX:
		return l.remote.ToMX(ctx, site, to.MX, manner(to), t)
	case config.TargetSMTP:
		return l.remote.ToHop(ctx, site, hop(to.Hop), manner(to), t)
	case config.TargetMaildir:
		return local.Maildir(ctx, to.Dir, l.cfg.Hostname, t)
	case config.TargetDiscard:
		return deliver.Discard(t)
	default:
		return deliver.Reject(t, to.Text)
	}
}

// hop is where a configured next hop is.
func hop(t config.Target) deliver.Hop {
	if t.Host == "" {
		return deliver.Hop{Channel: t.Network}
	}
	return deliver.Hop{Host: t.Host, Port: t.Port}
}

// manner is how the destination wants to be spoken to.
func manner(to route.Destination) deliver.Manner {
	how := deliver.Manner{LMTP: to.Hop.Protocol == config.LMTP, SevenBit: to.SevenBit}
	switch {
	case to.Hop.ImplicitTLS:
		how.TLS = sender.TLSImplicit
		how.Unproven = to.TLS != config.TLSRequired
	case to.TLS == config.TLSOpportunistic:
		how.TLS = sender.TLSOpportunistic
	case to.TLS == config.TLSRequired:
		how.TLS = sender.TLSRequired
	}
	return how
}
