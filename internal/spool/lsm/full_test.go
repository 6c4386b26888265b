package lsm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// smallDisk is a disk of a size. What does not fit any more fails as a full disk does.
type smallDisk struct {
	vfs.FS
	mu    sync.Mutex
	size  int64
	files map[string]*smallFile  // by path
	only  func(path string) bool // if not nil: only these files meet the end of the disk
	met   chan struct{}          // closed by the first write that fails
}

func newSmallDisk(fs vfs.FS, size int64) *smallDisk {
	return &smallDisk{FS: fs, size: size, files: map[string]*smallFile{}, met: make(chan struct{})}
}

func (d *smallDisk) Unwrap() vfs.FS { return d.FS }

// used is the size of all files, with d locked.
func (d *smallDisk) used() (n int64) {
	for _, f := range d.files {
		n += f.size
	}
	return n
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	used := d.used()
	return vfs.DiskUsage{AvailBytes: uint64(max(0, d.size-used)), TotalBytes: uint64(d.size), UsedBytes: uint64(used)}, nil
}

func (d *smallDisk) set(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size = size
}

func (d *smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[name] = &smallFile{File: f, disk: d, path: name}
	return d.files[name], nil
}

func (d *smallDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, c)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	size := int64(0)
	if old := d.files[from]; old != nil {
		size = old.size
	}
	delete(d.files, from)
	d.files[to] = &smallFile{File: f, disk: d, path: to, size: size}
	return d.files[to], nil
}

func (d *smallDisk) Rename(from, to string) error {
	err := d.FS.Rename(from, to)
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[from]; err == nil && f != nil {
		delete(d.files, from)
		f.path = to
		d.files[to] = f
	}
	return err
}

func (d *smallDisk) Remove(name string) error {
	err := d.FS.Remove(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.files, name)
	}
	return err
}

// smallFile takes room as it grows.
type smallFile struct {
	vfs.File
	disk *smallDisk
	path string
	at   int64 // where the next write goes
	size int64
}

func (f *smallFile) Write(b []byte) (int, error) {
	d := f.disk
	d.mu.Lock()
	grown := max(0, f.at+int64(len(b))-f.size)
	if grown > 0 && d.used()+grown > d.size && (d.only == nil || d.only(f.path)) {
		select {
		case <-d.met:
		default:
			close(d.met)
		}
		d.mu.Unlock()
		return 0, fmt.Errorf("write %s: %w", f.path, syscall.ENOSPC)
	}
	f.at += int64(len(b))
	f.size += grown
	d.mu.Unlock()
	return f.File.Write(b)
}

// TestRoomAtTheMark: below the mark there is no room for mail, what is there goes on being delivered, and when it has left
// there is room again.
func TestRoomAtTheMark(t *testing.T) {
	disk := newSmallDisk(vfs.NewMem(), 1<<30)
	e, err := Open("/spool", Options{FS: disk, MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	room := func() bool {
		e.room.mu.Lock()
		e.room.asked = time.Time{}
		e.room.mu.Unlock()
		return e.Room()
	}
	var all []*spool.Message
	for i := range 40 {
		all = append(all, putTest(t, e, spool.ID{1, byte(i)}, 500_000))
	}
	disk.mu.Lock()
	disk.size = disk.used() + roomForMail - 1
	disk.mu.Unlock()
	if room() {
		t.Fatal("room below the mark")
	}
	for _, m := range all {
		for n, r := range m.Recipients {
			r.State = spool.Delivered
			if err := e.Apply(t.Context(), spool.Update{ID: m.ID, Recipients: map[int]spool.Recipient{n: r}}); err != nil {
				t.Fatalf("delivery below the mark: %v", err)
			}
		}
	}
	if !room() {
		t.Error("all mail left and there is no room")
	}
}

// TestFullDisk meets the end of the disk at many places. Where the log meets it, the engine ends the process before anything
// else is answered; with room again, all that was answered is there.
func TestFullDisk(t *testing.T) {
	cuts := 40
	if testing.Short() || underRace {
		cuts = 8
	}
	for cut := range cuts {
		fillDisk(t, cut)
	}
}

// fillDisk puts messages on a disk that has a little room, opens what the process left behind, and looks for what was answered.
func fillDisk(t *testing.T, cut int) {
	mem := newMemDisk()
	disk := newSmallDisk(guardedFS{mem.fs, &mem.guard}, 1<<40)
	ended := make(chan error, 1)
	e, err := Open(testFolder, Options{FS: disk, MemTableSize: 64 << 10, Fatal: func(err error) {
		select {
		case ended <- err:
		default:
		}
		runtime.Goexit() // the process is gone; nobody returns from here
	}})
	if err != nil {
		t.Fatal(err)
	}
	disk.mu.Lock()
	disk.size = disk.used() + int64(cut+1)*4567
	disk.mu.Unlock()
	var mu sync.Mutex
	var answered []spool.ID
	done := make(chan struct{})
	go func() { // as the process would, it may never come back
		defer close(done)
		for i := range 200 {
			id := spool.ID{byte(cut + 1), byte(i)}
			if err := putOne(t.Context(), e, id, make([]byte, []int{100, 3000, 200_000}[i%3])); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("put: %v", err)
				}
				continue
			}
			mu.Lock()
			answered = append(answered, id)
			mu.Unlock()
		}
	}()
	fatal := errors.New("nothing ended though the disk was full")
	select {
	case fatal = <-ended:
	case <-done:
		if len(ended) > 0 {
			fatal = <-ended
		}
	}
	if !strings.Contains(fatal.Error(), syscall.ENOSPC.Error()) {
		t.Errorf("cut %d: %v", cut, fatal)
	}
	after := mem.Cut(100, rand.New(rand.NewPCG(1, 2))).(*memDisk).fs // all that was written, for the machine runs on
	e2, err := Open(testFolder, Options{FS: after, MemTableSize: 64 << 10})
	if err != nil {
		t.Fatalf("cut %d: the start with room again: %v", cut, err)
	}
	disk.set(1 << 40) // what is left of the process that ended tries again and again to write its tables
	mu.Lock()
	defer mu.Unlock()
	for _, id := range answered {
		if m, err := e2.Load(t.Context(), id); err != nil || len(m.Recipients) != 1 {
			t.Errorf("cut %d: %s was answered: %v", cut, id, err)
		}
	}
	if err := e2.Close(); err != nil {
		t.Error(err)
	}
}

// TestFullDiskTables: where only a table meets the end of the disk, mail goes on, and the table is written when there is room.
func TestFullDiskTables(t *testing.T) {
	disk := newSmallDisk(vfs.NewMem(), 1<<40)
	disk.only = func(path string) bool { return disk.PathBase(path)[len(disk.PathBase(path))-4:] == ".sst" }
	e, err := Open(testFolder, Options{FS: disk, MemTableSize: 64 << 10,
		Fatal: func(err error) { t.Errorf("fatal: %v", err); runtime.Goexit() }})
	if err != nil {
		t.Fatal(err)
	}
	disk.set(0)
	put := func(from, to int) {
		for i := from; i < to; i++ {
			if err := putOne(t.Context(), e, spool.ID{1, byte(i)}, make([]byte, 900)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 100) // more than one memtable, fewer than stop the writes
	<-disk.met
	disk.set(1 << 40)
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	put(100, 200)
	if pending, errs := listTest(t, e); len(pending) != 200 || len(errs) != 0 {
		t.Errorf("%d listed, %v", len(pending), errs)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
