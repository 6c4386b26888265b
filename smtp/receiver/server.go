package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Defaults of Server's fields.
const (
	DefaultMaxSize        = 50 << 20
	DefaultMaxRecipients  = 1000
	DefaultMaxErrors      = 20
	DefaultMaxSessions    = 10000
	DefaultIdleTimeout    = 5 * time.Minute
	DefaultMessageTimeout = time.Hour
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("receiver: the server was shut down")

// Server serves SMTP sessions. The zero value works and refuses all mail; fields must not change while it serves.
type Server struct {
	Handler  Handler // nil refuses every mail
	Hostname string  // in greeting and EHLO; default: the machine's name

	MaxSize        int64         // octets of a message; default 50 MiB, negative: no limit
	MaxRecipients  int           // RCPTs of a transaction; default 1000 (4.5.3.1.8: 100 or more), negative: no limit
	MaxErrors      int           // wrong commands before the session ends with 421; default 20, negative: no limit
	MaxSessions    int           // at once; default 10000, negative: no limit; more get 421
	IdleTimeout    time.Duration // for one command, or without an octet of content; default 5 minutes (4.5.3.2.7)
	MessageTimeout time.Duration // for the whole content of one message; default 1 hour

	// Offer names extensions whose meaning the Handler honours: UTF8, BinaryMIME, DSN, RequireTLS (offered over TLS only),
	// DeliverBy, FutureRelease, Priority, Limits (Mails and RcptDomains; Rcpts is MaxRecipients) and Other lines. What the
	// server does itself, and what optional interfaces of the Handler do, is offered without it.
	Offer smtp.Extensions

	TLS            *tls.Config    // for STARTTLS; nil: not offered. Connections that are TLS already need none here
	Auth           Authenticator  // for AUTH; nil: not offered
	AuthWithoutTLS bool           // offers mechanisms that show a password or token on connections without TLS, too
	LMTP           bool           // speaks LMTP (RFC 2033) instead of SMTP
	XClient        []netip.Prefix // clients that may speak for another with XCLIENT; nobody else sees it offered
	SevenBit       bool           // the channel carries 7 bits: no 8BITMIME, BINARYMIME, SMTPUTF8, no octet above 127
	LenientSpace   bool           // takes "MAIL FROM: <a@b>" and "RCPT TO: <a@b>"

	Logger *slog.Logger // gets each refusal (info) and the course of sessions (debug); default: none

	mu        sync.Mutex
	commands  []command
	closing   bool
	listeners map[*net.Listener]struct{} // by address: a listener need not be comparable
	sessions  map[*Session]struct{}
	ended     chan struct{} // closed when the last session has ended after Shutdown
	base      context.Context
	cancel    context.CancelFunc
}

// Serve accepts connections until Shutdown, and returns ErrServerClosed then, or the listener's error. It closes l.
func (srv *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !srv.addListener(&l) {
		return ErrServerClosed
	}
	defer srv.removeListener(&l)
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			go srv.ServeConn(conn)
			continue
		case srv.isClosing():
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		}
		// What is left are shortages (no file descriptor, no memory) and peers that went away: they pass.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		srv.logger().Warn("cannot accept a connection; trying on", "listener", l.Addr().String(), "pause", pause, "error", err)
		srv.sleep(pause)
	}
}

// ServeConn serves one session on conn, over whatever transport, and closes conn.
func (srv *Server) ServeConn(conn net.Conn) {
	s := srv.admit(conn)
	if s == nil {
		return
	}
	defer srv.endSession(s)
	defer s.wire.close()
	s.serve()
}

// admit begins a session, or turns the client away and gives nil.
func (srv *Server) admit(conn net.Conn) *Session {
	s, refusal := srv.newSession(conn)
	if s == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Second))
		conn.Write(refusal.Append(nil))
	}
	return s
}

// Shutdown ends the server gently: it closes the listeners, answers 421 to sessions outside a transaction (4.2.4.2, 3.8)
// and lets transactions run to their end. When ctx ends first it cuts what is left and returns the context's error.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.mu.Lock()
	srv.init()
	if !srv.closing {
		srv.closing = true
		if len(srv.sessions) == 0 {
			close(srv.ended)
		}
	}
	for l := range srv.listeners {
		(*l).Close()
	}
	for s := range srv.sessions {
		s.wire.interrupt()
	}
	srv.mu.Unlock()

	select {
	case <-srv.ended:
		srv.cancel()
		return nil
	case <-ctx.Done():
	}
	srv.cancel()
	srv.mu.Lock()
	for s := range srv.sessions {
		s.wire.close()
	}
	srv.mu.Unlock()
	<-srv.ended
	return ctx.Err()
}

// Sessions is the number of sessions that are open now.
func (srv *Server) Sessions() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

func (srv *Server) newSession(conn net.Conn) (*Session, smtp.Reply) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.init()
	switch {
	case srv.closing:
		return nil, smtp.Replyf(421, smtp.EnhancedCode{}, "%s is shutting down", srv.hostname())
	case srv.MaxSessions >= 0 && len(srv.sessions) >= orDefault(srv.MaxSessions, DefaultMaxSessions):
		return nil, smtp.Replyf(421, smtp.EnhancedCode{}, "%s has too many sessions, try again later", srv.hostname())
	}
	s := &Session{server: srv, handler: srv.Handler, wire: wire{conn: conn, limit: maxLine}}
	if s.handler == nil {
		s.handler = refuseAll{}
	}
	s.maxSize = orDefault(srv.MaxSize, DefaultMaxSize)
	s.maxErrors = orDefault(srv.MaxErrors, DefaultMaxErrors)
	s.maxRecipients = orDefault(srv.MaxRecipients, DefaultMaxRecipients)
	s.idleTimeout = orDefault(srv.IdleTimeout, DefaultIdleTimeout)
	s.messageTimeout = orDefault(srv.MessageTimeout, DefaultMessageTimeout)
	s.ctx, s.cancel = context.WithCancel(srv.base)
	srv.sessions[s] = struct{}{}
	return s, smtp.Reply{}
}

func (srv *Server) endSession(s *Session) {
	s.cancel()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.sessions, s)
	if srv.closing && len(srv.sessions) == 0 {
		close(srv.ended)
	}
}

func (srv *Server) addListener(l *net.Listener) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.init()
	if srv.closing {
		return false
	}
	srv.listeners[l] = struct{}{}
	return true
}

func (srv *Server) removeListener(l *net.Listener) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.listeners, l)
}

// init makes the maps of a zero value; srv.mu is held.
func (srv *Server) init() {
	if srv.sessions != nil {
		return
	}
	srv.commands = commands()
	srv.listeners = make(map[*net.Listener]struct{})
	srv.sessions = make(map[*Session]struct{})
	srv.ended = make(chan struct{})
	srv.base, srv.cancel = context.WithCancel(context.Background())
}

func (srv *Server) isClosing() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.closing
}

// sleep waits, but not beyond the server's end.
func (srv *Server) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-srv.base.Done():
	}
}

func (srv *Server) hostname() string {
	if srv.Hostname != "" {
		return srv.Hostname
	}
	if name, err := os.Hostname(); err == nil {
		if d, err := smtp.ParseDomain(name); err == nil {
			return d.String()
		}
	}
	return "localhost"
}

func (srv *Server) logger() *slog.Logger {
	if srv.Logger != nil {
		return srv.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
