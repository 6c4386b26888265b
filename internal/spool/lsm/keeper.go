package lsm

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// keeper opens the store and answers damage to its files: it mends what one turned bit explains, and has the store built
// anew at the start where that does not do.
type keeper struct {
	dir  string
	opts Options
	lock *pebble.Lock
	log  *slog.Logger
	mender

	mu      sync.Mutex
	checked map[string]error // tables that were met damaged, and what became of it
}

func newKeeper(dir string, opts Options, lock *pebble.Lock) *keeper {
	k := &keeper{dir: dir, opts: opts, lock: lock, log: opts.Logger, checked: map[string]error{}}
	k.mender = mender{disk: opts.FS, dir: dir, now: time.Now, readOnly: opts.ReadOnly, say: k.mended}
	return k
}

// mended reports a file in which bits were turned back.
func (k *keeper) mended(path string, flips int, copied string) {
	k.log.Error("turned bits were found in a file of the spool and turned back: check the disk and the memory of this machine",
		"file", path, "bits", flips, "copy", copied)
}

// open opens the store. Where its files are damaged beyond mending it is built anew from what can be read of them; recheck
// then tells that its records may not fit each other.
func (k *keeper) open() (db *pebble.DB, recheck bool, err error) {
	step, err := k.step()
	if err != nil {
		return nil, false, err
	}
	cause := error(nil)
	switch {
	case k.opts.ReadOnly && (step.name == stepOld || step.name == stepNew):
		return nil, false, errors.New("its store was being built anew when the server ended: " +
			"start `holub serve`, which goes on with it")
	case k.opts.ReadOnly: // what can be read is shown
	case step.name == stepWanted:
		cause = errors.New(step.detail)
	case step.name == stepOld || step.name == stepNew:
		if err := k.swap(step); err != nil {
			return nil, false, err
		}
	}
	if cause == nil {
		if db, err = k.try(); err == nil {
			return db, step.name != "" && step.name != stepWanted, nil
		}
		if !isDamage(err) {
			return nil, false, err
		}
		cause = err
	}
	if k.opts.ReadOnly {
		return nil, false, fmt.Errorf("%w: its files are damaged, and it is open for looking only: "+
			"start `holub serve`, which mends it: %w", spool.ErrDamaged, cause)
	}
	if err := k.rebuild(cause); err != nil {
		return nil, false, fmt.Errorf("build the damaged spool anew: %w", err)
	}
	db, err = k.try()
	return db, true, err
}

// try opens the store as it is.
func (k *keeper) try() (*pebble.DB, error) {
	if err := k.whole(); err != nil {
		return nil, err
	}
	looking := &lookingFS{FS: k.opts.FS, m: &k.mender}
	db, err := k.openPebble(looking)
	if err == nil || isDamage(err) {
		return db, err
	}
	// It writes down its settings for others and reads them when it starts. They need not be readable.
	files, err2 := k.files()
	if err2 != nil {
		return nil, err
	}
	looking.noOptions = true
	db, err2 = k.openPebble(looking)
	if err2 != nil {
		return nil, err
	}
	for _, name := range files {
		if strings.HasPrefix(name, "OPTIONS-") && !k.opts.ReadOnly {
			k.dropOptions(name, err)
		}
	}
	return db, nil
}

// dropOptions keeps a file of settings that can't be read where the damaged are. A newer one takes its place.
func (k *keeper) dropOptions(name string, cause error) {
	path := k.disk.PathJoin(k.dir, name)
	copied, err := k.keep(path)
	if err == nil {
		err = k.disk.Remove(path)
	}
	k.log.Error("the store can't read the settings it wrote and goes on without", "file", path, "error", cause, "copy", copied,
		"not removed", err)
}

func (k *keeper) openPebble(disk *lookingFS) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil { // Pebble meets some damage with a panic
			db, err = nil, fmt.Errorf("%w: %v", spool.ErrDamaged, r)
		}
	}()
	p := k.opts.pebbleOptions(k.lock)
	p.FS = disk
	p.ReadOnly = k.opts.ReadOnly
	p.ErrorIfNotExists = k.opts.ReadOnly
	p.EventListener = &pebble.EventListener{DataCorruption: k.corrupt}
	disk.start()
	defer disk.started()
	return pebble.Open(k.dir, p)
}

// isDamage tells errors of Pebble that mean that files are damaged or missing from those that mean the disk, the settings or
// the version.
func isDamage(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, spool.ErrDamaged) || errors.Is(err, fs.ErrNotExist)
}

// files lists the names of the files in the folder that are Pebble's.
func (k *keeper) files() ([]string, error) {
	all, err := k.disk.List(k.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range all {
		if isStoreFile(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func isStoreFile(name string) bool {
	for _, prefix := range []string{"MANIFEST-", "OPTIONS-", "marker.", "CURRENT"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	for _, suffix := range []string{".sst", ".log", ".blob", ".dbtmp"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// whole refuses a folder that has lost the marks by which Pebble knows its store: it would make a new one in its place and
// delete the mail.
func (k *keeper) whole() error {
	names, err := k.files()
	if err != nil {
		return err
	}
	var manifest, version, data bool
	for _, name := range names {
		manifest = manifest || strings.HasPrefix(name, "marker.manifest.")
		version = version || strings.HasPrefix(name, "marker.format-version.")
		data = data || strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log")
	}
	if data && !(manifest && version) {
		return fmt.Errorf("%w: the folder %s has files of a store, but not the marker files that say which of them count",
			spool.ErrDamaged, k.dir)
	}
	return nil
}

// corrupt is told by Pebble of each block of a table that can't be read, from whatever goroutine meets it. What can be is
// mended at once, so that the next read, and the next compaction, works.
func (k *keeper) corrupt(info pebble.DataCorruptionInfo) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, there := k.checked[info.Path]; there {
		return
	}
	err := k.table(info.Path)
	if err == nil {
		return // it may be met again with another bit
	}
	k.checked[info.Path] = err
	k.log.Error("a table of the spool can't be read in places; the mail there can't be served and the rest is: "+
		"restart holub to have the store built anew from what can be read", "file", info.Path, "error", err)
	if k.opts.ReadOnly {
		return
	}
	if err := k.setStep(step{stepWanted, "the table " + k.disk.PathBase(info.Path) + " was found damaged"}); err != nil {
		k.log.Error("the next start will not know that the store must be built anew", "error", err)
	}
}

// lookingFS looks at each log and manifest before Pebble reads it at the start.
type lookingFS struct {
	vfs.FS
	m         *mender
	noOptions bool // as if there were no files of settings

	mu       sync.Mutex
	starting bool
}

func (l *lookingFS) Unwrap() vfs.FS { return l.FS }

func (l *lookingFS) start()   { l.set(true) }
func (l *lookingFS) started() { l.set(false) }

func (l *lookingFS) set(starting bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting = starting
}

func (l *lookingFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	l.mu.Lock()
	starting := l.starting
	l.mu.Unlock()
	if starting {
		base := l.PathBase(name)
		if strings.HasPrefix(base, "MANIFEST-") {
			if err := l.m.log(name, 0); err != nil {
				return nil, err
			}
		} else if number, ok := logNumber(base); ok {
			if err := l.m.log(name, number); err != nil {
				return nil, err
			}
		}
	}
	return l.FS.Open(name, opts...)
}

func (l *lookingFS) List(dir string) ([]string, error) {
	names, err := l.FS.List(dir)
	if !l.noOptions {
		return names, err
	}
	var left []string
	for _, name := range names {
		if !strings.HasPrefix(name, "OPTIONS-") {
			left = append(left, name)
		}
	}
	return left, err
}

// logNumber reads the number of a log from its name.
func logNumber(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	n, err := strconv.ParseUint(digits, 10, 64)
	return uint32(n), ok && err == nil // as Pebble does, it takes the low bits
}
