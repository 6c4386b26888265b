package transport

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Stdio makes a connection of this process's standard input and output, and takes them over: afterwards os.Stdin is
// empty and what is printed to os.Stdout goes to standard error, so that nothing else gets between the words of the
// session. (Where the system lets descriptors be moved; on Windows they stay what they are.) Call it once.
//
// RemoteAddr is the socket's peer where inetd or systemd made standard input a socket; else the client that sshd names
// in SSH_CONNECTION, which is to be trusted as far as whoever started this process; else an address of the network
// "stdio".
//
// Deadlines work on everything. Pipes and sockets are put into non-blocking mode for it, which another process that
// reads the same end notices; terminals and plain files are read and written by a goroutine, and Close waits at most
// five seconds for such a file to take what was written.
func Stdio() (net.Conn, error) {
	in, out, err := takeStdio()
	if err != nil {
		return nil, fmt.Errorf("transport: take standard input and output: %w", err)
	}
	return newStdio(in, out, os.Getenv), nil
}

func newStdio(in, out *os.File, getenv func(string) string) net.Conn {
	if conn := socketConn(in, out); conn != nil {
		return inetdConn{conn}
	}
	var local, remote net.Addr = Endpoint{Kind: StdioKind}, Endpoint{Kind: StdioKind}
	if client, server, ok := sshAddrs(getenv("SSH_CONNECTION")); ok {
		local, remote = server, client
	}
	return newStream(in, out, local, remote)
}

// inetdConn is a socket of which other descriptors of this process may be copies: only a shutdown ends it for the peer.
type inetdConn struct{ net.Conn }

func (c inetdConn) CloseWrite() error { return closeWrite(c.Conn) }

func (c inetdConn) Close() error {
	closeWrite(c.Conn) // an error says that the peer went first
	return c.Conn.Close()
}

// closeWrite closes the writing side of a connection.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return fmt.Errorf("transport: a %T has no side for writing that could be closed alone", c)
}

// sshAddrs reads the addresses that sshd puts into SSH_CONNECTION: client, its port, server, its port.
func sshAddrs(s string) (client, server net.Addr, ok bool) {
	words := strings.Split(s, " ")
	if len(words) != 4 {
		return nil, nil, false
	}
	var both [2]net.Addr
	for i := range both {
		addr, err := netip.ParseAddr(words[2*i])
		port, perr := strconv.ParseUint(words[2*i+1], 10, 16)
		if err != nil || perr != nil {
			return nil, nil, false
		}
		both[i] = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(port)))
	}
	return both[0], both[1], true
}

// once is the listener of an endpoint that has one connection only. Accept gives it, then waits until it is closed.
type once struct {
	addr   net.Addr
	mu     sync.Mutex
	conn   net.Conn
	closed chan struct{}
	end    func()
}

func newOnce(conn net.Conn) *once {
	l := &once{addr: conn.LocalAddr(), closed: make(chan struct{})}
	l.end = sync.OnceFunc(func() { close(l.closed) })
	l.conn = onceConn{conn, l.end}
	return l
}

func (l *once) Accept() (net.Conn, error) {
	l.mu.Lock()
	conn := l.conn
	l.conn = nil
	l.mu.Unlock()
	select {
	case <-l.closed:
	default:
		if conn != nil {
			return conn, nil
		}
		<-l.closed
	}
	if conn != nil {
		conn.Close()
	}
	return nil, opError("accept", l.addr, net.ErrClosed)
}

// Close ends the listener, and the connection only where nobody has accepted it.
func (l *once) Close() error {
	l.mu.Lock()
	conn := l.conn
	l.conn = nil
	l.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	l.end()
	return nil
}

func (l *once) Addr() net.Addr { return l.addr }

// onceConn ends its listener with itself.
type onceConn struct {
	net.Conn
	end func()
}

func (c onceConn) CloseWrite() error { return closeWrite(c.Conn) }

func (c onceConn) Close() error {
	defer c.end()
	return c.Conn.Close()
}
