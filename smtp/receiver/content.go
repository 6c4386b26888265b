package receiver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/holub-mail/holub/smtp"
)

var (
	replyTooLarge = smtp.NewReply(552, smtp.EnhancedCode{5, 3, 4}, "The message is larger than this server takes")
	replyBareLine = smtp.NewReply(554, smtp.EnhancedCode{5, 5, 2},
		"A CR or LF stands alone in the message; lines must end with CRLF (RFC 5321 2.3.8)")
	replyEightBit = smtp.NewReply(554, smtp.EnhancedCode{5, 6, 3}, // RFC 3463 3.7: it would have to be converted
		"The message has octets above 127, and this channel carries 7 bits")
	replyTimeout = smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 4, 2}, Close: true,
		Lines: []string{"Timeout while waiting for the client"}}
	replyBroken = smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 4, 2}, Close: true,
		Lines: []string{"The connection broke"}}
)

// content is the io.Reader that a Handler gets, free of its framing and ended by the client's own end alone. What makes
// the mail unacceptable comes as an error that is the Reply for it, and stays.
type content struct {
	s        *Session
	framing  framing
	deadline time.Time // of the whole message
	size     int64
	eight    bool  // an octet above 127 was read
	err      error // sticky: io.EOF, a Reply, errDropped, or what ended the connection
}

// framing is how content lies on the wire: DATA's dots or BDAT's chunks.
type framing interface {
	// read gives at least one octet of the content unless it ends. A Reply as error refuses the content.
	read(c *content, p []byte) (n int, end bool, err error)
	// bareLineEnd tells that what was read has a CR or LF that stands alone.
	bareLineEnd() bool
	// discard reads what still belongs to the message, so that the rest of refused content is never taken for commands:
	// to the final dot, or to the end of the chunk. Its error ended the connection, or is errEndless.
	discard(c *content) error
	// after is the reply that goes out in place of the Handler's when a command dropped the content.
	after() smtp.Reply
	// refusedEach tells that LMTP answers a refusal once for each recipient.
	refusedEach() bool
}

var (
	// errEndless is the error for a client that goes on long after its message was too large.
	errEndless = errors.New("the message does not end")
	// errDropped is what a Handler gets when the client drops a message between two chunks.
	errDropped = errors.New("the client dropped the message")
)

// receive runs the content of one message through the Handler and answers; then the transaction is over.
func (s *Session) receive(f framing) smtp.Reply {
	c := &content{s: s, framing: f, deadline: time.Now().Add(s.messageTimeout)}
	var one [1]smtp.Reply
	replies := s.deliver(one[:0], c)
	if c.err == nil && anyPositive(replies) {
		c.readOn() // the Handler did not read so far
	}
	err := c.err
	var refusal smtp.Reply
	refused := false
	if err != nil && err != io.EOF {
		refusal, refused = smtp.AsReply(err)
	}
	if err == nil || err == io.EOF || refused {
		err = f.discard(c)
	}
	if refused {
		replies = s.refuseAll(one[:0], refusal, f.refusedEach())
	} else if c.err == nil && !f.refusedEach() { // the Handler gave up at a chunk that is not the last
		replies = replies[:1]
	}
	r := s.sayAllButLast(replies, err == nil)
	switch {
	case err == nil:
		r = orReply(r, ok)
	case errors.Is(err, errDropped):
		s.reset()
		return f.after()
	case errors.Is(err, errEndless):
		r.Close = true
	case isTimeout(err):
		r = replyTimeout
	default:
		r = replyBroken
	}
	s.reset()
	return r
}

func anyPositive(replies []smtp.Reply) bool {
	for _, r := range replies {
		if r.IsZero() || r.Positive() {
			return true
		}
	}
	return false
}

// Read gives the next octets of the content.
func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, end, err := c.framing.read(c, p)
	c.size += int64(n)
	if c.s.server.SevenBit && !c.eight {
		c.eight = hasEightBit(p[:n])
	}
	flaw := c.flaw()
	switch {
	case err != nil:
		c.err = err
	case !flaw.IsZero():
		c.err = flaw
	case end:
		c.err = io.EOF
	}
	if c.err != nil && c.err != io.EOF {
		return 0, c.err // nothing that may be mistaken for whole mail
	}
	return n, c.err
}

// readOn reads to the end of the content, or to what is wrong with it.
func (c *content) readOn() {
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	for c.err == nil {
		c.Read(*p)
	}
}

// fill waits for more octets, at most for the idle time and to the end of the message's time.
func (c *content) fill() error {
	return brokenOff(c.s.wire.fill(c.until()))
}

// until is the deadline of one read.
func (c *content) until() time.Time {
	idle := time.Now().Add(c.s.idleTimeout)
	if c.deadline.Before(idle) {
		return c.deadline
	}
	return idle
}

// brokenOff keeps the end of the connection from looking like the end of the content.
func brokenOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// flaw is what makes the content unacceptable, as far as it was read; zero where nothing does.
func (c *content) flaw() smtp.Reply {
	switch {
	case c.framing.bareLineEnd():
		return replyBareLine
	case c.s.maxSize > 0 && c.size > c.s.maxSize:
		return replyTooLarge
	case c.eight:
		return replyEightBit
	}
	return smtp.Reply{}
}

// hasEightBit looks for an octet above 127, eight at a time.
func hasEightBit(p []byte) bool {
	for ; len(p) >= 8; p = p[8:] {
		if binary.LittleEndian.Uint64(p)&0x8080808080808080 != 0 {
			return true
		}
	}
	for _, c := range p {
		if c > 127 {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	if err == nil {
		return false
	}
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
