package lsm

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// putOne puts a message of one recipient.
func putOne(ctx context.Context, e *Engine, id spool.ID, body []byte) error {
	c, err := e.Create(ctx, id)
	if err != nil {
		return err
	}
	if _, err := c.Write(body); err != nil {
		c.Abort()
		return err
	}
	m := oneRecipient(id, len(body))
	return e.Apply(ctx, spool.Put{Message: m, Content: c})
}

// Commits that come together share their syncs, on a real disk.
func TestSyncsPerApply(t *testing.T) {
	var syncs, applies atomic.Int64
	counting := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			syncs.Add(1)
		}
		return nil
	}))
	e, err := Open(t.TempDir(), Options{FS: counting})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const writers, each = 16, 60
	ids := spool.NewIDs(1)
	body := make([]byte, 4096)
	syncs.Store(0)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				id := ids.New(time.UnixMilli(1))
				done := spool.Recipient{State: spool.Delivered}
				err := errors.Join(
					putOne(t.Context(), e, id, body),
					e.Apply(t.Context(), spool.Update{ID: id, Recipients: map[int]spool.Recipient{0: done}}))
				if err != nil {
					t.Error(err)
					return
				}
				applies.Add(2)
			}
		})
	}
	wg.Wait()
	per := float64(syncs.Load()) / float64(applies.Load())
	t.Logf("%d writers: %d syncs for %d commits, %.3f each", writers, syncs.Load(), applies.Load(), per)
	if syncs.Load() == 0 {
		t.Error("no sync was seen: nothing is durable, or the count is wrong")
	}
	if per >= 0.5 {
		t.Errorf("%.3f syncs a commit, want fewer than 0.5", per)
	}
}

// Memory for an arriving message is flat: a chunk more costs a few small allocations, whatever came before it.
func TestContentMemory(t *testing.T) {
	e, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.Create(t.Context(), spool.ID{1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	piece := make([]byte, 32<<10)
	perChunk := testing.AllocsPerRun(500, func() {
		for range chunkSize / len(piece) {
			if _, err := c.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("%.0f allocations a chunk of %d octets", perChunk, chunkSize)
	if perChunk > 40 {
		t.Errorf("%.0f allocations a chunk", perChunk)
	}
}

// A store that can't be synced must never let a commit return.
func TestFailedSync(t *testing.T) {
	var failing atomic.Bool
	broken := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return errorfs.ErrInjected
		}
		return nil
	}))
	fatal := make(chan error, 1)
	e, err := Open(testFolder, Options{FS: broken, Fatal: func(err error) {
		select {
		case fatal <- err:
		default:
		}
		select {} // as the end of the process would, keep the caller from going on
	}})
	if err != nil {
		t.Fatal(err)
	}
	failing.Store(true)
	returned := make(chan error, 1)
	go func() { returned <- putOne(context.Background(), e, spool.ID{1}, []byte("x")) }()
	select {
	case err := <-returned:
		t.Fatalf("Apply returned %v after a failed sync", err)
	case err := <-fatal:
		if !strings.Contains(err.Error(), "injected error") {
			t.Errorf("Fatal got %v", err)
		}
	}
	select {
	case err := <-returned:
		t.Fatalf("Apply returned %v after a failed sync", err)
	default:
	}
}

// BenchmarkPut puts messages of 4 KiB from 64 goroutines, each on disk when its Apply returns.
func BenchmarkPut(b *testing.B) {
	e, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	const writers = 64
	ids := spool.NewIDs(1)
	body := make([]byte, 4096)
	var next atomic.Int64
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := putOne(context.Background(), e, ids.New(time.Now()), body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func oneRecipient(id spool.ID, size int) *spool.Message {
	return &spool.Message{ID: id, Size: int64(size), Recipients: []spool.Recipient{{To: smtp.Postmaster}}}
}
