package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/holub-mail/holub/internal/spool"
)

// bodyNames lists the files of content.
func bodyNames(t *testing.T, disk vfs.FS) []string {
	t.Helper()
	names, err := disk.List(path.Join(testFolder, bodiesFolder))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func bodyPath(id spool.ID) string { return path.Join(testFolder, bodiesFolder, id.String()) }

// Content of two chunks is in the store, and larger content is in a file that begins with it as it came.
func TestWhereContentIs(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	for i, size := range []int{0, 1, chunkSize, chunkSize + 1, inlineSize, inlineSize + 1, 1 << 20} {
		m := putTest(t, e, spool.ID{byte(i + 1)}, size)
		want := bytes.Repeat([]byte{m.ID[0]}, size)
		file, err := disk.Open(bodyPath(m.ID))
		if (err == nil) != (size > inlineSize) {
			t.Errorf("%d octets: file: %v", size, err)
		}
		if err == nil {
			if got, err := io.ReadAll(file); err != nil || !bytes.HasPrefix(got, want) || len(got) != size+4*((size+chunkSize-1)/chunkSize) {
				t.Errorf("%d octets: their file holds %d: %v", size, len(got), err)
			}
		}
		if got, err := readTest(t, e, m.ID); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets: read %d: %v", size, len(got), err)
		}
	}
}

func readTest(t *testing.T, e *Engine, id spool.ID) ([]byte, error) {
	t.Helper()
	r, err := e.Open(t.Context(), id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Damage to content is found before an octet of the damaged block is given, wherever the content is.
func TestDamagedContent(t *testing.T) {
	const size = 150_000 // of two whole blocks and a part
	file := func(f func([]byte) []byte) func(*Engine, spool.ID, *vfs.MemFS) error {
		return func(_ *Engine, id spool.ID, disk *vfs.MemFS) error {
			b, err := disk.UnsafeGetFileDataBuffer(bodyPath(id))
			if err != nil {
				return err
			}
			return writeFile(disk, bodyPath(id), f(bytes.Clone(b)))
		}
	}
	flip := func(at int) func(*Engine, spool.ID, *vfs.MemFS) error {
		return file(func(b []byte) []byte { b[(len(b)+at)%len(b)] ^= 1; return b })
	}
	spoil := map[string]struct {
		given int // octets that are given before the error; -1: Open fails
		f     func(*Engine, spool.ID, *vfs.MemFS) error
	}{
		"bit in the first block":  {0, flip(0)},
		"bit in the second block": {chunkSize, flip(2*chunkSize - 1)},
		"bit in the last block":   {2 * chunkSize, flip(size - 1)},
		"bit in a checksum":       {chunkSize, flip(-5)},
		"cut short":               {-1, file(func(b []byte) []byte { return b[:len(b)-1] })},
		"too long":                {-1, file(func(b []byte) []byte { return append(b, 0) })},
		"empty":                   {-1, file(func([]byte) []byte { return nil })},
		"blocks changed places": {0, file(func(b []byte) []byte {
			first := bytes.Clone(b[:chunkSize])
			copy(b, b[chunkSize:2*chunkSize])
			copy(b[chunkSize:], first)
			sum := bytes.Clone(b[size : size+4])
			copy(b[size:], b[size+4:size+8])
			copy(b[size+4:], sum)
			return b
		})},
		"file of another message": {0, func(e *Engine, id spool.ID, disk *vfs.MemFS) error {
			other := putTest(t, e, spool.ID{1, 1}, size) // the same octets
			return disk.Rename(bodyPath(other.ID), bodyPath(id))
		}},
		"file lost": {-1, func(_ *Engine, id spool.ID, disk *vfs.MemFS) error { return disk.Remove(bodyPath(id)) }},
	}
	for name, test := range spoil {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem()
			e := openTest(t, disk)
			m := putTest(t, e, spool.ID{1}, size)
			if err := test.f(e, m.ID, disk); err != nil {
				t.Fatal(err)
			}
			got, err := readTest(t, e, m.ID)
			if !errors.Is(err, spool.ErrDamaged) || !strings.Contains(err.Error(), m.ID.String()) {
				t.Errorf("read: %v", err)
			}
			if len(got) != max(test.given, 0) || (got == nil) != (test.given < 0) {
				t.Errorf("%d octets were given, want %d", len(got), test.given)
			}
			if _, err := e.Load(t.Context(), m.ID); err != nil {
				t.Errorf("the envelope of damaged content: %v", err)
			}
		})
	}
}

func writeFile(disk vfs.FS, name string, b []byte) error {
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// The same for chunks in the store, of which a message has one, and one of format 1 had many.
func TestDamagedChunks(t *testing.T) {
	const size = 150_000
	spoil := map[string]func(e *Engine, id spool.ID) error{
		"first chunk lost": func(e *Engine, id spool.ID) error {
			return e.db.Delete(numberedKey(prefixContent, id, 0), pebble.NoSync)
		},
		"last chunk lost": func(e *Engine, id spool.ID) error {
			return e.db.Delete(numberedKey(prefixContent, id, 2), pebble.NoSync)
		},
		"chunk cut short": func(e *Engine, id spool.ID) error {
			return e.db.Set(numberedKey(prefixContent, id, 1), []byte("short"), pebble.NoSync)
		},
		"chunk empty": func(e *Engine, id spool.ID) error {
			return e.db.Set(numberedKey(prefixContent, id, 1), nil, pebble.NoSync)
		},
		"last chunk too long": func(e *Engine, id spool.ID) error {
			return e.db.Set(numberedKey(prefixContent, id, 2), make([]byte, chunkSize+1), pebble.NoSync)
		},
	}
	for name, f := range spoil {
		t.Run(name, func(t *testing.T) {
			e := openTest(t, vfs.NewMem())
			m := putTest(t, e, spool.ID{1}, size)
			toFormat1(t, e, m)
			if got, err := readTest(t, e, m.ID); err != nil || len(got) != size {
				t.Fatalf("before the damage: %d octets, %v", len(got), err)
			}
			if err := f(e, m.ID); err != nil {
				t.Fatal(err)
			}
			if got, err := readTest(t, e, m.ID); !errors.Is(err, spool.ErrDamaged) {
				t.Errorf("%d octets, %v", len(got), err)
			}
		})
	}
}

// toFormat1 moves large content into the store, where format 1 has it.
func toFormat1(t *testing.T, e *Engine, m *spool.Message) {
	t.Helper()
	content, err := readTest(t, e, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint32(0); len(content) > 0; n++ {
		c := content[:min(chunkSize, len(content))]
		content = content[len(c):]
		if err := e.db.Set(numberedKey(prefixContent, m.ID, n), c, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	e.removeBody(m.ID)
	if err := e.db.Delete(idKey(prefixBody, m.ID), pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

// A start removes the files that no message has, and no other: not those of messages that were set aside, nor what is
// no content at all.
func TestSweepBodies(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	const size = 200_000
	kept, aside, unknowing := putTest(t, e, spool.ID{1}, size), putTest(t, e, spool.ID{2}, size), putTest(t, e, spool.ID{3}, size)
	err := errors.Join(
		e.db.Set(idKey(prefixEnvelope, aside.ID), []byte("garbage"), pebble.NoSync),
		e.db.Delete(idKey(prefixBody, unknowing.ID), pebble.NoSync), // as damage may
		writeFile(disk, bodyPath(spool.ID{4}), []byte("never put")),
		writeFile(disk, path.Join(testFolder, bodiesFolder, "note"), []byte("of an operator")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Load(t.Context(), aside.ID); !errors.Is(err, spool.ErrDamaged) {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = openTest(t, disk)
	}
	left := map[string]bool{}
	for _, name := range bodyNames(t, disk) {
		left[name] = true
	}
	for _, name := range []string{kept.ID.String(), aside.ID.String(), unknowing.ID.String(), "note"} {
		if !left[name] {
			t.Errorf("the file %s was removed", name)
		}
		delete(left, name)
	}
	if len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}

// The file of a message is removed only when the commit that ends the message is on disk: whenever the power is cut at
// a removal, what is left knows that nothing is owed.
func TestRemovedAfterCommit(t *testing.T) {
	disk := vfs.NewCrashableMem()
	removals := 0
	var mu sync.Mutex
	watched := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpRemove || path.Base(path.Dir(op.Path)) != bodiesFolder {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		removals++
		id, err := spool.ParseID(path.Base(op.Path))
		if err != nil {
			t.Error(err)
			return nil
		}
		e, err := Open(testFolder, Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
		if err != nil {
			t.Error(err)
			return nil
		}
		defer e.Close()
		if m, err := e.Load(context.Background(), id); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("the file of %s was removed while it was owed: %+v, %v", id, m, err)
		}
		return nil
	}))
	e := openTest(t, watched)
	const messages = 12
	for i := range messages {
		m := putTest(t, e, spool.ID{byte(i + 1)}, 200_000)
		done := func(n int) {
			r := m.Recipients[n]
			r.State = spool.Delivered
			if err := e.Apply(t.Context(), spool.Update{ID: m.ID, Recipients: map[int]spool.Recipient{n: r}}); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { done(0) })
		if i%2 == 0 {
			wg.Wait()
		}
		wg.Go(func() { done(1) })
		wg.Wait()
	}
	if removals != messages {
		t.Errorf("%d files were removed, want %d", removals, messages)
	}
	if names := bodyNames(t, disk); len(names) != 0 {
		t.Errorf("files are left: %q", names)
	}
}

// A disk that fails while large content comes costs that message alone, and leaves nothing behind.
func TestFailedBody(t *testing.T) {
	fails := map[string]func(errorfs.Op) bool{
		"create": func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate },
		"write":  func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite },
		"sync":   func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSyncData },
	}
	for name, is := range fails {
		t.Run(name, func(t *testing.T) {
			var failing atomic.Bool
			disk := vfs.NewMem()
			e := openTest(t, errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && strings.Contains(op.Path, bodiesFolder+"/") && is(op) {
					return errorfs.ErrInjected
				}
				return nil
			})))
			id := spool.ID{1}
			put := func() error { return putOrAbort(t.Context(), e, id, make([]byte, 200_000)) }
			failing.Store(true)
			if err := put(); !errors.Is(err, errorfs.ErrInjected) {
				t.Fatalf("put: %v", err)
			}
			if names := bodyNames(t, disk); len(names) != 0 {
				t.Errorf("files are left: %q", names)
			}
			failing.Store(false)
			if err := put(); err != nil {
				t.Fatalf("put once the disk works again: %v", err)
			}
			if got, err := readTest(t, e, id); err != nil || len(got) != 200_000 {
				t.Errorf("%d octets, %v", len(got), err)
			}
		})
	}
}

// putOrAbort puts as putOne does, and aborts the content where the commit fails, twice.
func putOrAbort(ctx context.Context, e *Engine, id spool.ID, body []byte) error {
	c, err := e.Create(ctx, id)
	if err != nil {
		return err
	}
	_, err = c.Write(body)
	for range 2 { // a file that could not be synced is not tried again
		if err2 := e.Apply(ctx, spool.Put{Message: oneRecipient(id, len(body)), Content: c}); err == nil {
			err = err2
		}
	}
	if err != nil {
		c.Abort()
		if _, err := e.Load(ctx, id); !errors.Is(err, spool.ErrNotFound) {
			return fmt.Errorf("a failed message is there: %w", err)
		}
	}
	return err
}

// Content whose file is complete takes no more, and can be put after a commit that failed, or aborted.
func TestStoredContent(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	for i, abort := range []bool{true, false} {
		id := spool.ID{byte(i + 1)}
		made, err := e.Create(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c := made.(*content)
		if _, err := c.Write(make([]byte, 200_000)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.store(), c.store()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("more")); err == nil {
			t.Error("content took more behind its checksums")
		}
		if abort {
			c.Abort()
			continue
		}
		if err := e.Apply(t.Context(), spool.Put{Message: oneRecipient(id, 200_000), Content: c}); err != nil {
			t.Fatal(err)
		}
		if got, err := readTest(t, e, id); err != nil || len(got) != 200_000 {
			t.Errorf("%d octets, %v", len(got), err)
		}
	}
	if names := bodyNames(t, disk); len(names) != 1 {
		t.Errorf("files of content: %q, want that of the message that was put", names)
	}
}

// A folder that can't be synced ends the process, as a log does: which files are on disk is unknown.
func TestFailedFolderSync(t *testing.T) {
	var failing atomic.Bool
	var fatal atomic.Int32
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && path.Base(op.Path) == bodiesFolder && op.Kind == errorfs.OpFileSyncData {
			return errorfs.ErrInjected
		}
		return nil
	}))
	e, err := Open(testFolder, Options{FS: disk, Fatal: func(error) { fatal.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	failing.Store(true)
	for i := range 2 {
		failing.Store(i == 0) // a sync that works after one that did not proves nothing
		if err := putOne(t.Context(), e, spool.ID{byte(i + 1)}, make([]byte, 200_000)); !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("put %d: %v", i, err)
		}
	}
	if fatal.Load() != 2 {
		t.Errorf("Fatal was called %d times", fatal.Load())
	}
}

// A message of format 1 whose content is many chunks is read and leaves with them.
func TestLargeOfFormat1(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	for i, size := range []int{200_000, 20 << 20} {
		m := putTest(t, e, spool.ID{byte(i + 1)}, size)
		toFormat1(t, e, m)
		if err := errors.Join(e.db.Set([]byte{prefixVersion}, []byte{1}, pebble.Sync), e.Close()); err != nil {
			t.Fatal(err)
		}
		e = openTest(t, disk)
		if got, err := readTest(t, e, m.ID); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{m.ID[0]}, size)) {
			t.Errorf("read %d of %d octets: %v", len(got), size, err)
		}
		for n, r := range m.Recipients {
			r.State = spool.Delivered
			if err := e.Apply(t.Context(), spool.Update{ID: m.ID, Recipients: map[int]spool.Recipient{n: r}}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(keys(t, e, prefixContent)); n != 0 {
			t.Errorf("%d chunks are left", n)
		}
	}
}

// Those who ask for a sync while one is under way get one more, which they share: the first began before they asked.
func TestFolderSync(t *testing.T) {
	const others = 10
	var syncs, asked atomic.Int32
	started := make(chan struct{})
	f := folder{file: &syncCall{f: func() {
		if syncs.Add(1) == 1 {
			close(started)
			for asked.Load() < others {
				runtime.Gosched()
			}
		}
	}}}
	var wg sync.WaitGroup
	wg.Go(func() { f.sync() })
	<-started
	for range others {
		wg.Go(func() {
			before := syncs.Load()
			asked.Add(1)
			if err := f.sync(); err != nil || syncs.Load() <= before {
				t.Errorf("no sync began after the call: %v", err)
			}
		})
	}
	wg.Wait()
	if n := syncs.Load(); n > others { // who asks late may need one more
		t.Errorf("%d syncs for %d who asked", n, others+1)
	}
}

type syncCall struct {
	vfs.File
	f func()
}

func (s *syncCall) SyncData() error { s.f(); return nil }
