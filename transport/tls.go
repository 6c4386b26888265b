package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// DefaultHandshakeTimeout is the time a client has for its part of the TLS handshake.
const DefaultHandshakeTimeout = 30 * time.Second

// TLSListener puts TLS on every connection of l (implicit TLS, RFC 8314 3). Accept never waits for a client: each
// handshake runs in a goroutine of its own, and the connection's first Read or Write waits for it. A handshake that is
// not over in time (0: DefaultHandshakeTimeout) ends the connection, and so does a deadline that passes in it: this is
// crypto/tls's way. Connections are *tls.Conn.
func TLSListener(l net.Listener, config *tls.Config, timeout time.Duration) net.Listener {
	return tlsListener{l, config, orDefault(timeout, DefaultHandshakeTimeout)}
}

type tlsListener struct {
	net.Listener
	config  *tls.Config
	timeout time.Duration
}

func (l tlsListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	timed := &timedConn{Conn: raw}
	conn := tls.Server(timed, l.config)
	late := time.AfterFunc(l.timeout, timed.expire)
	go func() {
		conn.Handshake() // the connection keeps the error and gives it to its first reader or writer
		late.Stop()
	}()
	return conn, nil
}

// timedConn ends itself when the time for the handshake is over, and says so.
type timedConn struct {
	net.Conn
	expired atomic.Bool
}

func (c *timedConn) expire() {
	c.expired.Store(true)
	c.Conn.Close()
}

func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.explain(err)
}

func (c *timedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

func (c *timedConn) CloseWrite() error { return closeWrite(c.Conn) }

func (c *timedConn) explain(err error) error {
	if err != nil && c.expired.Load() {
		return fmt.Errorf("transport: the TLS handshake took too long: %w", os.ErrDeadlineExceeded)
	}
	return err
}

// TLSClient makes the client's side of TLS on conn and waits for the handshake, as long as ctx lasts. config needs a
// ServerName, or InsecureSkipVerify. When it fails, conn is closed.
func TLSClient(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error) {
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("transport: TLS with %s: %w", conn.RemoteAddr(), err)
	}
	return secured, nil
}
