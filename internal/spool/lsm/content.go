package lsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// chunkSize is how much content goes under one key: large enough that keys cost nothing, small enough to hold one chunk
// for every session.
const chunkSize = 64 << 10

// manyChunks is the number of chunks from which on one range is deleted instead of each key. Ranges slow every later read
// of the same memtable, so ordinary mail does without.
const manyChunks = 256

type chunk [chunkSize]byte

// chunks holds buffers for reuse; a session that writes or reads no content has none.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

// content takes the octets of one message. Its state says what Apply and Abort may do with them.
type content struct {
	e     *Engine
	id    spool.ID
	buf   *chunk // the chunk being filled; nil before the first octet and at the end
	fill  int    // octets in buf
	full  uint32 // chunks written before it
	size  int64
	state contentState
}

type contentState uint8

const (
	arriving contentState = iota
	known                 // the message is in the spool already: octets are counted and dropped
	claimed               // a commit has it
	aborted
	broken // a chunk could not be written
)

var errContentEnded = errors.New("the content was put or aborted: call Create for a new one")

// Create starts the content of a message. Each content must end in a Put that Apply commits, or in Abort.
func (e *Engine) Create(ctx context.Context, id spool.ID) (spool.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.enter(); err != nil {
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
	e.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("content of %s is arriving already: put or abort it first", id)
	}
	c := &content{e: e, id: id}
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

// Write takes the next octets. It writes to the store whenever a chunk is full and more follows.
func (c *content) Write(p []byte) (int, error) {
	switch c.state {
	case known:
		c.size += int64(len(p))
		return len(p), nil
	case claimed, aborted:
		return 0, errContentEnded
	case broken:
		return 0, fmt.Errorf("content of %s could not be written before: abort it", c.id)
	}
	written := 0
	for written < len(p) {
		if c.fill == chunkSize {
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

// spill writes the full chunk without a sync. The first one brings the mark by which a later start finds it.
func (c *content) spill() error {
	if err := c.e.enter(); err != nil {
		return err
	}
	defer c.e.leave()
	b := c.e.db.NewBatchWithSize(chunkSize + 128)
	defer b.Close()
	if c.full == 0 {
		if err := b.Set(idKey(prefixUnclaimed, c.id), nil, nil); err != nil {
			return err
		}
	}
	if err := c.writeLast(b); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	c.full++
	c.fill = 0
	return nil
}

// writeLast adds the chunk in memory to a batch.
func (c *content) writeLast(b *pebble.Batch) error {
	if c.fill == 0 {
		return nil
	}
	return b.Set(numberedKey(prefixContent, c.id, c.full), c.buf[:c.fill], nil)
}

// claim adds what is left of the content to the batch that puts its message.
func (c *content) claim(b *pebble.Batch) error {
	if err := c.writeLast(b); err != nil || c.full == 0 {
		return err
	}
	return b.Delete(idKey(prefixUnclaimed, c.id), nil)
}

// drop adds to a batch the deletion of what was written.
func (c *content) drop(b *pebble.Batch) error {
	if c.full == 0 {
		return nil
	}
	if err := deleteChunks(b, c.id, int64(c.full)*chunkSize); err != nil {
		return err
	}
	return b.Delete(idKey(prefixUnclaimed, c.id), nil)
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
	if c.state != arriving && c.state != broken {
		return
	}
	defer c.end(aborted)
	if c.full == 0 || c.e.enter() != nil {
		return
	}
	defer c.e.leave()
	b := c.e.db.NewBatch()
	defer b.Close()
	err := c.drop(b)
	if err == nil {
		err = b.Commit(pebble.NoSync)
	}
	if err != nil {
		c.e.log.Error("aborted content stays until the next start", "id", c.id, "error", err)
	}
}

// deleteChunks adds to a batch the deletion of content of size octets.
func deleteChunks(b *pebble.Batch, id spool.ID, size int64) error {
	n := (size + chunkSize - 1) / chunkSize
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

// Open reads the content of a message. The reader holds one chunk and nothing of the store between two reads, so a slow
// next host keeps no file alive. It fails with ErrDamaged where the content is not whole, and with ErrNotFound where the
// message leaves meanwhile; it gives io.EOF only after exactly Message.Size octets.
func (e *Engine) Open(ctx context.Context, id spool.ID) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	m, _, err := e.envelope(id)
	if err != nil {
		return nil, fmt.Errorf("open content of %s: %w", id, err)
	}
	return &reader{e: e, ctx: ctx, id: id, left: m.Size}, nil
}

// reader gives the content of one message.
type reader struct {
	e      *Engine
	ctx    context.Context
	id     spool.ID
	left   int64  // octets not yet read from the store
	next   uint32 // chunk to read
	buf    *chunk
	rest   []byte // of buf, not yet given
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

// fill reads the next chunk.
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
	v, err := r.e.get(numberedKey(prefixContent, r.id, r.next), r.buf[:0])
	if errors.Is(err, spool.ErrNotFound) {
		if there, err2 := r.e.has(idKey(prefixEnvelope, r.id)); err2 == nil && there {
			err = fmt.Errorf("%w: its last %d octets are missing", spool.ErrDamaged, r.left)
		}
	}
	if err == nil && (len(v) == 0 || len(v) > chunkSize || int64(len(v)) > r.left) {
		err = fmt.Errorf("%w: %d octets where %d are left", spool.ErrDamaged, len(v), r.left)
	}
	if err != nil {
		return fmt.Errorf("read content of %s, chunk %d: %w", r.id, r.next, err)
	}
	r.rest = v
	r.left -= int64(len(v))
	r.next++
	return nil
}

// Close gives back the buffer.
func (r *reader) Close() error {
	if r.buf != nil {
		chunks.Put(r.buf)
		r.buf = nil
	}
	r.rest = nil
	r.closed = true
	return nil
}
