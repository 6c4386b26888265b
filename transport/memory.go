package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// errRefused says that nobody listens any more.
var errRefused = errors.New("the listener is closed")

// MemoryListener is a listener in memory, for tests. Its connections are those of Pipe.
type MemoryListener struct {
	addr    memoryAddr
	mu      sync.Mutex
	changed sync.Cond
	waiting []net.Conn
	closed  bool
}

// NewMemoryListener makes a listener; name is the text of its address and of those of its connections.
func NewMemoryListener(name string) *MemoryListener {
	l := &MemoryListener{addr: memoryAddr(name)}
	l.changed.L = &l.mu
	return l
}

// Dial gives a new connection to the listener. It never waits: the other end stands in line for Accept. The context
// counts only where it has ended already.
func (l *MemoryListener) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("transport: dial %s in memory: %w", l.addr, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("transport: dial %s in memory: %w", l.addr, errRefused)
	}
	client, server := pipe(string(l.addr))
	l.waiting = append(l.waiting, server)
	l.changed.Signal()
	return client, nil
}

// Accept waits for the next connection; after Close its error wraps net.ErrClosed.
func (l *MemoryListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return nil, opError("accept", l.addr, net.ErrClosed)
	}
	conn := l.waiting[0]
	l.waiting = l.waiting[1:]
	return conn, nil
}

// Close ends the listener and the connections that still stand in line.
func (l *MemoryListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return opError("close", l.addr, net.ErrClosed)
	}
	l.closed = true
	for _, conn := range l.waiting {
		conn.Close()
	}
	l.waiting = nil
	l.changed.Broadcast()
	return nil
}

// Addr is an address of the network "memory" with the listener's name.
func (l *MemoryListener) Addr() net.Addr { return l.addr }
