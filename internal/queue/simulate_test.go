package queue

import (
	"fmt"
	"testing"
	"time"
)

// TestSimulate compares the rows with what Next plans with the middle and both ends of the jitter.
func TestSimulate(t *testing.T) {
	rows, more := fiveDays.Simulate(4*time.Hour, 1000)
	for name, tt := range map[string]struct {
		random float64
		age    func(Planned) time.Duration
	}{
		"at":  {0.5, func(r Planned) time.Duration { return r.At }},
		"min": {0, func(r Planned) time.Duration { return r.Min }},
		"max": {1, func(r Planned) time.Duration { return r.Max }},
	} {
		ages := trip(t, fiveDays, func() float64 { return tt.random })
		k := 0
		for _, r := range rows {
			if r.Attempt == 0 || r.Last {
				continue
			}
			if r.Attempt != k+1 || k >= len(ages) || tt.age(r) != ages[k] {
				if k < len(ages) { // with the longest pauses the end comes some attempts earlier
					t.Errorf("%s: row %+v, Next says attempt %d is at %v", name, r, k+1, ages[k])
				} else if tt.age(r) != fiveDays.GiveUp {
					t.Errorf("%s: row %+v is none of Next's %d attempts", name, r, len(ages))
				}
			}
			k++
		}
	}
	last := rows[len(rows)-1]
	if more != 0 || !last.Last || last.At != fiveDays.GiveUp || last.Attempt != len(rows)-1 {
		t.Errorf("%d more; the last row is %+v of %d", more, last, len(rows))
	}
	if w := rows[5]; w.Attempt != 0 || w.At != 4*time.Hour { // after 0, 1m, 6m, 21m, 1h21m
		t.Errorf("the warning is not where it belongs: %+v", rows[:8])
	}
}

// TestSimulateBounded: a long plan is cut before its end, whose number is still right.
func TestSimulateBounded(t *testing.T) {
	for _, tt := range []struct {
		s        Schedule
		warn     time.Duration
		attempts int
		want     string
	}{
		{Schedule{[]time.Duration{time.Minute}, time.Hour}, 30 * time.Minute, 2, "1@0s 2@1m0s 0@30m0s 61@1h0m0s! +58"},
		{Schedule{[]time.Duration{time.Minute}, time.Hour}, 30 * time.Second, 2, "1@0s 0@30s 2@1m0s 61@1h0m0s! +58"},
		{Schedule{[]time.Duration{time.Minute, 7 * time.Minute}, 10 * time.Minute}, 0, 1, "1@0s 4@10m0s! +2"},
		{Schedule{[]time.Duration{time.Minute, 7 * time.Minute}, 10 * time.Minute}, 10 * time.Minute, 9,
			"1@0s 2@1m0s 3@8m0s 4@10m0s! +0"},
		{Schedule{GiveUp: 2 * time.Minute}, 0, 5, "1@0s 2@1m0s 3@2m0s! +0"},
		{Schedule{}, 0, 5, "1@0s! +0"},
		{Schedule{[]time.Duration{0}, time.Second}, 0, 1, "1@0s 1000000002@1s! +1000000000"},
	} {
		rows, more := tt.s.Simulate(tt.warn, tt.attempts)
		got := ""
		for _, r := range rows {
			got += fmt.Sprintf("%d@%v", r.Attempt, r.At)
			if r.Last {
				got += "!"
			}
			got += " "
		}
		if got += fmt.Sprintf("+%d", more); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.s, got, tt.want)
		}
	}
}
