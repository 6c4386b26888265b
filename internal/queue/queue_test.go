package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/internal/spool"
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

func wide(cap int) func(context.Context, string) Placement {
	return func(_ context.Context, lane string) Placement {
		return Placement{Site: lane, Cap: cap, Pauses: testPauses}
	}
}

func single(lane string, due time.Time) Job { return Job{Lane: lane, Recipients: []int{0}, Due: due} }

func TestQueueRunsWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		q := New(Options{Attempt: func(_ context.Context, w Work) Result {
			log.note(w.Site)
			return Result{Signal: Worked}
		}})
		in := func(d time.Duration, lane string) Job { return single(lane, log.start.Add(d)) }
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
		q := New(Options{Attempt: func(_ context.Context, w Work) Result {
			log.note(fmt.Sprint(w.Recipients))
			if len(w.Recipients) == 1 {
				return Result{}
			}
			j := w.Job
			j.Recipients = j.Recipients[1:]
			j.Due = time.Now().Add(time.Hour)
			return Result{Owed: []Job{j}}
		}})
		end := start(t, q)
		q.Add(Job{Lane: "a", Recipients: []int{0, 1, 2}})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		end()
		log.expect(t, "[0 1 2] at 0s", "[1 2] at 1h0m0s", "[2] at 2h0m0s")
	})
}

// TestQueueResolves: a slow Resolve holds up its own lane only, is asked once for it, and bounds nothing else.
func TestQueueResolves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		q := New(Options{
			Resolve: func(_ context.Context, lane string) Placement {
				log.note("resolve " + lane)
				if lane == "slow" {
					time.Sleep(time.Minute)
				}
				return Placement{Site: "site of " + lane, Cap: 5, Expires: time.Now().Add(time.Hour)}
			},
			Attempt: func(_ context.Context, w Work) Result {
				log.note(w.Site)
				return Result{Signal: Worked}
			}})
		end := start(t, q)
		q.Add(single("slow", time.Time{}), single("slow", time.Time{}))
		synctest.Wait()
		q.Add(single("quick", time.Time{}))
		synctest.Wait()
		if s, ok := q.SiteOf("slow"); ok {
			t.Errorf("the slow lane is at %q", s)
		}
		time.Sleep(2 * time.Minute)
		q.Add(single("quick", time.Time{}))
		time.Sleep(2 * time.Hour)
		q.Add(single("quick", time.Time{})) // its placement is outdated: dropped or asked again
		synctest.Wait()
		end()
		slices.Sort(log.lines[len(log.lines)-2:]) // the last two begin together
		log.expect(t, "resolve slow at 0s", "resolve quick at 0s", "site of quick at 0s", "site of slow at 1m0s",
			"site of slow at 1m0s", "site of quick at 2m0s", "resolve quick at 2h2m0s", "site of quick at 2h2m0s")
	})
}

// TestQueueDeadSite has a site that fails: after two attempts it is left alone, its 10,000 jobs wait untouched, one goes
// after each pause; when it is back they all leave, never more at once than the cap.
func TestQueueDeadSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jobs, perSite = 10_000, 4
		var mu sync.Mutex
		dead, tries, sent, running, most := true, 0, 0, 0, 0
		q := New(Options{Resolve: wide(perSite), Random: half, Attempt: func(_ context.Context, w Work) Result {
			mu.Lock()
			tries++
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			running--
			if dead {
				j := w.Job
				j.Due = time.Now().Add(30 * time.Minute)
				return Result{Owed: []Job{j}, Signal: Failed, Said: "connection refused"}
			}
			sent++
			return Result{Signal: Worked, Said: "250 ok"}
		}})
		for n := range jobs {
			q.Add(Job{ID: id(n), Lane: "dead", Recipients: []int{0}})
		}
		end := start(t, q)
		time.Sleep(50 * time.Hour)
		synctest.Wait()
		mu.Lock()
		if tries > 53 || tries < 50 { // 2, after 5 min, after 15 min, then each hour
			t.Errorf("%d tries in two days", tries)
		}
		dead, most = false, 0
		mu.Unlock()
		s := q.Sites()
		if len(s) != 1 || s[0].Ready+s[0].Later != jobs || s[0].Failures < 50 || s[0].Said != "connection refused" ||
			!s[0].PausedUntil.After(time.Now()) {
			t.Errorf("Sites gives %+v", s)
		}
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		end()
		if sent != jobs || most != perSite {
			t.Errorf("%d of %d jobs were sent, %d at once", sent, jobs, most)
		}
	})
}

// TestQueueStuckSite has a site that accepts connections and never answers: its places fill, and mail for another site
// goes through without any delay.
func TestQueueStuckSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSite, good = 3, 100
		log := newJournal()
		forever := make(chan struct{})
		q := New(Options{Resolve: wide(perSite), Attempt: func(_ context.Context, w Work) Result {
			if w.Site == "stuck" {
				<-forever
				return Result{}
			}
			time.Sleep(time.Second)
			log.note("good")
			return Result{Signal: Worked}
		}})
		for n := range 10_000 {
			q.Add(Job{ID: id(n), Lane: "stuck", Recipients: []int{0}})
		}
		end := start(t, q)
		synctest.Wait()
		for n := range good {
			q.Add(Job{ID: id(20_000 + n), Lane: "good", Recipients: []int{0}})
		}
		time.Sleep((good/perSite + 2) * time.Second)
		synctest.Wait()
		if _, running := q.Counts(); running != startWindow || len(q.Flying()) != startWindow {
			t.Errorf("%d attempts run, %v", running, q.Flying())
		}
		if len(log.lines) != good {
			t.Errorf("%d of %d jobs for the good site ran in the time that they need alone", len(log.lines), good)
		}
		stuck := func(spool.ID, int) bool { return true }
		if n := len(q.Take(stuck)); n != 10_000-startWindow {
			t.Errorf("%d jobs are taken", n)
		}
		close(forever)
		end()
	})
}

// TestQueueLook: a job at a paused site is handed out for a look within a minute.
func TestQueueLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		q := New(Options{Resolve: wide(3), Random: half, Attempt: func(_ context.Context, w Work) Result {
			if w.Pause != nil {
				if late := time.Since(w.Notice); late < 0 || late > time.Minute {
					t.Errorf("the look is %v late", late)
				}
				log.note("look, paused until " + w.Pause.Until.Sub(log.start).String())
				return Result{}
			}
			return Result{Signal: Failed}
		}})
		end := start(t, q)
		q.Add(single("s", time.Time{}), single("s", time.Time{}))
		synctest.Wait()
		q.Add(Job{Lane: "s", Recipients: []int{0}, Notice: log.start.Add(2 * time.Minute)})
		time.Sleep(4 * time.Minute)
		end()
		log.expect(t, "look, paused until 5m0s at 2m0s")
	})
}

// TestQueueStop stops while an attempt runs: nothing new begins, Run waits, and the attempt sees the end of its own
// context only.
func TestQueueStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		stop, cancelStop := context.WithCancel(t.Context())
		running, cancelRunning := context.WithCancel(t.Context())
		q := New(Options{
			Resolve: func(ctx context.Context, lane string) Placement {
				if lane == "unknown" {
					<-ctx.Done()
					log.note("resolve gave up")
				}
				return Placement{}
			},
			Attempt: func(ctx context.Context, w Work) Result {
				log.note("begin")
				select {
				case <-ctx.Done():
					log.note("cut off")
				case <-time.After(time.Hour):
					log.note("finished")
				}
				return Result{Owed: []Job{w.Job}}
			}})
		q.Add(Job{ID: id(1), Lane: "a", Recipients: []int{0}}, Job{ID: id(2), Lane: "a", Recipients: []int{0}},
			Job{ID: id(3), Lane: "unknown", Recipients: []int{0}})
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
		log.expect(t, "begin at 0s", "resolve gave up at 1s", "cut off at 1m1s", "end at 1m1s")
		if w, r := q.Counts(); w != 3 || r != 0 {
			t.Errorf("after the stop: %d waiting, %d running, want all jobs to wait", w, r)
		}
	})
}

// TestQueueStopWaitsForTheWork lets the attempt finish.
func TestQueueStopWaitsForTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		q := New(Options{Attempt: func(context.Context, Work) Result {
			time.Sleep(time.Hour)
			log.note("finished")
			return Result{}
		}})
		q.Add(single("a", time.Time{}))
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
	q := New(Options{Attempt: func(context.Context, Work) Result { panic("an attempt after the stop") }})
	q.Add(single("a", time.Time{}))
	q.Run(stop, t.Context())
}

// TestQueueFromAllSides adds from many goroutines while others steer and look: each job is tried once.
func TestQueueFromAllSides(t *testing.T) {
	const adders, each = 20, 50
	var mu sync.Mutex
	seen := map[string]int{}
	all := make(chan struct{})
	q := New(Options{Resolve: wide(4), Attempt: func(_ context.Context, w Work) Result {
		mu.Lock()
		defer mu.Unlock()
		if seen[w.ID.String()]++; len(seen) == adders*each {
			close(all)
		}
		return Result{Signal: Signal(len(seen) % 2)}
	}})
	end := start(t, q)
	var others sync.WaitGroup
	for a := range adders {
		others.Go(func() {
			for n := range each {
				q.Add(Job{ID: id(a*each + n), Lane: fmt.Sprint(n % 7), Recipients: []int{0}})
			}
		})
	}
	others.Go(func() {
		for range 50 {
			q.Sites()
			q.Flying()
			q.Add(q.Take(func(id spool.ID, _ int) bool { return id[11]%2 == 0 })...)
			q.Wake(func(string) bool { return true })
			q.Replace()
			q.SiteOf("3")
		}
	})
	others.Wait()
	<-all
	end()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("job %s ran %d times", id, n)
		}
	}
}

// TestSites: counts by site, the lanes that are not placed together, the oldest message and the next due time.
func TestSites(t *testing.T) {
	b := newBench(t, 0, 5)
	ids := spool.NewIDs(1)
	at := func(minutes int, lane string, due time.Duration) {
		b.plan.Add(Job{ID: ids.New(epoch.Add(-time.Duration(minutes) * time.Minute)), Lane: lane, Recipients: []int{0, 1},
			Due: epoch.Add(due)}, epoch)
	}
	at(1, "s/a", 0)
	at(3, "s/a", 0)
	at(2, "s/b", 0)
	b.place()
	at(9, "s/b", 2*time.Hour)
	at(4, "s/b", time.Hour)
	at(5, "unplaced", 3*time.Hour)
	b.must("s/a")
	sites := b.plan.snapshot(func() {})
	if len(sites) != 2 {
		t.Fatalf("%+v", sites)
	}
	got := fmt.Sprintf("%+v", sites[0])
	want := fmt.Sprintf("%+v", Site{Lanes: 1, LaneNames: []string{"unplaced"}, Later: 2,
		Oldest: epoch.Add(-5 * time.Minute), NextDue: epoch.Add(3 * time.Hour)})
	if got != want {
		t.Errorf("unplaced:\n%s, want\n%s", got, want)
	}
	got = fmt.Sprintf("%+v", sites[1])
	want = fmt.Sprintf("%+v", Site{Name: "s", Lanes: 2, LaneNames: []string{"s/a", "s/b"}, Ready: 4, Later: 4, Running: 2,
		Window: 2, Cap: 5, Oldest: epoch.Add(-9 * time.Minute), NextDue: epoch.Add(time.Hour)})
	if got != want {
		t.Errorf("placed:\n%s, want\n%s", got, want)
	}
}

// The loop is woken for work that is due after it looks by itself only if that time is still to come: a machine that slept,
// or a clock that was set, leaves it behind.
func TestAlarmThatPassed(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		alarm time.Time
		woken int
	}{
		"to come": {now.Add(time.Minute), 0}, "passed": {now.Add(-time.Minute), 1}, "too late": {now.Add(2 * time.Hour), 1},
	} {
		q := New(Options{})
		q.Add(Job{ID: spool.ID{1}, Lane: "a", Recipients: []int{0}, Due: now.Add(30 * time.Minute)})
		q.alarm = c.alarm
		select {
		case <-q.wake:
		default:
		}
		q.Add(Job{ID: spool.ID{2}, Lane: "a", Recipients: []int{0}, Due: now.Add(time.Hour)})
		if len(q.wake) != c.woken {
			t.Errorf("the alarm is %s: %d tokens wake the loop, want %d", name, len(q.wake), c.woken)
		}
	}
}
