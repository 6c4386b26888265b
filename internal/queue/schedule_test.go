package queue

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files of this package anew")

const day = 24 * time.Hour

// fiveDays is the default of the configuration.
var fiveDays = Schedule{
	Retry:  []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour},
	GiveUp: 5 * day,
}

// trip makes every attempt of a message whose attempts all fail at once, and gives their ages; the last one is final.
func trip(t *testing.T, s Schedule, random func() float64) []time.Duration {
	t.Helper()
	arrived := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	now := arrived
	ages := []time.Duration{0}
	for attempts := 1; ; attempts++ {
		next, giveUp := s.Next(attempts, arrived, now, random())
		if giveUp {
			return ages
		}
		if !next.After(now) {
			t.Fatalf("attempt %d at %v is followed by one at %v", attempts, now, next)
		}
		now = next
		if ages = append(ages, now.Sub(arrived)); len(ages) > 100_000 {
			t.Fatal("the message is never given up")
		}
	}
}

// TestScheduleGolden shows five days of attempts as a table, one line an attempt, for random numbers from a fixed seed.
func TestScheduleGolden(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	var before time.Duration
	ages := trip(t, fiveDays, rng.Float64)
	for i, age := range ages {
		end := ""
		if i == len(ages)-1 {
			end = "  given up when it fails"
		}
		fmt.Fprintf(&b, "attempt %2d  at %17v  pause %15v%s\n", i+1,
			age.Round(time.Millisecond), (age - before).Round(time.Millisecond), end)
		before = age
	}
	golden := filepath.Join("testdata", "schedule.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the schedule differs from %s (go test -update writes it anew):\n%s", golden, b.String())
	}
}

// TestScheduleWithoutJitter has the middle of the jitter: the pauses are those of the configuration.
func TestScheduleWithoutJitter(t *testing.T) {
	ages := trip(t, fiveDays, func() float64 { return 0.5 })
	want := []time.Duration{0, time.Minute, 6 * time.Minute, 21 * time.Minute, 81 * time.Minute}
	for age := 81*time.Minute + 4*time.Hour; age < 5*day; age += 4 * time.Hour {
		want = append(want, age)
	}
	want = append(want, 5*day)
	if fmt.Sprint(ages) != fmt.Sprint(want) {
		t.Errorf("attempts at\n%v, want\n%v", ages, want)
	}
}

// TestJitter tries many schedules: a pause keeps within a tenth of what is configured, never passes the age of give-up,
// and the last attempt is made exactly then.
func TestJitter(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		s := Schedule{GiveUp: time.Hour + time.Duration(rng.Int64N(int64(10*day)))}
		for range 1 + rng.IntN(6) {
			s.Retry = append(s.Retry, time.Minute+time.Duration(rng.Int64N(int64(6*time.Hour))))
		}
		ages := trip(t, s, rng.Float64)
		for i := 1; i < len(ages); i++ {
			pause := ages[i] - ages[i-1]
			base := float64(s.Retry[min(i, len(s.Retry))-1])
			last := i == len(ages)-1
			if float64(pause) > 1.1*base || float64(pause) < 0.9*base && !last {
				t.Fatalf("%+v: pause %d is %v", s, i, pause)
			}
		}
		if last := ages[len(ages)-1]; last != s.GiveUp {
			t.Fatalf("%+v: the last attempt is at %v", s, last)
		}
	}
}

// TestJitterSpreads wants the whole width to be used: what failed together comes back spread out.
func TestJitterSpreads(t *testing.T) {
	now := time.Unix(1e9, 0)
	for random, want := range map[float64]time.Duration{0: 54 * time.Minute, 0.25: 57 * time.Minute, 0.75: 63 * time.Minute} {
		next, giveUp := fiveDays.Next(4, now, now, random)
		if giveUp || next.Sub(now).Round(time.Second) != want {
			t.Errorf("with %v the pause is %v, %v, want %v", random, next.Sub(now), giveUp, want)
		}
	}
}

func TestGiveUp(t *testing.T) {
	arrived := time.Unix(1e9, 0)
	hour := Schedule{Retry: []time.Duration{10 * time.Minute}, GiveUp: time.Hour}
	for _, test := range []struct {
		name     string
		s        Schedule
		attempts int
		age      time.Duration
		next     time.Duration // age of the next attempt; -1: given up
	}{
		{"first attempt", hour, 1, 0, 10 * time.Minute},
		{"no attempts counted", hour, 0, 0, 10 * time.Minute},
		{"a full pause fits", hour, 5, 50 * time.Minute, time.Hour},
		{"a pause that passes the end is cut", hour, 6, 55 * time.Minute, time.Hour},
		{"just before the end", hour, 7, time.Hour - 1, time.Hour},
		{"at the end", hour, 8, time.Hour, -1},
		{"after the end, as after a long stop", hour, 1, 9 * time.Hour, -1},
		{"the clock was set back", hour, 3, -time.Minute, 9 * time.Minute},
		{"no schedule", Schedule{GiveUp: time.Hour}, 3, 0, time.Minute},
		{"no age at all", Schedule{}, 1, 0, -1},
	} {
		next, giveUp := test.s.Next(test.attempts, arrived, arrived.Add(test.age), 0.5)
		switch {
		case giveUp != (test.next < 0):
			t.Errorf("%s: giveUp is %v", test.name, giveUp)
		case giveUp && !next.IsZero():
			t.Errorf("%s: given up and tried at %v", test.name, next)
		case !giveUp && next.Sub(arrived) != test.next:
			t.Errorf("%s: next at %v, want %v", test.name, next.Sub(arrived), test.next)
		}
	}
}
