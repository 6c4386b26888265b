package receiver_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"time"
)

// scriptConn is a connection in memory: the server reads what in gives, and what it writes is kept or only counted.
type scriptConn struct {
	in      io.Reader
	keep    bool
	out     bytes.Buffer
	writes  int
	written int
}

func (c *scriptConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *scriptConn) Write(p []byte) (int, error) {
	c.writes++
	c.written += len(p)
	if c.keep {
		c.out.Write(p)
	}
	return len(p), nil
}

func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// again gives a text as often as it is told, then io.EOF.
type again struct {
	text  string
	times int
	rest  string
}

func (a *again) Read(p []byte) (int, error) {
	if a.rest == "" {
		if a.times == 0 {
			return 0, io.EOF
		}
		a.times--
		a.rest = a.text
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// groups gives one text with each read, as a client does that waits for the replies to each group.
func groups(texts ...string) io.Reader {
	var readers []io.Reader
	for _, t := range texts {
		readers = append(readers, strings.NewReader(t))
	}
	return io.MultiReader(readers...)
}
