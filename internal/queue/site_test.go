package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// story plays signals on one site and writes down, line by line, what becomes of it.
type story struct {
	*bench
	text   strings.Builder
	flying []Work
}

func (s *story) line(what string) {
	site, pause := s.plan.sites["s"], "-"
	if site.until != 0 {
		pause = fmt.Sprint("until ", timeOf(site.until).Sub(epoch))
	}
	fmt.Fprintf(&s.text, "%10v  %-34s window %2d  running %2d  failures %2d  rounds %d  pause %s\n", s.now.Sub(epoch), what,
		site.window, site.running, site.failed, site.rounds, pause)
}

func (s *story) begin() {
	started := s.all()
	s.flying = append(s.flying, started...)
	s.line(fmt.Sprintf("%d begin", len(started)))
}

// end ends the first n attempts that run.
func (s *story) end(n int, signal Signal) {
	for range n {
		s.done(s.flying[0], signal)
		s.flying = s.flying[1:]
		s.line("one " + [...]string{"says nothing", "worked", "failed"}[signal])
	}
}

func (s *story) toEndOfPause() {
	if at, ok := s.plan.Wake(); ok {
		s.now = at
	}
	s.begin()
}

// TestPausesGolden tells the life of a site that fails in rounds, and how its backlog leaves when it is back.
func TestPausesGolden(t *testing.T) {
	s := &story{bench: newBench(t, 0, 6)}
	for range 100 {
		s.add("s/a")
	}
	s.begin()
	s.text.WriteString("\nit works\n")
	for range 3 {
		s.end(2, Worked)
		s.begin()
	}
	s.text.WriteString("\nit dies; two of those that ran fail during the pause, the rest after it\n")
	s.end(3, Failed)
	s.end(2, Failed)
	s.begin()
	s.toEndOfPause()
	late := s.flying[:1]
	s.flying = s.flying[1:]
	s.end(1, Failed)
	s.flying = append(late, s.flying...)
	s.end(1, Failed)
	s.text.WriteString("\nthe third pause and the last one, which repeats; what says nothing lets one more go\n")
	for range 3 {
		s.toEndOfPause()
		s.end(1, Neutral)
		s.begin()
		s.end(1, Failed)
	}
	s.text.WriteString("\nit is back: the backlog leaves one by one, then wider\n")
	s.toEndOfPause()
	for range 6 {
		s.end(1, Worked)
		s.begin()
	}
	golden := filepath.Join("testdata", "pauses.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(s.text.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if s.text.String() != string(want) {
		t.Errorf("the story differs from %s (go test -update writes it anew):\n%s", golden, s.text.String())
	}
}

// TestFirstFailures: a new site gets a second chance, and no third.
func TestFirstFailures(t *testing.T) {
	b := newBench(t, 0, 20)
	b.add("s", "s", "s")
	b.done(b.must("s"), Failed)
	b.done(b.must("s"), Failed)
	b.none("paused")
	if at, ok := b.plan.Wake(); !ok || at.Sub(b.now) != testPauses[0] {
		t.Errorf("the pause ends at %v, %t", at, ok)
	}
}

// TestSuccessBetween: failures that come with successes never pause a site.
func TestSuccessBetween(t *testing.T) {
	b := newBench(t, 0, 20)
	for range 50 {
		b.add("s", "s", "s")
		b.done(b.must("s"), Failed)
		b.done(b.must("s"), Worked)
		b.done(b.must("s"), Neutral)
	}
	if b.plan.sites["s"].until != 0 {
		t.Error("paused")
	}
}

// TestPauseJitter: pauses keep within a tenth of what is configured and use the whole width.
func TestPauseJitter(t *testing.T) {
	for _, random := range []float64{0, 0.25, 0.999999} {
		b := newBench(t, 0, 1)
		b.plan.random = func() float64 { return random }
		b.add("s", "s", "s")
		b.done(b.must("s"), Failed)
		b.done(b.must("s"), Failed)
		at, _ := b.plan.Wake()
		if want := jitter(testPauses[0], random); at.Sub(b.now) != want {
			t.Errorf("with %v the pause is %v, want %v", random, at.Sub(b.now), want)
		}
	}
}

// TestWorkedLiftsPause: an attempt from before the pause that brings success shows that the site is back.
func TestWorkedLiftsPause(t *testing.T) {
	b := newBench(t, 0, 3)
	b.warm("s")
	b.add("s", "s", "s", "s", "s")
	works := b.all()
	b.done(works[0], Failed)
	b.done(works[1], Failed)
	b.none("paused")
	b.done(works[2], Worked)
	if n := len(b.all()); n != 2 {
		t.Errorf("%d attempts begin, want 2", n)
	}
}

// TestNoPauses: without a list of pauses a site is tried on, one at a time.
func TestNoPauses(t *testing.T) {
	p := NewPlan(0, half)
	for n := range 10 {
		p.Add(Job{ID: id(n), Lane: "s", Recipients: []int{0}}, epoch)
	}
	lane, _ := p.Unplaced()
	p.Place(lane, Placement{}, epoch)
	for range 10 {
		w, ok := p.Next(epoch)
		if !ok || w.Site != "s" {
			t.Fatalf("no attempt: %+v", w)
		}
		if _, ok := p.Next(epoch); ok {
			t.Fatal("two at once, the cap is 1")
		}
		p.Done(w, Result{Signal: Failed}, epoch)
	}
}

// TestWakeSites: only the sites that match, and one attempt each.
func TestWakeSites(t *testing.T) {
	b := newBench(t, 0, 20)
	for _, s := range []string{"a", "b"} {
		b.add(s, s, s, s, s)
		b.done(b.must(s), Failed)
		b.done(b.must(s), Failed)
	}
	b.none("both are paused")
	b.plan.WakeSites(func(s string) bool { return s == "b" })
	w := b.must("b")
	b.none("one only")
	b.done(w, Failed)
	if at, _ := b.plan.Wake(); !at.Equal(b.now.Add(testPauses[0])) { // of a; b's second pause is longer
		t.Errorf("the next pause ends at %v", at)
	}
	b.plan.Replace()
	if n := len(b.all()); n != 2 {
		t.Errorf("%d attempts after Replace, want one at each", n)
	}
}

// TestPausedSiteIsRemembered: between the retries of a single message the site keeps its failures.
func TestPausedSiteIsRemembered(t *testing.T) {
	b := newBench(t, 0, 20)
	b.valid = time.Minute
	b.add("s")
	for attempt := range 4 {
		w := b.must("s")
		b.done(w, Failed, Job{ID: w.ID, Lane: "s", Recipients: []int{0}, Due: b.now.Add(time.Hour)})
		if got := b.plan.sites["s"].failed; got != attempt+1 {
			t.Fatalf("after %d failures the site knows of %d", attempt+1, got)
		}
		b.now = b.now.Add(2 * time.Hour)
	}
}
