package queue

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// fill adds messages of one recipient each over a number of lanes, each lane a site of its own.
func fill(q *Queue, messages, lanes int, due func(n int) time.Time) {
	p, now := q.plan, time.Now()
	for n := range messages {
		p.Add(Job{ID: id(n), Lane: fmt.Sprintf("mx:domain-%d.example tls=opportunistic", n%lanes), Recipients: []int{0},
			Due: due(n), Notice: now.Add(4 * time.Hour), Sender: uint32(n / lanes), Fresh: n%2 == 0}, now)
		for lane, ok := p.Unplaced(); ok; lane, ok = p.Unplaced() {
			p.Place(lane, Placement{Site: "site of " + lane, Cap: 20, Pauses: testPauses}, now)
		}
	}
}

// dues are the kinds of queue: all at once, none, and a mix.
var dues = map[string]func(n int) time.Time{
	"ready": func(int) time.Time { return time.Time{} },
	"later": func(n int) time.Time { return time.Now().Add(time.Hour + time.Duration(n*7919%3600)*time.Second) },
	"mixed": func(n int) time.Time {
		if n/7%2 == 0 {
			return time.Time{}
		}
		return time.Now().Add(time.Hour)
	},
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// perRecipient is the memory of a queue of so many messages, all included, for each.
func perRecipient(messages, lanes int, due func(n int) time.Time) float64 {
	before := heapInUse()
	q := New(Options{})
	fill(q, messages, lanes, due)
	used := heapInUse() - before
	runtime.KeepAlive(q)
	return float64(used) / float64(messages)
}

// TestMemory: a waiting recipient, of its own message, costs less than 100 bytes.
func TestMemory(t *testing.T) {
	for name, due := range dues {
		if b := perRecipient(300_000, 3_000, due); b > 100 {
			t.Errorf("%s: %.1f bytes for a recipient", name, b)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	for name, due := range dues {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(perRecipient(1_000_000, 10_000, due), "B/recipient")
			}
		})
	}
}

// BenchmarkPlan is the way of one job through Add, Next and Done while others wait, on 10,000 lanes.
func BenchmarkPlan(b *testing.B) {
	for _, waiting := range []int{1, 1_000, 1_000_000} {
		for name, due := range dues {
			b.Run(fmt.Sprintf("waiting=%d/%s", waiting, name), func(b *testing.B) {
				q := New(Options{})
				fill(q, waiting, 10_000, due)
				now, recipients := time.Now(), []int{0}
				lanes := make([]string, 10_000)
				for n := range lanes {
					lanes[n] = fmt.Sprintf("mx:domain-%d.example tls=opportunistic", n)
				}
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					j := Job{ID: id(n), Lane: lanes[n%len(lanes)], Recipients: recipients, Sender: uint32(n), Fresh: true}
					q.plan.Add(j, now)
					if l, ok := q.plan.Unplaced(); ok {
						q.plan.Place(l, Placement{Cap: 20}, now)
					}
					w, _ := q.plan.Next(now)
					q.plan.Done(w, Result{Signal: Worked}, now)
				}
			})
		}
	}
}

// BenchmarkLater sends each job through the heap: it falls due a moment after it was added.
func BenchmarkLater(b *testing.B) {
	q := New(Options{})
	fill(q, 1_000_000, 10_000, dues["later"])
	now, recipients := time.Now(), []int{0}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		q.plan.Add(Job{ID: id(n), Lane: "mx:domain-1.example tls=opportunistic", Recipients: recipients, Due: now.Add(1)}, now)
		now = now.Add(1)
		w, ok := q.plan.Next(now)
		for l, asks := q.plan.Unplaced(); asks; l, asks = q.plan.Unplaced() {
			q.plan.Place(l, Placement{Cap: 20}, now)
			w, ok = q.plan.Next(now)
		}
		if !ok {
			b.Fatal("no job")
		}
		q.plan.Done(w, Result{Signal: Worked}, now)
	}
}

// BenchmarkQueue runs attempts that do nothing, beside a million that wait.
func BenchmarkQueue(b *testing.B) {
	var left sync.WaitGroup
	q := New(Options{Resolve: wide(20), Attempt: func(context.Context, Work) Result {
		left.Done()
		return Result{Signal: Worked}
	}})
	fill(q, 1_000_000, 10_000, dues["later"])
	stop, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Run(stop, b.Context())
	}()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		left.Add(1)
		q.Add(Job{ID: id(n), Lane: fmt.Sprint(n % 100), Recipients: []int{0}, Fresh: true})
		if n%1000 == 999 {
			left.Wait()
		}
	}
	left.Wait()
	cancel()
	<-ended
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "attempts/s")
}

// BenchmarkSites makes a snapshot of a million jobs on 10,000 sites, and tells the longest time under the lock.
func BenchmarkSites(b *testing.B) {
	q := New(Options{})
	fill(q, 1_000_000, 10_000, dues["mixed"])
	var longest time.Duration
	for b.Loop() {
		begun := time.Now()
		n := len(q.plan.snapshot(func() {
			longest = max(longest, time.Since(begun))
			begun = time.Now()
		}))
		if n != 10_000 {
			b.Fatalf("%d sites", n)
		}
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-locked")
}

// BenchmarkTake walks through a million jobs and takes none, then all.
func BenchmarkTake(b *testing.B) {
	for name, all := range map[string]bool{"none": false, "all": true} {
		b.Run(name, func(b *testing.B) {
			q := New(Options{})
			fill(q, 1_000_000, 10_000, dues["mixed"])
			for b.Loop() {
				q.Add(q.Take(func(spool.ID, int) bool { return all })...)
			}
		})
	}
}
