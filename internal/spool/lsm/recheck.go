package lsm

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// recheck makes the records of a store that lost some fit each other again: a message of which something is missing is set
// aside, records without a message are, and the index is made to say of each recipient what its record says. What it finds is
// reported. It reads all envelopes, recipients and the index, but no content.
func (e *Engine) recheck() error {
	for _, part := range []func() error{e.recheckMessages, e.recheckRecipients, e.recheckIndex, e.recheckBodies} {
		if err := part(); err != nil {
			return fmt.Errorf("check the records: %w", err)
		}
	}
	return nil
}

// each visits the keys of a prefix as they were when it began.
func (e *Engine) each(prefix byte, visit func(key, value []byte) error) error {
	lo, hi := prefixRange(prefix)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return readError(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = visit(it.Key(), value)
		}
		if err != nil {
			return err
		}
	}
	return readError(it.Error())
}

// recheckMessages sets messages aside that Load would.
func (e *Engine) recheckMessages() error {
	return e.each(prefixEnvelope, func(key, _ []byte) error {
		id, ok := parseIDKey(key)
		if !ok {
			return e.putAside(key)
		}
		if _, err := e.load(id); errors.Is(err, spool.ErrDamaged) {
			e.log.Error("a message lost a part", "id", id, "error", e.setAside(id, err))
		} else if err != nil {
			return err
		}
		return nil
	})
}

// putAside moves one key aside and reports it.
func (e *Engine) putAside(key []byte) error {
	value, err := e.get(key, nil)
	if err != nil {
		return err
	}
	b := e.db.NewBatch()
	defer b.Close()
	if err := moveAside(b, key, value); err != nil {
		return err
	}
	d := damaged(key, len(value))
	e.log.Error("a record without its message was set aside", "id", d.ID, "what", d.What)
	return b.Commit(pebble.Sync)
}

// recheckRecipients sets recipients without a message aside, and makes the index entries of all others.
func (e *Engine) recheckRecipients() error {
	var m *spool.Message // the one the last key was of; nil: it has none
	var of spool.ID
	return e.each(prefixRecipient, func(key, value []byte) error {
		if len(key) != numberedSize {
			return e.putAside(key)
		}
		var id spool.ID
		copy(id[:], key[1:])
		if id != of {
			var err error
			if m, _, err = e.envelope(id); err != nil && !errors.Is(err, spool.ErrNotFound) {
				return err
			}
			of = id
		}
		if m == nil {
			return e.putAside(key)
		}
		r, err := spool.DecodeRecipient(value)
		if err != nil || r.State.Done() {
			return nil // recheckMessages has decided about the message
		}
		n := int(numberOf(key))
		p := spool.PendingOf(m, n, &r)
		want := spool.AppendPending(nil, &p)
		is, err := e.get(indexKey(id, n, r.Next), nil)
		if errors.Is(err, spool.ErrNotFound) {
			e.log.Error("an index entry was lost and is made again", "id", id, "recipient", n)
		} else if err != nil {
			return err
		} else if bytes.Equal(is, want) {
			return nil
		}
		return e.db.Set(indexKey(id, n, r.Next), want, pebble.NoSync)
	})
}

// recheckIndex sets the entries aside that are not those of a recipient that waits.
func (e *Engine) recheckIndex() error {
	return e.each(prefixIndex, func(key, value []byte) error {
		p, err := readIndex(key, value)
		if err == nil {
			r, err := e.recipient(p.ID, p.N)
			if err == nil && !r.State.Done() && bytes.Equal(indexKey(p.ID, p.N, r.Next), key) {
				return nil
			}
			if err != nil && !errors.Is(err, spool.ErrNotFound) {
				return err
			}
		}
		e.log.Error("an index entry that is of no waiting recipient was set aside", "id", p.ID, "recipient", p.N)
		b := e.db.NewBatch()
		defer b.Close()
		if err := moveAside(b, key, value); err != nil {
			return err
		}
		return b.Commit(pebble.NoSync)
	})
}

// recheckBodies moves the files of large content that no message has to the damaged ones, before the start would delete them:
// their messages may be what was lost.
func (e *Engine) recheckBodies() error {
	disk := e.bodies.disk
	names, err := disk.List(e.bodies.name)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, err := spool.ParseID(name)
		if err != nil {
			continue
		}
		kept, err := e.hasEnvelope(id)
		if err != nil {
			return err
		}
		mark := idKey(prefixBody, id)
		claimed, err := e.has(mark)
		if err != nil {
			return err
		}
		switch {
		case kept && claimed:
			continue
		case kept: // only larger content has a file, so the mark is what was lost
			if err := e.db.Set(mark, nil, pebble.NoSync); err != nil {
				return err
			}
			continue
		case claimed:
			if err := e.putAside(mark); err != nil {
				return err
			}
		}
		folder := disk.PathJoin(e.keeper.dir, damagedFolder)
		if err := makeFolder(disk, folder); err != nil {
			return err
		}
		to := disk.PathJoin(folder, time.Now().UTC().Format(damagedStamp)+"-"+name)
		if err := disk.Rename(e.bodies.path(id), to); err != nil {
			return err
		}
		e.log.Error("large content without a message is kept with what is damaged", "id", id, "file", to)
	}
	return nil
}
