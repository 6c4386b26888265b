package sender

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// maxUnanswered is how many chunks may be on their way without a reply.
const maxUnanswered = 8

// aliveTime is how long a kept session is listened to before a whole message is entrusted to it in one write, and aliveTries
// how often where the machine was too busy to listen.
const (
	aliveTime  = 20 * time.Microsecond
	aliveTries = 4
)

// runChunks sends the envelope and the content by BDAT. Where PIPELINING is offered the first chunk leaves with the
// envelope: a short message needs one write and one round trip.
func (t *transaction) runChunks(content io.Reader) error {
	chunks := newChunks(content, t.env.Binary || t.env.Verbatim)
	defer chunks.free()
	if t.c.use.Pipelining {
		if err := chunks.next(); err != nil {
			return t.fail(StageContent, err, smtp.Reply{})
		}
		if err := t.alive(); err != nil {
			return err
		}
		t.group = chunks
	}
	accepted, err := t.envelope()
	if err != nil {
		return err
	}
	pipelined := t.group != nil
	switch {
	case pipelined && (accepted == 0 || chunks.last):
		return t.onlyChunk(accepted)
	case accepted == 0:
		return nil // RSET comes in front of the next transaction
	case pipelined && !t.c.lmtp: // how many replies LMTP gives after a refused chunk is not told, so none is sent then
		return t.stream(chunks)
	}
	return t.chunkByChunk(chunks, pipelined)
}

// alive finds whether the server has hung up on an idle session. A message that leaves in one write with its envelope
// would be in doubt, though the server never saw it.
func (t *transaction) alive() error {
	if t.c.mails == 1 { // the session is fresh
		return nil
	}
	for range aliveTries {
		began := time.Now()
		if t.arm(reading, aliveTime) != nil || t.ctx.Err() != nil {
			return nil // the next read says so
		}
		_, err := t.replies.in.Peek(1)
		if err != nil && !isTimeout(err) {
			return t.fail(StageMail, t.explain(err, aliveTime), smtp.Reply{})
		}
		if err == nil || time.Since(began) < 5*aliveTime {
			break // what it said, quiet hears
		}
		// A busy machine let the time pass before the read began.
	}
	return nil
}

// onlyChunk reads the reply to a chunk that left with the envelope, where it is the last or nobody is left.
func (t *transaction) onlyChunk(accepted int) error {
	if accepted == 0 { // RFC 3030 2: it is refused, as nobody gets it
		reply, err := t.reply(StageContent)
		if err == nil && reply.Code/100 == 3 {
			err = t.unexpected(StageContent, reply)
		}
		if err == nil && reply.Positive() && t.group.last {
			t.c.needReset = false
		}
		return err
	}
	refused, err := t.final()
	if err == nil && !refused {
		t.c.needReset = false
	}
	return err // after a refusal RSET is due: not all servers end the transaction
}

// chunkByChunk sends chunks, each after the reply to the one before.
func (t *transaction) chunkByChunk(chunks *chunks, sent bool) error {
	for {
		if !sent {
			if err := chunks.next(); err != nil {
				return t.fail(StageContent, err, smtp.Reply{})
			}
			if err := t.writeChunk(chunks); err != nil {
				return t.fail(StageContent, err, t.lastWords(err)) // not all was taken, so nothing is in doubt
			}
		}
		if chunks.last {
			refused, err := t.final()
			if err == nil && !refused {
				t.c.needReset = false
			}
			return err
		}
		reply, err := t.chunkReply(false)
		if err != nil {
			return err
		}
		if !reply.Positive() { // RFC 3030 2: the transaction has failed, and no more chunks may be sent
			t.some(t.to, Outcome{Reply: reply, Stage: StageContent})
			return nil
		}
		sent = false
	}
}

// writeChunk writes a chunk in one write. A connection that took all of it is asked for the reply, whatever else it
// says.
func (k *call) writeChunk(chunks *chunks) error {
	k.traceChunk(chunks)
	n, err := k.write(chunks.wire(), k.c.timeouts.Block)
	if n >= len(chunks.wire()) {
		return nil
	}
	return err
}

// chunkReply reads the reply to a chunk.
func (k *call) chunkReply(last bool) (smtp.Reply, error) {
	timeout := k.c.timeouts.Block
	if last {
		timeout = k.c.timeouts.Final
	}
	k.replies.octets += replyOctetsFor // each reply to a chunk has room of its own
	reply, err := k.replyWithin(StageContent, timeout)
	if err == nil && reply.Code/100 == 3 {
		err = k.unexpected(StageContent, reply)
	}
	return reply, err
}

// stream is the way of content through pipelined chunks: the caller's goroutine reads and writes, another one reads the
// replies, and neither waits for the other but when too many are owed.
type stream struct {
	t        *transaction
	unread   chan bool     // a chunk that was written; true for the last
	refused  chan struct{} // closed at a refusal
	done     chan struct{} // closed when all replies are read
	refusal  smtp.Reply    // the first; of the reading goroutine until done
	final    smtp.Reply    // to the last chunk; likewise
	err      error         // likewise
	lastSent bool          // of the writing goroutine
}

// stream sends the chunks after the first, which left with the envelope.
func (t *transaction) stream(chunks *chunks) error {
	s := &stream{t: t, unread: make(chan bool, maxUnanswered), refused: make(chan struct{}), done: make(chan struct{})}
	s.unread <- false
	go s.read()
	writeErr := s.write(chunks)
	if writeErr != nil && (isTimeout(writeErr) || errors.Is(writeErr, ErrContent) || t.ctx.Err() != nil) {
		t.c.abort() // no reply is worth waiting for
		close(s.unread)
		<-s.done
		return t.fail(StageContent, writeErr, smtp.Reply{})
	}
	close(s.unread)
	<-s.done
	switch {
	case s.err != nil:
		broke, ok := s.err.(*SessionError)
		if ok {
			broke.InDoubt = s.lastSent && broke.Reply.IsZero()
		}
		return s.err
	case !s.refusal.IsZero() && writeErr == nil: // RFC 3030 2: the transaction has failed
		t.some(t.to, Outcome{Reply: s.refusal, Stage: StageContent})
		return nil
	case writeErr != nil:
		reply := s.refusal
		if reply.IsZero() {
			reply = t.lastWords(writeErr)
		}
		return t.fail(StageContent, writeErr, reply)
	}
	t.c.needReset = !s.final.Positive()
	t.some(t.to, Outcome{Reply: s.final, Stage: StageContent})
	return nil
}

// write sends chunks until the last, a refusal, or an error.
func (s *stream) write(chunks *chunks) error {
	for !chunks.last {
		if err := chunks.next(); err != nil {
			return err
		}
		select {
		case <-s.refused:
			return nil
		case <-s.done:
			return nil
		default:
		}
		if err := s.t.writeChunk(chunks); err != nil {
			return err
		}
		s.lastSent = chunks.last
		select {
		case s.unread <- chunks.last:
		case <-s.done: // the session broke
			return nil
		}
	}
	return nil
}

// read reads the reply to each chunk that was written.
func (s *stream) read() {
	defer close(s.done)
	for last := range s.unread {
		reply, err := s.t.chunkReply(last)
		if err != nil {
			s.err = err
			return
		}
		switch {
		case !s.refusal.IsZero(): // an echo of it
		case last:
			s.final = reply
		case !reply.Positive():
			s.refusal = reply
			close(s.refused)
		}
	}
}

// traceChunk tells the trace a chunk, its octets only by number.
func (k *call) traceChunk(c *chunks) {
	if k.c.trace == nil {
		return
	}
	k.traceSent(c.buf[c.begin:chunkStart])
	if n := c.size(); n > 0 {
		k.traceSent(fmt.Appendf(nil, "... %d octets", n))
	}
}
