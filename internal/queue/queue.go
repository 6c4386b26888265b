package queue

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Options of a Queue.
type Options struct {
	// Total is how many attempts may run at once for all sites together; 0: as many as the sites allow. Less than 4 is 4.
	Total int
	// Resolve says where a lane leads. It may block, as DNS does: it runs in a goroutine of its own, once at a time for a
	// lane and for 256 lanes at once, and returns soon after ctx has ended. nil: each lane is a site of its own with
	// one connection.
	Resolve func(ctx context.Context, lane string) Placement
	// Attempt makes one attempt, commits what it brought, and returns what is still owed. It runs in a goroutine of its
	// own and returns soon after ctx has ended.
	Attempt func(ctx context.Context, w Work) Result
	// Random gives numbers from [0,1) for the jitter of pauses; nil: math/rand/v2.
	Random func() float64
}

// Queue runs a Plan. Its methods may be called from any goroutine; functions that they are handed run under its lock and
// must not call it.
type Queue struct {
	resolve func(context.Context, string) Placement
	attempt func(context.Context, Work) Result
	wake    chan struct{} // holds one token when the plan changed

	mu    sync.Mutex
	plan  *Plan
	alarm time.Time       // when the loop looks by itself
	crew  *crew           // nil: no attempt may begin
	stop  context.Context // ends when no attempt may begin any more
}

// New makes a queue; nothing runs before Run.
func New(o Options) *Queue {
	q := &Queue{resolve: o.Resolve, attempt: o.Attempt, wake: make(chan struct{}, 1)}
	if q.resolve == nil {
		q.resolve = func(context.Context, string) Placement { return Placement{} }
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	q.plan = NewPlan(o.Total, o.Random)
	return q
}

// Add takes jobs in.
func (q *Queue) Add(jobs ...Job) {
	now := time.Now()
	q.change(func(p *Plan) {
		for _, j := range jobs {
			p.Add(j, now)
		}
	})
}

// Counts gives the number of recipients that wait and that are being tried.
func (q *Queue) Counts() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.plan.Counts()
}

// Sites gives the sites that have something waiting or running, by name. It lets the queue go on while it looks around:
// what changes meanwhile may be shown before or after the change, and of Oldest and NextDue it may be missed.
func (q *Queue) Sites() []Site {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.plan.snapshot(func() {
		q.mu.Unlock()
		q.mu.Lock()
	})
}

// Take takes the matching recipients out of what waits, never out of what runs; they are the caller's then. match is
// called once for each waiting recipient, with the message and the index in it. The queue stands still meanwhile.
func (q *Queue) Take(match func(id spool.ID, n int) bool) []Job {
	now := time.Now()
	var jobs []Job
	q.change(func(p *Plan) { jobs = p.Take(match, now) })
	return jobs
}

// Flying gives the work whose attempts run, in no order.
func (q *Queue) Flying() []Work {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.plan.Flying()
}

// SiteOf gives the site where a lane leads; ok is false when that is not known (yet, or any more).
func (q *Queue) SiteOf(lane string) (site string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.plan.SiteOf(lane)
}

// Wake ends the pauses of the sites that match: each gets its one attempt now. If that fails, the next pause is as long as the
// one that was cut short.
func (q *Queue) Wake(match func(site string) bool) { q.change(func(p *Plan) { p.WakeSites(match) }) }

// Replace is for a configuration that has changed: Resolve is asked again for each lane at its next turn, its old place
// serves meanwhile, and all pauses end.
func (q *Queue) Replace() { q.change((*Plan).Replace) }

// Run makes attempts until stop ends, then waits for those that run. Attempts see the end of ctx, not of stop, so that
// they may be given time to finish; Resolve sees the end of stop.
func (q *Queue) Run(stop, ctx context.Context) {
	var placing sync.WaitGroup
	defer placing.Wait()
	q.open(stop, ctx)
	defer q.shut()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for stop.Err() == nil {
		step := q.next(time.Now())
		switch {
		case step.unplaced:
			placing.Go(func() { q.place(stop, step.lane) })
		case step.pause > 0:
			timer.Reset(step.pause)
			select {
			case <-q.wake:
			case <-timer.C:
			case <-stop.Done():
			}
		}
	}
}

// open lets attempts begin; shut lets none begin any more, and waits for those that run.
func (q *Queue) open(stop, ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stop = stop
	q.crew = newCrew(func(w Work) (Work, bool) { return q.run(ctx, w) })
}

func (q *Queue) shut() {
	q.mu.Lock()
	crew := q.crew
	q.crew = nil
	q.mu.Unlock()
	crew.dismiss()
}

// running tells that attempts may begin. q.mu is held.
func (q *Queue) running() bool { return q.crew != nil && q.stop.Err() == nil }

// step is what the loop does next: a lane to be placed, or a pause, or at once the next step.
type step struct {
	lane     string
	unplaced bool
	pause    time.Duration // unless the queue is woken
}

// next hands out a piece of work, if there is one, and says how the loop goes on.
func (q *Queue) next(now time.Time) step {
	q.mu.Lock()
	defer q.mu.Unlock()
	if lane, ok := q.plan.Unplaced(); ok {
		return step{lane: lane, unplaced: true}
	}
	if w, ok := q.plan.Next(now); ok {
		q.crew.hand(w)
		return step{}
	}
	if lane, ok := q.plan.Unplaced(); ok { // of what fell due just now
		return step{lane: lane, unplaced: true}
	}
	pause := time.Hour
	if at, ok := q.plan.Wake(); ok {
		pause = min(at.Sub(now), pause)
	}
	q.alarm = now.Add(pause)
	return step{pause: pause}
}

// run makes an attempt, and gives the work that comes after it. Who is at it goes on with what is ready, and the loop need
// not be asked.
func (q *Queue) run(ctx context.Context, w Work) (next Work, ok bool) {
	result := q.attempt(ctx, w)
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.plan.Done(w, result, now)
	if q.running() {
		next, ok = q.plan.Next(now)
	}
	q.heed(now)
	return next, ok
}

func (q *Queue) place(ctx context.Context, lane string) {
	to := q.resolve(ctx, lane)
	now := time.Now()
	q.change(func(p *Plan) { p.Place(lane, to, now) })
}

// change works on the plan. What can go now goes without waiting for the loop: its first piece at once.
func (q *Queue) change(do func(p *Plan)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	do(q.plan)
	now := time.Now()
	if q.running() {
		if w, ok := q.plan.Next(now); ok {
			q.crew.hand(w)
		}
	}
	q.heed(now)
}

// heed wakes the loop if there is something for it to do, or will be before it looks by itself. Its timer does not follow a
// clock that was set, nor one that went on while the machine slept, so an alarm that has passed is no alarm. q.mu is held.
func (q *Queue) heed(now time.Time) {
	at, ok := q.plan.Wake()
	looks := q.alarm.Round(0).After(now.Round(0))
	if !q.plan.Ready() && looks && (!ok || !at.Before(q.alarm) && at.After(now)) {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
