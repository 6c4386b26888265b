package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal notes when jobs were attempted.
type journal struct {
	start time.Time
	mu    sync.Mutex
	lines []string
}

func newJournal() *journal { return &journal{start: time.Now()} }

func (l *journal) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s at %v", what, time.Since(l.start)))
}

func (l *journal) expect(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.lines, want) {
		t.Errorf("the journal has %q, want %q", l.lines, want)
	}
}

// start runs a queue; end stops it and waits for Run.
func start(t *testing.T, q *Queue) (end func()) {
	stop, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Run(stop, t.Context())
	}()
	return func() {
		cancel()
		<-ended
	}
}

func TestQueueRunsWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		q := New(Options{PerSite: 2, Attempt: func(_ context.Context, j Job) []Job {
			log.note(j.Site)
			return nil
		}})
		in := func(d time.Duration, site string) Job { return Job{Site: site, Due: log.start.Add(d)} }
		q.Add(in(3*time.Hour, "late"), in(90*time.Minute, "later"), in(0, "now"))
		if w, r := q.Counts(); w != 3 || r != 0 {
			t.Errorf("before Run: %d waiting, %d running", w, r)
		}
		end := start(t, q)
		time.Sleep(30 * time.Minute)
		q.Add(in(time.Hour, "added")) // earlier than what the loop sleeps for
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		end()
		log.expect(t, "now at 0s", "added at 1h0m0s", "later at 1h30m0s", "late at 3h0m0s")
		if w, r := q.Counts(); w != 0 || r != 0 {
			t.Errorf("at the end: %d waiting, %d running", w, r)
		}
	})
}

// TestQueueTakesBackWhatIsOwed returns a job three times, as after temporary failures.
func TestQueueTakesBackWhatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		q := New(Options{Attempt: func(_ context.Context, j Job) []Job {
			log.note(fmt.Sprint(j.Recipients))
			if len(j.Recipients) == 1 {
				return nil
			}
			j.Recipients = j.Recipients[1:]
			j.Due = time.Now().Add(time.Hour)
			return []Job{j}
		}})
		end := start(t, q)
		q.Add(Job{Site: "a", Recipients: []int{0, 1, 2}})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		end()
		log.expect(t, "[0 1 2] at 0s", "[1 2] at 1h0m0s", "[2] at 2h0m0s")
	})
}

// TestQueueDeadSite has a site that accepts connections and never answers: its places fill, and mail for another site
// goes through without any delay.
func TestQueueDeadSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSite, good = 3, 100
		log := newJournal()
		forever := make(chan struct{})
		dead := 0 // guarded by log.mu
		q := New(Options{PerSite: perSite, Attempt: func(_ context.Context, j Job) []Job {
			if j.Site == "dead" {
				log.mu.Lock()
				dead++
				log.mu.Unlock()
				<-forever
				return nil
			}
			time.Sleep(time.Second)
			log.note("good")
			return nil
		}})
		for n := range 10_000 {
			q.Add(Job{ID: id(n), Site: "dead"})
		}
		end := start(t, q)
		synctest.Wait()
		for n := range good {
			q.Add(Job{ID: id(20_000 + n), Site: "good"})
		}
		time.Sleep((good/perSite + 1) * time.Second)
		synctest.Wait()
		if _, running := q.Counts(); running != perSite || dead != perSite {
			t.Errorf("%d attempts run, %d were made at the dead site, want %d", running, dead, perSite)
		}
		if len(log.lines) != good {
			t.Errorf("%d of %d jobs for the good site ran in the time that they need alone", len(log.lines), good)
		}
		close(forever)
		end()
	})
}

// TestQueueStop stops while an attempt runs: nothing new begins, Run waits, and the attempt sees the end of its own
// context only.
func TestQueueStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		stop, cancelStop := context.WithCancel(t.Context())
		running, cancelRunning := context.WithCancel(t.Context())
		q := New(Options{PerSite: 1, Attempt: func(ctx context.Context, j Job) []Job {
			log.note("begin")
			select {
			case <-ctx.Done():
				log.note("cut off")
			case <-time.After(time.Hour):
				log.note("finished")
			}
			return []Job{j}
		}})
		q.Add(Job{ID: id(1), Site: "a"}, Job{ID: id(2), Site: "a"})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			q.Run(stop, running)
			log.note("end")
		}()
		time.Sleep(time.Second)
		cancelStop()
		time.Sleep(time.Minute)
		select {
		case <-ended:
			t.Error("Run returned while an attempt ran")
		default:
		}
		cancelRunning()
		<-ended
		log.expect(t, "begin at 0s", "cut off at 1m1s", "end at 1m1s")
		if w, r := q.Counts(); w != 2 || r != 0 {
			t.Errorf("after the stop: %d waiting, %d running, want both jobs to wait", w, r)
		}
	})
}

// TestQueueStopWaitsForTheWork lets the attempt finish.
func TestQueueStopWaitsForTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		q := New(Options{Attempt: func(context.Context, Job) []Job {
			time.Sleep(time.Hour)
			log.note("finished")
			return nil
		}})
		q.Add(Job{Site: "a"})
		end := start(t, q)
		synctest.Wait()
		end()
		log.note("end")
		log.expect(t, "finished at 1h0m0s", "end at 1h0m0s")
	})
}

// TestQueueStopped returns at once without work.
func TestQueueStopped(t *testing.T) {
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	q := New(Options{Attempt: func(context.Context, Job) []Job { panic("an attempt after the stop") }})
	q.Add(Job{Site: "a"})
	q.Run(stop, t.Context())
}

// TestQueueAddWhileItRuns adds from many goroutines.
func TestQueueAddWhileItRuns(t *testing.T) {
	const adders, each = 20, 50
	var mu sync.Mutex
	seen := map[string]int{}
	all := make(chan struct{})
	q := New(Options{PerSite: 4, Attempt: func(_ context.Context, j Job) []Job {
		mu.Lock()
		defer mu.Unlock()
		if seen[j.ID.String()]++; len(seen) == adders*each {
			close(all)
		}
		return nil
	}})
	end := start(t, q)
	var added sync.WaitGroup
	for a := range adders {
		added.Go(func() {
			for n := range each {
				q.Add(Job{ID: id(a*each + n), Site: fmt.Sprint(n % 7)})
			}
		})
	}
	added.Wait()
	<-all
	end()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("job %s ran %d times", id, n)
		}
	}
}
