package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Source sends messages. Only Addr is needed.
type Source struct {
	Addr       string        // server, HOST:PORT or unix:PATH
	Sessions   int           // at once; default 1
	Messages   int           // all together; default 1
	Size       int           // octets of a message, header and line ends included; default 4096
	Recipients int           // of each message; default 1
	Domains    []string      // of the recipients, in turn; default "load.invalid"
	From       string        // reverse-path without brackets; default "source@load.invalid"
	Hello      string        // name in EHLO; default "source.load.invalid"
	PerConn    int           // messages on one connection; 0: as many as there are
	Pipelining bool          // MAIL, RCPT and DATA in one write where the server offers it; else one command at a time
	TLS        *tls.Config   // not nil: STARTTLS first, which the server has to offer
	Idle       time.Duration // not 0: send no messages, but keep all sessions open and silent for so long
	Opened     func()        // not nil: called once when all idle sessions are open or have failed
	Timeout    time.Duration // longest silence of the server; default 5 minutes
	Retries    int           // how often in a row a session connects again after a failure; default 3, -1: never
}

// Sent is what became of the messages.
type Sent struct {
	Messages   int            // accepted for at least one recipient
	Recipients int            // for which they were accepted
	Failed     int            // messages refused wholly
	Refused    map[string]int // how often each reply with 4yz or 5yz came; at most 100 texts
	Octets     int64          // content of the messages accepted
	Sessions   int            // connections that got as far as EHLO
	Reconnects int            // connections made because one failed
	Doubtful   int            // times a connection broke after a final dot: the message was sent again, and may arrive twice
	Elapsed    time.Duration

	// From before MAIL until after the reply to the final dot, of accepted messages. The quantiles are right to 3 %.
	P50, P90, P99, Longest time.Duration

	// FirstError is the first failure of a session, also of one that was made good by another connection.
	FirstError error
}

// ErrUnsent says that not all messages could be offered to the server.
var ErrUnsent = errors.New("not all messages were sent")

// withDefaults is a copy in which all is set; errors name the field.
func (s *Source) withDefaults() (*Source, error) {
	c := *s
	for _, f := range []struct {
		name  string
		value *int
		or    int
	}{{"Sessions", &c.Sessions, 1}, {"Messages", &c.Messages, 1}, {"Size", &c.Size, 4096}, {"Recipients", &c.Recipients, 1}} {
		if *f.value == 0 {
			*f.value = f.or
		}
		if *f.value < 1 || *f.value > maxMessages {
			return nil, fmt.Errorf("load: %s is %d, not from 1 to %d", f.name, *f.value, int(maxMessages))
		}
	}
	if len(c.Domains) == 0 {
		c.Domains = []string{"load.invalid"}
	}
	if c.From == "" {
		c.From = "source@load.invalid"
	}
	if c.Hello == "" {
		c.Hello = "source.load.invalid"
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.Retries == 0 {
		c.Retries = 3
	}
	if c.Opened == nil {
		c.Opened = func() {}
	}
	return &c, nil
}

// campaign is one run of a Source: what its sessions share.
type campaign struct {
	*Source
	*letter
	start time.Time
	next  atomic.Int64 // number of the next message

	opening atomic.Int64  // idle sessions that are neither open nor failed
	opened  chan struct{} // closed when there are none left
}

// Run sends the messages and gives what became of them, also along with an error: one that wraps ErrUnsent, the error of
// ctx, or that of a Source that can't be. That the server refused messages is no error; see Sent.Failed.
func (s *Source) Run(ctx context.Context) (Sent, error) {
	s, err := s.withDefaults()
	if err != nil {
		return Sent{}, err
	}
	addr, err := resolve(s.Addr)
	if err != nil {
		return Sent{}, fmt.Errorf("load: the server's address: %w", err)
	}
	c := &campaign{Source: s, start: time.Now(), opened: make(chan struct{})}
	if c.letter, err = newLetter(s, c.start); err != nil {
		return Sent{}, fmt.Errorf("load: %w", err)
	}
	c.opening.Store(int64(s.Sessions))
	if s.Idle == 0 {
		c.Sessions = min(s.Sessions, s.Messages)
	}
	var t *tally
	if tcp, ok := addr.(*net.TCPAddr); ok && s.TLS == nil && canLoop {
		t, err = runLoop(ctx, c, tcp)
	} else {
		t = c.runApart(ctx, addr)
	}
	sent := t.sent
	sent.Elapsed = time.Since(c.start)
	sent.Octets = int64(sent.Messages) * int64(s.Size)
	sent.P50, sent.P90, sent.P99 = t.latency.quantile(0.50), t.latency.quantile(0.90), t.latency.quantile(0.99)
	sent.Longest = t.latency.longest
	if err == nil {
		err = ctx.Err()
	}
	return sent, c.verdict(sent, err)
}

// resolve looks the server up, once for all sessions.
func resolve(addr string) (net.Addr, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return net.ResolveUnixAddr("unix", path)
	}
	return net.ResolveTCPAddr("tcp", addr)
}

// verdict is the error of a run.
func (c *campaign) verdict(sent Sent, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("load: the run was broken off: %w", err)
	case c.Idle > 0 && sent.FirstError != nil:
		return fmt.Errorf("load: not all sessions were kept: %w", sent.FirstError)
	case c.Idle == 0 && sent.Messages+sent.Failed < c.Messages:
		return fmt.Errorf("load: %w: %d of %d were offered to %s: %w", ErrUnsent, sent.Messages+sent.Failed, c.Messages, c.Addr,
			sent.FirstError)
	}
	return nil
}

// take gives the number of a message to send; -1 where all are taken.
func (c *campaign) take() int64 {
	if c.Idle > 0 || c.next.Load() >= int64(c.Messages) {
		return -1
	}
	if n := c.next.Add(1) - 1; n < int64(c.Messages) {
		return n
	}
	return -1
}

// sessionOpen is called for each idle session, when it is open or has failed for good.
func (c *campaign) sessionOpen() {
	if c.opening.Add(-1) == 0 {
		c.Opened()
		close(c.opened)
	}
}

// now is the time since the start.
func (c *campaign) now() time.Duration { return time.Since(c.start) }

// runApart runs each session in a goroutine of its own.
func (c *campaign) runApart(ctx context.Context, addr net.Addr) *tally {
	tallies := make([]tally, c.Sessions)
	var all sync.WaitGroup
	for i := range tallies {
		all.Go(func() { c.runSession(ctx, addr, newClient(c, &tallies[i])) })
	}
	all.Wait()
	for i := range tallies[1:] {
		tallies[0].merge(&tallies[i+1])
	}
	return &tallies[0]
}

// runSession connects until the session has nothing left to do.
func (c *campaign) runSession(ctx context.Context, addr net.Addr, cl *client) {
	buf := make([]byte, connBuffer)
	for again := true; again && ctx.Err() == nil; {
		err := c.runConnection(ctx, addr, cl, buf)
		var wait time.Duration
		if again, wait = cl.closed(err); again && wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
}

// runConnection runs one connection to its end; nil where the client wanted it.
func (c *campaign) runConnection(ctx context.Context, addr net.Addr, cl *client, buf []byte) error {
	cl.connecting()
	dialer := net.Dialer{Timeout: c.Timeout}
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return err
	}
	plain := conn
	defer func() { conn.Close() }()
	defer context.AfterFunc(ctx, func() { plain.SetDeadline(time.Unix(1, 0)) })()
	d := &driver{conn: plain, d: cl, buf: buf, timeout: c.Timeout}
	for {
		next, err := d.run(ctx.Done())
		switch {
		case err != nil || next == hangUp:
			return err
		case next == startTLS:
			secure := tls.Client(plain, c.TLS)
			if err := secure.HandshakeContext(ctx); err != nil {
				return fmt.Errorf("STARTTLS: %w", err)
			}
			conn, d.conn, d.carry = secure, secure, 0
			cl.secured()
		case next == hold:
			if err := c.keep(ctx, conn); err != nil {
				return err
			}
			d.armed = time.Time{}
			cl.quit()
		}
	}
}

// keep holds a session open while nothing is said.
func (c *campaign) keep(ctx context.Context, conn net.Conn) error {
	select {
	case <-c.opened:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := conn.SetDeadline(time.Now().Add(c.Idle)); err != nil {
		return err
	}
	if ctx.Err() != nil { // whoever ended it set a deadline before ours
		return ctx.Err()
	}
	var one [1]byte
	_, err := conn.Read(one[:])
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil
	case err == nil:
		return errors.New("the server spoke in an idle session")
	}
	return err
}
