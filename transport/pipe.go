package transport

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Pipe gives the two ends of a connection in memory, for tests. Other than those of net.Pipe they are buffered: each
// direction holds 64 KiB before its writer waits. Deadlines and CloseWrite work; Close lets the other end read what was
// written and then gives it io.EOF, and its writes fail.
func Pipe() (net.Conn, net.Conn) {
	return pipe("pipe")
}

func pipe(name string) (a, b *pipeConn) {
	there, back := newHalf(), newHalf()
	return &pipeConn{in: back, out: there, addr: memoryAddr(name)}, &pipeConn{in: there, out: back, addr: memoryAddr(name)}
}

// memoryAddr is the address of what lives in memory only.
type memoryAddr string

func (a memoryAddr) Network() string { return "memory" }
func (a memoryAddr) String() string  { return string(a) }

// pipeConn is one end of a Pipe.
type pipeConn struct {
	in, out *half
	addr    memoryAddr
	closed  atomic.Bool
}

func (c *pipeConn) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	return n, c.wrap("read", err)
}

func (c *pipeConn) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	return n, c.wrap("write", err)
}

// CloseWrite ends this end's writing: the other end reads io.EOF after what was written.
func (c *pipeConn) CloseWrite() error { return c.wrap("close", c.out.closeWrite(io.EOF)) }

func (c *pipeConn) Close() error {
	if c.closed.Swap(true) {
		return c.wrap("close", net.ErrClosed)
	}
	c.out.closeWrite(io.EOF) // an error says that CloseWrite was first
	return c.wrap("close", c.in.Close())
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.addr }
func (c *pipeConn) RemoteAddr() net.Addr { return c.addr }

func (c *pipeConn) SetDeadline(t time.Time) error {
	return setBoth(c, t)
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.SetReadDeadline(t))
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.wrap("set", net.ErrClosed)
	}
	return c.wrap("set", c.out.SetWriteDeadline(t))
}

func (c *pipeConn) wrap(op string, err error) error {
	return opError(op, c.addr, err)
}

// setBoth sets both deadlines.
func setBoth(c net.Conn, t time.Time) error {
	err := c.SetReadDeadline(t)
	if werr := c.SetWriteDeadline(t); err == nil {
		err = werr
	}
	return err
}

// opError makes err one of package net's, so that callers find Timeout and net.ErrClosed where they look for them.
func opError(op string, addr net.Addr, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: addr.Network(), Addr: addr, Err: err}
}
