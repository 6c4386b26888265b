package queue

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"
)

// Options of a Queue.
type Options struct {
	// PerSite is how many attempts may run at once for one site; at least 1.
	PerSite int
	// Total is how many attempts may run at once for all sites together; 0: as many as there are.
	Total int
	// Attempt makes one attempt, commits what it brought, and returns the jobs that are still owed for its recipients. It
	// runs in a goroutine of its own and returns soon after ctx has ended.
	Attempt func(ctx context.Context, j Job) []Job
}

// Queue runs a Plan.
type Queue struct {
	attempt func(context.Context, Job) []Job
	wake    chan struct{} // holds one token when the plan changed

	mu   sync.Mutex
	plan *Plan
}

// New makes a queue; nothing runs before Run.
func New(o Options) *Queue {
	return &Queue{attempt: o.Attempt, wake: make(chan struct{}, 1), plan: NewPlan(o.PerSite, cmp.Or(o.Total, math.MaxInt))}
}

// Add takes jobs in, at any time and from any goroutine.
func (q *Queue) Add(jobs ...Job) {
	now := time.Now()
	q.mu.Lock()
	for _, j := range jobs {
		q.plan.Add(j, now)
	}
	q.mu.Unlock()
	q.signal()
}

// Counts gives the number of jobs that wait and that run.
func (q *Queue) Counts() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.plan.Counts()
}

// Run makes attempts until stop ends, then waits for those that run. Attempts see the end of ctx, not of stop, so that
// they may be given time to finish.
func (q *Queue) Run(stop, ctx context.Context) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for stop.Err() == nil {
		j, pause, ok := q.take(time.Now())
		if ok {
			attempts.Go(func() { q.run(ctx, j) })
			continue
		}
		timer.Reset(pause)
		select {
		case <-q.wake:
		case <-timer.C:
		case <-stop.Done():
		}
	}
}

// take gives the next job, or how long there will be none unless the queue is woken.
func (q *Queue) take(now time.Time) (j Job, pause time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j, ok = q.plan.Next(now); ok {
		return j, 0, true
	}
	pause = time.Hour
	if at, waits := q.plan.Wake(); waits {
		pause = at.Sub(now)
	}
	return j, pause, false
}

func (q *Queue) run(ctx context.Context, j Job) {
	owed := q.attempt(ctx, j)
	now := time.Now()
	q.mu.Lock()
	q.plan.Done(j)
	for _, next := range owed {
		q.plan.Add(next, now)
	}
	q.mu.Unlock()
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
