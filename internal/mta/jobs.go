package mta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// jobs groups those of a message's recipients that wait into jobs, by place and due time.
func (m *MTA) jobs(l *live, msg *spool.Message, recipients []int) []queue.Job {
	return grouped(msg, recipients, func(p *spool.Pending) (lane, place string, policy *route.Policy) {
		d := l.route(p.To, p.Via)
		return d.Lane, l.knownSite(d), d.Policy
	})
}

// apart groups them by lane alone: for the queue to place each lane by itself.
func (m *MTA) apart(l *live, msg *spool.Message, recipients []int) []queue.Job {
	return grouped(msg, recipients, l.byLane)
}

func (l *live) byLane(p *spool.Pending) (lane, place string, policy *route.Policy) {
	d := l.route(p.To, p.Via)
	return d.Lane, d.Lane, d.Policy
}

// group is the recipients of one message that belong in one job.
type group struct {
	place string
	due   int64
}

// grouped makes the jobs of some recipients of a message.
func grouped(msg *spool.Message, recipients []int, to func(*spool.Pending) (lane, place string, policy *route.Policy)) []queue.Job {
	var jobs []queue.Job
	var index map[group]int // of jobs, from the second one on
	for _, n := range recipients {
		r := &msg.Recipients[n]
		if r.State != spool.Waiting {
			continue
		}
		p := spool.PendingOf(msg, n, r)
		lane, place, policy := to(&p)
		g := group{place, p.Next.UnixMilli()}
		if i, ok := index[g]; ok {
			jobs[i].Recipients = append(jobs[i].Recipients, n)
			jobs[i].Notice = sooner(jobs[i].Notice, notice(&p, policy))
			continue
		}
		if index == nil && len(recipients) > 1 {
			index = make(map[group]int)
		}
		if index != nil {
			index[g] = len(jobs)
		}
		jobs = append(jobs, job(&p, lane, policy))
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
	jobs             []queue.Job // not yet queued; those from open on are of the message and time of the last entry
	open             int
	index            map[string]int // lane to job, counted from open, where the last message has many lanes
	indexed          int            // of its jobs
	recipients, held int
}

// upTakerBatch is how many jobs are handed to the queue at once.
const upTakerBatch = 256

func (u *upTaker) add(p *spool.Pending) {
	u.recipients++
	lane, _, policy := u.l.byLane(p)
	if u.open < len(u.jobs) && (u.jobs[u.open].ID != p.ID || !u.jobs[u.open].Due.Equal(p.Next)) {
		if u.open = len(u.jobs); u.open >= upTakerBatch {
			u.flush()
		}
	}
	if i := u.find(lane); i >= 0 {
		j := &u.jobs[i]
		j.Recipients = append(j.Recipients, p.N)
		j.Notice = sooner(j.Notice, notice(p, policy))
		return
	}
	u.jobs = append(u.jobs, job(p, lane, policy))
}

// fewLanes are found by looking at each.
const fewLanes = 8

// find gives the job of a lane among those of the last message, or -1.
func (u *upTaker) find(lane string) int {
	mine := u.jobs[u.open:]
	if len(mine) <= fewLanes {
		u.index, u.indexed = nil, 0
		for i := range mine {
			if mine[i].Lane == lane {
				return u.open + i
			}
		}
		return -1
	}
	if u.index == nil {
		u.index = make(map[string]int)
	}
	for ; u.indexed < len(mine); u.indexed++ {
		u.index[mine[u.indexed].Lane] = u.indexed
	}
	if i, ok := u.index[lane]; ok {
		return u.open + i
	}
	return -1
}

func (u *upTaker) flush() {
	u.m.queue.Add(u.jobs...)
	clear(u.jobs)
	u.jobs, u.open = u.jobs[:0], 0
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
