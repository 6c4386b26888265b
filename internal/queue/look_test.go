package queue

import (
	"testing"
	"time"
)

// looks runs the clock until there is a look or the time is over.
func (b *bench) looks(until time.Duration) (works []Work) {
	end := b.now.Add(until)
	for {
		for {
			w, ok := b.next()
			if !ok {
				break
			}
			works = append(works, w)
		}
		at, ok := b.plan.Wake()
		if !ok || at.After(end) {
			b.now = end
			return works
		}
		b.now = at
	}
}

// stuck makes a site of which one attempt hangs.
func stuck(t *testing.T) *bench {
	b := newBench(t, 0, 1)
	b.add("s")
	b.must("s")
	return b
}

// TestLookAtPausedSite: a job is handed out for a look in time, with the words of the site, and not for an attempt.
func TestLookAtPausedSite(t *testing.T) {
	b := newBench(t, 0, 20)
	b.add("s", "s")
	b.done(b.must("s"), Failed)
	b.plan.Done(b.must("s"), Result{Signal: Failed, Said: "421 go away"}, b.now)
	paused := b.now
	b.give(Job{Lane: "s", Notice: b.now.Add(2 * time.Minute)})
	b.give(Job{Lane: "s", Notice: b.now.Add(3 * time.Hour)})
	works := b.looks(4 * time.Minute)
	if len(works) != 1 {
		t.Fatalf("%d works, want 1", len(works))
	}
	w := works[0]
	if w.Site != "s" || w.Pause == nil || w.Pause.Said != "421 go away" || !w.Pause.Since.Equal(paused) ||
		!w.Pause.Until.Equal(paused.Add(testPauses[0])) {
		t.Errorf("the work is %+v, %+v", w, w.Pause)
	}
	if fly := b.plan.Flying(); len(fly) != 1 || fly[0].Pause == nil {
		t.Errorf("Flying gives %+v", fly)
	}
	b.done(w, Worked) // of a look nothing is learned
	b.none("still paused")
	verify(t, b.plan)
}

// TestLookInTime: whatever keeps a job from going, it is looked at within a minute of its notice.
func TestLookInTime(t *testing.T) {
	for name, set := range map[string]func(b *bench, j Job) Job{
		"long line":     func(_ *bench, j Job) Job { return j },
		"due later":     func(b *bench, j Job) Job { j.Due = b.now.Add(99 * time.Hour); return j },
		"unknown place": func(b *bench, j Job) Job { j.Lane = "unknown"; return j },
	} {
		b := stuck(t)
		b.plan.Add(set(b, Job{ID: id(9), Lane: "s", Recipients: []int{4, 5}, Notice: b.now.Add(time.Hour)}), b.now)
		start := b.now
		for b.now.Before(start.Add(2 * time.Hour)) {
			if w, ok := b.plan.Next(b.now); ok {
				if late := b.now.Sub(start) - time.Hour; late < 0 || late > time.Minute || w.Pause == nil || len(w.Recipients) != 2 {
					t.Errorf("%s: a look %v late: %+v", name, late, w)
				}
				start = time.Time{}
				break
			}
			at, ok := b.plan.Wake()
			if !ok {
				break
			}
			b.now = latest(at, b.now)
		}
		if !start.IsZero() {
			t.Errorf("%s: no look", name)
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TestLookBounded: at most 64 look at once, beside the attempts, and all get their turn.
func TestLookBounded(t *testing.T) {
	b := stuck(t)
	for range 1000 {
		b.give(Job{Lane: "s", Notice: b.now.Add(time.Hour)})
	}
	b.now = b.now.Add(2 * time.Hour)
	seen := 0
	for seen < 1000 {
		works := b.all()
		if len(works) == 0 || len(works) > maxLooking || b.plan.running != 1 {
			t.Fatalf("%d look at once, %d run", len(works), b.plan.running)
		}
		for _, w := range works {
			b.done(w, Neutral)
		}
		seen += len(works)
	}
	if w, _ := b.plan.Counts(); w != 0 {
		t.Errorf("%d still wait", w)
	}
}

// TestLookComesLate: a job whose notice has passed when it comes in is tried first where there is a place, and one that
// comes back as it was does not come back at once.
func TestLookComesLate(t *testing.T) {
	b := newBench(t, 0, 1)
	past := b.now.Add(-time.Hour)
	b.give(Job{Lane: "s", Notice: past})
	b.must("s")
	b.give(Job{Lane: "s", Notice: past})
	for range 20 {
		works := b.looks(lookDelay + lookEvery)
		if len(works) != 1 || works[0].Pause == nil {
			t.Fatalf("%d works in less than a minute, want one look", len(works))
		}
		j := works[0].Job
		j.Notice = past
		b.done(works[0], Neutral, j)
	}
}

// TestNoLookWithoutNeed: the records are not walked through when no notice can have passed.
func TestNoLookWithoutNeed(t *testing.T) {
	b := stuck(t)
	for range 100 {
		b.give(Job{Lane: "s", Notice: b.now.Add(5 * time.Hour)})
	}
	b.now = b.now.Add(4 * time.Hour)
	b.none("no notice has passed")
	if b.plan.look.begun != 0 {
		t.Error("the records were walked through")
	}
	if at, ok := b.plan.Wake(); !ok || !at.Equal(epoch.Add(5*time.Hour)) {
		t.Errorf("Wake gives %v, %t", at, ok)
	}
}

// TestLookAfterDue: a job whose notice passes while it falls due is tried first.
func TestLookAfterDue(t *testing.T) {
	b := newBench(t, 0, 1)
	b.add("s")
	w := b.must("s")
	b.give(Job{Lane: "s", Due: b.now.Add(time.Hour), Notice: b.now.Add(time.Hour)})
	b.now = b.now.Add(2 * time.Hour) // nobody called for long
	b.none("it stands in line first")
	b.done(w, Worked)
	b.must("s")
}
