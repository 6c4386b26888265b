// Package smtptest gives a test a real SMTP server in its own process: it takes mail, hands it to the test, and fails as
// the test's script says. What it speaks is smtp/receiver, so a client that works with it works with strict servers.
//
// It never delivers anything and never listens on anything but the loopback. Tests of programs that send mail call it;
// holub's own tests do too.
//
//	srv := smtptest.Start(t)
//	srv.Fail(smtptest.Fault{On: smtptest.Rcpt, Times: 1, Reply: smtp.NewReply(450, smtp.EnhancedCode{4, 2, 0}, "Busy")})
//	... let the program send to srv.Addr ...
//	m := srv.Next(t, 5*time.Second)     // m.From, m.To, m.Content
package smtptest

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// Message is a mail that the server took.
type Message struct {
	Hello   smtp.Domain // what the client called itself
	From    smtp.Mail   // the MAIL command with its parameters
	To      []smtp.Rcpt // the accepted RCPT commands
	Content string      // octet for octet, dot-stuffing taken off
}

// Step is the point of a session at which a Fault strikes.
type Step string

// The steps of a session.
const (
	Connect Step = "connect" // in place of the greeting
	Mail    Step = "MAIL"
	Rcpt    Step = "RCPT"
	Content Step = "content" // in place of the reply to the final dot; the mail is not taken
	Taken   Step = "taken"   // as Content, but the mail is taken: the client can't know
)

// Fault is one thing that goes wrong.
type Fault struct {
	On    Step
	Match func(smtp.Path) bool // for Mail and Rcpt: only for these addresses; nil: for all
	Times int                  // how often it strikes; 0: always
	Delay time.Duration        // before anything is said; it ends with the session or the server
	Reply smtp.Reply           // what is said
	Drop  bool                 // hang up instead of saying anything
}

// Server is a running server.
type Server struct {
	Addr string // host:port on the loopback

	srv   *receiver.Server
	taken chan struct{} // gets a token when a message was taken

	mu       sync.Mutex
	conns    map[string]net.Conn // by the client's address
	faults   []Fault
	messages []Message
	handed   int // messages that Next has given
}

// Option changes the server before it starts, for example to offer more.
type Option func(*receiver.Server)

// Start runs a server until the test ends.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("smtptest: %v", err)
	}
	s := &Server{Addr: l.Addr().String(), conns: map[string]net.Conn{}, taken: make(chan struct{}, 1)}
	s.srv = &receiver.Server{Hostname: "smtptest.example", Handler: s}
	for _, o := range options {
		o(s.srv)
	}
	go s.srv.Serve(&listener{l, s})
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		s.srv.Shutdown(now)
	})
	return s
}

// Fail adds a fault. Of several that fit, the first that was added and is not used up strikes.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	s.faults = append(s.faults, f)
}

// Messages gives all mail taken so far, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Next gives the next message that Next has not given yet. It fails the test when none comes within the limit.
func (s *Server) Next(t testing.TB, limit time.Duration) Message {
	t.Helper()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for {
		if m, ok := s.next(); ok {
			return m
		}
		select {
		case <-s.taken:
		case <-timeout.C:
			t.Fatalf("smtptest: no message within %v", limit)
		}
	}
}

func (s *Server) next() (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handed == len(s.messages) {
		return Message{}, false
	}
	s.handed++
	return s.messages[s.handed-1], true
}

// Connect is a part of receiver.Handler; a test does not call it. So are Mail, Rcpt, Data and Disconnect.
func (s *Server) Connect(ctx context.Context, session *receiver.Session) smtp.Reply {
	return s.strike(ctx, session, Connect, smtp.Path{})
}

// Mail is a part of receiver.Handler.
func (s *Server) Mail(ctx context.Context, session *receiver.Session, m smtp.Mail) smtp.Reply {
	return s.strike(ctx, session, Mail, m.From)
}

// Rcpt is a part of receiver.Handler.
func (s *Server) Rcpt(ctx context.Context, session *receiver.Session, r smtp.Rcpt) smtp.Reply {
	return s.strike(ctx, session, Rcpt, r.To)
}

// Data is a part of receiver.Handler.
func (s *Server) Data(ctx context.Context, session *receiver.Session, content io.Reader) smtp.Reply {
	text, err := io.ReadAll(content)
	if err != nil {
		return smtp.Reply{}
	}
	if r := s.strike(ctx, session, Content, smtp.Path{}); !r.IsZero() {
		return r
	}
	s.mu.Lock()
	s.messages = append(s.messages, Message{Hello: session.Hello(), From: session.Mail(),
		To: slices.Clone(session.Recipients()), Content: string(text)})
	s.mu.Unlock()
	select {
	case s.taken <- struct{}{}:
	default:
	}
	return s.strike(ctx, session, Taken, smtp.Path{})
}

// Disconnect is a part of receiver.Handler.
func (s *Server) Disconnect(session *receiver.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, session.RemoteAddr().String())
}

// strike carries out the fault of a step, if there is one.
func (s *Server) strike(ctx context.Context, session *receiver.Session, step Step, about smtp.Path) smtp.Reply {
	f, ok := s.fault(step, about)
	if !ok {
		return smtp.Reply{}
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-ctx.Done():
		}
	}
	if f.Drop {
		s.mu.Lock()
		conn := s.conns[session.RemoteAddr().String()]
		s.mu.Unlock()
		conn.Close()
		return smtp.Reply{Code: 421, Close: true}
	}
	return f.Reply
}

// fault finds the fault that strikes, and uses it up.
func (s *Server) fault(step Step, about smtp.Path) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if f.On != step || f.Times == 0 || f.Match != nil && !f.Match(about) {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return *f, true
	}
	return Fault{}, false
}

// listener remembers connections, so that a fault can drop one.
type listener struct {
	net.Listener
	s *Server
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.s.mu.Lock()
		l.s.conns[c.RemoteAddr().String()] = c
		l.s.mu.Unlock()
	}
	return c, err
}
