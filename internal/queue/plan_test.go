package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// bench is a plan with a clock and placements that are given at once: a lane "a/b" leads to the site "a".
type bench struct {
	t     testing.TB
	plan  *Plan
	now   time.Time
	cap   int
	valid time.Duration // of placements; 0: for ever
	asked map[string]int
	ids   int
}

func newBench(t testing.TB, total, cap int) *bench {
	return &bench{t: t, plan: NewPlan(total, half), now: epoch, cap: cap, asked: map[string]int{}}
}

var testPauses = []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour}

// place places what asks for it, and tells whether anything did.
func (b *bench) place() (any bool) {
	for {
		lane, ok := b.plan.Unplaced()
		if !ok {
			return any
		}
		any = true
		b.asked[lane]++
		site, _, _ := strings.Cut(lane, "/")
		to := Placement{Site: site, Cap: b.cap, Pauses: testPauses}
		if b.valid > 0 {
			to.Expires = b.now.Add(b.valid)
		}
		b.plan.Place(lane, to, b.now)
	}
}

// add adds a job for each lane and gives the lanes their places.
func (b *bench) add(lanes ...string) {
	for _, l := range lanes {
		b.give(Job{Lane: l})
	}
}

func (b *bench) give(j Job) spool.ID {
	b.ids++
	j.ID = id(b.ids)
	if j.Recipients == nil {
		j.Recipients = []int{0}
	}
	b.plan.Add(j, b.now)
	b.place()
	return j.ID
}

// next gives the next work; ok is false when there is none now.
func (b *bench) next() (Work, bool) {
	for {
		w, ok := b.plan.Next(b.now)
		placed := b.place()
		if at, waits := b.plan.Wake(); ok || !placed && (!waits || at.After(b.now)) {
			return w, ok
		}
	}
}

func (b *bench) must(lane string) Work {
	b.t.Helper()
	w, ok := b.next()
	if !ok || w.Lane != lane || w.Pause != nil {
		b.t.Fatalf("Next gives %+v, %t, want an attempt for %s", w, ok, lane)
	}
	return w
}

func (b *bench) none(why string) {
	b.t.Helper()
	if w, ok := b.next(); ok {
		b.t.Fatalf("%s: Next gives %s at %s, pause %v", why, w.Lane, w.Site, w.Pause)
	}
}

func (b *bench) done(w Work, s Signal, owed ...Job) {
	b.plan.Done(w, Result{Signal: s, Owed: owed}, b.now)
	b.place()
}

// all takes works until there is none.
func (b *bench) all() (works []Work) {
	for {
		w, ok := b.next()
		if !ok {
			return works
		}
		works = append(works, w)
	}
}

// warm lets a site succeed until its window is as wide as its cap.
func (b *bench) warm(lane string) {
	for range b.cap {
		b.add(lane)
		b.done(b.must(lane), Worked)
	}
}

// TestClasses: urgent jobs of a site go first, and the others still get their share.
func TestClasses(t *testing.T) {
	b := newBench(t, 0, 1000)
	for n := range 300 {
		b.give(Job{Lane: "s", Priority: []int{4, 0, -4}[n%3]})
	}
	count := map[int]int{}
	for range 100 {
		w := b.must("s")
		count[w.Priority]++
		b.done(w, Worked)
	}
	if count[4] != 60 || count[0] != 30 || count[-4] != 10 {
		t.Errorf("of the first 100 jobs %v were of each priority, want 60 urgent, 30 ordinary, 10 others", count)
	}
	for n := range 200 {
		w, ok := b.next()
		if !ok {
			t.Fatalf("%d jobs were left, want 200", n)
		}
		b.done(w, Worked)
	}
	b.none("all are done")
}

// TestClassAlone: a class, or new mail, or retries, that have nothing cost the others nothing: jobs leave as they came.
func TestClassAlone(t *testing.T) {
	for _, j := range []Job{{Priority: 9}, {}, {Priority: -9}, {Fresh: true}, {Sender: 77, Fresh: true, Priority: 1}} {
		b := newBench(t, 0, 1)
		j.Lane = "s"
		for range 50 {
			b.give(j)
		}
		for n := range 50 {
			w := b.must("s")
			if w.ID != id(n+1) {
				t.Fatalf("%+v: job %d is %v", j, n, w.ID)
			}
			b.done(w, Worked)
		}
	}
}

// TestNewBeforeRetries: four new ones, then one retry.
func TestNewBeforeRetries(t *testing.T) {
	b := newBench(t, 0, 1)
	for n := range 40 {
		b.give(Job{Lane: "s", Fresh: n >= 20})
	}
	line := ""
	for range 40 {
		w := b.must("s")
		if w.Fresh {
			line += "n"
		} else {
			line += "r"
		}
		b.done(w, Worked)
	}
	if want := strings.Repeat("nnnnr", 5) + strings.Repeat("r", 15); line != want {
		t.Errorf("new and retries leave as %s, want %s", line, want)
	}
}

// TestSenders: a sender with thousands of jobs and one with a single one take turns.
func TestSenders(t *testing.T) {
	b := newBench(t, 0, 1)
	for range 5000 {
		b.give(Job{Lane: "s", Sender: 1})
	}
	for sender := uint32(2); sender < 7; sender++ {
		b.give(Job{Lane: "s", Sender: sender})
	}
	seen := map[uint32]int{}
	for range 12 {
		w := b.must("s")
		seen[w.Sender]++
		b.done(w, Worked)
	}
	for sender := uint32(2); sender < 7; sender++ {
		if seen[sender] != 1 {
			t.Errorf("sender %d was not served in the first 12 turns: %v", sender, seen)
		}
	}
	if n := len(b.plan.sites["s"].of[1][1].lines); n != 1 {
		t.Errorf("%d lines are kept, want one", n)
	}
}

// TestNobodyStarves keeps every other line full, from 200 senders, and waits for one job in each kind of line.
func TestNobodyStarves(t *testing.T) {
	for kind := range 6 {
		b := newBench(t, 0, 1)
		flood := func(n int) {
			for k := range n {
				other := (kind + 1 + k%5) % 6
				b.give(Job{Lane: "s", Priority: 1 - other%3, Fresh: other < 3, Sender: uint32(k % 200)})
			}
		}
		flood(2000)
		want := b.give(Job{Lane: "s", Priority: 1 - kind%3, Fresh: kind < 3, Sender: 900})
		for turn := 1; ; turn++ {
			w, _ := b.next()
			b.done(w, Worked)
			flood(1)
			if w.ID == want {
				break
			}
			if turn > len(shares)*len(levelShares) {
				t.Errorf("kind %d was not served in %d turns", kind, turn)
				break
			}
		}
	}
}

// TestTotal: all sites together have a cap, and slow sites can't take its last quarter from sites of which nothing runs.
func TestTotal(t *testing.T) {
	b := newBench(t, 40, 50)
	b.warm("slow")
	for range 200 {
		b.add("slow")
	}
	if n := len(b.all()); n != 30 {
		t.Errorf("%d jobs of the slow site run, want 30 of 40", n)
	}
	for n := range 12 {
		b.add(string(rune('a'+n)), string(rune('a'+n)))
	}
	others := b.all()
	if len(others) != 10 {
		t.Errorf("%d other sites found a place, want 10", len(others))
	}
	seen := map[string]bool{}
	for _, w := range others {
		if w.Site == "slow" || seen[w.Site] {
			t.Errorf("%s takes a place of the others", w.Site)
		}
		seen[w.Site] = true
	}
	b.done(others[0], Worked)
	if w, ok := b.next(); !ok || w.Site == "slow" {
		t.Errorf("a place that was given back goes to %s, %t", w.Site, ok)
	}
}

// TestPassedOver: sites that were passed over while only idle ones might run come first when there is place again, and one
// that has become idle counts as idle.
func TestPassedOver(t *testing.T) {
	b := newBench(t, 4, 2) // three places for all, the fourth for idle sites
	b.add("a", "a", "b", "b", "c")
	works := b.all() // a, b, c; then a and b are passed over
	if len(works) != 3 || b.plan.parked.length != 2 {
		t.Fatalf("%d run, %d are passed over", len(works), b.plan.parked.length)
	}
	b.add("d", "d")
	works = append(works, b.must("d"))
	b.none("full")
	b.done(works[0], Neutral) // three run: one place, for idle ones; a is one now
	works[0] = b.must("a")
	b.done(works[2], Neutral) // of c, which has nothing more
	b.done(works[3], Neutral) // of d, two run
	b.must("b")
	b.must("d")
}

// TestSharedSite: a thousand lanes at one site share its window, its cap and its pause.
func TestSharedSite(t *testing.T) {
	b := newBench(t, 0, 5)
	for n := range 1000 {
		b.add(fmt.Sprint("big/", n))
	}
	works := b.all()
	if len(works) != startWindow {
		t.Fatalf("%d attempts begin at a new site, want %d", len(works), startWindow)
	}
	for range 10 {
		b.done(works[0], Worked)
		works = append(works[1:], b.all()...)
	}
	if len(works) != 5 {
		t.Errorf("%d attempts run after success, the cap is 5", len(works))
	}
	for _, w := range works {
		b.done(w, Failed)
	}
	b.none("the site is paused")
	if n := len(b.plan.sites); n != 1 {
		t.Errorf("%d sites for lanes of one", n)
	}
}

// TestFairness: a site with many jobs and sites with few take turns, also when they come late.
func TestFairness(t *testing.T) {
	b := newBench(t, 0, 5)
	b.warm("flood")
	for range 1000 {
		b.add("flood")
	}
	flying := b.all()
	if len(flying) != 5 {
		t.Fatalf("%d jobs run, the cap is 5", len(flying))
	}
	b.add("small")
	b.must("small")
	b.done(flying[0], Worked)
	b.add("other")
	b.must("flood")
	b.must("other")
}

// TestStuckSite has 500,000 jobs at a site that never ends an attempt and others at a dead one. Jobs of other sites go in
// the very next call, as without them, and the stuck ones stand in no ring and in no one's way.
func TestStuckSite(t *testing.T) {
	const waiting = 500_000
	delays := func(stuck int) (calls []int) {
		b := newBench(t, 200, 20)
		b.warm("stuck")
		for n := range stuck {
			b.give(Job{Lane: "stuck", Sender: uint32(n)})
		}
		b.add("dead", "dead", "dead")
		for _, w := range b.all() {
			if w.Site == "dead" {
				b.done(w, Failed)
			}
		}
		for n := range 2000 {
			lane := fmt.Sprint("site", n%100)
			b.add(lane)
			for call := 1; ; call++ {
				if w, ok := b.plan.Next(b.now); ok && w.Lane == lane {
					calls = append(calls, call, b.plan.turns.length, b.plan.parked.length)
					b.done(w, Worked)
					break
				}
				if call > 3 {
					t.Fatalf("%s is not served in %d calls", lane, call)
				}
			}
			b.now = b.now.Add(100 * time.Millisecond)
		}
		if b.plan.sites["stuck"] != nil && b.plan.sites["stuck"].running > 20 {
			t.Error("the cap of the stuck site does not hold")
		}
		return calls
	}
	with, without := delays(waiting), delays(0)
	if fmt.Sprint(with) != fmt.Sprint(without) {
		t.Error("calls and rings differ with jobs waiting at the stuck site")
	}
}

// TestCost: with 10,000 sites that are full, a turn looks at none of them and allocates only what it hands out.
func TestCost(t *testing.T) {
	const sites = 10_000
	b := newBench(t, 0, 1)
	for n := range sites {
		b.add(fmt.Sprint(n), fmt.Sprint(n))
	}
	works := b.all()
	if len(works) != sites || b.plan.turns.length != 0 {
		t.Fatalf("%d attempts, %d full sites in the ring", len(works), b.plan.turns.length)
	}
	b.done(works[77], Worked)
	if n := b.plan.turns.length; n != 1 {
		t.Fatalf("%d sites stand in the ring, want the one with a free place", n)
	}
	b.must(works[77].Lane)
	b.add("free")
	b.done(b.must("free"), Worked)
	recipients := []int{0}
	allocs := testing.AllocsPerRun(1000, func() {
		b.plan.Add(Job{Lane: "free", Recipients: recipients}, b.now)
		w, _ := b.plan.Next(b.now)
		b.plan.Done(w, Result{Signal: Worked}, b.now)
	})
	if allocs > 1 { // the recipients of the work
		t.Errorf("Add, Next and Done among %d sites make %v allocations", sites, allocs)
	}
}

// TestDue: what is not due waits, also on a lane of which nothing is known, and nothing is asked before it is due.
func TestDue(t *testing.T) {
	b := newBench(t, 0, 9)
	b.give(Job{Lane: "s", Due: b.now.Add(time.Hour)})
	b.none("not due")
	if len(b.asked) != 0 {
		t.Errorf("asked %v", b.asked)
	}
	if at, ok := b.plan.Wake(); !ok || !at.Equal(b.now.Add(time.Hour)) {
		t.Errorf("Wake gives %v, %t", at, ok)
	}
	b.now = b.now.Add(time.Hour)
	if w := b.must("s"); !w.Due.Equal(b.now) {
		t.Errorf("the job says it is due at %v", w.Due)
	}
}

// TestNoRecipients: a job of nobody is nothing.
func TestNoRecipients(t *testing.T) {
	p := NewPlan(0, half)
	p.Add(Job{ID: id(1), Lane: "s"}, epoch)
	if w, _ := p.Counts(); w != 0 || len(p.byName) != 0 {
		t.Errorf("%d waiting, lanes %v", w, p.byName)
	}
}
