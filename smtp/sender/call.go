package sender

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Buffers are taken from these pools for as long as they are needed: the reader for a call, the writer for a write. So
// a session that waits for a reply holds maxReplyLine octets, and one between two calls none.
var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxReplyLine) }}
	writers = sync.Pool{New: func() any { return new(writeBuffer) }}
)

// writeBuffer holds a group of commands, or a piece of content and its encoding.
type writeBuffer [64 << 10]byte

// call is one call of the user on a session: what it needs from its context and its buffers. Any failure in it closes
// the connection.
type call struct {
	c       *Client
	ctx     context.Context
	replies replyReader
	stop    func() bool   // ends the watch over ctx
	stopped chan struct{} // closed when ctx has interrupted the connection
}

// past is a deadline that has gone by under every clock.
var past = time.Unix(1, 0)

// begin starts a call with so many recipients. Every call ends with end.
func (c *Client) begin(ctx context.Context, recipients int) *call {
	conn := c.conn // STARTTLS puts another around it during the call
	in := readers.Get().(*bufio.Reader)
	in.Reset(conn)
	k := &call{c: c, ctx: ctx}
	k.replies = replyReader{in: in, octets: replyOctets + recipients*replyOctetsFor, trace: c.trace}
	if ctx.Done() != nil {
		k.stopped = make(chan struct{})
		k.stop = context.AfterFunc(ctx, func() {
			conn.SetDeadline(past)
			close(k.stopped)
		})
	}
	return k
}

// end gives the buffers back and the connection its freedom from deadlines.
func (k *call) end() {
	if k.stop != nil && !k.stop() {
		<-k.stopped // else its deadline could fall into the next call
	}
	if k.replies.in.Buffered() > 0 {
		k.c.broken.Store(true) // a reply that nobody asked for: the next ones would be taken for the wrong commands
	}
	k.replies.in.Reset(nil)
	readers.Put(k.replies.in)
	k.replies.in = nil
	k.c.conn.SetDeadline(time.Time{})
}

// arm sets the deadline of reading or of writing, unless the context is done: then it stays past.
func (k *call) arm(side side, timeout time.Duration) error {
	err := side.set(k.c.conn, time.Now().Add(timeout))
	if k.ctx.Err() != nil { // asked only now: a context that ends later sets its deadline after ours
		side.set(k.c.conn, past)
	}
	if errors.Is(err, os.ErrNoDeadline) {
		return fmt.Errorf("the connection cannot keep timeouts: %w", err)
	}
	return nil // other errors come again, and clearer, from the read or write
}

// side is one of the two sides of a connection.
type side bool

const (
	reading side = false
	writing side = true
)

func (s side) set(conn net.Conn, at time.Time) error {
	if s == writing {
		return conn.SetWriteDeadline(at)
	}
	return conn.SetReadDeadline(at)
}

// fail closes the session and makes the error that says so.
func (k *call) fail(stage Stage, err error, reply smtp.Reply) *SessionError {
	k.c.abort()
	return &SessionError{Stage: stage, Err: err, Reply: reply}
}

// explain adds to an I/O error what the operator needs to know about it.
func (k *call) explain(err error, timeout time.Duration) error {
	switch {
	case errors.Is(err, smtp.ErrReplySyntax):
		return err
	case k.ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(k.ctx), err)
	case isTimeout(err):
		return fmt.Errorf("the server did not move on within %v: %w", timeout, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the server hung up: %w", err)
	}
	return err
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// reply reads the reply of a stage. 421 ends the session whatever it answers (3.8).
func (k *call) reply(stage Stage) (smtp.Reply, error) {
	return k.replyWithin(stage, k.c.timeouts.of(stage))
}

// replyWithin is reply with a longest wait of its own.
func (k *call) replyWithin(stage Stage, timeout time.Duration) (smtp.Reply, error) {
	if !k.replies.atHand() {
		if err := k.arm(reading, timeout); err != nil {
			return smtp.Reply{}, k.fail(stage, err, smtp.Reply{})
		}
	}
	reply, err := k.replies.read()
	if err != nil {
		return smtp.Reply{}, k.fail(stage, k.explain(err, timeout), smtp.Reply{})
	}
	if reply.Code == 421 {
		return reply, k.fail(stage, nil, reply)
	}
	return reply, nil
}

// unexpected fails on a reply that can't be one to its command: the two sides are out of step.
func (k *call) unexpected(stage Stage, reply smtp.Reply) error {
	err := fmt.Errorf("%w for %v: %.200q", smtp.ErrReplySyntax, stage, reply.Text())
	return k.fail(stage, err, smtp.Reply{})
}

// quiet makes sure before a command that the server has not spoken unasked: its words would be taken for the answer.
func (k *call) quiet(stage Stage) error {
	if k.replies.in.Buffered() == 0 {
		return nil
	}
	reply, err := k.reply(stage)
	if err != nil {
		return err
	}
	return k.unexpected(stage, reply)
}

// write writes b before the timeout ends and returns how many octets the connection took.
func (k *call) write(b []byte, timeout time.Duration) (int, error) {
	if err := k.arm(writing, timeout); err != nil {
		return 0, err
	}
	n, err := k.c.conn.Write(b)
	if err != nil {
		err = k.explain(err, timeout)
	}
	return n, err
}

// lastWords reads the refusal that a server may have left before it hung up on a write which failed with err.
func (k *call) lastWords(err error) smtp.Reply {
	if k.ctx.Err() != nil || isTimeout(err) || k.arm(reading, k.c.timeouts.Quit) != nil {
		return smtp.Reply{}
	}
	reply, err := k.replies.read()
	if err != nil || reply.Positive() {
		return smtp.Reply{}
	}
	return reply
}

// command writes one command, made by encode, and reads its reply.
func (k *call) command(stage Stage, encode func([]byte) []byte) (smtp.Reply, error) {
	if err := k.quiet(stage); err != nil {
		return smtp.Reply{}, err
	}
	buf := writers.Get().(*writeBuffer)
	line := encode(buf[:0])
	if stage != StageAuth { // which traces itself, without secrets
		k.traceSent(line)
	}
	_, err := k.write(line, k.c.timeouts.of(stage))
	writers.Put(buf)
	if err != nil {
		reply := k.lastWords(err)
		if reply.Code != 421 { // other words can't be about a command that did not arrive
			reply = smtp.Reply{}
		}
		return reply, k.fail(stage, err, reply)
	}
	return k.reply(stage)
}

// traceSent tells the trace one line with its CRLF.
func (k *call) traceSent(line []byte) {
	if k.c.trace != nil {
		k.c.trace(Sent, bytes.TrimSuffix(line, []byte("\r\n")))
	}
}
