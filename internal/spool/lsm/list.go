package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// List reads all messages as they are when the loop begins, two iterators side by side: one over the envelopes and one over
// the recipients, which are stored in the same order. It sets nothing aside; Load does.
func (e *Engine) List(ctx context.Context, after spool.ID) iter.Seq2[*spool.Message, error] {
	return func(yield func(*spool.Message, error) bool) {
		if err := e.enter(); err != nil {
			yield(nil, err)
			return
		}
		defer e.leave()
		snapshot := e.db.NewSnapshot()
		defer snapshot.Close()
		l := lister{}
		if err := l.open(ctx, snapshot, after); err != nil {
			yield(nil, fmt.Errorf("list the spool: %w", readError(err)))
			return
		}
		defer l.close()
		for l.envelopes.Valid() {
			m, err := l.message(ctx)
			if !yield(m, err) || ctx.Err() != nil {
				return
			}
			l.envelopes.Next()
		}
		if err := l.envelopes.Error(); err != nil {
			yield(nil, fmt.Errorf("list the spool: %w", readError(err)))
		}
	}
}

type lister struct {
	envelopes, recipients *pebble.Iterator
}

// open places the iterators at the first message behind after.
func (l *lister) open(ctx context.Context, from *pebble.Snapshot, after spool.ID) (err error) {
	lo, hi := prefixRange(prefixEnvelope)
	if !after.IsZero() {
		lo = next(idKey(prefixEnvelope, after))
	}
	if l.envelopes, err = from.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lo, UpperBound: hi}); err != nil {
		return err
	}
	lo, hi = prefixRange(prefixRecipient)
	if l.recipients, err = from.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lo, UpperBound: hi}); err != nil {
		return errors.Join(err, l.envelopes.Close())
	}
	l.envelopes.First()
	return nil
}

func (l *lister) close() {
	l.envelopes.Close()
	l.recipients.Close()
}

// message reads the message at which the envelopes stand.
func (l *lister) message(ctx context.Context) (*spool.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id, ok := parseIDKey(l.envelopes.Key())
	if !ok {
		return nil, fmt.Errorf("list the spool: %w: envelope key %x", spool.ErrDamaged, l.envelopes.Key())
	}
	value, err := l.envelopes.ValueAndErr()
	if err != nil {
		return nil, fmt.Errorf("list message %s: %w", id, readError(err))
	}
	m, n, err := spool.DecodeMessage(value)
	if err != nil {
		return nil, fmt.Errorf("list message %s: %w", id, err)
	}
	key := numberedKey(prefixRecipient, id, 0)
	if !l.recipients.Valid() || !bytes.Equal(l.recipients.Key(), key) {
		l.recipients.SeekGE(key)
	}
	for len(m.Recipients) < n && l.recipients.Valid() && bytes.Equal(l.recipients.Key(), numberedKey(prefixRecipient, id, uint32(len(m.Recipients)))) {
		value, err := l.recipients.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("list message %s: %w", id, readError(err))
		}
		r, err := spool.DecodeRecipient(value)
		if err != nil {
			return nil, fmt.Errorf("list message %s, recipient %d: %w", id, len(m.Recipients), err)
		}
		m.Recipients = append(m.Recipients, r)
		l.recipients.Next()
	}
	if err := l.recipients.Error(); err != nil {
		return nil, fmt.Errorf("list message %s: %w", id, readError(err))
	}
	if len(m.Recipients) != n {
		return nil, fmt.Errorf("list message %s: %w: %d of %d recipients found", id, spool.ErrDamaged, len(m.Recipients), n)
	}
	return m, nil
}

// Damaged lists the keys that were set aside.
func (e *Engine) Damaged(ctx context.Context) iter.Seq2[spool.Damaged, error] {
	return func(yield func(spool.Damaged, error) bool) {
		if err := e.enter(); err != nil {
			yield(spool.Damaged{}, err)
			return
		}
		defer e.leave()
		lo, hi := prefixRange(prefixDamaged)
		it, err := e.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lo, UpperBound: hi})
		if err != nil {
			yield(spool.Damaged{}, fmt.Errorf("list what was set aside: %w", readError(err)))
			return
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				break // it.Error has it
			}
			if !yield(damaged(it.Key()[1:], len(value)), nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(spool.Damaged{}, fmt.Errorf("list what was set aside: %w", readError(err)))
		}
	}
}

// damaged says what the value was that stood under a key.
func damaged(key []byte, size int) spool.Damaged {
	d := spool.Damaged{What: fmt.Sprintf("key %x", key), Size: size}
	if len(key) == 0 {
		return d
	}
	switch key[0] {
	case prefixEnvelope:
		if id, ok := parseIDKey(key); ok {
			d.ID, d.What = id, "envelope"
		}
	case prefixRecipient:
		if len(key) == numberedSize {
			copy(d.ID[:], key[1:])
			d.What = fmt.Sprintf("recipient %d", numberOf(key))
		}
	case prefixIndex:
		if id, n, ok := parseIndexKey(key); ok {
			d.ID, d.What = id, fmt.Sprintf("index entry of recipient %d", n)
		}
	}
	return d
}
