package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/spool"
)

// An action goes through the spool in batches. For each, what waits is taken out of the queue, so that no attempt begins
// with it; then the messages are read again, for until that moment they may have changed; then they are changed in the
// spool, and only then is what still waits given to the queue again. What is in flight is not in the queue, and thus never
// touched.
const (
	batchRecipients = 10000 // in one look through the queue
	commitMessages  = 200   // in one commit
	endsAtOnce      = 16    // bounces whose commits may share a sync
)

// Act carries an action out. One runs at a time; the others wait.
func (l *Live) Act(ctx context.Context, a Action) (Result, error) {
	a, err := l.check(a)
	if err != nil {
		return Result{}, err
	}
	m, err := a.Selector.compile(l.reader.now())
	if err != nil {
		return Result{}, err
	}
	select {
	case l.acting <- struct{}{}:
		defer func() { <-l.acting }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("%w: another action runs: %w", ErrBusy, ctx.Err())
	}
	d := deed{l: l, a: a, m: m, result: Result{DryRun: a.DryRun}}
	err = d.run(ctx)
	if !a.DryRun {
		l.o.Logger.Info("operator", "verb", string(a.Verb), "who", a.Who, "recipients", d.result.Recipients, "messages", d.result.Messages,
			"busy", d.result.Busy, "to", a.To, "text", a.Text, "error", errText(err))
	}
	if err != nil && !a.DryRun {
		err = fmt.Errorf("%s %d recipients of %d messages, then: %w", a.Verb.Past(), d.result.Recipients, d.result.Messages, err)
	}
	return d.result, err
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// deed is an action on its way.
type deed struct {
	l      *Live
	a      Action
	m      *matcher
	result Result
	batch  []pick
	size   int // recipients of batch

	mu sync.Mutex // guards result while bounces run side by side
}

// pick is a message with those of its recipients that are meant, in their order.
type pick struct {
	id spool.ID
	ns []int
}

// run goes through all messages that may match, as they are now: reports that come of bounces are not among them.
func (d *deed) run(ctx context.Context) error {
	v := d.l.view(d.a.DryRun)
	for msg, err := range d.l.reader.messages(ctx, d.m) {
		if err != nil {
			if d.problem(err) {
				continue
			}
			return err
		}
		ns := v.match(d.m, msg)
		if len(ns) == 0 {
			continue
		}
		if d.a.DryRun {
			d.count(v, msg, ns)
			continue
		}
		d.batch = append(d.batch, pick{msg.ID, ns})
		if d.size += len(ns); d.size < batchRecipients {
			continue
		}
		if err := d.perform(ctx); err != nil {
			return err
		}
		v = d.l.view(false)
	}
	return d.perform(ctx)
}

// problem notes an error that is about one message; false: it is about more.
func (d *deed) problem(err error) bool {
	if !aboutOne(err) {
		return false
	}
	if len(d.result.Problems) < maxProblems {
		d.result.Problems = append(d.result.Problems, err.Error())
	}
	return true
}

// count says what an action would do.
func (d *deed) count(v view, msg *spool.Message, ns []int) {
	counted := false
	for _, n := range ns {
		switch {
		case v.flying[part{msg.ID, n}]:
			d.busy(v.entry(msg, n))
			continue
		case !slices.Contains(verbs[d.a.Verb].states, msg.Recipients[n].State):
			d.result.Skipped++
			continue
		}
		d.result.Recipients++
		counted = true
		if len(d.result.Sample) < maxSample {
			d.result.Sample = append(d.result.Sample, v.entry(msg, n))
		}
	}
	if counted {
		d.result.Messages++
	}
}

func (d *deed) busy(e Entry) {
	d.result.Busy++
	if len(d.result.BusyNames) < maxNames {
		e.State = StateInFlight
		d.result.BusyNames = append(d.result.BusyNames, e)
	}
}

// perform carries the action out for the batch. Whatever happens, what was taken from the queue is given back unless it
// was changed, and then in its new state.
func (d *deed) perform(ctx context.Context) error {
	if len(d.batch) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	batch := d.batch
	d.batch, d.size = nil, 0
	t := d.take(batch)
	defer func() { d.l.o.Queue.Add(t.rest()...) }()
	// From here on each commit is made whole, whoever goes away.
	ready, err := d.read(ctx, batch, t)
	if err != nil {
		return err
	}
	if d.a.Verb == Bounce {
		return d.endAll(ctx, ready, t)
	}
	for chunk := range slices.Chunk(ready, commitMessages) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.commit(context.WithoutCancel(ctx), chunk, t); err != nil {
			return err
		}
	}
	return nil
}

// taken is what was taken out of the queue and has not been given back.
type taken struct {
	mu   sync.Mutex
	jobs []queue.Job
	has  map[part]bool // false: it was changed, and needs no job of these any more
}

// take takes what waits of a batch out of the queue.
func (d *deed) take(batch []pick) *taken {
	wanted := make(map[spool.ID][]int, len(batch))
	for _, p := range batch {
		wanted[p.id] = p.ns
	}
	t := &taken{has: map[part]bool{}}
	t.jobs = d.l.o.Queue.Take(func(id spool.ID, n int) bool {
		_, found := slices.BinarySearch(wanted[id], n)
		return found
	})
	for _, j := range t.jobs {
		for _, n := range j.Recipients {
			t.has[part{j.ID, n}] = true
		}
	}
	return t
}

// changed notes that a recipient is not what its job says any more.
func (t *taken) changed(p part) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.has, p)
}

// rest gives the jobs of what was not changed.
func (t *taken) rest() []queue.Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	var jobs []queue.Job
	for _, j := range t.jobs {
		j.Recipients = slices.DeleteFunc(slices.Clone(j.Recipients), func(n int) bool { return !t.has[part{j.ID, n}] })
		if len(j.Recipients) > 0 {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// work is a message as it is now, and the recipients of it that will be changed.
type work struct {
	msg *spool.Message
	ns  []int
}

// read loads the messages of a batch again and says which recipients can be changed: those that still match, and are held,
// or waited in the queue and were taken from there.
func (d *deed) read(ctx context.Context, batch []pick, t *taken) ([]work, error) {
	var ready []work
	v := view{r: d.l.reader, siteOf: d.l.siteOf}
	for _, p := range batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		msg, err := d.l.o.Engine.Load(ctx, p.id)
		if errors.Is(err, spool.ErrNotFound) {
			continue // an attempt was faster
		}
		if err != nil {
			if err = fmt.Errorf("message %s: %w", p.id, err); d.problem(err) {
				continue
			}
			return nil, err
		}
		w := work{msg: msg}
		for _, n := range p.ns {
			r := &msg.Recipients[n]
			switch {
			case r.State == spool.Waiting && !t.has[part{p.id, n}]:
				d.busy(v.entry(msg, n))
			case !d.m.ofSpool(r): // done, or not what it was
			case !slices.Contains(verbs[d.a.Verb].states, r.State):
				d.result.Skipped++
			default:
				w.ns = append(w.ns, n)
			}
		}
		if len(w.ns) > 0 {
			ready = append(ready, w)
		}
	}
	return ready, nil
}

// commit changes some messages in one commit, and gives what waits of them back to the queue.
func (d *deed) commit(ctx context.Context, chunk []work, t *taken) error {
	now := d.l.reader.now()
	ops := make([]spool.Op, 0, len(chunk))
	ids := make([]spool.ID, 0, len(chunk))
	for _, w := range chunk {
		update := spool.Update{ID: w.msg.ID, Recipients: make(map[int]spool.Recipient, len(w.ns))}
		for _, n := range w.ns {
			r := w.msg.Recipients[n]
			verbs[d.a.Verb].change(&r, &d.a, now)
			if d.a.Verb != Retry && r.State == spool.Waiting && r.Next.Before(w.msg.Asked.Held) {
				r.Next = w.msg.Asked.Held // RFC 4865: its client asked for that; only who says "now" is above it
			}
			update.Recipients[n] = r
		}
		ops = append(ops, update)
		ids = append(ids, w.msg.ID)
	}
	if err := d.l.o.Engine.Apply(ctx, ops...); err != nil {
		return fmt.Errorf("write the change: %w", err)
	}
	d.l.o.Forget(ids...)
	for i, w := range chunk {
		for n, r := range ops[i].(spool.Update).Recipients {
			w.msg.Recipients[n] = r
		}
		d.done(w, t, now)
	}
	if verbs[d.a.Verb].wakes {
		d.wake(chunk)
	}
	return nil
}

// done counts and records a message that was changed, and queues what waits of it.
func (d *deed) done(w work, t *taken, now time.Time) {
	event := &history.Event{At: now, ID: w.msg.ID, Kind: history.Operator, From: history.Address(w.msg.From), Note: d.a.note()}
	kept := 0
	for _, n := range w.ns {
		r := &w.msg.Recipients[n]
		event.To = append(event.To, history.Address(r.To))
		t.changed(part{w.msg.ID, n})
		if d.a.Verb == Bounce && !r.State.Done() {
			kept++
		}
	}
	if d.a.Verb == Reroute && len(w.ns) > 0 {
		event.Site = d.l.o.Route(spool.PendingOf(w.msg, w.ns[0], &w.msg.Recipients[w.ns[0]])).Lane
	}
	d.l.o.Queue.Add(d.l.o.Jobs(w.msg, w.ns)...)
	d.l.o.Record(event)
	d.l.o.Logger.Info("operator", "id", w.msg.ID, "verb", string(d.a.Verb), "to", event.To, "note", event.Note)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.result.Kept += kept
	if d.result.Recipients += len(w.ns) - kept; kept < len(w.ns) {
		d.result.Messages++
	}
}

// wake ends the pauses of the sites that mail was asked to be tried at.
func (d *deed) wake(chunk []work) {
	sites := map[string]bool{}
	for _, w := range chunk {
		for _, n := range w.ns {
			sites[d.l.siteOf(d.l.o.Route(spool.PendingOf(w.msg, n, &w.msg.Recipients[n])).Lane)] = true
		}
	}
	d.l.o.Queue.Wake(func(site string) bool { return sites[site] })
}

// endAll returns messages to their senders, some side by side so that their commits share a sync.
func (d *deed) endAll(ctx context.Context, ready []work, t *taken) error {
	var running sync.WaitGroup
	places := make(chan struct{}, endsAtOnce)
	var mu sync.Mutex
	var failed error
	broken := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failed != nil
	}
	for _, w := range ready {
		places <- struct{}{}
		if broken() || ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-places }()
			if err := d.end(context.WithoutCancel(ctx), w, t); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return errors.Join(failed, ctx.Err())
}

// end returns one message to its sender.
func (d *deed) end(ctx context.Context, w work, t *taken) error {
	now := d.l.reader.now() // the operator comes before what came of it
	var outcomes []spool.Outcome
	for _, n := range w.ns {
		outcomes = append(outcomes, spool.Outcome{N: n, Reply: bounceReply(d.a.Text), Reason: spool.ReasonOperator})
	}
	if err := d.l.o.End(ctx, w.msg, outcomes); err != nil {
		return fmt.Errorf("return message %s: %w", w.msg.ID, err)
	}
	d.l.o.Forget(w.msg.ID)
	d.done(w, t, now)
	return nil
}
