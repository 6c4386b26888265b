package lsm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// change is what one Apply does to one message.
type change struct {
	id  spool.ID
	put *spool.Message // nil: it is in the spool already
	new map[int]spool.Recipient

	content *content // of put

	// Read before anything is written, where put is nil and new is not empty:
	old      map[int]spool.Recipient // the same recipients as they are stored
	envelope *spool.Message          // without its recipients
	inFile   bool                    // its content is in a file; known where ends is not 0
	count    int                     // of its recipients
	ends     int                     // of new, those that become done and were not
	leaves   leaving
}

// leaving says how a message goes whose recipients a change ends.
type leaving uint8

const (
	stays     leaving = iota // others are owed
	goesNow                  // in this very batch: all others ended in commits that have returned
	goesAfter                // all others end in commits under way: whoever returns last deletes
)

// Apply commits all of ops in one synced batch, after the files of what it puts are synced. Ops on the same message are
// taken together, in their order.
func (e *Engine) Apply(ctx context.Context, ops ...spool.Op) error { return e.apply(ctx, ops, false) }

// ApplySoon is Apply without waiting for the sync, for which others ask, or soon nobody but the engine itself.
func (e *Engine) ApplySoon(ctx context.Context, ops ...spool.Op) error {
	return e.apply(ctx, ops, true)
}

func (e *Engine) apply(ctx context.Context, ops []spool.Op, soon bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.enterToWrite(); err != nil {
		return err
	}
	defer e.leave()
	changes, err := group(ops)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, c := range changes {
		if err := e.prepare(c); err != nil {
			return fmt.Errorf("spool message %s: %w", c.id, err)
		}
	}
	if err := e.storeBodies(changes); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	e.reserve(changes)
	err = e.commit(changes, soon && !slices.ContainsFunc(changes, (*change).mustWait))
	if err != nil {
		err = fmt.Errorf("commit to the spool: %w", err)
	}
	gone := e.settle(changes, err == nil)
	for _, c := range gone {
		e.removeAfter(c)
	}
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.leaves == goesNow && c.inFile {
			e.removeBody(c.id)
		}
	}
	return nil
}

// mustWait tells a change that has to be on disk when Apply returns: what promises mail, and what a file is deleted after.
func (c *change) mustWait() bool { return c.put != nil || c.inFile }

// group joins the ops by message, in the order in which the messages come.
func group(ops []spool.Op) ([]*change, error) {
	changes := make([]*change, 0, len(ops))
	of := func(id spool.ID) *change {
		for _, c := range changes { // a group has a handful
			if c.id == id {
				return c
			}
		}
		c := &change{id: id}
		changes = append(changes, c)
		return c
	}
	for _, op := range ops {
		switch op := op.(type) {
		case spool.Put:
			if op.Message == nil {
				return nil, errors.New("a Put without a message")
			}
			if err := of(op.Message.ID).addPut(op); err != nil {
				return nil, err
			}
		case spool.Update:
			c := of(op.ID)
			if c.new == nil {
				c.new = make(map[int]spool.Recipient, len(op.Recipients))
			}
			maps.Copy(c.new, op.Recipients)
		default:
			return nil, fmt.Errorf("unknown operation %T", op)
		}
	}
	return changes, nil
}

func (c *change) addPut(op spool.Put) error {
	if c.put != nil || c.new != nil {
		return fmt.Errorf("message %s: a Put must be the first of its operations in a group, and the only Put", c.id)
	}
	if err := spool.CheckMessage(op.Message); err != nil {
		return err
	}
	c.put = op.Message
	if op.Content == nil {
		return nil
	}
	var ok bool
	if c.content, ok = op.Content.(*content); !ok {
		return fmt.Errorf("message %s: content of type %T is not of this engine: use its Create", c.id, op.Content)
	}
	return nil
}

// prepare reads what the change needs to know and refuses what can't be done. It changes nothing.
func (e *Engine) prepare(c *change) error {
	if c.put != nil {
		there, err := e.preparePut(c)
		if err != nil {
			return err
		}
		if !there {
			return c.fold()
		}
		c.put, c.content = nil, nil
	}
	return e.prepareUpdate(c)
}

// preparePut tells whether the message was put before: then nothing of it is written again.
func (e *Engine) preparePut(c *change) (there bool, err error) {
	if c.content == nil {
		if c.put.Size != 0 {
			return false, fmt.Errorf("its size is %d and it comes without content", c.put.Size)
		}
		e.mu.Lock()
		e.raise(c.id)
		e.mu.Unlock()
		return e.has(idKey(prefixEnvelope, c.id))
	}
	switch c.content.state {
	case known, claimed:
		return true, nil
	case aborted:
		return false, errContentEnded
	case broken:
		return false, errors.New("its content could not be written: abort it")
	}
	if c.content.e != e || c.content.id != c.id {
		return false, fmt.Errorf("its content was created for %s, maybe by another engine", c.content.id)
	}
	if c.content.size != c.put.Size {
		return false, fmt.Errorf("its size is %d and %d octets of content were written", c.put.Size, c.content.size)
	}
	return false, nil
}

// fold takes Updates of a message that is put in the same group into the Put.
func (c *change) fold() error {
	if len(c.new) == 0 {
		return nil
	}
	m := *c.put
	m.Recipients = slices.Clone(m.Recipients)
	for n, r := range c.new {
		if n < 0 || n >= len(m.Recipients) {
			return fmt.Errorf("recipient %d: %w", n, spool.ErrNotFound)
		}
		r.To = m.Recipients[n].To
		m.Recipients[n] = r
	}
	c.put = &m
	return nil
}

// prepareUpdate reads the stored state of the recipients that change, for their index entries are named after it.
func (e *Engine) prepareUpdate(c *change) error {
	c.old = make(map[int]spool.Recipient, len(c.new))
	for n, r := range c.new {
		if n < 0 {
			return fmt.Errorf("recipient %d: %w", n, spool.ErrNotFound)
		}
		old, err := e.recipient(c.id, n)
		if err != nil {
			return fmt.Errorf("recipient %d: %w", n, err)
		}
		if old.State.Done() && !r.State.Done() {
			return fmt.Errorf("recipient %d is %s, which is final: put a new message to try again", n, old.State)
		}
		r.To = old.To // the index names the recipient for good
		c.new[n] = r
		c.old[n] = old
		if r.State.Done() && !old.State.Done() {
			c.ends++
		}
	}
	if len(c.new) == 0 {
		return nil
	}
	var err error
	if c.envelope, c.count, err = e.envelope(c.id); err != nil {
		return fmt.Errorf("its envelope: %w", err)
	}
	if c.ends == 0 {
		return nil
	}
	c.inFile = e.inFile(c.id, c.envelope.Size)
	return e.countOpen(c.id, c.count)
}

// commit writes the changes in one batch and, unless it may come soon, waits for its sync. Nothing is locked here: commits
// that come together share a sync.
func (e *Engine) commit(changes []*change, soon bool) error {
	size := 0
	for _, c := range changes {
		size += c.estimate()
	}
	b := e.db.NewBatchWithSize(size)
	defer b.Close()
	for _, c := range changes {
		if err := c.write(b); err != nil {
			return err
		}
	}
	if !b.Empty() {
		if err := e.commitBatch(b, soon); err != nil {
			return err
		}
	}
	for _, c := range changes {
		c.committed(e)
	}
	return nil
}

// committed ends the content of what was put, and keeps at hand what will be read soon.
func (c *change) committed(e *Engine) {
	switch {
	case c.put == nil && c.leaves != stays:
		e.fresh.forget(c.id)
	case c.put == nil:
		e.fresh.update(c.id, c.new)
	case !c.owed():
		if c.content != nil {
			c.content.drop()
		}
	case c.content == nil:
		e.fresh.add(c.put, nil, false)
	default:
		e.fresh.add(c.put, c.content.keep(), c.content.body == nil)
		c.content.end(claimed)
	}
}

// owed tells whether a message that is put has a recipient that is not done.
func (c *change) owed() bool {
	return slices.ContainsFunc(c.put.Recipients, func(r spool.Recipient) bool { return !r.State.Done() })
}

// estimate is about how many octets the batch needs, so that it need not grow.
func (c *change) estimate() int {
	const envelope, recipient = 512, 512
	n := envelope + len(c.new)*recipient
	if c.put != nil {
		n += len(c.put.Recipients) * recipient
	}
	if c.content != nil {
		n += c.content.fill
	}
	return n
}

func (c *change) write(b *pebble.Batch) error {
	switch {
	case c.put != nil:
		return c.writePut(b)
	case c.leaves == goesNow:
		if err := c.dropIndex(b); err != nil {
			return err
		}
		return c.deleteMessage(b)
	}
	return c.writeUpdate(b)
}

func (c *change) writePut(b *pebble.Batch) error {
	if !c.owed() {
		return nil // it leaves before it came
	}
	if err := b.Set(idKey(prefixEnvelope, c.id), spool.AppendMessage(nil, c.put), nil); err != nil {
		return err
	}
	var buf []byte
	for n := range c.put.Recipients {
		var err error
		if buf, err = writeRecipient(b, c.put, n, &c.put.Recipients[n], buf); err != nil {
			return err
		}
	}
	if c.content != nil {
		return c.content.claim(b)
	}
	return nil
}

func (c *change) writeUpdate(b *pebble.Batch) error {
	if err := c.dropIndex(b); err != nil {
		return err
	}
	var buf []byte
	for _, n := range slices.Sorted(maps.Keys(c.new)) {
		r := c.new[n]
		var err error
		if buf, err = writeRecipient(b, c.envelope, n, &r, buf); err != nil {
			return err
		}
	}
	if c.leaves == goesAfter {
		return b.Set(idKey(prefixEnding, c.id), nil, nil)
	}
	return nil
}

// dropIndex deletes the index entries of the stored states.
func (c *change) dropIndex(b *pebble.Batch) error {
	for _, n := range slices.Sorted(maps.Keys(c.old)) {
		old := c.old[n]
		if old.State.Done() {
			continue
		}
		if err := b.Delete(indexKey(c.id, n, old.Next), nil); err != nil {
			return err
		}
	}
	return nil
}

// writeRecipient adds the state of recipient n of m to a batch, with its index entry if it is not done. buf is scratch.
func writeRecipient(b *pebble.Batch, m *spool.Message, n int, r *spool.Recipient, buf []byte) ([]byte, error) {
	buf = spool.AppendRecipient(buf[:0], r)
	if err := b.Set(numberedKey(prefixRecipient, m.ID, uint32(n)), buf, nil); err != nil || r.State.Done() {
		return buf, err
	}
	p := spool.PendingOf(m, n, r)
	buf = spool.AppendPending(buf[:0], &p)
	return buf, b.Set(indexKey(m.ID, n, r.Next), buf, nil)
}

// deleteMessage adds to a batch the deletion of a message that has no index entry any more.
func (c *change) deleteMessage(b *pebble.Batch) error {
	if err := b.Delete(idKey(prefixEnvelope, c.id), nil); err != nil {
		return err
	}
	for n := range c.count {
		if err := b.Delete(numberedKey(prefixRecipient, c.id, uint32(n)), nil); err != nil {
			return err
		}
	}
	if c.inFile {
		return b.Delete(idKey(prefixBody, c.id), nil)
	}
	return deleteChunks(b, c.id, c.envelope.Size)
}
