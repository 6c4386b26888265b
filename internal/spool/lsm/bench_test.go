package lsm

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// BenchmarkCommit is the two commits of a message of 4 KiB, each synced when Apply returns: "accept" creates and puts it,
// "end" takes it out with the state of its last recipient.
func BenchmarkCommit(b *testing.B) {
	body := make([]byte, 4096)
	for _, writers := range []int{1, 20} {
		b.Run(fmt.Sprintf("accept/writers=%d", writers), func(b *testing.B) {
			e, ids := benchEngine(b)
			b.SetBytes(int64(len(body)))
			commits(b, writers, func(int) error { return putOne(b.Context(), e, ids.New(time.Now()), body) })
		})
		b.Run(fmt.Sprintf("end/writers=%d", writers), func(b *testing.B) {
			e, ids := benchEngine(b)
			waiting := make([]spool.ID, b.N)
			for i := range waiting {
				waiting[i] = ids.New(time.Now())
			}
			var filling sync.WaitGroup
			for w := range 64 {
				filling.Go(func() {
					for i := w; i < len(waiting); i += 64 {
						if err := putOne(b.Context(), e, waiting[i], body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			filling.Wait()
			done := map[int]spool.Recipient{0: {State: spool.Delivered}}
			commits(b, writers, func(n int) error {
				return e.Apply(b.Context(), spool.Update{ID: waiting[n], Recipients: done})
			})
		})
	}
}

func benchEngine(b *testing.B) (*Engine, *spool.IDs) {
	b.Helper()
	e, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	return e, spool.NewIDs(1)
}

// commits makes b.N commits, numbered from 0, from a number of goroutines.
func commits(b *testing.B, writers int, commit func(n int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := commit(int(n - 1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}
