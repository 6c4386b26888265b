package history

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// delivered is an event of usual size.
func delivered(ids *spool.IDs, now time.Time, n int) Event {
	return Event{
		At: now, ID: ids.New(now), Kind: Delivered, From: fmt.Sprintf("sender%d@example.org", n%5000),
		To:        []string{fmt.Sprintf("recipient%d@site%d.example.net", n, n%1000)},
		MessageID: fmt.Sprintf("<%d.abcdef@example.org>", n), TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256, verified",
		Host:  "mx.example.net [192.0.2.1]:25",
		Reply: "250 2.0.0 Ok: queued as 4cXyz1234567", Attempt: 1, Site: "mx:example.net",
	}
}

func BenchmarkAppend(b *testing.B) {
	j := mustOpen(b, b.TempDir(), Options{MaxSize: 512 << 20})
	e := delivered(spool.NewIDs(1), time.Now(), 1)
	b.ReportAllocs()
	for b.Loop() {
		j.Append(&e)
	}
	b.ReportMetric(float64(j.Dropped())/float64(b.N), "dropped/op")
	mustClose(b, j)
}

// BenchmarkEncode is Append without the writer beside it.
func BenchmarkEncode(b *testing.B) {
	e := delivered(spool.NewIDs(1), time.Now(), 1)
	var c chunk
	b.ReportAllocs()
	for b.Loop() {
		if len(c.buf) > fullBuffer {
			c = chunk{buf: c.buf[:0], keys: c.keys[:0]}
		}
		c.add(&e, e.At)
	}
}

// TestAppendAllocates: nothing but the buffer.
func TestAppendAllocates(t *testing.T) {
	e := delivered(spool.NewIDs(1), time.Now(), 1)
	c := chunk{buf: make([]byte, 0, 1<<20), keys: make([]uint32, 0, 1<<16)}
	if n := testing.AllocsPerRun(1000, func() { c.add(&e, e.At) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

var megabytes = flag.Int("history.mb", 256, "size of the history that BenchmarkFind searches")

func BenchmarkFind(b *testing.B) {
	dir := b.TempDir()
	j := mustOpen(b, dir, Options{MaxAge: -1, MaxSize: -1})
	ids := spool.NewIDs(1)
	now := time.Now()
	var some Event
	started, size := time.Now(), 0
	events := 0
	for ; size < *megabytes<<20; events++ {
		now = now.Add(time.Microsecond)
		e := delivered(ids, now, events)
		size += len(appendLine(nil, &e, e.At, e.To, 0, 0))
		j.Append(&e)
		if events%1000 == 0 {
			j.Flush()
		}
		if size < *megabytes<<19 {
			some = e
		}
	}
	j.Flush() // not Close: the last segment is open, as it is while a server runs
	b.Logf("%d events, %d octets in %v", events, size, time.Since(started))
	ctx := context.Background()
	find := func(q Query, want int) func(b *testing.B) {
		return func(b *testing.B) {
			var stats Stats
			for b.Loop() {
				stats = Stats{}
				q.Stats = &stats
				n := 0
				for _, err := range Find(ctx, dir, q) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != want {
					b.Fatalf("%d events, want %d", n, want)
				}
			}
			b.ReportMetric(float64(stats.Read), "segments-read")
			b.ReportMetric(float64(stats.Segments), "segments")
		}
	}
	b.Run("absent address", find(Query{Address: "nobody@example.com"}, 0))
	b.Run("absent id", find(Query{ID: ids.New(now)}, 0))
	b.Run("id", find(Query{ID: some.ID}, 1))
	b.Run("recipient", find(Query{Address: some.To[0]}, 1))
	b.Run("one in 5000", func(b *testing.B) {
		for b.Loop() {
			lives, err := Lives(ctx, dir, "sender7@example.org", 20)
			if err != nil || len(lives) != 20 {
				b.Fatalf("%d lives, error %v", len(lives), err)
			}
		}
	})
	b.Run("keys made again", func(b *testing.B) {
		list, err := segments(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(list[0].size)
		for b.Loop() {
			if _, err := makeKeys(ctx, list[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, name := range names(b, dir, keysExt) {
		if err := os.Remove(name); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("absent address without keys", find(Query{Address: "nobody@example.com"}, 0))
	mustClose(b, j)
}
