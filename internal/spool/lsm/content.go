package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// chunkSize is the most content under one key of the store, and the size of the blocks of larger content in its file. To
// change it takes a new format.
const chunkSize = 64 << 10

// inlineSize is the most content that goes into the store: above it a file is as fast or faster (docs/durability.md), and
// it is small enough to hold so much for every session that sends content. Two chunks take in what has 64 KiB before it
// gets its trace field.
const inlineSize = 2 * chunkSize

// manyChunks is the number of chunks, of a message of format 1, from which on one range is deleted instead of each key.
// Ranges slow every later read of the same memtable, so ordinary mail does without.
const manyChunks = 256

type chunk [inlineSize]byte

// chunks holds buffers for reuse; a session that writes or reads no content has none.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

// content takes the octets of one message. Its state says what Apply and Abort may do with them.
type content struct {
	e     *Engine
	id    spool.ID
	buf   *chunk      // what is being filled; nil before the first octet and at the end
	fill  int         // octets in buf
	body  *bodyWriter // nil: no more than inlineSize has come
	size  int64
	state contentState
}

type contentState uint8

const (
	arriving contentState = iota
	known                 // the message is in the spool already: octets are counted and dropped
	stored                // its file is complete and synced, and waits for the commit
	claimed               // a commit has it
	aborted
	broken // it could not be written
)

var errContentEnded = errors.New("the content was put or aborted: call Create for a new one")

// Create starts the content of a message. Each content must end in a Put that Apply commits, or in Abort.
func (e *Engine) Create(ctx context.Context, id spool.ID) (spool.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.enterToWrite(); err != nil {
		return nil, err
	}
	defer e.leave()
	if id.IsZero() {
		return nil, errors.New("content without an id: take one from spool.IDs")
	}
	e.mu.Lock()
	_, busy := e.writing[id]
	if !busy {
		e.writing[id] = struct{}{}
	}
	unseen := e.raise(id)
	e.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("content of %s is arriving already: put or abort it first", id)
	}
	c := &content{e: e, id: id}
	if unseen {
		return c, nil
	}
	there, err := e.has(idKey(prefixEnvelope, id))
	if err != nil {
		c.end(aborted)
		return nil, fmt.Errorf("look for message %s: %w", id, err)
	}
	if there {
		c.end(known)
	}
	return c, nil
}

// raise tells an id that is above all that were ever in the store, as new ids nearly always are: whether it is there need not
// be read. e.mu is held.
func (e *Engine) raise(id spool.ID) (unseen bool) {
	if bytes.Compare(id[:], e.highest[:]) <= 0 {
		return false
	}
	e.highest = id
	return true
}

// Write takes the next octets. It writes to a file whenever a chunk is full and more follows.
func (c *content) Write(p []byte) (int, error) {
	switch c.state {
	case known:
		c.size += int64(len(p))
		return len(p), nil
	case stored, claimed, aborted:
		return 0, errContentEnded
	case broken:
		return 0, fmt.Errorf("content of %s could not be written before: abort it", c.id)
	}
	written := 0
	for written < len(p) {
		if c.fill == inlineSize {
			if err := c.spill(); err != nil {
				c.state = broken
				return written, fmt.Errorf("write content of %s: %w", c.id, err)
			}
		}
		if c.buf == nil {
			c.buf = chunks.Get().(*chunk)
		}
		n := copy(c.buf[c.fill:], p[written:])
		c.fill += n
		c.size += int64(n)
		written += n
	}
	return written, nil
}

// spill writes the full buffer to the file of the message, without a sync.
func (c *content) spill() error {
	if err := c.e.enter(); err != nil {
		return err
	}
	defer c.e.leave()
	if c.body == nil {
		body, err := c.e.bodies.create(c.id)
		if err != nil {
			return err
		}
		c.body = body
	}
	return c.writeBlocks()
}

// writeBlocks writes what is in the buffer to the file.
func (c *content) writeBlocks() error {
	for block := range slices.Chunk(c.buf[:c.fill], chunkSize) {
		if err := c.body.write(block); err != nil {
			return err
		}
	}
	c.fill = 0
	return nil
}

// store completes the file of the content and syncs it. A file that could not be synced is never tried again: what of
// it is on disk is unknown.
func (c *content) store() error {
	if c.state == stored {
		return nil
	}
	c.state = broken
	if err := c.writeBlocks(); err != nil {
		return err
	}
	if err := c.body.finish(); err != nil {
		return err
	}
	c.state = stored
	return nil
}

// claim adds to the batch that puts the message its content, or that it is in a file.
func (c *content) claim(b *pebble.Batch) error {
	if c.body != nil {
		return b.Set(idKey(prefixBody, c.id), nil, nil)
	}
	for n, at := uint32(0), 0; at < c.fill; n, at = n+1, at+chunkSize {
		if err := b.Set(numberedKey(prefixContent, c.id, n), c.buf[at:min(at+chunkSize, c.fill)], nil); err != nil {
			return err
		}
	}
	return nil
}

// smallContent is content that is copied to be kept, in octets; of larger, the buffer itself is kept.
const smallContent = 16 << 10

// keep gives the content that is in the store, for the one that reads it soon; nil where it is in a file. What it gives may go
// back to the spare buffers, once, when nobody reads it any more.
func (c *content) keep(spare *spare) []byte {
	if c.body != nil || c.fill == 0 {
		return nil
	}
	whole := c.buf[:c.fill]
	if c.fill <= smallContent {
		small := spare.take(c.fill)
		copy(small, whole)
		return small
	}
	c.buf = nil
	return whole
}

// end gives back the buffer and lets the id be written again.
func (c *content) end(s contentState) {
	if c.buf != nil {
		chunks.Put(c.buf)
		c.buf = nil
	}
	c.fill = 0
	c.state = s
	c.e.mu.Lock()
	delete(c.e.writing, c.id)
	c.e.mu.Unlock()
}

// Abort drops what was written. What can't be deleted now goes at the next start.
func (c *content) Abort() {
	switch c.state {
	case arriving, stored, broken:
		c.drop()
	}
}

// drop removes the file, if there is one, and ends the content.
func (c *content) drop() {
	defer c.end(aborted)
	if c.body == nil {
		return
	}
	_ = c.body.close() // what it says is of no interest any more
	if c.e.enter() != nil {
		return
	}
	defer c.e.leave()
	if err := c.e.bodies.remove(c.id); err != nil {
		c.e.log.Error("aborted content stays until the next start", "id", c.id, "error", err)
	}
}

// deleteChunks adds to a batch the deletion of content of size octets that is in the store.
func deleteChunks(b *pebble.Batch, id spool.ID, size int64) error {
	n := blocksOf(size)
	if n > manyChunks {
		lo, hi := idRange(prefixContent, id)
		return b.DeleteRange(lo, hi, nil)
	}
	for i := range n {
		// The size lets compaction see how much space it wins.
		sized := uint32(min(size-i*chunkSize, chunkSize))
		if err := b.DeleteSized(numberedKey(prefixContent, id, uint32(i)), sized, nil); err != nil {
			return err
		}
	}
	return nil
}

// Open reads the content of a message, from memory if it came a moment ago. Else the reader holds one buffer, and nothing of
// the store between two reads; a large message's file is open until Close. It fails with ErrDamaged where the content is not whole or not what was written,
// and with ErrNotFound where the message leaves meanwhile; it gives io.EOF only after exactly Message.Size octets.
func (e *Engine) Open(ctx context.Context, id spool.ID) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	if kept, ok := e.fresh.content(id); ok {
		return &reader{e: e, ctx: ctx, id: id, kept: kept, rest: kept.content}, nil
	}
	m, _, err := e.envelope(id)
	if err != nil {
		return nil, fmt.Errorf("open content of %s: %w", id, err)
	}
	r := &reader{e: e, ctx: ctx, id: id, left: m.Size}
	if e.inFile(id, m.Size) {
		if r.body, err = e.bodies.open(id, m.Size); err != nil {
			return nil, fmt.Errorf("open content of %s: %w", id, e.orGone(id, err))
		}
	}
	return r, nil
}

// orGone gives ErrNotFound in the place of an error if the message has left.
func (e *Engine) orGone(id spool.ID, err error) error {
	if there, err2 := e.has(idKey(prefixEnvelope, id)); err2 == nil && !there {
		return spool.ErrNotFound
	}
	return err
}

// reader gives the content of one message.
type reader struct {
	e      *Engine
	ctx    context.Context
	id     spool.ID
	body   *bodyReader // nil: the content is in the store
	left   int64       // octets not yet read
	next   uint32      // chunk to read
	buf    *chunk
	kept   *freshMessage // what rest is of, in place of buf; nil: none
	rest   []byte        // not yet given
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, errors.New("read of closed content")
	}
	if len(r.rest) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fill reads the next chunk and proves it before any of it is given.
func (r *reader) fill() error {
	if r.left == 0 {
		return io.EOF
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if err := r.e.enter(); err != nil {
		return err
	}
	defer r.e.leave()
	if r.buf == nil {
		r.buf = chunks.Get().(*chunk)
	}
	v, err := r.chunk()
	if err != nil {
		return fmt.Errorf("read content of %s, chunk %d: %w", r.id, r.next, err)
	}
	r.rest = v
	r.left -= int64(len(v))
	r.next++
	return nil
}

// chunk reads the next chunk into the buffer.
func (r *reader) chunk() ([]byte, error) {
	if r.body != nil {
		return r.body.block(r.next, r.buf[:])
	}
	v, err := r.e.get(numberedKey(prefixContent, r.id, r.next), r.buf[:0])
	if errors.Is(err, spool.ErrNotFound) {
		return nil, r.e.orGone(r.id, fmt.Errorf("%w: its last %d octets are missing", spool.ErrDamaged, r.left))
	}
	if err == nil && (len(v) == 0 || len(v) > chunkSize || int64(len(v)) > r.left) {
		err = fmt.Errorf("%w: %d octets where %d are left", spool.ErrDamaged, len(v), r.left)
	}
	return v, err
}

// Close gives back the buffer and the file.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.rest = nil
	if r.kept != nil {
		r.e.fresh.release(r.kept)
	}
	if r.buf != nil {
		chunks.Put(r.buf)
		r.buf = nil
	}
	if r.body != nil {
		return r.body.file.Close()
	}
	return nil
}
