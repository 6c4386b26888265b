package load

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// client is the side of a Source in one session after the other: what it waits for, and what it sends then.
type client struct {
	*campaign
	tally *tally

	state   step
	out     outbox
	line    []byte // commands to send
	own     []byte // the first part of the content, with the number of this message
	long    []byte // of a refusal of more than one line: what came before its last
	offered offer
	tls     bool

	number   int64         // of the message at hand; -1: none
	began    time.Duration // when its MAIL was sent
	rcpt     int           // replies to RCPT so far
	accepted int           // of them positive
	open     bool          // MAIL was accepted, so that a transaction may have to be reset

	onConn   int // messages begun on this connection
	failures int // connections in a row that failed
	cause    error
}

// step is the reply that a client waits for.
type step int

const (
	greeting step = iota
	ehlo
	helo
	starttls
	mail
	rcpt
	data
	dot
	rset
	idle
	bye
)

// stepNames are the words for errors.
var stepNames = [...]string{"connect", "EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "final dot", "RSET", "idle", "QUIT"}

func (s step) String() string { return stepNames[s] }

// offer is what an EHLO reply offers.
type offer struct{ pipelining, starttls bool }

func newClient(c *campaign, t *tally) *client {
	return &client{campaign: c, tally: t, number: -1, own: bytes.Clone(c.head)}
}

func (c *client) outbox() *outbox { return &c.out }

// connecting begins a connection that is still to be made.
func (c *client) connecting() {
	c.state, c.out, c.tls, c.onConn, c.cause = greeting, outbox{}, false, 0, nil
	c.long = c.long[:0]
}

func (c *client) secured() {
	c.tls = true
	c.sayEHLO()
}

// feed takes replies.
func (c *client) feed(in []byte) (rest []byte, next action) {
	for {
		i := bytes.IndexByte(in, '\n')
		if i > maxCarry || i < 0 && len(in) > maxCarry {
			c.cause = fmt.Errorf("the reply to %v: %w", c.state, errLongLine)
			return nil, hangUp
		}
		if i < 0 {
			return in, goOn
		}
		line := bytes.TrimSuffix(in[:i], []byte("\r"))
		in = in[i+1:]
		if len(line) < 3 || line[0] < '2' || line[0] > '5' || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			c.cause = fmt.Errorf("the reply to %v is not SMTP: %.80q", c.state, line)
			return nil, hangUp
		}
		if c.state == ehlo && line[0] == '2' {
			c.offered.read(line)
		}
		if len(line) > 3 && line[3] == '-' {
			if line[0] >= '4' && len(c.long) < maxCarry {
				c.long = append(append(c.long, line[4:]...), ' ')
			}
			continue
		}
		next := c.reply(line)
		c.long = c.long[:0]
		if next != goOn {
			return in, next
		}
	}
}

// read notes what a line of an EHLO reply offers.
func (o *offer) read(line []byte) {
	switch keyword := bytes.ToUpper(line[min(4, len(line)):]); {
	case bytes.Equal(keyword, []byte("PIPELINING")):
		o.pipelining = true
	case bytes.Equal(keyword, []byte("STARTTLS")):
		o.starttls = true
	}
}

// reply takes the last line of a reply and does the next step.
func (c *client) reply(line []byte) action {
	if c.state != bye && bytes.HasPrefix(line, []byte("421")) { // RFC 5321, section 3.8: the server goes away
		c.cause = refusal(c.state.String(), c.text(line))
		return hangUp
	}
	good := line[0] == '2'
	switch c.state {
	case greeting, ehlo, helo, starttls:
		return c.opening(line, good)
	case mail:
		return c.repliedMAIL(line, good)
	case rcpt:
		return c.repliedRCPT(line, good)
	case data:
		return c.repliedDATA(line)
	case dot:
		return c.repliedDot(line, good)
	case rset:
		return c.nextMessage()
	case idle:
		c.cause = refusal("an idle session was told", c.text(line))
	}
	return hangUp // also after the reply to QUIT
}

// opening does the steps until the session can take mail.
func (c *client) opening(line []byte, good bool) action {
	switch {
	case !good && c.state == ehlo && c.TLS == nil: // RFC 5321, section 3.2: an old server
		c.say(helo, "HELO "+c.Hello+"\r\n")
		return goOn
	case !good:
		c.cause = refusal(c.state.String(), c.text(line))
		return hangUp
	case c.state == greeting:
		c.sayEHLO()
		return goOn
	case c.state == starttls:
		return startTLS
	case c.TLS != nil && !c.tls:
		if !c.offered.starttls {
			c.cause = errors.New("the server does not offer STARTTLS")
			return hangUp
		}
		c.say(starttls, "STARTTLS\r\n")
		return goOn
	}
	c.tally.sent.Sessions++
	if c.Idle > 0 {
		c.state = idle
		c.sessionOpen()
		return hold
	}
	return c.nextMessage()
}

// text is the text of a refusal, with all of its lines.
func (c *client) text(line []byte) []byte {
	if len(c.long) == 0 {
		return line
	}
	code := line[:min(4, len(line))]
	return append(append(bytes.Clone(code), c.long...), line[len(code):]...)
}

func (c *client) say(next step, command string) {
	c.line = append(c.line[:0], command...)
	c.state, c.out.own = next, c.line
}

func (c *client) sayEHLO() {
	c.offered = offer{}
	c.say(ehlo, "EHLO "+c.Hello+"\r\n")
}

func (c *client) quit() { c.say(bye, "QUIT\r\n") }

// closed is told that a connection has ended, or could not be made; err is nil where the client wanted it. It says
// whether, and after what time, the session connects again.
func (c *client) closed(err error) (again bool, wait time.Duration) {
	if c.cause != nil {
		err = c.cause
	} else {
		err = fmt.Errorf("%v: %w", c.state, closedBy(err))
	}
	if c.state == bye {
		if c.number < 0 {
			c.number = c.take()
		}
		return c.number >= 0, 0
	}
	c.tally.failed(err)
	if c.state == idle { // it was counted as open, and is not opened again
		return false, 0
	}
	c.failures++
	if c.failures > c.Retries {
		if c.Idle > 0 {
			c.sessionOpen()
		}
		return false, 0
	}
	if c.state == dot {
		c.tally.sent.Doubtful++
	}
	if c.state < mail && c.Idle == 0 && c.number < 0 && c.next.Load() >= int64(c.Messages) {
		return false, 0 // the others sent all
	}
	c.tally.sent.Reconnects++
	return true, time.Duration(c.failures) * 100 * time.Millisecond
}
