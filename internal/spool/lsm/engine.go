package lsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// formatVersion is the version of the key space. A folder of a later one is refused; one of an earlier is upgraded at the
// start. Version 2 writes records of version 2 (package spool); those of version 1 are read as they are.
const formatVersion = 2

// Engine is the embedded spool engine.
type Engine struct {
	db   *pebble.DB
	lock *pebble.Lock
	log  *slog.Logger
	room room

	running sync.WaitGroup // calls that use db
	gate    sync.RWMutex   // guards closed, and Add of running against Close
	closed  bool

	mu      sync.Mutex
	writing map[spool.ID]struct{} // content that is arriving
	ending  map[spool.ID]*ending  // messages of several recipients, from their first ended one
}

var _ spool.Engine = (*Engine)(nil)

// Open opens the spool in the folder dir and makes it where there is none. Content that was never put, and messages that
// were on their way out when the process ended, are dropped. The error wraps spool.ErrInUse where another process has it.
func Open(dir string, opts Options) (*Engine, error) {
	opts = opts.withDefaults()
	if err := makeFolder(opts.FS, dir); err != nil {
		return nil, fmt.Errorf("make the spool folder %s: %w", dir, err)
	}
	r := room{disk: opts.FS, dir: dir}
	if err := r.check(time.Now()); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(dir, opts.FS)
	if err != nil {
		if isHeld(err) {
			return nil, fmt.Errorf("%w: folder %s: stop the other process or choose another folder", spool.ErrInUse, dir)
		}
		return nil, fmt.Errorf("lock the spool folder %s: %w", dir, err)
	}
	db, err := pebble.Open(dir, opts.pebbleOptions(lock))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool in %s: %w", dir, err), lock.Close())
	}
	e := &Engine{
		db:      db,
		lock:    lock,
		log:     opts.Logger,
		room:    room{disk: opts.FS, dir: dir},
		writing: map[spool.ID]struct{}{},
		ending:  map[spool.ID]*ending{},
	}
	if err := e.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the spool in %s: %w", dir, err), e.Close())
	}
	return e, nil
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

// start checks the format and finishes what the last run left.
func (e *Engine) start() error {
	if err := e.checkVersion(); err != nil {
		return err
	}
	if err := e.sweepUnclaimed(); err != nil {
		return err
	}
	return e.sweepEnding()
}

func (e *Engine) checkVersion() error {
	key := []byte{prefixVersion}
	v, err := e.get(key, nil)
	switch {
	case err == nil && len(v) == 1 && v[0] == formatVersion:
		return nil
	case err == nil && len(v) == 1 && v[0] >= 1 && v[0] < formatVersion:
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
	it, err := e.db.NewIter(nil)
	if err != nil {
		return err
	}
	foreign := it.First()
	if err := it.Close(); err != nil {
		return err
	}
	if foreign {
		return errors.New("the folder holds a store that is no spool: choose another folder")
	}
	return e.db.Set(key, []byte{formatVersion}, pebble.Sync)
}

// Close waits for running calls and releases the folder. All later calls fail with spool.ErrClosed. It must not be called
// from inside a loop over Pending, for which it would wait.
func (e *Engine) Close() error {
	e.gate.Lock()
	if e.closed {
		e.gate.Unlock()
		return nil
	}
	e.closed = true
	e.gate.Unlock()
	e.running.Wait()
	if err := errors.Join(e.db.Close(), e.lock.Close()); err != nil {
		return fmt.Errorf("close the spool: %w", err)
	}
	return nil
}

// enter keeps the store open until leave.
func (e *Engine) enter() error {
	e.gate.RLock()
	defer e.gate.RUnlock()
	if e.closed {
		return spool.ErrClosed
	}
	e.running.Add(1)
	return nil
}

func (e *Engine) leave() { e.running.Done() }

// get appends the value of a key to dst. ErrNotFound: there is none. ErrDamaged: the file it is in can't be read there.
func (e *Engine) get(key, dst []byte) ([]byte, error) {
	v, closer, err := e.db.Get(key)
	if err != nil {
		return dst, readError(err)
	}
	dst = append(dst, v...)
	return dst, closer.Close()
}

// has tells whether a key is there.
func (e *Engine) has(key []byte) (bool, error) {
	_, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, readError(err)
	}
	return true, closer.Close()
}

// readError gives an error of the store in the words of the spool.
func readError(err error) error {
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return spool.ErrNotFound
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", spool.ErrDamaged, err)
	}
	return err
}

// Load reads a message with all its recipients, done ones included, while one of them is not.
func (e *Engine) Load(ctx context.Context, id spool.ID) (*spool.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	m, err := e.load(id)
	if errors.Is(err, spool.ErrDamaged) {
		err = e.setAside(id, err)
	}
	if err != nil {
		return nil, fmt.Errorf("load message %s: %w", id, err)
	}
	return m, nil
}

func (e *Engine) load(id spool.ID) (*spool.Message, error) {
	m, n, err := e.envelope(id)
	if err != nil {
		return nil, err
	}
	m.Recipients, err = e.recipients(id, n)
	if err == nil && len(m.Recipients) == n {
		return m, nil
	}
	if err == nil {
		err = fmt.Errorf("%w: %d of %d recipients found", spool.ErrDamaged, len(m.Recipients), n)
	}
	// It may have left between the two reads; that is one batch, so its envelope tells.
	if there, err2 := e.has(idKey(prefixEnvelope, id)); err2 == nil && !there {
		return nil, spool.ErrNotFound
	}
	return nil, err
}

// envelope reads a message without its recipients, and their number.
func (e *Engine) envelope(id spool.ID) (*spool.Message, int, error) {
	v, closer, err := e.db.Get(idKey(prefixEnvelope, id))
	if err != nil {
		return nil, 0, readError(err)
	}
	defer closer.Close()
	m, n, err := spool.DecodeMessage(v)
	if err == nil && m.ID != id {
		err = fmt.Errorf("%w: the envelope of %s holds the id %s", spool.ErrDamaged, id, m.ID)
	}
	return m, n, err
}

// recipient reads the state of one recipient.
func (e *Engine) recipient(id spool.ID, n int) (spool.Recipient, error) {
	v, closer, err := e.db.Get(numberedKey(prefixRecipient, id, uint32(n)))
	if err != nil {
		return spool.Recipient{}, readError(err)
	}
	defer closer.Close()
	return spool.DecodeRecipient(v)
}

// recipients reads the recipients of a message up to the first that is missing.
func (e *Engine) recipients(id spool.ID, n int) ([]spool.Recipient, error) {
	if n == 1 { // a Get is cheaper than an iterator
		r, err := e.recipient(id, 0)
		if errors.Is(err, spool.ErrNotFound) {
			return nil, nil
		}
		return []spool.Recipient{r}, err
	}
	lo, hi := idRange(prefixRecipient, id)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return nil, readError(err)
	}
	defer it.Close()
	var all []spool.Recipient
	for it.First(); it.Valid() && string(it.Key()) == string(numberedKey(prefixRecipient, id, uint32(len(all)))); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, readError(err)
		}
		r, err := spool.DecodeRecipient(value)
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", len(all), err)
		}
		all = append(all, r)
	}
	if err := it.Error(); err != nil {
		return nil, readError(err)
	}
	return all, nil
}
