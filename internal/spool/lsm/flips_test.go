package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// reports counts what is logged as an error.
type reports struct {
	mu   sync.Mutex
	said []string
}

func (r *reports) logger() *slog.Logger { return slog.New(r) }

func (r *reports) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (r *reports) WithAttrs([]slog.Attr) slog.Handler           { return r }
func (r *reports) WithGroup(string) slog.Handler                { return r }
func (r *reports) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := rec.Message
	rec.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	r.said = append(r.said, text)
	return nil
}

func (r *reports) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

// copyDisk copies a folder of one disk in memory to another, but for the lock.
func copyDisk(t *testing.T, from vfs.FS, dir string) *vfs.MemFS {
	t.Helper()
	to := vfs.NewMem()
	var walk func(dir string)
	walk = func(dir string) {
		if err := to.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		names, err := from.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path := from.PathJoin(dir, name)
			if info, err := from.Stat(path); err != nil {
				t.Fatal(err)
			} else if info.IsDir() {
				walk(path)
			} else if name != "LOCK" {
				write(t, to, path, read(t, from, path))
			}
		}
	}
	walk(dir)
	return to
}

func read(t *testing.T, disk vfs.FS, path string) []byte {
	t.Helper()
	f, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, disk vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := disk.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// sound is a store with some history, and the messages in it.
type sound struct {
	disk  *vfs.MemFS
	mail  map[spool.ID]*spool.Message
	gone  []spool.ID
	sizes map[spool.ID]int
}

// newSound makes a store of tables, logs and files of content: mail came, was tried, and some of it left. Where it crashed
// the log has no end.
func newSound(t *testing.T, crashed bool) *sound {
	t.Helper()
	s := &sound{disk: vfs.NewCrashableMem(), mail: map[spool.ID]*spool.Message{}, sizes: map[spool.ID]int{}}
	e, err := Open(testFolder, Options{FS: s.disk, MemTableSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 150 {
		id := spool.ID{byte(i % 7), byte(i), 1}
		size := []int{10, 900, 5000, 200_000}[i%4]
		if size > inlineSize && i%20 != 3 {
			size = 3000
		}
		m := putTest(t, e, id, size)
		for n := range m.Recipients {
			r := &m.Recipients[n]
			r.Next = time.UnixMilli(int64(i*1000 + n)).UTC()
			r.Attempts = 1
			if i%3 == 0 {
				r.State = spool.Delivered
			}
			if err := e.Apply(t.Context(), spool.Update{ID: id, Recipients: map[int]spool.Recipient{n: *r}}); err != nil {
				t.Fatal(err)
			}
		}
		if i%3 == 0 {
			s.gone = append(s.gone, id)
		} else {
			s.mail[id], s.sizes[id] = m, size
		}
		if i == 100 {
			if err := e.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if crashed {
		live := s.disk
		s.disk = live.CrashClone(vfs.CrashCloneCfg{})
		defer e.Close()
		return s
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// served is how a store was found.
type served struct {
	lost, damaged, back int // messages: not there at all; there and reported; there again though they had left
	pending             int // recipients that are not listed as they are, though their message can be loaded
	stale               int // messages whose last update is lost
}

// look reads everything of a store and holds it against what it should have.
func (s *sound) look(t *testing.T, e *Engine) (v served) {
	t.Helper()
	listed := map[string]spool.Pending{}
	for p, err := range e.Pending(t.Context()) {
		if err != nil {
			if !errors.Is(err, spool.ErrDamaged) {
				t.Errorf("Pending: %v", err)
			}
			continue
		}
		listed[fmt.Sprint(p.ID, p.N)] = p
	}
	for id, want := range s.mail {
		m, err := e.Load(t.Context(), id)
		switch {
		case errors.Is(err, spool.ErrNotFound):
			v.lost++
			continue
		case errors.Is(err, spool.ErrDamaged):
			v.damaged++
			continue
		case err != nil:
			t.Fatalf("Load: %v", err)
		case !reflect.DeepEqual(m, want):
			v.stale++
		}
		for n := range m.Recipients {
			if p, there := listed[fmt.Sprint(id, n)]; !there || p != spool.PendingOf(m, n, &m.Recipients[n]) {
				v.pending++
			}
		}
		r, err := e.Open(t.Context(), id)
		var content []byte
		if err == nil {
			content, err = io.ReadAll(r)
			r.Close()
		}
		if errors.Is(err, spool.ErrDamaged) {
			v.damaged++
		} else if err != nil || !bytes.Equal(content, bytes.Repeat([]byte{id[0]}, s.sizes[id])) {
			t.Errorf("content of %s: %d octets, %v", id, len(content), err)
		}
	}
	for _, id := range s.gone {
		if _, err := e.Load(t.Context(), id); err == nil {
			v.back++
		}
	}
	return v
}

// kindOf names the kind of a file of the spool; "" for one that holds nothing.
func kindOf(name string) string {
	switch {
	case strings.HasSuffix(name, ".sst"):
		return "table"
	case strings.HasSuffix(name, ".log"):
		return "log"
	case strings.HasPrefix(name, "MANIFEST-"):
		return "manifest"
	case strings.HasPrefix(name, "OPTIONS-"):
		return "options"
	}
	return ""
}

// places gives the offsets of a file that are spoilt: all of its last octets, where a table has what the rest hangs on, and
// some of the others.
func places(rng *rand.Rand, size, some int) (all []int) {
	step := 3
	if underRace {
		step = 30
	}
	for i := max(0, size-70); i < size; i += step {
		all = append(all, i)
	}
	for range some {
		all = append(all, rng.IntN(size))
	}
	return all
}

// TestFlippedBit turns one bit in every file of a store, at many places. The store opens, all mail is served, what was found
// is reported and the damaged file is kept; a second start finds nothing.
func TestFlippedBit(t *testing.T) {
	for _, crashed := range []bool{false, true} {
		if underRace && !crashed {
			continue
		}
		t.Run(fmt.Sprintf("crashed=%v", crashed), func(t *testing.T) {
			s := newSound(t, crashed)
			if v := s.look(t, reopened(t, copyDisk(t, s.disk, testFolder), &reports{})); v != (served{}) {
				t.Fatalf("without damage: %+v", v)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			names, err := s.disk.List(testFolder)
			if err != nil {
				t.Fatal(err)
			}
			some := 25
			if testing.Short() || underRace {
				some = 3
			}
			found, tried := map[string]int{}, map[string]int{}
			for _, name := range names {
				kind := kindOf(name)
				if kind == "" {
					continue
				}
				path := s.disk.PathJoin(testFolder, name)
				data := read(t, s.disk, path)
				if len(data) == 0 {
					continue
				}
				for _, at := range places(rng, len(data), some) {
					disk := copyDisk(t, s.disk, testFolder)
					bad := bytes.Clone(data)
					bit := rng.IntN(8)
					bad[at] ^= 1 << bit
					write(t, disk, path, bad)
					said := &reports{}
					e := reopened(t, disk, said)
					v := s.look(t, e)
					tried[kind]++
					if len(said.all()) > 0 {
						found[kind]++
					}
					if v != (served{}) {
						t.Errorf("%s (%d octets), bit %d of octet %d: %+v\n%s", name, len(data), bit, at, v, strings.Join(said.all(), "\n"))
					}
					if again := keptAfter(t, e); len(said.all()) > 0 && again == 0 {
						t.Errorf("%s, bit %d of octet %d: reported, and no copy is listed", name, bit, at)
					}
					if err := e.Close(); err != nil {
						t.Errorf("%s, bit %d of octet %d: close: %v", name, bit, at, err)
					}
				}
			}
			for kind, n := range tried {
				t.Logf("%s: %d bits turned, %d reported", kind, n, found[kind])
			}
		})
	}
}

// keptAfter counts what Damaged lists.
func keptAfter(t *testing.T, e *Engine) (n int) {
	t.Helper()
	for d, err := range e.Damaged(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		if d.Size > 0 || strings.HasPrefix(d.What, "store") {
			n++
		}
	}
	return n
}

// reopened opens a store and closes it with the test.
func reopened(t *testing.T, disk vfs.FS, said *reports) *Engine {
	t.Helper()
	e, err := Open(testFolder, Options{FS: disk, MemTableSize: 64 << 10, Logger: said.logger()})
	if err != nil {
		t.Fatalf("open: %v\n%s", err, strings.Join(said.all(), "\n"))
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}
