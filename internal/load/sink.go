package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Sink takes mail, counts it, and forgets it. The zero value works. One Sink serves once.
type Sink struct {
	Hello        string        // name in the greeting; default "sink.load.invalid"
	NoPipelining bool          // PIPELINING is not offered (and works all the same)
	Chunking     bool          // CHUNKING is offered
	TLS          *tls.Config   // not nil: STARTTLS is offered
	Delay        time.Duration // before the reply after a message
	Fail         Fail          // what is refused
	IDs          bool          // look at the numbers in the Message-IDs, see Counts.Lost
	Timeout      time.Duration // longest silence of a client; default 5 minutes

	connections, open, messages, recipients, octets, refused atomic.Int64
	failing                                                  atomic.Int64 // commands or messages that could be refused so far
	first, last                                              atomic.Int64 // Unix time in ns of a message
	ids                                                      numbers

	wanted  atomic.Int64 // the least number of messages that someone awaits; 0: nobody does
	mu      sync.Mutex
	waiting []waiter
}

// Fail says which share of the mail is refused.
type Fail struct {
	Every   int  // every so many; 0: nothing
	AtDot   bool // messages, after their final dot; else recipients
	ForGood bool // with 5yz; else with 4yz
}

// Counts is what a Sink has seen.
type Counts struct {
	Connections int
	Open        int       // connections that are there now
	Messages    int       // taken
	Recipients  int       // of messages taken
	Refused     int       // recipients or messages, by Fail
	Octets      int64     // of content taken, as it came: the dots that DATA doubles are counted twice
	First, Last time.Time // when the first and the last message was taken; zero where there was none

	// With IDs: messages taken more than once, numbers missing below the highest one, and messages that are not of a Source.
	Repeated, Lost, Foreign int
}

// waiter waits for a number of messages.
type waiter struct {
	count int64
	done  chan struct{}
}

// Serve takes mail from the listeners until ctx is done, and closes them. The error is nil then; else it says why a
// listener failed. Sessions that are open at the end get the replies they are owed and are closed.
func (s *Sink) Serve(ctx context.Context, listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return errors.New("load: a sink without a listener")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	failures := make(chan error, len(listeners)+1)
	work := func(f func() error) {
		all.Go(func() {
			if err := f(); err != nil {
				failures <- err
				cancel()
			}
		})
	}
	rest := listeners
	if canLoop && s.Delay == 0 {
		var looped []*net.TCPListener
		looped, rest = tcpListeners(listeners)
		if len(looped) > 0 {
			work(func() error { return serveLoop(ctx, s, looped, &all) })
		}
	}
	for _, l := range rest {
		work(func() error { return s.accept(ctx, l, &all) })
	}
	all.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}

// tcpListeners tells those that a loop can serve from the others.
func tcpListeners(listeners []net.Listener) (tcp []*net.TCPListener, rest []net.Listener) {
	for _, l := range listeners {
		if t, ok := l.(*net.TCPListener); ok {
			tcp = append(tcp, t)
		} else {
			rest = append(rest, l)
		}
	}
	return tcp, rest
}

// accept serves each connection of a listener in a goroutine of its own.
func (s *Sink) accept(ctx context.Context, l net.Listener, all *sync.WaitGroup) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept at %v: %w", l.Addr(), err)
		}
		s.came()
		all.Go(func() { s.serve(ctx, conn, newServer(s)) })
	}
}

// serve runs a session in a goroutine of its own.
func (s *Sink) serve(ctx context.Context, conn net.Conn, session *server) {
	d := &driver{conn: conn, d: session, buf: make([]byte, connBuffer), timeout: s.timeout(), delay: s.Delay}
	stop := expire(ctx, conn)
	next, err := d.run(ctx.Done())
	stop()
	if err == nil && next == startTLS {
		s.serveSecure(ctx, conn, session)
		return
	}
	conn.Close()
	s.left()
}

// serveSecure goes on with a session that begins TLS. What came behind the command is dropped with all that was said
// before (RFC 3207, section 4.2).
func (s *Sink) serveSecure(ctx context.Context, conn net.Conn, session *server) {
	defer s.left()
	secure := tls.Server(conn, s.TLS)
	defer secure.Close()
	if err := secure.HandshakeContext(ctx); err != nil {
		return
	}
	session.secured()
	d := &driver{conn: secure, d: session, buf: make([]byte, connBuffer), timeout: s.timeout(), delay: s.Delay}
	defer expire(ctx, conn)()
	d.run(ctx.Done()) // however the client ended it
}

// expire makes reads fail when ctx is done; replies still go out.
func expire(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
}

func (s *Sink) timeout() time.Duration {
	if s.Timeout <= 0 {
		return 5 * time.Minute
	}
	return s.Timeout
}

func (s *Sink) came() {
	s.connections.Add(1)
	s.open.Add(1)
}

func (s *Sink) left() { s.open.Add(-1) }

// took counts a message.
func (s *Sink) took(recipients int, octets, number int64) {
	now := time.Now().UnixNano()
	if s.first.Load() == 0 {
		s.first.CompareAndSwap(0, now)
	}
	s.last.Store(now)
	s.recipients.Add(int64(recipients))
	s.octets.Add(octets)
	if s.IDs {
		s.ids.add(number)
	}
	n := s.messages.Add(1)
	if wanted := s.wanted.Load(); wanted > 0 && n >= wanted {
		s.tell()
	}
}

// refuse says whether this recipient, or message, is one to refuse.
func (s *Sink) refuse(atDot bool) bool {
	if s.Fail.Every <= 0 || s.Fail.AtDot != atDot {
		return false
	}
	if s.failing.Add(1)%int64(s.Fail.Every) != 0 {
		return false
	}
	s.refused.Add(1)
	return true
}

// Await waits until n messages were taken, all together since the start. The error is that of ctx.
func (s *Sink) Await(ctx context.Context, n int) error {
	w := waiter{int64(n), make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	s.tell()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("load: %d of %d messages came: %w", s.messages.Load(), n, ctx.Err())
	}
}

// tell wakes those who have what they waited for. The bar is set before the messages are counted: one that comes in
// between sees it.
func (s *Sink) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	bar := int64(math.MaxInt64)
	for _, w := range s.waiting {
		bar = min(bar, max(w.count, 1))
	}
	s.wanted.Store(bar)
	n := s.messages.Load()
	bar = math.MaxInt64
	s.waiting = slices.DeleteFunc(s.waiting, func(w waiter) bool {
		if n >= w.count {
			close(w.done)
			return true
		}
		bar = min(bar, w.count)
		return false
	})
	s.wanted.Store(bar)
}

// Counts says what was seen until now.
func (s *Sink) Counts() Counts {
	c := Counts{
		Connections: int(s.connections.Load()), Open: int(s.open.Load()), Messages: int(s.messages.Load()),
		Recipients: int(s.recipients.Load()), Refused: int(s.refused.Load()), Octets: s.octets.Load(),
	}
	if first := s.first.Load(); first != 0 {
		c.First, c.Last = time.Unix(0, first), time.Unix(0, s.last.Load())
	}
	if s.IDs {
		c.Repeated, c.Lost, c.Foreign = s.ids.sums()
	}
	return c
}
