package queue

import (
	"math"
	"testing"
	"time"
)

// TestPlanClasses: urgent jobs of a site go first, and the others still get their share.
func TestPlanClasses(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := NewPlan(1000, math.MaxInt)
	for n := range 300 {
		p.Add(Job{ID: id(n), Site: "s", Priority: []int{4, 0, -4}[n%3]}, now)
	}
	count := map[int]int{}
	for range 100 {
		j, ok := p.Next(now)
		if !ok {
			t.Fatal("no job")
		}
		count[j.Priority]++
	}
	if count[4] != 60 || count[0] != 30 || count[-4] != 10 {
		t.Errorf("of the first 100 jobs %v were of each priority, want 60 urgent, 30 ordinary, 10 others", count)
	}
	rest := 0
	for {
		if _, ok := p.Next(now); !ok {
			break
		}
		rest++
	}
	if rest != 200 {
		t.Errorf("%d jobs were left, want 200", rest)
	}
}

// TestPlanClassAlone: a class that has nothing costs the others nothing.
func TestPlanClassAlone(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, priority := range []int{9, 0, -9} {
		p := NewPlan(1000, math.MaxInt)
		for n := range 50 {
			p.Add(Job{ID: id(n), Site: "s", Priority: priority}, now)
		}
		for n := range 50 {
			if j, ok := p.Next(now); !ok || j.ID != id(n) {
				t.Fatalf("priority %d: job %d is %v, %t", priority, n, j.ID, ok)
			}
		}
	}
}

// TestPlanTotal: all sites together have a cap, and slow sites can't take its last quarter from sites of which nothing runs.
func TestPlanTotal(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := NewPlan(50, 40)
	for n := range 200 {
		p.Add(Job{ID: id(n), Site: "slow"}, now)
	}
	running := 0
	for {
		if _, ok := p.Next(now); !ok {
			break
		}
		running++
	}
	if running != 30 {
		t.Errorf("%d jobs of the slow site run, want 30 of 40", running)
	}
	for n := range 12 {
		p.Add(Job{ID: id(1000 + n), Site: string(rune('a' + n))}, now)
	}
	others := 0
	var last Job
	for {
		j, ok := p.Next(now)
		if !ok {
			break
		}
		if j.Site == "slow" {
			t.Fatal("the slow site takes a place of the others")
		}
		others, last = others+1, j
	}
	if others != 10 {
		t.Errorf("%d other sites found a place, want 10", others)
	}
	p.Done(last)
	if _, ok := p.Next(now); !ok {
		t.Error("a place that was given back is not used")
	}
}
