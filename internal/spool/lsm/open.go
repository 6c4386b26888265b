package lsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// Open opens the spool in the folder dir and makes it where there is none. Content that was never put, and messages that
// were on their way out when the process ended, are dropped. What is damaged is mended or set aside (see the package doc).
// The error wraps spool.ErrInUse where another process has the folder.
func Open(dir string, opts Options) (*Engine, error) {
	opts = opts.withDefaults()
	if !opts.ReadOnly {
		if err := prepareFolder(dir, opts); err != nil {
			return nil, err
		}
	}
	lock, err := lockFolder(dir, opts)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		lock:     lock,
		log:      opts.Logger,
		room:     room{disk: opts.FS, dir: dir},
		fatal:    opts.Fatal,
		keeper:   newKeeper(dir, opts, lock),
		readOnly: opts.ReadOnly,
		writing:  map[spool.ID]struct{}{},
		ending:   map[spool.ID]*ending{},
	}
	if err := e.openFiles(dir, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool in %s: %w", dir, orUnwritable(err)), lock.Close())
	}
	return e, nil
}

// openFiles opens the store and the folder of content and brings both into order.
func (e *Engine) openFiles(dir string, opts Options) (err error) {
	if opts.ReadOnly {
		e.bodies, err = openBodiesToRead(opts.FS, dir)
	} else {
		e.bodies, err = openBodies(opts.FS, dir)
	}
	if err != nil {
		return fmt.Errorf("open the folder of content: %w", err)
	}
	var recheck bool
	if e.db, recheck, err = e.keeper.open(); err != nil {
		return errors.Join(err, e.bodies.close())
	}
	err = e.start(recheck)
	if pebble.IsCorruptionError(err) {
		err = e.start(recheck) // what it met may have been mended
	}
	if pebble.IsCorruptionError(err) && !opts.ReadOnly {
		if err = errors.Join(e.db.Close(), e.keeper.rebuild(err)); err != nil {
			return errors.Join(err, e.bodies.close())
		}
		if e.db, _, err = e.keeper.open(); err != nil {
			return errors.Join(err, e.bodies.close())
		}
		err = e.start(true)
	}
	if err != nil {
		return errors.Join(err, e.db.Close(), e.bodies.close())
	}
	return nil
}

// openBodiesToRead opens the folder of content and makes nothing.
func openBodiesToRead(disk vfs.FS, dir string) (*bodies, error) {
	file, err := disk.OpenDir(dir) // it need not have a folder of content; this one is never synced
	if err != nil {
		return nil, err
	}
	return &bodies{disk: disk, folder: folder{name: disk.PathJoin(dir, bodiesFolder), file: file}}, nil
}

// prepareFolder makes the folder and says what is to be said about its disk.
func prepareFolder(dir string, opts Options) error {
	if err := makeFolder(opts.FS, dir); err != nil {
		return fmt.Errorf("make the spool folder %s: %w", dir, orUnwritable(err))
	}
	r := room{disk: opts.FS, dir: dir}
	if err := r.check(time.Now()); err != nil {
		return err
	}
	if opts.FS == vfs.Default {
		if risk := Risk(dir); risk != "" {
			opts.Logger.Warn("the spool may lose mail where it is: "+risk, "folder", dir)
		}
	}
	return nil
}

// lockFolder keeps other processes out of the folder.
func lockFolder(dir string, opts Options) (*pebble.Lock, error) {
	if opts.ReadOnly {
		// The file of the lock would be made, and with it a spool where there is none.
		if _, err := opts.FS.Stat(opts.FS.PathJoin(dir, "LOCK")); err != nil {
			return nil, fmt.Errorf("no spool to look at in %s: %w", dir, err)
		}
	}
	lock, err := pebble.LockDirectory(dir, opts.FS)
	switch {
	case err == nil:
		return lock, nil
	case opts.ReadOnly && errors.Is(err, syscall.EROFS):
		// Nobody can change it, so nobody is to be kept out.
		return pebble.LockDirectory(dir, unlockedFS{opts.FS})
	case isHeld(err):
		return nil, fmt.Errorf("%w: folder %s: stop the other process or choose another folder", spool.ErrInUse, dir)
	}
	return nil, fmt.Errorf("lock the spool folder %s: %w", dir, orUnwritable(err))
}

// unlockedFS locks nothing.
type unlockedFS struct{ vfs.FS }

func (unlockedFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// orUnwritable says what to do about a folder that can't be written.
func orUnwritable(err error) error {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: its disk is mounted read-only: mount it for writing (an error of the disk may have "+
			"made it so, see the kernel's log), or set data_dir to a folder on another disk", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: give the folder and all in it to the user that runs holub, or set data_dir to another folder", err)
	}
	return err
}

// makeFolder makes dir for its owner alone, with its parents, and syncs each folder that got a new entry: a spool whose
// folder is lost with the power loses all its mail.
func makeFolder(disk vfs.FS, dir string) error {
	var missing []string
	for d := dir; ; d = disk.PathDir(d) {
		if _, err := disk.Stat(d); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, d)
		if disk.PathDir(d) == d {
			break
		}
	}
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range missing {
		parent, err := disk.OpenDir(disk.PathDir(d))
		if err != nil {
			return err
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return err
		}
	}
	return nil
}

// isHeld tells whether a lock was refused because someone has it, rather than because it can't be made.
func isHeld(err error) bool {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return false // the file of the lock can't be made
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return true // held by this very process
	}
	const sharingViolation = 32 // of Windows
	return errno == syscall.EAGAIN || errno == syscall.EACCES ||
		runtime.GOOS == "windows" && errno == sharingViolation
}

// start checks the format and finishes what the last run left. recheck: records may not fit each other.
func (e *Engine) start(recheck bool) error {
	if err := e.checkVersion(recheck); err != nil || e.readOnly {
		return err
	}
	if err := e.proveIndex(); err != nil {
		return err
	}
	if recheck {
		if err := e.recheck(); err != nil {
			return err
		}
		if err := e.keeper.setStep(step{}); err != nil {
			return err
		}
	}
	if err := e.findHighest(); err != nil {
		return err
	}
	if err := e.sweepUnclaimed(); err != nil {
		return err
	}
	if err := e.sweepEnding(); err != nil {
		return err
	}
	return e.sweepBodies()
}

// findHighest finds the id that no message in the store is above.
func (e *Engine) findHighest() error {
	lo, hi := prefixRange(prefixEnvelope)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return readError(err)
	}
	defer it.Close()
	ok := true
	if it.Last() {
		e.highest, ok = parseIDKey(it.Key())
	}
	if it.Error() != nil || !ok { // who reads it meets the damage again; until then every id is looked for
		e.highest = highestID
	}
	return nil
}

// highestID is above all ids.
var highestID = spool.ID(bytes.Repeat([]byte{0xff}, idSize))

// proveIndex reads the index once, for which Pebble proves its blocks: mail must not be hidden by what can still be mended.
func (e *Engine) proveIndex() error {
	lo, hi := prefixRange(prefixIndex)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return readError(err)
	}
	for it.First(); it.Valid(); it.Next() {
	}
	return readError(it.Close())
}

// checkVersion refuses a format it does not know. recheck: the mark of it may be among what was lost.
func (e *Engine) checkVersion(recheck bool) error {
	key := []byte{prefixVersion}
	v, err := e.get(key, nil)
	switch {
	case err == nil && len(v) == 1 && v[0] == formatVersion:
		return nil
	case err == nil && len(v) == 1 && v[0] >= 1 && v[0] < formatVersion:
		if e.readOnly {
			return nil
		}
		e.log.Info("the spool was written by an older holub and is upgraded", "from", v[0], "to", formatVersion)
		return e.db.Set(key, []byte{formatVersion}, pebble.Sync)
	case err == nil && len(v) == 1 && v[0] > formatVersion:
		return fmt.Errorf("its format has version %d and this holub knows up to %d: use the newer holub that wrote it",
			v[0], formatVersion)
	case err == nil:
		return fmt.Errorf("%w: format version %x", spool.ErrDamaged, v)
	case !errors.Is(err, spool.ErrNotFound):
		return fmt.Errorf("read the format version: %w", err)
	}
	if e.readOnly {
		return errors.New("the folder holds no spool")
	}
	it, err := e.db.NewIter(nil)
	if err != nil {
		return err
	}
	foreign := it.First()
	if err := it.Close(); err != nil {
		return err
	}
	if foreign && !recheck {
		return errors.New("the folder holds a store that is no spool: choose another folder")
	}
	return e.db.Set(key, []byte{formatVersion}, pebble.Sync)
}
