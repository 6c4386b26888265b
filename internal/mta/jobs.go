package mta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// jobs groups those of a message's recipients that wait into jobs, by place and due time.
func (m *MTA) jobs(l *live, msg *spool.Message, recipients []int) []queue.Job {
	var room [1]spool.Pending // most mail has one recipient
	return grouped(pending(room[:0], msg, recipients), func(to smtp.Path, via string) (lane, place string, policy *route.Policy) {
		d := l.routes.For(to, via)
		return d.Lane, l.knownSite(d), d.Policy
	})
}

// apart groups them by lane alone: for the queue to place each lane by itself.
func (m *MTA) apart(l *live, msg *spool.Message, recipients []int) []queue.Job {
	return grouped(pending(nil, msg, recipients), l.byLane)
}

func (l *live) byLane(to smtp.Path, via string) (lane, place string, policy *route.Policy) {
	d := l.routes.For(to, via)
	return d.Lane, d.Lane, d.Policy
}

// pending appends those of a message's recipients that wait, as the index of the spool has them.
func pending(all []spool.Pending, msg *spool.Message, recipients []int) []spool.Pending {
	all = slices.Grow(all, len(recipients))
	for _, n := range recipients {
		if r := &msg.Recipients[n]; r.State == spool.Waiting {
			all = append(all, spool.PendingOf(msg, n, r))
		}
	}
	return all
}

// group is the recipients of one message that belong in one job.
type group struct {
	place string
	due   int64
}

// grouped makes the jobs of some recipients of one message.
func grouped(all []spool.Pending, to func(to smtp.Path, via string) (lane, place string, policy *route.Policy)) []queue.Job {
	var jobs []queue.Job
	var index map[group]int // of jobs, where there may be several
	if len(all) > 1 {
		index = make(map[group]int)
	}
	for i := range all {
		p := &all[i]
		lane, place, policy := to(p.To, p.Via)
		g := group{place, p.Next.UnixMilli()}
		if i, ok := index[g]; ok {
			jobs[i].Recipients = append(jobs[i].Recipients, p.N)
			jobs[i].Notice = sooner(jobs[i].Notice, notice(p, policy))
			continue
		}
		if index != nil {
			index[g] = len(jobs)
		}
		jobs = append(jobs, job(p, lane, policy))
	}
	return jobs
}

// job makes the job of one recipient.
func job(p *spool.Pending, lane string, policy *route.Policy) queue.Job {
	return queue.Job{ID: p.ID, Lane: lane, Recipients: []int{p.N}, Due: p.Next, Notice: notice(p, policy),
		Priority: int(p.Priority), Sender: p.Sender, Fresh: p.Fresh}
}

// nobody is the key of the null reverse-path, which is told of nothing.
var nobody = spool.SenderKey(smtp.Path{})

// notice is when a recipient must be looked at although its site is left alone: to tell its sender of the delay, or to give
// it up.
func notice(p *spool.Pending, policy *route.Policy) time.Time {
	at := p.Started.Add(policy.GiveUpAfter)
	if !p.By.IsZero() {
		at = sooner(at, p.By)
	}
	if !p.Warned && policy.WarnAfter > 0 && p.Sender != nobody {
		at = sooner(at, p.Started.Add(policy.WarnAfter))
	}
	return at
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// takeUp queues what waits in the spool. The listing is ordered by due time, then by message, so that recipients that
// belong in one job follow each other.
func (m *MTA) takeUp(ctx context.Context, next func() (spool.Pending, error, bool)) error {
	began := time.Now()
	u := upTaker{m: m, l: m.live.Load()}
	for {
		p, err, ok := next()
		switch {
		case !ok:
			u.flush()
			if u.recipients+u.held > 0 {
				m.log.Info("queue taken up", "recipients", u.recipients, "held", u.held, "took", time.Since(began).Round(time.Millisecond).String())
			}
			return nil
		case ctx.Err() != nil:
			return nil // the server stops
		case errors.Is(err, spool.ErrDamaged):
			m.log.Error("an entry of the spool was set aside", "error", err)
		case err != nil:
			return fmt.Errorf("read the queue from the spool: %w", err)
		case p.Held:
			u.held++
		default:
			u.add(&p)
		}
	}
}

// upTaker makes jobs of index entries.
type upTaker struct {
	m                *MTA
	l                *live
	same             []spool.Pending // the last entries, of one message and time
	jobs             []queue.Job     // of those before them, not yet queued
	recipients, held int
}

// upTakerBatch is how many jobs are handed to the queue at once.
const upTakerBatch = 256

func (u *upTaker) add(p *spool.Pending) {
	u.recipients++
	if len(u.same) > 0 && (u.same[0].ID != p.ID || !u.same[0].Next.Equal(p.Next)) {
		u.group()
	}
	u.same = append(u.same, *p)
}

// group makes the jobs of the last entries.
func (u *upTaker) group() {
	u.jobs = append(u.jobs, grouped(u.same, u.l.byLane)...)
	u.same = u.same[:0]
	if len(u.jobs) >= upTakerBatch {
		u.m.queue.Add(u.jobs...)
		u.jobs = u.jobs[:0]
	}
}

func (u *upTaker) flush() {
	u.group()
	u.m.queue.Add(u.jobs...)
	u.jobs = nil
}

// pull begins the listing of what waits, as it is now.
func pull(ctx context.Context, engine spool.Engine) (next func() (spool.Pending, error, bool), stop func()) {
	listed, stop := iter.Pull2(engine.Pending(ctx))
	p, err, ok := listed() // which opens it
	first := true
	return func() (spool.Pending, error, bool) {
		if first {
			first = false
			return p, err, ok
		}
		return listed()
	}, stop
}

// all lists the indices of every recipient.
func all(msg *spool.Message) []int {
	ns := make([]int, len(msg.Recipients))
	for i := range ns {
		ns[i] = i
	}
	return ns
}
