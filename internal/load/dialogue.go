package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// action is what a driver does after a dialogue was fed.
type action int

const (
	goOn     action = iota // send what is to be sent, then read
	hangUp                 // send, then close
	startTLS               // send, then negotiate TLS and call secured
	pause                  // wait for the delay, send, and feed the rest again
	hold                   // send, then stay silent for a while
)

// dialogue is one side of one SMTP session. It does no I/O: a driver feeds it what came, and sends what is in its outbox.
type dialogue interface {
	// feed takes all that came and was not used so far. It gives the part that it can't use yet, at most maxCarry octets
	// where the action is goOn.
	feed(in []byte) (rest []byte, next action)
	outbox() *outbox
	secured() // TLS is there
}

// Sizes, in octets.
const (
	maxCarry   = 4096     // of an unfinished line; RFC 5321, section 4.5.3.1.4, wants 512
	loopBuffer = 64 << 10 // what a loop reads at once, shared by its sessions
	connBuffer = 16 << 10 // what a session in a goroutine of its own reads at once
)

var (
	errLongLine = fmt.Errorf("a line is longer than %d octets", maxCarry)
	errSilent   = errors.New("the other side said nothing for too long")
)

// outbox is what a session has to send: octets of its own and then octets shared by all.
type outbox struct {
	own, shared []byte
}

func (o *outbox) empty() bool { return len(o.own) == 0 && len(o.shared) == 0 }

// head is what to send next; empty where all is sent.
func (o *outbox) head() []byte {
	if len(o.own) > 0 {
		return o.own
	}
	return o.shared
}

// sent takes n octets off the head.
func (o *outbox) sent(n int) {
	if len(o.own) > 0 {
		o.own = o.own[n:]
	} else {
		o.shared = o.shared[n:]
	}
}

// driver runs a dialogue over one connection in the goroutine that calls run.
type driver struct {
	conn    net.Conn
	d       dialogue
	buf     []byte        // what was read and not used is in its first octets
	carry   int           // how many those are
	timeout time.Duration // longest silence of the other side
	delay   time.Duration // of action pause
	armed   time.Time     // when the deadline was set
}

// run goes on until the dialogue wants something else than goOn or pause, which it gives, or until the connection fails.
// The end of the other side is io.EOF.
func (c *driver) run(stop <-chan struct{}) (action, error) {
	if err := c.flush(); err != nil { // a client that became secure has something to say
		return hangUp, err
	}
	for {
		if err := c.arm(stop); err != nil {
			return hangUp, err
		}
		n, err := c.conn.Read(c.buf[c.carry:])
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return hangUp, errSilent
		case err != nil:
			return hangUp, err
		}
		in := c.buf[:c.carry+n]
		for again := true; again; {
			rest, next := c.d.feed(in)
			again = next == pause
			if again {
				select {
				case <-time.After(c.delay):
				case <-stop: // the reply is owed all the same
				}
				in = rest
			}
			if err := c.flush(); err != nil {
				return hangUp, err
			}
			if next != goOn && next != pause {
				return next, nil
			}
			if !again {
				c.carry = copy(c.buf, rest)
			}
		}
	}
}

// arm moves the deadline on, but only once in a while: it costs more than a small read. Whoever closes stop sets a
// deadline after that, so it is looked at after ours.
func (c *driver) arm(stop <-chan struct{}) error {
	now := time.Now()
	if now.Sub(c.armed) < c.timeout/4 {
		return nil
	}
	c.armed = now
	if err := c.conn.SetDeadline(now.Add(c.timeout)); err != nil {
		return err
	}
	select {
	case <-stop:
		return net.ErrClosed
	default:
		return nil
	}
}

func (c *driver) flush() error {
	for o := c.d.outbox(); !o.empty(); {
		n, err := c.conn.Write(o.head())
		if err != nil {
			return err
		}
		o.sent(n)
	}
	return nil
}

// closedBy says what a connection ended by, in words.
func closedBy(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return err
}
