package mta

import (
	"context"
	"errors"
	"fmt"
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
// the job.
func (m *MTA) attempt(ctx context.Context, j queue.Job) []queue.Job {
	msg, err := m.open.take(ctx, m.engine, j.ID)
	defer m.open.giveBack(j.ID)
	if err != nil {
		return m.notLoaded(j, err)
	}
	var outcomes []spool.Outcome
	for _, part := range m.split(msg, j.Recipients) {
		outcomes = append(outcomes, m.deliver(ctx, part.to, m.task(msg, part.recipients))...)
	}
	// What the end of this server cut short is as if it had not been tried: the next start takes it up.
	outcomes = slices.DeleteFunc(outcomes, func(o spool.Outcome) bool { return o.Reason == spool.ReasonShutdown })
	if len(outcomes) == 0 {
		return nil
	}
	reports, err := m.settle(ctx, msg, outcomes)
	if err != nil {
		m.log.Error("the result of an attempt was not written; it will be made again", "id", msg.ID, "error", err)
		return nil // only at the end of the server: the next start takes the job up
	}
	for _, r := range reports {
		m.queue.Add(m.jobs(r, all(r))...)
	}
	return m.jobs(msg, j.Recipients)
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
func (m *MTA) settle(ctx context.Context, msg *spool.Message, outcomes []spool.Outcome) ([]*spool.Message, error) {
	for {
		reports, err := m.settler.Settle(context.WithoutCancel(ctx), msg, outcomes, time.Now())
		if err == nil {
			return reports, nil
		}
		m.log.Error("the result of an attempt can't be written; trying again", "id", msg.ID, "pause", settlePause, "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(settlePause):
		}
	}
}

// part is the recipients of a job that have the same destination.
type part struct {
	to         route.Destination
	recipients []int
}

// split asks the routes anew: since the job was queued they may have changed.
func (m *MTA) split(msg *spool.Message, recipients []int) []part {
	var parts []part
	for _, n := range recipients {
		if msg.Recipients[n].State != spool.Waiting {
			continue
		}
		to := m.routes.Route(msg.Recipients[n].To)
		known := false
		for i := range parts {
			if parts[i].to == to {
				parts[i].recipients = append(parts[i].recipients, n)
				known = true
			}
		}
		if !known {
			parts = append(parts, part{to, []int{n}})
		}
	}
	return parts
}

func (m *MTA) task(msg *spool.Message, recipients []int) deliver.Task {
	return deliver.Task{Message: msg, Recipients: recipients,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return m.engine.Open(ctx, msg.ID) }}
}

// byGrace is how late the last attempt for mail may begin that is to be delivered by a time or returned.
const byGrace = time.Minute

// deliver makes the attempt that a destination asks for.
func (m *MTA) deliver(ctx context.Context, to route.Destination, t deliver.Task) []spool.Outcome {
	if asked := t.Message.Asked; asked.ByReturn && time.Since(asked.By) > byGrace { // RFC 2852 4.1.4
		return deliver.All(t, spool.Outcome{Reply: smtp.NewReply(550, smtp.EnhancedCode{5, 4, 7},
			"The time by which the sender wanted it delivered has passed")})
	}
	switch to.Kind {
	case config.TargetMX:
		return m.remote.ToMX(ctx, to.Site, to.MX, manner(to), t)
	case config.TargetSMTP:
		return m.remote.ToHop(ctx, to.Site, hop(to.Hop), manner(to), t)
	case config.TargetMaildir:
		return local.Maildir(ctx, to.Dir, m.cfg.Hostname, t)
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

// jobs groups those of a message's recipients that wait into jobs, by site and due time.
func (m *MTA) jobs(msg *spool.Message, recipients []int) []queue.Job {
	var jobs []queue.Job
	for _, n := range recipients {
		if r := msg.Recipients[n]; r.State == spool.Waiting {
			jobs = m.join(jobs, spool.PendingOf(msg, n, &r))
		}
	}
	return jobs
}

// join puts a recipient into the job of its message that goes to the same site at the same time, or into a new one.
func (m *MTA) join(jobs []queue.Job, p spool.Pending) []queue.Job {
	site := m.routes.Route(p.To).Site
	for i := range jobs {
		if j := &jobs[i]; j.ID == p.ID && j.Site == site && j.Due.Equal(p.Next) {
			j.Recipients = append(j.Recipients, p.N)
			return jobs
		}
	}
	return append(jobs, queue.Job{ID: p.ID, Site: site, Recipients: []int{p.N}, Due: p.Next, Priority: int(p.Priority)})
}

// takeUp queues what waits in the spool. The listing is ordered by due time, then by message, so that recipients that
// belong in one job follow each other.
func (m *MTA) takeUp(ctx context.Context) error {
	var group []queue.Job // of one message and time
	recipients, held := 0, 0
	for p, err := range m.engine.Pending(ctx) {
		switch {
		case errors.Is(err, spool.ErrDamaged):
			m.log.Error("an entry of the spool was set aside", "error", err)
			continue
		case err != nil:
			return fmt.Errorf("read the queue from the spool: %w", err)
		case p.Held:
			held++
			continue
		}
		if len(group) > 0 && (group[0].ID != p.ID || !group[0].Due.Equal(p.Next)) {
			m.queue.Add(group...)
			group = nil
		}
		group = m.join(group, p)
		recipients++
	}
	m.queue.Add(group...)
	if recipients+held > 0 {
		m.log.Info("queue taken up", "recipients", recipients, "held", held)
	}
	return nil
}

// all lists the indices of every recipient.
func all(msg *spool.Message) []int {
	ns := make([]int, len(msg.Recipients))
	for i := range ns {
		ns[i] = i
	}
	return ns
}
