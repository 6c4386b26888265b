package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// Pending lists the index as it is when the loop begins. A damaged entry is set aside and reported; where its key still
// names the recipient, the entry is made again from the recipient's record and listed, out of order. So is, at the end, what
// lies in a part of the index whose file can't be read: the messages are then read for it.
func (e *Engine) Pending(ctx context.Context) iter.Seq2[spool.Pending, error] {
	return func(yield func(spool.Pending, error) bool) {
		if err := e.enter(); err != nil {
			yield(spool.Pending{}, err)
			return
		}
		defer e.leave()
		snapshot := e.db.NewSnapshot()
		defer snapshot.Close()
		gaps, ok := e.pendingOfIndex(ctx, snapshot, yield)
		if ok && len(gaps) > 0 {
			e.pendingOfRecords(ctx, snapshot, gaps, yield)
		}
	}
}

// pendingOfIndex lists what the index has, and gives the parts of it that can't be read. ok is false when the loop ended.
func (e *Engine) pendingOfIndex(ctx context.Context, from *pebble.Snapshot,
	yield func(spool.Pending, error) bool) (gaps []gap, ok bool) {
	lo, hi := prefixRange(prefixIndex)
	it, err := from.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		yield(spool.Pending{}, fmt.Errorf("list the spool: %w", readError(err)))
		return nil, false
	}
	defer it.Close()
	ok = true
	visit := func(key []byte) bool {
		ok = e.yieldIndex(ctx, key, it.Value(), yield)
		return ok
	}
	err = walk(storeCursor{it}, lo, hi, visit, func(g gap) bool {
		gaps = append(gaps, g)
		ok = yield(spool.Pending{}, fmt.Errorf("list the spool, index from %x to %x: %w", g.from, g.to, readError(g.cause)))
		return ok
	})
	if err != nil && ok {
		ok = yield(spool.Pending{}, fmt.Errorf("list the spool: %w", readError(err)))
	}
	return gaps, ok
}

// yieldIndex lists one entry. It is false when the loop ended.
func (e *Engine) yieldIndex(ctx context.Context, key, value []byte, yield func(spool.Pending, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(spool.Pending{}, err)
		return false
	}
	p, err := readIndex(key, value)
	if err == nil {
		return yield(p, nil)
	}
	if !yield(spool.Pending{}, fmt.Errorf("list the spool: %w", err)) {
		return false
	}
	p, repaired, err := e.repairIndex(bytes.Clone(key), bytes.Clone(value))
	if err == nil && !repaired {
		return true
	}
	return yield(p, err)
}

// pendingOfRecords lists the recipients whose index entries lie in the gaps, in the order of their messages. Messages that
// can't be read are reported.
func (e *Engine) pendingOfRecords(ctx context.Context, from *pebble.Snapshot, gaps []gap,
	yield func(spool.Pending, error) bool) {
	e.list(ctx, from, spool.ID{}, func(m *spool.Message, err error) bool {
		if err != nil {
			return yield(spool.Pending{}, err)
		}
		for n := range m.Recipients {
			r := &m.Recipients[n]
			key := indexKey(m.ID, n, r.Next)
			if r.State.Done() || !slices.ContainsFunc(gaps, func(g gap) bool { return g.has(key) }) {
				continue
			}
			if !yield(spool.PendingOf(m, n, r), nil) {
				return false
			}
		}
		return true
	})
}

// readIndex reads an index entry and proves it: the key that belongs to its content must be the one it was found under.
func readIndex(key, value []byte) (spool.Pending, error) {
	id, n, ok := parseIndexKey(key)
	if !ok {
		return spool.Pending{}, fmt.Errorf("%w: index key %x", spool.ErrDamaged, key)
	}
	p, err := spool.DecodePending(id, n, value)
	if err == nil && !bytes.Equal(indexKey(id, n, p.Next), key) {
		err = fmt.Errorf("%w: its due time is not that of its key", spool.ErrDamaged)
	}
	if err != nil {
		return spool.Pending{}, fmt.Errorf("index entry of %s, recipient %d: %w", id, n, err)
	}
	return p, nil
}

// repairIndex sets a damaged index entry aside and, where the recipient it names can be read and is not done, makes the
// entry again: a damaged index must not hide mail.
func (e *Engine) repairIndex(key, value []byte) (p spool.Pending, repaired bool, err error) {
	b := e.db.NewBatch()
	defer b.Close()
	if err := moveAside(b, key, value); err != nil {
		return p, false, err
	}
	if id, n, ok := parseIndexKey(key); ok {
		m, _, err := e.envelope(id)
		var r spool.Recipient
		if err == nil {
			r, err = e.recipient(id, n)
		}
		if err != nil && !errors.Is(err, spool.ErrNotFound) && !errors.Is(err, spool.ErrDamaged) {
			return p, false, fmt.Errorf("repair index entry of %s, recipient %d: %w", id, n, err)
		}
		if repaired = err == nil && !r.State.Done(); repaired {
			right := indexKey(id, n, r.Next)
			if there, err := e.has(right); err == nil && there && !bytes.Equal(right, key) {
				repaired = false // the damaged entry was one too many
			} else if p = spool.PendingOf(m, n, &r); b.Set(right, spool.AppendPending(nil, &p), nil) != nil {
				return p, false, fmt.Errorf("repair index entry of %s, recipient %d", id, n)
			}
		}
	}
	if e.readOnly {
		return p, repaired, nil
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return p, false, fmt.Errorf("set a damaged index entry aside: %w", err)
	}
	return p, repaired, nil
}

// moveAside adds to a batch the move of a key to the damaged ones.
func moveAside(b *pebble.Batch, key, value []byte) error {
	if err := b.Set(append([]byte{prefixDamaged}, key...), value, nil); err != nil {
		return err
	}
	return b.Delete(key, nil)
}

// setAside moves the envelope, the recipients and the index entries of a damaged message under the prefix of damaged
// keys, and gives the error for the caller. The content stays where it is: nothing deletes content without its envelope.
func (e *Engine) setAside(id spool.ID, cause error) error {
	e.fresh.forget(id)
	if e.readOnly {
		return cause
	}
	b := e.db.NewBatch()
	defer b.Close()
	move := func(lo, hi []byte, match func(key []byte) bool) error {
		it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
		if err != nil {
			return err
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			if match != nil && !match(it.Key()) {
				continue
			}
			value, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			if err := moveAside(b, it.Key(), value); err != nil {
				return err
			}
		}
		return it.Error()
	}
	envelope := idKey(prefixEnvelope, id)
	recipients, recipientsEnd := idRange(prefixRecipient, id)
	index, indexEnd := prefixRange(prefixIndex)
	err := errors.Join(
		move(envelope, next(envelope), nil),
		move(recipients, recipientsEnd, nil),
		// The due time may be what is lost, so all entries are looked at.
		move(index, indexEnd, func(key []byte) bool {
			of, _, ok := parseIndexKey(key)
			return ok && of == id
		}))
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("%w (it could not be set aside: %w)", cause, err)
	}
	e.mu.Lock()
	delete(e.ending, id)
	e.mu.Unlock()
	return fmt.Errorf("%w (it was set aside; its content is kept)", cause)
}
