package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

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
		e.list(ctx, snapshot, after, yield)
	}
}

// list reads the messages of a snapshot, past what can't be read.
func (e *Engine) list(ctx context.Context, from *pebble.Snapshot, after spool.ID, yield func(*spool.Message, error) bool) {
	l := lister{}
	lo, hi, err := l.open(ctx, from, after)
	if err != nil {
		yield(nil, fmt.Errorf("list the spool: %w", readError(err)))
		return
	}
	defer l.close()
	ok := true
	err = walk(storeCursor{l.envelopes}, lo, hi, func([]byte) bool {
		m, err := l.message(ctx)
		ok = yield(m, err) && ctx.Err() == nil
		return ok
	}, func(g gap) bool {
		ok = yield(nil, fmt.Errorf("list the spool, envelopes from %x to %x: %w", g.from, g.to, readError(g.cause)))
		return ok
	})
	if err != nil && ok {
		yield(nil, fmt.Errorf("list the spool: %w", readError(err)))
	}
}

type lister struct {
	envelopes, recipients *pebble.Iterator
}

// open makes the iterators over the messages behind after, and gives the range of their envelopes.
func (l *lister) open(ctx context.Context, from *pebble.Snapshot, after spool.ID) (lo, hi []byte, err error) {
	lo, hi = prefixRange(prefixEnvelope)
	if !after.IsZero() {
		lo = next(idKey(prefixEnvelope, after))
	}
	if l.envelopes, err = from.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lo, UpperBound: hi}); err != nil {
		return nil, nil, err
	}
	from2, to2 := prefixRange(prefixRecipient)
	if l.recipients, err = from.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from2, UpperBound: to2}); err != nil {
		return nil, nil, errors.Join(err, l.envelopes.Close())
	}
	return lo, hi, nil
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
	m.Recipients, err = l.recipientsOf(id, n)
	if err != nil && errors.Is(err, spool.ErrDamaged) {
		l.recipients.SeekGE(numberedKey(prefixRecipient, id, 0)) // it may have been mended when it was met
		m.Recipients, err = l.recipientsOf(id, n)
	}
	if err != nil {
		return nil, fmt.Errorf("list message %s: %w", id, err)
	}
	return m, nil
}

// recipientsOf reads the recipients of a message, of which there are count.
func (l *lister) recipientsOf(id spool.ID, count int) ([]spool.Recipient, error) {
	if key := numberedKey(prefixRecipient, id, 0); !l.recipients.Valid() || !bytes.Equal(l.recipients.Key(), key) {
		l.recipients.SeekGE(key)
	}
	var all []spool.Recipient
	for len(all) < count && l.recipients.Valid() {
		if !bytes.Equal(l.recipients.Key(), numberedKey(prefixRecipient, id, uint32(len(all)))) {
			break
		}
		value, err := l.recipients.ValueAndErr()
		if err != nil {
			return nil, readError(err)
		}
		r, err := spool.DecodeRecipient(value)
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", len(all), err)
		}
		all = append(all, r)
		l.recipients.Next()
	}
	if err := l.recipients.Error(); err != nil && len(all) < count {
		return nil, readError(err)
	}
	if len(all) != count {
		return nil, fmt.Errorf("%w: %d of %d recipients found", spool.ErrDamaged, len(all), count)
	}
	return all, nil
}

// Damaged lists the keys that were set aside, and the files that are kept in the folder of what is damaged, until an operator
// removes them from there.
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
		ok := true
		err = walk(storeCursor{it}, lo, hi, func(key []byte) bool {
			ok = yield(damaged(key[1:], len(it.Value())), nil)
			return ok
		}, func(g gap) bool {
			err := fmt.Errorf("list what was set aside, keys from %x to %x: %w", g.from, g.to, readError(g.cause))
			ok = yield(spool.Damaged{}, err)
			return ok
		})
		if err != nil && ok {
			ok = yield(spool.Damaged{}, fmt.Errorf("list what was set aside: %w", readError(err)))
		}
		if ok {
			e.damagedFiles(yield)
		}
	}
}

// damagedFiles lists what is in the folder of what is damaged.
func (e *Engine) damagedFiles(yield func(spool.Damaged, error) bool) {
	disk, folder := e.keeper.disk, e.keeper.disk.PathJoin(e.keeper.dir, damagedFolder)
	names, err := disk.List(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		yield(spool.Damaged{}, fmt.Errorf("list what was set aside: %w", err))
		return
	}
	slices.Sort(names)
	for _, name := range names {
		path := disk.PathJoin(folder, name)
		d := spool.Damaged{What: "file " + path}
		if info, err := disk.Stat(path); err == nil {
			d.Size = int(info.Size())
			if info.IsDir() {
				d.What, d.Size = "store as it was, in "+path, 0
			}
		}
		if _, last, ok := strings.Cut(name, "-"); ok {
			if id, err := spool.ParseID(last); err == nil {
				d.ID, d.What = id, "content, in "+path
			}
		}
		if !yield(d, nil) {
			return
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
	case prefixBody:
		if id, ok := parseIDKey(key); ok {
			d.ID, d.What = id, "mark of content in a file"
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
