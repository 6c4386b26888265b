package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// DefaultHeaderTimeout is the time a proxy has for its header, counted from Accept.
const DefaultHeaderTimeout = 10 * time.Second

// ProxyOptions say who may speak for others.
type ProxyOptions struct {
	// Trusted are the networks of the proxies. A connection from them must begin with a PROXY header, version 1 or 2.
	// One from elsewhere is served as it is, and a header on it is the client's own nonsense.
	Trusted []netip.Prefix

	// TrustUnnamed takes connections without an IP address, those of Unix sockets, for connections of a proxy.
	TrustUnnamed bool

	// RefuseOthers closes connections that are not a proxy's.
	RefuseOthers bool

	HeaderTimeout time.Duration // default 10 s
}

// ProxyListener puts the PROXY protocol on l. Accept never waits for a header: it is read when the connection's own
// goroutine first reads, writes or asks for an address, and those wait for it; HandshakeContext reads it at a moment of
// the caller's choice. Afterwards RemoteAddr is the client's address and LocalAddr the one that it connected to. A
// connection that must have a header and has none, a wrong or a late one, is closed without a word; its reads and
// writes give an error that wraps ErrProxyHeader.
func ProxyListener(l net.Listener, opts ProxyOptions) net.Listener {
	return proxyListener{l, opts}
}

type proxyListener struct {
	net.Listener
	opts ProxyOptions
}

func (l proxyListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		switch {
		case err != nil:
			return nil, err
		case l.opts.trusts(conn.RemoteAddr()):
			timeout := orDefault(l.opts.HeaderTimeout, DefaultHeaderTimeout)
			return &proxyConn{Conn: conn, headerBy: time.Now().Add(timeout)}, nil
		case !l.opts.RefuseOthers:
			return conn, nil
		}
		conn.Close()
	}
}

func (o ProxyOptions) trusts(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return o.TrustUnnamed
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, network := range o.Trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// proxyConn is a connection that begins with a header. The header is read by whoever needs it first; a caller's
// deadline breaks that off without harm, the time for the header ends the connection.
type proxyConn struct {
	net.Conn
	headerBy time.Time

	turn   sync.Mutex // held by the one who reads the header
	got    []byte     // of the header, while it is read
	done   bool       // header and failed are final
	header ProxyHeader
	failed error

	mu      sync.Mutex // guards what follows; never held while waiting
	reading bool       // the header is being read: read deadlines are min'ed with headerBy
	readBy  time.Time
	writeBy time.Time
	rest    []byte // came with the header and is the connection's
}

// HandshakeContext reads the header, as *tls.Conn of the same method does with its handshake. When the context ends
// first, the connection is closed.
func (c *proxyConn) HandshakeContext(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.Conn.Close() })
	err := c.prepare(time.Time{})
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// prepare has the header read when it returns nil. until is a deadline of the caller besides the one for reading.
func (c *proxyConn) prepare(until time.Time) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.done {
		return c.failed
	}
	c.mu.Lock()
	c.reading = true
	c.Conn.SetReadDeadline(earliest(c.headerBy, c.readBy, until))
	c.mu.Unlock()

	err := c.readHeader()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	c.Conn.SetReadDeadline(c.readBy)
	if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(c.headerBy) {
		return err // it was the caller's own
	}
	c.done = true
	if err == nil {
		return nil
	}
	c.failed = err
	if !errors.Is(err, ErrProxyHeader) && !errors.Is(err, net.ErrClosed) {
		c.failed = fmt.Errorf("%w: %w", ErrProxyHeader, err)
	}
	c.failed = fmt.Errorf("transport: PROXY from %s: %w", c.Conn.RemoteAddr(), c.failed)
	c.got = nil
	c.Conn.Close()
	return c.failed
}

// readHeader reads until the header is whole and keeps what came after it.
func (c *proxyConn) readHeader() error {
	var chunk [256]byte
	for {
		n, err := c.Conn.Read(chunk[:])
		c.got = append(c.got, chunk[:n]...)
		if n > 0 {
			h, size, perr := ParseProxyHeader(c.got)
			if perr == nil {
				c.header = h
				c.mu.Lock()
				c.rest = append([]byte(nil), c.got[size:]...)
				c.mu.Unlock()
				c.got = nil
				return nil
			}
			if !errors.Is(perr, errShort) {
				return perr
			}
		}
		if err == io.EOF {
			return fmt.Errorf("%w: the connection ended in it", errShort)
		}
		if err != nil {
			return err
		}
	}
}

func (c *proxyConn) Read(p []byte) (int, error) {
	if err := c.prepare(time.Time{}); err != nil {
		return 0, err
	}
	c.mu.Lock()
	if len(c.rest) > 0 && (c.readBy.IsZero() || time.Now().Before(c.readBy)) {
		defer c.mu.Unlock()
		n := copy(p, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

func (c *proxyConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	until := c.writeBy
	c.mu.Unlock()
	if err := c.prepare(until); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// CloseWrite closes the writing side.
func (c *proxyConn) CloseWrite() error { return closeWrite(c.Conn) }

// RemoteAddr is the client's address; that of the proxy where the header names none or is wrong.
func (c *proxyConn) RemoteAddr() net.Addr {
	if c.prepare(time.Time{}) == nil && c.header.Source.IsValid() {
		return net.TCPAddrFromAddrPort(c.header.Source)
	}
	return c.Conn.RemoteAddr()
}

// LocalAddr is the address that the client connected to.
func (c *proxyConn) LocalAddr() net.Addr {
	if c.prepare(time.Time{}) == nil && c.header.Destination.IsValid() {
		return net.TCPAddrFromAddrPort(c.header.Destination)
	}
	return c.Conn.LocalAddr()
}

func (c *proxyConn) SetDeadline(t time.Time) error { return setBoth(c, t) }

func (c *proxyConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = t
	if c.reading {
		t = earliest(c.headerBy, t)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *proxyConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = t
	return c.Conn.SetWriteDeadline(t)
}

// earliest gives the first of the moments that are set.
func earliest(moments ...time.Time) (first time.Time) {
	for _, t := range moments {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
