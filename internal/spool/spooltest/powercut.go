package spooltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// RunPowerCut runs a workload on a new disk and cuts the power before every change that the engine makes to it: with
// all that was not synced lost, with all of it kept, and at some changes with a random part of it kept. Each disk that
// is left must open again and show every commit that had returned, whole; a commit under way, whole or not at all; and
// nothing else.
func RunPowerCut(t *testing.T, disk func(t *testing.T) Disk) {
	t.Run("one after the other", func(t *testing.T) { cutSequence(t, disk(t)) })
	t.Run("side by side", func(t *testing.T) { cutConcurrent(t, disk(t)) })
}

// keeps gives the chances, in percent, that unsynced pieces survive the nth cut. Torn logs are rarer, for an engine may
// look long at what is left of one.
func keeps(n int) []int {
	const every = 6
	if n%every != 0 {
		return []int{0, 100}
	}
	torn := []int{30, 80, 55}
	return []int{0, 100, torn[n/every%len(torn)]}
}

// left is a disk after a cut and the check that it must pass.
type left struct {
	name  string
	disk  Disk
	check func(context.Context, spool.Engine) error
}

// cutter cuts the power of a disk before every change and has what is left checked beside the workload.
type cutter struct {
	t     *testing.T
	seed  uint64
	mu    sync.Mutex // cuts come from the engine's own goroutines
	count int
	ended bool // the workload is over, but an engine may still be tidying up
	left  chan left
	wg    sync.WaitGroup
}

// newCutter starts the checkers. Where deep is true, the power is cut again while every 60th disk is opened and checked.
func newCutter(t *testing.T, seed uint64, deep bool) *cutter {
	c := &cutter{t: t, seed: seed, left: make(chan left, 8)}
	for range 2 {
		c.wg.Go(func() {
			n := 0
			for l := range c.left {
				n++
				c.examine(l, deep && n%60 == 0)
			}
		})
	}
	return c
}

// cut takes the disk as a cut would leave it now. before is called before it is taken and gives the function that is
// called after it, which gives the check: what had returned before must be there, what began before its end may be.
func (c *cutter) cut(d Disk, before func() (after func() func(context.Context, spool.Engine) error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.count++
	for _, keep := range keeps(c.count) {
		rng := rand.New(rand.NewPCG(c.seed, uint64(c.count*100+keep)))
		after := before()
		disk := d.Cut(keep, rng)
		c.left <- left{
			name:  fmt.Sprintf("cut %d of seed %d, %d %% of the unsynced kept", c.count, c.seed, keep),
			disk:  disk,
			check: after(),
		}
	}
}

// examine opens a disk that a cut left and checks it, twice: the second start must find the same.
func (c *cutter) examine(l left, deep bool) {
	var again []left
	var mu sync.Mutex
	if deep {
		l.disk.Watch(func() {
			mu.Lock()
			defer mu.Unlock()
			again = append(again, left{name: fmt.Sprintf("%s, and again at %d", l.name, len(again)+1),
				disk: l.disk.Cut(0, nil), check: l.check})
		})
	}
	for range 2 {
		e, err := l.disk.Open()
		if err != nil {
			c.t.Errorf("%s: open: %v", l.name, err)
			return
		}
		if err := errors.Join(l.check(context.Background(), e), e.Close()); err != nil {
			c.t.Errorf("%s: %v", l.name, err)
			return
		}
		if !deep {
			break
		}
	}
	l.disk.Watch(nil)
	for _, l := range again {
		c.examine(l, false)
	}
}

// finish waits for the checks.
func (c *cutter) finish() {
	c.mu.Lock()
	c.ended = true
	close(c.left)
	c.mu.Unlock()
	c.wg.Wait()
	c.t.Logf("power was cut at %d changes to the disk", c.count)
	if c.count < 20 {
		c.t.Errorf("only %d changes to the disk were seen: the disk does not report them", c.count)
	}
}

// step is a part of the workload: it is one commit, or content that is never put.
type step struct {
	puts    []*entry
	updates []spool.Update
	loose   *entry // content without a commit
	abort   bool   // of loose
	soon    bool   // it does not wait for the disk
}

// workload gives steps of every kind. Sizes lie around the chunks of engines and their memtables.
func workload() (steps []step, ids []spool.ID) {
	source := spool.NewIDs(1)
	entryOf := func(size int, to ...string) *entry {
		x := newEntry(source, size, to...)
		ids = append(ids, x.m.ID)
		return x
	}
	bounceOf := func(x *entry) *entry {
		b := entryOf(2500, "sender@example.org")
		b.m.Kind, b.m.Cause, b.m.From = spool.Bounce, x.m.ID, smtp.Path{}
		return b
	}
	end := func(x *entry, n int, s spool.State) spool.Update {
		return update(x.m.ID, n, ended(x.m.Recipients[n], s))
	}
	small, empty := entryOf(4096, "a@example.org"), entryOf(0, "a@example.org", "b@example.org")
	large := entryOf(200_000, "a@example.org", "b@example.org", "c@example.org")
	exact, last := entryOf(1<<16, "a@example.org"), entryOf(130_000, "a@example.org", "b@example.org")
	steps = []step{
		{puts: []*entry{small}},
		{puts: []*entry{large}},
		{updates: []spool.Update{
			end(large, 0, spool.Delivered), update(large.m.ID, 1, later(large.m.Recipients[1], time.Minute))}},
		{loose: entryOf(150_000, "a@example.org"), abort: true},
		{puts: []*entry{bounceOf(small)}, updates: []spool.Update{end(small, 0, spool.Bounced)}},
		{loose: entryOf(180_000, "a@example.org")},
		{puts: []*entry{empty, exact}},
		{updates: []spool.Update{update(large.m.ID, 1, later(large.m.Recipients[1], time.Hour))}},
		{puts: []*entry{bounceOf(large)}, updates: []spool.Update{end(large, 1, spool.Bounced)}},
		{puts: []*entry{last}},
		{updates: []spool.Update{end(large, 2, spool.Delivered)}},
		{soon: true, updates: []spool.Update{end(exact, 0, spool.Delivered), end(empty, 1, spool.Dropped)}},
		{soon: true, updates: []spool.Update{update(empty.m.ID, 0, later(empty.m.Recipients[0], time.Minute))}},
		{puts: []*entry{bounceOf(last), bounceOf(last)},
			updates: []spool.Update{end(last, 0, spool.Bounced), end(last, 1, spool.Bounced)}},
	}
	for i := range 6 { // mail that comes and goes, until tables are written and the log has rotated
		x := entryOf(90_000-i*10_000, "a@example.org")
		steps = append(steps, step{puts: []*entry{x}}, step{soon: i > 0, updates: []spool.Update{end(x, 0, spool.Delivered)}})
	}
	return steps, ids
}

// run does a step.
func (s *step) run(ctx context.Context, e spool.Engine) error {
	if s.loose != nil {
		c, err := write(ctx, e, s.loose)
		if err == nil && s.abort {
			c.Abort()
		}
		return err
	}
	var ops []spool.Op
	for _, x := range s.puts {
		c, err := write(ctx, e, x)
		if err != nil {
			return err
		}
		ops = append(ops, spool.Put{Message: x.m, Content: c})
	}
	for _, u := range s.updates {
		ops = append(ops, u)
	}
	if s.soon {
		return e.ApplySoon(ctx, ops...)
	}
	return e.Apply(ctx, ops...)
}

func cutSequence(t *testing.T, disk Disk) {
	steps, ids := workload()
	states := []model{{}}
	for _, s := range steps {
		w := states[len(states)-1].clone()
		w.apply(s.puts, s.updates...)
		states = append(states, w)
	}
	var begun, returned atomic.Int32
	c := newCutter(t, 1, true)
	cut := func() {
		c.cut(disk, func() func() func(context.Context, spool.Engine) error {
			from := returned.Load()
			return func() func(context.Context, spool.Engine) error {
				may := states[from : begun.Load()+1]
				return func(ctx context.Context, e spool.Engine) error { return oneOf(ctx, e, may, ids) }
			}
		})
	}
	disk.Watch(cut)
	defer c.finish()
	defer disk.Watch(nil)
	e, err := disk.Open()
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	for i := range steps {
		begun.Add(1)
		if err := steps[i].run(t.Context(), e); err != nil {
			t.Errorf("step %d: %v", i, err)
			break
		}
		if !steps[i].soon {
			returned.Store(int32(i + 1)) // and with it what went before
		}
	}
	cut() // a reboot with the last commit just answered
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	cut()
}

// oneOf checks that the spool is in one of the states.
func oneOf(ctx context.Context, e spool.Engine, may []model, ids []spool.ID) error {
	var misses []error
	for i, w := range may {
		err := w.check(ctx, e, ids)
		if err == nil {
			return nil
		}
		misses = append(misses, fmt.Errorf("not state %d of %d: %w", i+1, len(may), err))
	}
	return errors.Join(misses...)
}

// shared is a message whose recipients are ended side by side, and how far that is.
type shared struct {
	*entry
	putBegun, put atomic.Bool
	begun, ended  []atomic.Bool // by recipient
}

func newShared(ids *spool.IDs, size int) *shared {
	x := newEntry(ids, size, "a@example.org", "b@example.org", "c@example.org")
	n := len(x.m.Recipients)
	return &shared{entry: x, begun: make([]atomic.Bool, n), ended: make([]atomic.Bool, n)}
}

// live puts the message and ends its recipients side by side, the first after one failed attempt.
func (s *shared) live(ctx context.Context, e spool.Engine) error {
	s.putBegun.Store(true)
	if err := put(ctx, e, s.entry); err != nil {
		return err
	}
	s.put.Store(true)
	errs := make([]error, len(s.begun))
	var wg sync.WaitGroup
	for n, r := range s.m.Recipients {
		wg.Go(func() {
			if n == 0 {
				errs[n] = e.Apply(ctx, update(s.m.ID, n, later(r, time.Minute)))
			}
			s.begun[n].Store(true)
			errs[n] = errors.Join(errs[n], e.Apply(ctx, update(s.m.ID, n, ended(r, spool.Delivered))))
			s.ended[n].Store(true)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// promise is what had returned of a shared message before a cut, and what had begun when it was done.
type promise struct {
	of            *shared
	put, putBegun bool
	ended, begun  []bool
	allBegun      bool
}

func (s *shared) before() *promise {
	p := &promise{of: s, put: s.put.Load()}
	for n := range s.ended {
		p.ended = append(p.ended, s.ended[n].Load())
	}
	return p
}

func (p *promise) after() {
	p.putBegun = p.of.putBegun.Load()
	p.allBegun = true
	for n := range p.of.begun {
		p.begun = append(p.begun, p.of.begun[n].Load())
		p.allBegun = p.allBegun && p.begun[n]
	}
}

// check holds the spool against the promise.
func (p *promise) check(ctx context.Context, e spool.Engine, pending []spool.Pending) error {
	id := p.of.m.ID
	waits := make([]bool, len(p.begun))
	for _, q := range pending {
		if q.ID == id {
			waits[q.N] = true
		}
	}
	m, err := e.Load(ctx, id)
	if errors.Is(err, spool.ErrNotFound) {
		if p.put && !p.allBegun {
			return fmt.Errorf("message %s is lost: recipients begun %v", id, p.begun)
		}
		if slices.Contains(waits, true) {
			return fmt.Errorf("message %s is gone and listed", id)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !p.putBegun {
		return fmt.Errorf("message %s is there before it was put", id)
	}
	open := false
	for n, r := range m.Recipients {
		done := r.State.Done()
		open = open || !done
		switch {
		case done && !p.begun[n]:
			return fmt.Errorf("message %s: recipient %d is done before anyone said so", id, n)
		case !done && p.ended[n]:
			return fmt.Errorf("message %s: recipient %d was done and waits again", id, n)
		case done == waits[n]:
			return fmt.Errorf("message %s: recipient %d: done is %v, listed is %v", id, n, done, waits[n])
		}
	}
	if !open {
		return fmt.Errorf("message %s is there and nothing of it is owed", id)
	}
	return sameContent(ctx, e, p.of.entry)
}

func cutConcurrent(t *testing.T, disk Disk) {
	const lanes, each = 3, 6
	ids := spool.NewIDs(1)
	var all []*shared
	for i := range lanes * each {
		all = append(all, newShared(ids, []int{0, 3000, 80_000}[i%3]))
	}
	c := newCutter(t, 2, false)
	e, err := disk.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	disk.Watch(func() { c.cut(disk, func() func() func(context.Context, spool.Engine) error { return promises(all) }) })
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for _, s := range all[lane*each:][:each] {
				if err := s.live(t.Context(), e); err != nil {
					t.Errorf("message %s: %v", s.m.ID, err)
				}
			}
		})
	}
	wg.Wait()
	disk.Watch(nil)
	c.finish()
	if err := errors.Join(model{}.check(t.Context(), e, nil), e.Close()); err != nil {
		t.Error(err)
	}
}

// promises takes what holds before a cut and gives what takes the rest after it.
func promises(all []*shared) func() func(context.Context, spool.Engine) error {
	var ps []*promise
	for _, s := range all {
		ps = append(ps, s.before())
	}
	return func() func(context.Context, spool.Engine) error {
		for _, p := range ps {
			p.after()
		}
		return func(ctx context.Context, e spool.Engine) error {
			pending, err := list(ctx, e)
			if err != nil {
				return err
			}
			for _, p := range ps {
				if err := p.check(ctx, e, pending); err != nil {
					return err
				}
			}
			return nil
		}
	}
}
