package receiver

import (
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
	replyTimeout = smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 4, 2}, Close: true,
		Lines: []string{"Timeout while waiting for the client"}}
	replyBroken = smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 4, 2}, Close: true,
		Lines: []string{"The connection broke"}}
)

// content is the io.Reader of DATA that a Handler gets: dot-stuffing taken off, ended by the final dot alone. What makes
// the mail unacceptable comes as an error that is the Reply for it, and stays.
type content struct {
	s        *Session
	decoder  smtp.DataDecoder
	deadline time.Time // of the whole message
	size     int64
	ended    bool  // the final dot was read
	err      error // sticky: io.EOF, a Reply, or what ended the connection
}

// Read gives the next octets of the content.
func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.decode(p)
	c.size += int64(n)
	flaw := c.flaw()
	switch {
	case err != nil:
		c.err = err
	case !flaw.IsZero():
		c.err = flaw
	case c.ended:
		c.err = io.EOF
	}
	if c.err != nil && c.err != io.EOF {
		return 0, c.err // nothing that may be mistaken for whole mail
	}
	return n, c.err
}

// decode fills p with at least one octet unless the content ends.
func (c *content) decode(p []byte) (int, error) {
	for {
		if arrived := c.s.wire.buffered(); len(arrived) > 0 {
			n, used, done := c.decoder.Decode(p, arrived)
			c.s.wire.start += used
			c.ended = done
			if n > 0 || done {
				return n, nil
			}
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

func (c *content) fill() error {
	idle := time.Now().Add(c.s.idleTimeout)
	if c.deadline.Before(idle) {
		idle = c.deadline
	}
	err := c.s.wire.fill(idle)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// drain reads on to the final dot, so that the rest of refused content is never taken for commands. It returns the
// error that ended the connection before that, or errEndless after twice the size limit.
func (c *content) drain() error {
	if c.err != nil && !c.refused() && c.err != io.EOF {
		return c.err
	}
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	for !c.ended {
		if c.s.maxSize > 0 && c.size/2 > c.s.maxSize {
			return errEndless
		}
		n, err := c.decode(*p)
		if err != nil {
			return err
		}
		c.size += int64(n)
	}
	return nil
}

// flaw is what makes the content unacceptable, as far as it was read; zero where nothing does.
func (c *content) flaw() smtp.Reply {
	switch {
	case c.decoder.BareLineEnd:
		return replyBareLine
	case c.s.maxSize > 0 && c.size > c.s.maxSize:
		return replyTooLarge
	}
	return smtp.Reply{}
}

// errEndless is the error for a client that goes on long after its message was too large.
var errEndless = errors.New("the message does not end")

// refused tells that the content itself is at fault, not the connection.
func (c *content) refused() bool {
	_, ok := c.err.(smtp.Reply)
	return ok
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
