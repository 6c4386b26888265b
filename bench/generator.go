package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/holub-mail/holub/bench/peer"
)

// A batch is mail that a source sends in one go.
type batch struct {
	Addr          string
	Sessions      int
	Messages      int
	Size          int // octets of a message
	Recipients    int // of a message, at least 1
	Domains       []string
	PerConnection bool
	Pipelining    bool // only where the source can
	TLS           bool
}

// sent is what a source tells. P50 and P99 are 0 where it does not measure them.
type sent struct {
	Elapsed  time.Duration // from its start until it has the last reply
	CPU      time.Duration
	P50, P99 time.Duration
}

// A generator is a pair of source and sink, each a process of its own.
type generator interface {
	name() string
	// can says whether the pair can do a work.
	can(work) bool
	// send runs the source until all messages are sent. A refused message is an error.
	send(context.Context, batch) (sent, error)
	// sink starts a sink. It listens when it is returned.
	sink(ctx context.Context, o sinkOptions) (sink, error)
}

// sinkOptions say where a sink listens.
type sinkOptions struct {
	Addr string
	TLS  *peer.TLS // STARTTLS offered; nil for none
}

// A sink is a running process that takes mail and counts it.
type sink interface {
	// recipients is how many recipients' mail came so far.
	recipients() (int, error)
	cpu() (time.Duration, error)
	stop() error
}

var (
	errStalled = errors.New("no message arrived for too long")
	errTooMany = errors.New("more mail arrived than was sent")
)

// await asks the sink every step until want recipients' mail came. It fails when none comes for the time of patience, and
// when there is more than was sent: then the count can't be trusted.
func await(ctx context.Context, s sink, want int, step, patience time.Duration) error {
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	last, moved := -1, time.Now()
	for {
		n, err := s.recipients()
		switch {
		case err != nil:
			return fmt.Errorf("ask the sink for its count: %w", err)
		case n > want:
			return fmt.Errorf("%w: %d instead of %d", errTooMany, n, want)
		case n == want:
			return nil
		case n != last:
			last, moved = n, time.Now()
		case time.Since(moved) > patience:
			return fmt.Errorf("%w: the sink has %d of %d after %v; look into the server's log", errStalled, n, want, patience)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the sink, which has %d of %d: %w", n, want, context.Cause(ctx))
		}
	}
}

// freePort gives a port of the loopback that nothing listens on, at this host or all ("0.0.0.0").
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// answers waits until something takes connections at the address and greets with 220.
func answers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		if last = greets(ctx, addr); last == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("nothing answers at %s: %w", addr, last)
		}
	}
}

func greets(ctx context.Context, addr string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	_, err = expect(c, "220")
	if err == nil {
		_, err = c.Write([]byte("QUIT\r\n")) // a sink that is left without a word logs it
	}
	return err
}

// expect reads a reply and gives it where its last line has this code.
func expect(c net.Conn, code string) (string, error) {
	var reply []byte
	buf := make([]byte, 512)
	for len(reply) < 8<<10 {
		n, err := c.Read(buf)
		reply = append(reply, buf[:n]...)
		if last, ok := lastLine(reply); ok {
			if last[:3] != code {
				return "", fmt.Errorf("reply %q instead of %s", reply, code)
			}
			return string(reply), nil
		}
		if err != nil {
			return "", fmt.Errorf("read a reply: %w", err)
		}
	}
	return "", errors.New("a reply is longer than 8 KiB")
}

// lastLine gives the line that ends a reply; ok is false before it is there.
func lastLine(reply []byte) (line string, ok bool) {
	if len(reply) < 2 || reply[len(reply)-1] != '\n' {
		return "", false
	}
	text := string(reply[:len(reply)-1])
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\n' {
			text = text[i+1:]
			break
		}
	}
	return text, len(text) >= 4 && text[3] != '-'
}
