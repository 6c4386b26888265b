package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// TestLaneWaitsForPlace: nothing of a lane goes before its place is known, then all its jobs stand in line there.
func TestLaneWaitsForPlace(t *testing.T) {
	p := NewPlan(0, half)
	for n := range 5 {
		p.Add(Job{ID: id(n), Lane: "l", Recipients: []int{0}}, epoch)
	}
	if w, ok := p.Next(epoch); ok {
		t.Fatalf("%+v goes to an unknown place", w)
	}
	lane, ok := p.Unplaced()
	if again, twice := p.Unplaced(); !ok || lane != "l" || twice {
		t.Fatalf("Unplaced gives %q, %t, then %q", lane, ok, again)
	}
	p.Place("l", Placement{Site: "s", Cap: 9}, epoch)
	p.Place("l", Placement{Site: "not asked", Cap: 9}, epoch)
	for n := range startWindow {
		if w, ok := p.Next(epoch); !ok || w.Site != "s" || w.ID != id(n) {
			t.Fatalf("Next gives %+v, %t", w, ok)
		}
	}
	if s, ok := p.SiteOf("l"); s != "s" || !ok {
		t.Errorf("SiteOf gives %q, %t", s, ok)
	}
}

// TestLanesAtOnce: no more than maxAsking are being placed.
func TestLanesAtOnce(t *testing.T) {
	p := NewPlan(0, half)
	for n := range 2 * maxAsking {
		p.Add(Job{Lane: fmt.Sprint(n), Recipients: []int{0}}, epoch)
	}
	for range maxAsking {
		if _, ok := p.Unplaced(); !ok {
			t.Fatal("too few")
		}
	}
	if lane, ok := p.Unplaced(); ok {
		t.Fatalf("%s is one too many", lane)
	}
	p.Place("0", Placement{}, epoch)
	if lane, _ := p.Unplaced(); lane != fmt.Sprint(maxAsking) {
		t.Errorf("next is %q", lane)
	}
}

// TestLaneExpires: an outdated lane is asked again at its next turn and keeps its place until the answer comes; then its
// jobs follow, and the old site is forgotten.
func TestLaneExpires(t *testing.T) {
	p, now := NewPlan(0, half), epoch
	for n := range 6 {
		p.Add(Job{ID: id(n), Lane: "l", Recipients: []int{0, 1}}, now)
	}
	p.Unplaced()
	p.Place("l", Placement{Site: "old", Cap: 1, Expires: now.Add(time.Hour)}, now)
	first, _ := p.Next(now)
	if lane, ok := p.Unplaced(); ok {
		t.Fatalf("%s is asked while its placement holds", lane)
	}
	now = now.Add(time.Hour)
	p.Done(first, Result{Signal: Worked}, now)
	if second, ok := p.Next(now); !ok || second.Site != "old" {
		t.Fatalf("Next gives %+v, %t", second, ok)
	} else if lane, ok := p.Unplaced(); !ok || lane != "l" {
		t.Fatalf("an outdated lane is not asked: %q", lane)
	} else {
		p.Place("l", Placement{Site: "new", Cap: 5}, now)
		if third, ok := p.Next(now); !ok || third.Site != "new" || third.ID != id(2) {
			t.Fatalf("Next gives %+v, %t", third, ok)
		}
		p.Done(second, Result{Signal: Failed}, now)
	}
	verify(t, p)
	if p.sites["old"] != nil || p.sites["new"].failed != 0 {
		t.Errorf("old %v, new %+v", p.sites["old"], p.sites["new"])
	}
	if w, r := p.Counts(); w != 6 || r != 2 {
		t.Errorf("Counts gives %d, %d", w, r)
	}
}

// TestShortValidity: a placement that says it is outdated already is kept for a moment, or each job would ask.
func TestShortValidity(t *testing.T) {
	b := newBench(t, 0, 1)
	b.valid = time.Nanosecond
	for range 100 {
		b.add("s")
		b.done(b.must("s"), Worked)
	}
	if b.asked["s"] != 1 {
		t.Errorf("asked %d times in no time", b.asked["s"])
	}
}

// TestIdleLanes: a busy domain is not asked for each message, and what is not needed any more goes.
func TestIdleLanes(t *testing.T) {
	b := newBench(t, 0, 1)
	b.valid = time.Hour
	for range 10 {
		b.add("busy")
		b.done(b.must("busy"), Worked)
	}
	if b.asked["busy"] != 1 || b.plan.idle.length != 1 {
		t.Errorf("asked %d times, %d idle", b.asked["busy"], b.plan.idle.length)
	}
	for n := range maxIdle + 500 {
		lane := fmt.Sprint(n)
		b.add(lane)
		b.done(b.must(lane), Worked)
	}
	if p := b.plan; len(p.byName) != maxIdle || len(p.sites) != maxIdle || len(p.lanes) > maxIdle+1 {
		t.Errorf("%d lanes, %d sites, %d places for lanes", len(p.byName), len(p.sites), len(p.lanes))
	}
	b.now = b.now.Add(2 * time.Hour)
	for range maxIdle {
		b.add("last")
		b.done(b.must("last"), Worked)
	}
	if p := b.plan; len(p.byName) != 1 || len(p.sites) != 1 {
		t.Errorf("%d lanes, %d sites are kept", len(p.byName), len(p.sites))
	}
}

// TestReplace: lanes are asked again, those at paused sites at once, and keep their place meanwhile.
func TestReplace(t *testing.T) {
	b := newBench(t, 0, 1)
	b.add("alive", "alive", "dead", "dead", "dead")
	b.done(b.must("alive"), Worked)
	b.done(b.must("dead"), Failed)
	b.done(b.must("alive"), Worked)
	b.done(b.must("dead"), Failed)
	b.none("paused")
	b.add("alive")
	b.plan.Replace()
	if lane, ok := b.plan.Unplaced(); !ok || lane != "dead" {
		t.Fatalf("first %q is asked", lane)
	}
	b.plan.Place("dead", Placement{Site: "other", Cap: 1}, b.now)
	for range 2 {
		w, ok := b.next()
		if !ok || w.Lane == "dead" && w.Site != "other" {
			t.Fatalf("Next gives %+v, %t", w, ok)
		}
		b.done(w, Worked)
	}
	b.add("alive")
	b.must("alive")
	if b.asked["alive"] != 2 {
		t.Errorf("the other lane was asked %d times, want 2", b.asked["alive"])
	}
}

// TestReplaceWhileAsked: an answer from before the change does not count as one of the new configuration.
func TestReplaceWhileAsked(t *testing.T) {
	p := NewPlan(0, half)
	p.Add(Job{Lane: "l", Recipients: []int{0}}, epoch)
	p.Unplaced()
	p.Replace()
	p.Place("l", Placement{Site: "of the old configuration"}, epoch)
	p.Next(epoch)
	if lane, ok := p.Unplaced(); !ok || lane != "l" {
		t.Errorf("not asked again: %q", lane)
	}
}

// TestTake takes out of each state, splits jobs, and leaves alone what runs.
func TestTake(t *testing.T) {
	b := newBench(t, 0, 1)
	b.give(Job{Lane: "s", Recipients: []int{0, 1}})
	running := b.must("s")
	for range 3 {
		b.give(Job{Lane: "s", Recipients: []int{0, 1, 2}, Sender: 3, Priority: -2, Fresh: true, Notice: b.now.Add(time.Hour)})
		b.give(Job{Lane: "s", Recipients: []int{1}, Due: b.now.Add(time.Hour)})
	}
	jobs := b.plan.Take(func(_ spool.ID, n int) bool { return n == 1 }, b.now)
	if len(jobs) != 6 {
		t.Fatalf("%d jobs are taken, want 6", len(jobs))
	}
	for _, j := range jobs {
		if j.Lane != "s" || len(j.Recipients) != 1 || j.Recipients[0] != 1 || j.ID == running.ID {
			t.Errorf("taken %+v", j)
		}
		if later := j.Due.Equal(b.now.Add(time.Hour)); !later && (j.Sender != 3 || j.Priority != -2 || !j.Fresh || j.Notice.IsZero()) {
			t.Errorf("the job lost something: %+v", j)
		}
	}
	if w, r := b.plan.Counts(); w != 6 || r != 2 || len(b.plan.later) != 0 {
		t.Errorf("%d wait, %d run, %d are later", w, r, len(b.plan.later))
	}
	verify(t, b.plan)
	b.done(running, Worked)
	if w := b.must("s"); fmt.Sprint(w.Recipients) != "[0 2]" {
		t.Errorf("what is left is %v", w.Recipients)
	}
}

// TestTakeForgets: lanes and sites that have nothing left and no valid place go with their last job.
func TestTakeForgets(t *testing.T) {
	b := newBench(t, 0, 1)
	b.valid = time.Minute
	b.add("s", "s")
	b.give(Job{Lane: "unknown", Due: b.now.Add(99 * time.Hour)})
	b.now = b.now.Add(time.Hour)
	b.plan.Take(func(spool.ID, int) bool { return true }, b.now)
	if len(b.plan.byName) != 0 || len(b.plan.sites) != 0 {
		t.Errorf("%d lanes, %d sites are kept", len(b.plan.byName), len(b.plan.sites))
	}
}

// TestTakeKeepsTurns: when a sender's line is taken away, the others don't lose their turns.
func TestTakeKeepsTurns(t *testing.T) {
	b := newBench(t, 0, 1)
	for n := range 12 {
		b.give(Job{Lane: "s", Sender: uint32(n % 4), Recipients: []int{n % 4}})
	}
	for want := range 2 {
		w := b.must("s")
		if w.Sender != uint32(want) {
			t.Fatalf("sender %d has the turn, want %d", w.Sender, want)
		}
		b.done(w, Worked)
	}
	b.plan.Take(func(_ spool.ID, n int) bool { return n == 0 }, b.now)
	for _, want := range []uint32{2, 3, 1} {
		w := b.must("s")
		if w.Sender != want {
			t.Errorf("sender %d has the turn, want %d", w.Sender, want)
		}
		b.done(w, Worked)
	}
}
