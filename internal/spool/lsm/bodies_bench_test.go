package lsm

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/holub-mail/holub/internal/spool"
)

// BenchmarkBodies compares places for the content of messages: written in pieces of 32 KiB as it arrives, committed,
// and then read once and removed ("passing") or left ("waiting"). docs/durability.md has its numbers and what was
// chosen by them.
//
// Each candidate commits an envelope of 300 octets in the store, synced, and deletes it in another synced commit.
func BenchmarkBodies(b *testing.B) {
	candidates := []struct {
		name string
		open func(*pebble.DB, vfs.FS, string) (place, error)
	}{
		{"store", func(db *pebble.DB, _ vfs.FS, _ string) (place, error) { return inStore{db}, nil }},
		{"files", newInFiles},
		{"segments", newInSegments},
	}
	sizes := []struct {
		name          string
		size, writers int
	}{
		{"4KiB", 4 << 10, 64}, {"16KiB", 16 << 10, 64}, {"64KiB", 64 << 10, 64},
		{"256KiB", 256 << 10, 64}, {"1MiB", 1 << 20, 64}, {"20MiB", 20 << 20, 8},
	}
	for _, s := range sizes {
		for _, waits := range []bool{false, true} {
			name := s.name + "/passing/"
			if waits {
				name = s.name + "/waiting/"
			}
			for _, c := range candidates {
				b.Run(name+c.name, func(b *testing.B) {
					disk, syncs := countSyncs()
					dir := b.TempDir()
					db, err := pebble.Open(dir, Options{FS: disk}.withDefaults().pebbleOptions(nil))
					if err != nil {
						b.Fatal(err)
					}
					defer db.Close()
					p, err := c.open(db, disk, dir)
					if err != nil {
						b.Fatal(err)
					}
					benchLives(b, s.size, s.writers, syncs, func(id spool.ID, piece []byte) (time.Duration, error) {
						return liveIn(p, id, piece, s.size, waits)
					})
				})
			}
			b.Run(name+"engine", func(b *testing.B) {
				disk, syncs := countSyncs()
				e, err := Open(b.TempDir(), Options{FS: disk})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				benchLives(b, s.size, s.writers, syncs, func(id spool.ID, piece []byte) (time.Duration, error) {
					return liveInEngine(e, id, piece, s.size, waits)
				})
			})
		}
	}
}

// countSyncs gives the machine's disk and the count of its syncs.
func countSyncs() (vfs.FS, *atomic.Int64) {
	syncs := new(atomic.Int64)
	return errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			syncs.Add(1)
		}
		return nil
	})), syncs
}

// benchLives runs b.N lives of messages and reports their rate and how long their commits took.
func benchLives(b *testing.B, size, writers int, syncs *atomic.Int64,
	live func(spool.ID, []byte) (time.Duration, error)) {
	ids := spool.NewIDs(1)
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	syncs.Store(0)
	b.SetBytes(int64(size))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			piece := make([]byte, min(size, 32<<10))
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				id := ids.New(time.Now())
				for i := range len(piece) / 8 { // nothing may gain from compression
					binary.LittleEndian.PutUint64(piece[i*8:], uint64(n)*0x9e3779b97f4a7c15+uint64(i)*0xbf58476d1ce4e5b9)
				}
				var err error
				if took[n-1], err = live(id, piece); err != nil {
					b.Errorf("message %s: %v", id, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(ms(took[b.N/2]), "p50-ms")
	b.ReportMetric(ms(took[b.N*99/100]), "p99-ms")
	b.ReportMetric(float64(syncs.Load())/float64(b.N), "syncs/msg")
}

// liveInEngine is one life in the engine as it is.
func liveInEngine(e *Engine, id spool.ID, piece []byte, size int, waits bool) (time.Duration, error) {
	ctx := context.Background()
	c, err := e.Create(ctx, id)
	if err != nil {
		return 0, err
	}
	for range size / len(piece) {
		if _, err := c.Write(piece); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	if err := e.Apply(ctx, spool.Put{Message: oneRecipient(id, size), Content: c}); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if waits {
		return took, nil
	}
	r, err := e.Open(ctx, id)
	if err != nil {
		return 0, err
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != int64(size) {
		return 0, fmt.Errorf("read %d of %d octets: %w", n, size, err)
	}
	r.Close()
	done := spool.Recipient{State: spool.Delivered}
	return took, e.Apply(ctx, spool.Update{ID: id, Recipients: map[int]spool.Recipient{0: done}})
}

// place is where a candidate keeps content.
type place interface {
	create(id spool.ID) (body, error)
	read(id spool.ID, buf []byte) (int, error)
	remove(id spool.ID, size int) error
}

type body interface {
	io.Writer
	commit(envelope []byte) error
}

func liveIn(p place, id spool.ID, piece []byte, size int, waits bool) (time.Duration, error) {
	c, err := p.create(id)
	if err != nil {
		return 0, err
	}
	for range size / len(piece) {
		if _, err := c.Write(piece); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	if err := c.commit(make([]byte, 300)); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if waits {
		return took, nil
	}
	buf := chunks.Get().(*chunk)
	defer chunks.Put(buf)
	if n, err := p.read(id, buf[:]); err != nil || n != size {
		return 0, fmt.Errorf("read %d of %d octets: %w", n, size, err)
	}
	return took, p.remove(id, size)
}

// inStore cuts content into chunks of 64 KiB under keys of the store, each written as soon as it is full.
type inStore struct{ db *pebble.DB }

type storeBody struct {
	db   *pebble.DB
	id   spool.ID
	buf  *chunk
	fill int
	full uint32
}

func (s inStore) create(id spool.ID) (body, error) {
	return &storeBody{db: s.db, id: id, buf: chunks.Get().(*chunk)}, nil
}

func (c *storeBody) Write(p []byte) (int, error) {
	if c.fill == len(c.buf) {
		if err := c.db.Set(numberedKey(prefixContent, c.id, c.full), c.buf[:], pebble.NoSync); err != nil {
			return 0, err
		}
		c.full++
		c.fill = 0
	}
	c.fill += copy(c.buf[c.fill:], p) // pieces divide a chunk
	return len(p), nil
}

func (c *storeBody) commit(envelope []byte) error {
	defer chunks.Put(c.buf)
	b := c.db.NewBatchWithSize(c.fill + 1024)
	defer b.Close()
	b.Set(numberedKey(prefixContent, c.id, c.full), c.buf[:c.fill], nil)
	b.Set(idKey(prefixEnvelope, c.id), envelope, nil)
	return b.Commit(pebble.Sync)
}

func (s inStore) read(id spool.ID, buf []byte) (n int, err error) {
	for i := uint32(0); ; i++ {
		v, closer, err := s.db.Get(numberedKey(prefixContent, id, i))
		if err == pebble.ErrNotFound {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += copy(buf, v)
		closer.Close()
	}
}

func (s inStore) remove(id spool.ID, size int) error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := deleteChunks(b, id, int64(size)); err != nil {
		return err
	}
	b.Delete(idKey(prefixEnvelope, id), nil)
	return b.Commit(pebble.Sync)
}

// inFiles keeps each content in a file of its own, all in one folder, whose syncs are shared.
type inFiles struct {
	db     *pebble.DB
	disk   vfs.FS
	dir    string
	folder *folder
}

func newInFiles(db *pebble.DB, disk vfs.FS, dir string) (place, error) {
	dir = disk.PathJoin(dir, "bodies")
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := disk.OpenDir(dir)
	return &inFiles{db: db, disk: disk, dir: dir, folder: &folder{name: dir, file: f}}, err
}

type fileBody struct {
	in *inFiles
	id spool.ID
	vfs.File
}

func (s *inFiles) create(id spool.ID) (body, error) {
	f, err := s.disk.Create(s.disk.PathJoin(s.dir, id.String()), vfs.WriteCategoryUnspecified)
	return &fileBody{in: s, id: id, File: f}, err
}

func (c *fileBody) commit(envelope []byte) error {
	if err := c.SyncData(); err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	if err := c.in.folder.sync(); err != nil {
		return err
	}
	return c.in.db.Set(idKey(prefixEnvelope, c.id), envelope, pebble.Sync)
}

func (s *inFiles) read(id spool.ID, buf []byte) (int, error) {
	f, err := s.disk.Open(s.disk.PathJoin(s.dir, id.String()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
	return int(n), err
}

func (s *inFiles) remove(id spool.ID, _ int) error {
	if err := s.db.Delete(idKey(prefixEnvelope, id), pebble.Sync); err != nil {
		return err
	}
	return s.disk.Remove(s.disk.PathJoin(s.dir, id.String()))
}

// inSegments appends all content to one file, whose syncs are shared; a file of 256 MiB is followed by a new one and
// unlinked when nothing in it waits. It is what the idea can give at most: it neither marks what a crash left nor moves
// the messages that keep an old segment alive.
type inSegments struct {
	db     *pebble.DB
	disk   vfs.FS
	dir    string
	folder *folder

	mu    sync.Mutex
	now   *segment
	count int
	where map[spool.ID][]extent
}

type segment struct {
	vfs.File
	name  string
	syncs folder
	end   int64
	alive int // extents in use, and one while it is written
}

type extent struct {
	in     *segment
	at     int64
	length int
}

const segmentSize = 256 << 20

func newInSegments(db *pebble.DB, disk vfs.FS, dir string) (place, error) {
	f, err := newInFiles(db, disk, dir)
	if err != nil {
		return nil, err
	}
	files := f.(*inFiles)
	return &inSegments{db: db, disk: disk, dir: files.dir, folder: files.folder, where: map[spool.ID][]extent{}}, nil
}

type segmentBody struct {
	s       *inSegments
	id      spool.ID
	extents []extent
}

func (s *inSegments) create(id spool.ID) (body, error) { return &segmentBody{s: s, id: id}, nil }

func (c *segmentBody) Write(p []byte) (int, error) {
	x, err := c.s.room(len(p))
	if err != nil {
		return 0, err
	}
	c.extents = append(c.extents, x)
	return x.in.WriteAt(p, x.at)
}

// room takes the next octets of the segment that is written.
func (s *inSegments) room(n int) (extent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || s.now.end+int64(n) > segmentSize {
		if s.now != nil {
			s.leave(s.now)
		}
		s.count++
		name := s.disk.PathJoin(s.dir, fmt.Sprint(s.count))
		f, err := s.disk.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return extent{}, err
		}
		s.now = &segment{File: f, name: name, syncs: folder{file: f}, alive: 1}
		if err := s.folder.sync(); err != nil {
			return extent{}, err
		}
	}
	x := extent{s.now, s.now.end, n}
	s.now.end += int64(n)
	s.now.alive++
	return x, nil
}

func (s *inSegments) leave(g *segment) {
	if g.alive--; g.alive == 0 {
		g.Close()
		s.disk.Remove(g.name)
	}
}

func (c *segmentBody) commit(envelope []byte) error {
	var synced *segment
	for _, x := range c.extents {
		if x.in != synced {
			if err := x.in.syncs.sync(); err != nil {
				return err
			}
			synced = x.in
		}
	}
	c.s.mu.Lock()
	c.s.where[c.id] = c.extents
	c.s.mu.Unlock()
	return c.s.db.Set(idKey(prefixEnvelope, c.id), envelope, pebble.Sync)
}

func (s *inSegments) read(id spool.ID, buf []byte) (n int, err error) {
	s.mu.Lock()
	extents := s.where[id]
	s.mu.Unlock()
	for _, x := range extents {
		got, err := x.in.ReadAt(buf[:x.length], x.at)
		if err != nil {
			return n, err
		}
		n += got
	}
	return n, nil
}

func (s *inSegments) remove(id spool.ID, _ int) error {
	if err := s.db.Delete(idKey(prefixEnvelope, id), pebble.Sync); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.where[id] {
		s.leave(x.in)
	}
	delete(s.where, id)
	return nil
}
