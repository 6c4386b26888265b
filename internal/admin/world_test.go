package admin

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/settle"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp"
)

// world is a server in small: a real spool, queue and settler, and attempts that the test makes up.
type world struct {
	t       *testing.T
	ctx     context.Context
	engine  spool.Engine
	ids     *spool.IDs
	table   *route.Table
	queue   *queue.Queue
	settler *settle.Settler
	live    *Live

	attempt func(w queue.Work) spool.Outcome // what each recipient of an attempt comes to

	mu       sync.Mutex
	events   []history.Event
	reports  []*spool.Message
	forgot   []spool.ID
	reloaded error
}

func newWorld(t *testing.T) *world {
	return newWorldOver(t, func(e spool.Engine) spool.Engine { return e })
}

// newWorldOver puts a wrapper around the engine that the desk sees.
func newWorldOver(t *testing.T, wrap func(spool.Engine) spool.Engine) *world {
	engine, err := lsm.Open("spool", lsm.Options{FS: vfs.NewMem(), MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	cfg := config.Default()
	w := &world{t: t, ctx: t.Context(), engine: engine, ids: spool.NewIDs(0)}
	w.table = route.New("mx.example.net", "data", cfg.Route, cfg.Delivery)
	w.queue = queue.New(queue.Options{
		Resolve: func(_ context.Context, lane string) queue.Placement {
			return queue.Placement{Site: "site of " + lane, Cap: 5}
		},
		Attempt: w.try,
	})
	w.settler = settle.New(settle.Options{
		Engine: engine, IDs: w.ids, Hostname: "mx.example.net", ReturnSize: 1000,
		Rules: func(*spool.Recipient) settle.Rules {
			return settle.Rules{WarnAfter: 4 * time.Hour, GiveUp: 120 * time.Hour,
				Next: func(int, time.Time, time.Time) (time.Time, bool) { return time.Now().Add(time.Hour), false }}
		},
	})
	w.live = NewLive(LiveOptions{
		Engine: wrap(engine), Queue: w.queue, History: t.TempDir(), Route: w.routeOf, Jobs: w.jobs, End: w.end,
		Forget: func(ids ...spool.ID) { w.locked(func() { w.forgot = append(w.forgot, ids...) }) },
		Record: func(e *history.Event) { w.locked(func() { w.events = append(w.events, *e) }) },
		Reload: func(context.Context) ([]string, error) { return []string{"delivery.retry is [\"1h\"]"}, w.reloaded },
	})
	return w
}

func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// jobs makes the jobs of what waits.
func (w *world) jobs(m *spool.Message, recipients []int) []queue.Job {
	var jobs []queue.Job
	for _, n := range recipients {
		r := m.Recipients[n]
		if r.State != spool.Waiting {
			continue
		}
		p := spool.PendingOf(m, n, &r)
		lane := w.routeOf(p).Lane
		i := slices.IndexFunc(jobs, func(j queue.Job) bool { return j.Lane == lane && j.Due.Equal(p.Next) })
		if i >= 0 {
			jobs[i].Recipients = append(jobs[i].Recipients, n)
			continue
		}
		jobs = append(jobs, queue.Job{ID: m.ID, Lane: lane, Recipients: []int{n}, Due: p.Next, Priority: int(p.Priority),
			Sender: p.Sender, Fresh: p.Fresh})
	}
	return jobs
}

func (w *world) end(ctx context.Context, m *spool.Message, outcomes []spool.Outcome) error {
	reports, err := w.settler.Settle(ctx, m, outcomes, time.Now())
	w.locked(func() { w.reports = append(w.reports, reports...) })
	return err
}

// try makes an attempt as the server does: load, settle, and give back what is owed.
func (w *world) try(ctx context.Context, work queue.Work) queue.Result {
	m, err := w.engine.Load(ctx, work.ID)
	if err != nil {
		w.t.Errorf("an attempt finds no message: %v", err)
		return queue.Result{}
	}
	var outcomes []spool.Outcome
	for _, n := range work.Recipients {
		if m.Recipients[n].State != spool.Waiting {
			w.t.Errorf("an attempt at recipient %d of %s, which is %s", n, m.ID, m.Recipients[n].State)
		}
		o := w.attempt(work)
		o.N = n
		outcomes = append(outcomes, o)
	}
	if _, err := w.settler.Settle(ctx, m, outcomes, time.Now()); err != nil {
		w.t.Error(err)
	}
	return queue.Result{Owed: w.jobs(m, work.Recipients), Signal: queue.Worked}
}

func path(t *testing.T, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath("<" + s + ">")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// put accepts a message; change may give it what is special about it.
func (w *world) put(from string, change func(m *spool.Message), to ...string) *spool.Message {
	w.t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	m := &spool.Message{ID: w.ids.New(now), From: path(w.t, from), Arrived: now, Client: "[192.0.2.1]:3456"}
	for _, a := range to {
		m.Recipients = append(m.Recipients, spool.Recipient{To: path(w.t, a), Next: now})
	}
	if change != nil {
		change(m)
	}
	content, err := w.engine.Create(w.ctx, m.ID)
	if err == nil {
		var n int
		n, err = content.Write([]byte("Subject: pigeons\r\n\r\nThey fly.\r\n"))
		m.Size = int64(n)
	}
	if err == nil {
		err = w.engine.Apply(w.ctx, spool.Put{Message: m, Content: content})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var all []int
	for n := range m.Recipients {
		all = append(all, n)
	}
	w.queue.Add(w.jobs(m, all)...)
	return m
}

// run lets the queue run until the returned function is called.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.queue.Run(ctx, context.WithoutCancel(ctx))
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-ended }) }
	w.t.Cleanup(stop)
	return stop
}

func (w *world) act(a Action) Result {
	w.t.Helper()
	r, err := w.live.Act(w.ctx, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) load(id spool.ID) *spool.Message {
	w.t.Helper()
	m, err := w.engine.Load(w.ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// owed gives what waits by the spool, each recipient with its due time, and what is held.
func (w *world) owed() (waiting map[part]int64, held map[part]bool) {
	w.t.Helper()
	waiting, held = map[part]int64{}, map[part]bool{}
	for p, err := range w.engine.Pending(w.ctx) {
		if err != nil {
			w.t.Fatal(err)
		}
		if p.Held {
			held[part{p.ID, p.N}] = true
		} else {
			waiting[part{p.ID, p.N}] = p.Next.UnixMilli()
		}
	}
	return waiting, held
}

// checkQueue has the queue and the spool agree on what waits, with each recipient in one job. The queue must not run, and
// is as it was afterwards.
func (w *world) checkQueue() {
	w.t.Helper()
	waiting, _ := w.owed()
	jobs := w.queue.Take(func(spool.ID, int) bool { return true })
	seen := map[part]bool{}
	for _, j := range jobs {
		for _, n := range j.Recipients {
			p := part{j.ID, n}
			_, waits := waiting[p]
			if seen[p] || !waits {
				w.t.Errorf("recipient %d of %s is in the queue: twice %t, waits in the spool %t", n, j.ID, seen[p], waits)
			}
			seen[p] = true
		}
	}
	if len(seen) != len(waiting) {
		w.t.Errorf("%d recipients are in the queue, %d wait in the spool", len(seen), len(waiting))
	}
	w.queue.Add(jobs...)
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 4)) }

func (w *world) routeOf(p spool.Pending) route.Destination { return w.table.For(p.To, p.Via) }
