package lsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// change is what one Apply does to one message.
type change struct {
	id  spool.ID
	put *spool.Message // nil: it is in the spool already
	new []newState     // by recipient; nil: no Update

	content *content // of put

	// Read before anything is written, where put is nil and new is not empty:
	envelope *spool.Message // without its recipients
	inFile   bool           // its content is in a file; known where ends is not 0
	count    int            // of its recipients
	ends     int            // of new, those that become done and were not
	leaves   leaving
}

// newState is what one recipient of a message becomes.
type newState struct {
	n  int
	to spool.Recipient

	// As it is stored: its index entry is named after it. Read before anything is written.
	was spool.State
	due time.Time
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
	var room [1]*change // most are of one message
	changes, err := group(room[:0], ops)
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

// group joins the ops by message, in the order in which the messages come, and appends what it makes to changes.
func group(changes []*change, ops []spool.Op) ([]*change, error) {
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
			of(op.ID).addUpdate(op)
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

// addUpdate takes in what some recipients become. Where one is named in two Updates the later counts.
func (c *change) addUpdate(op spool.Update) {
	if c.new == nil {
		c.new = make([]newState, 0, len(op.Recipients))
	}
	before := len(c.new)
	for n, r := range op.Recipients {
		if i, known := slices.BinarySearchFunc(c.new[:before], n, (newState).compare); known {
			c.new[i].to = r
			continue
		}
		c.new = append(c.new, newState{n: n, to: r})
	}
	slices.SortFunc(c.new, func(a, b newState) int { return a.compare(b.n) })
}

func (s newState) compare(n int) int { return cmp.Compare(s.n, n) }

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
	for _, s := range c.new {
		if s.n < 0 || s.n >= len(m.Recipients) {
			return fmt.Errorf("recipient %d: %w", s.n, spool.ErrNotFound)
		}
		s.to.To = m.Recipients[s.n].To
		m.Recipients[s.n] = s.to
	}
	c.put = &m
	return nil
}

// prepareUpdate reads the stored state of the recipients that change, for their index entries are named after it.
func (e *Engine) prepareUpdate(c *change) error {
	for i := range c.new {
		s := &c.new[i]
		if s.n < 0 {
			return fmt.Errorf("recipient %d: %w", s.n, spool.ErrNotFound)
		}
		old, err := e.recipient(c.id, s.n)
		if err != nil {
			return fmt.Errorf("recipient %d: %w", s.n, err)
		}
		if old.State.Done() && !s.to.State.Done() {
			return fmt.Errorf("recipient %d is %s, which is final: put a new message to try again", s.n, old.State)
		}
		s.to.To = old.To // the index names the recipient for good
		s.was, s.due = old.State, old.Next
		if s.to.State.Done() && !s.was.Done() {
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
		e.fresh.add(c.put, c.content.keep(&e.fresh.spare), c.content.body == nil)
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

// usualRecord is room for the records of usual mail, so that they are made on the stack.
const usualRecord = 512

func (c *change) writePut(b *pebble.Batch) error {
	if !c.owed() {
		return nil // it leaves before it came
	}
	var scratch [usualRecord]byte
	buf := spool.AppendMessage(scratch[:0], c.put)
	if err := b.Set(idKey(prefixEnvelope, c.id), buf, nil); err != nil {
		return err
	}
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
	var scratch [usualRecord]byte
	buf := scratch[:0]
	for i := range c.new {
		var err error
		if buf, err = writeRecipient(b, c.envelope, c.new[i].n, &c.new[i].to, buf); err != nil {
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
	for i := range c.new {
		s := &c.new[i]
		if s.was.Done() {
			continue
		}
		if err := b.Delete(indexKey(c.id, s.n, s.due), nil); err != nil {
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
