package lsm

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// soonDelay is how long a commit that may come soon waits for one that asks for a sync, before the engine asks itself.
const soonDelay = 2 * time.Millisecond

// maxUnsynced is how many commits may not be on disk yet: the next one waits. It bounds what is done once more after a crash,
// however slow the disk.
const maxUnsynced = 32

// syncs commits batches, and knows what is on disk.
type syncs struct {
	soon    atomic.Uint64 // number of the last commit that did not wait
	durable atomic.Uint64 // number of the last of those that is known to be on disk

	mu    sync.Mutex
	armed bool // a sync is on its way
}

// commitBatch commits a batch. soon: it need not be on disk when commit returns.
func (e *Engine) commitBatch(b *pebble.Batch, soon bool) error {
	s := &e.syncs
	if !soon {
		return s.wait(func() error { return b.Commit(pebble.Sync) })
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	if last := s.soon.Add(1); last-min(last, s.durable.Load()) > maxUnsynced {
		return e.sync()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		s.armed = true
		time.AfterFunc(soonDelay, e.syncSoon)
	}
	return nil
}

// wait commits what is to be on disk, and with it all that went before: the log has one order.
func (s *syncs) wait(commit func() error) error {
	before := s.soon.Load()
	if err := commit(); err != nil {
		return err
	}
	for known := s.durable.Load(); known < before && !s.durable.CompareAndSwap(known, before); known = s.durable.Load() {
	}
	return nil
}

// syncSoon brings to the disk what nobody waited for, unless another commit did.
func (e *Engine) syncSoon() {
	s := &e.syncs
	s.mu.Lock()
	s.armed = false
	s.mu.Unlock()
	if s.durable.Load() >= s.soon.Load() || e.enter() != nil {
		return // Close syncs
	}
	defer e.leave()
	if err := e.sync(); err != nil {
		e.log.Error("the end of some deliveries is not on disk yet; after a crash they would be made once more", "error", err)
	}
}

// sync waits until all that was committed is on disk.
func (e *Engine) sync() error {
	return e.syncs.wait(func() error { return e.db.LogData(nil, pebble.Sync) })
}
