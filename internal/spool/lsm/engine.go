package lsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

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

	bodies   *bodies
	fatal    func(error) // Options.Fatal
	keeper   *keeper
	readOnly bool

	running sync.WaitGroup // calls that use db
	gate    sync.RWMutex   // guards closed, and Add of running against Close
	closed  bool

	mu      sync.Mutex
	writing map[spool.ID]struct{} // content that is arriving
	highest spool.ID              // none above it was ever in the store
	ending  map[spool.ID]*ending  // messages of several recipients, from their first ended one

	fresh fresh
	syncs syncs
}

var _ spool.Engine = (*Engine)(nil)

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
	if err := errors.Join(e.db.Close(), e.bodies.close(), e.lock.Close()); err != nil {
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

// enterToWrite is enter for what changes the store.
func (e *Engine) enterToWrite() error {
	if e.readOnly {
		return fmt.Errorf("%w: folder %s", errReadOnly, e.keeper.dir)
	}
	return e.enter()
}

var errReadOnly = errors.New("the spool was opened for looking only and takes no changes: ask the running server, or start it")

func (e *Engine) leave() { e.running.Done() }

// read gives the value of a key until closer is closed. What can't be read is read once more, for Pebble tells the keeper of
// it, which mends what it can.
func (e *Engine) read(key []byte) (value []byte, closer io.Closer, err error) {
	value, closer, err = e.db.Get(key)
	if err == nil || err == pebble.ErrNotFound { // to ask Pebble what an error is takes longer than to read
		return value, closer, err
	}
	if pebble.IsCorruptionError(err) {
		value, closer, err = e.db.Get(key)
	}
	return value, closer, err
}

// get appends the value of a key to dst. ErrNotFound: there is none. ErrDamaged: the file it is in can't be read there.
func (e *Engine) get(key, dst []byte) ([]byte, error) {
	v, closer, err := e.read(key)
	if err != nil {
		return dst, readError(err)
	}
	dst = append(dst, v...)
	return dst, closer.Close()
}

// has tells whether a key is there.
func (e *Engine) has(key []byte) (bool, error) {
	_, closer, err := e.read(key)
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
		return fmt.Errorf("%w: %w", spool.ErrDamaged, storeError{err})
	}
	return err
}

// storeError is an error of Pebble in words for people: what it says of its own workings is cut off.
type storeError struct{ error }

func (e storeError) Error() string {
	return strings.ReplaceAll(e.error.Error(), "\n<corruption detail carrier>", "")
}

func (e storeError) Unwrap() error { return e.error }

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
	if m := e.fresh.message(id); m != nil {
		return m, nil
	}
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
	if m, n := e.fresh.envelope(id); m != nil {
		return m, n, nil
	}
	v, closer, err := e.read(idKey(prefixEnvelope, id))
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
	if r, ok := e.fresh.recipient(id, n); ok {
		return r, nil
	}
	v, closer, err := e.read(numberedKey(prefixRecipient, id, uint32(n)))
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
	all, err := e.readRecipients(id)
	if errors.Is(err, spool.ErrDamaged) {
		all, err = e.readRecipients(id) // it may have been mended when it was met
	}
	return all, err
}

func (e *Engine) readRecipients(id spool.ID) ([]spool.Recipient, error) {
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
