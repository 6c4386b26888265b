package receiver

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// secureConn is a connection with TLS: a *tls.Conn, or what wraps one.
type secureConn interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
	ConnectionState() tls.ConnectionState
}

// handshaker is a connection that has something to settle before the session: TLS, or the header of a proxy.
type handshaker interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
}

// handshakeTimeout is how long a TLS handshake may take, where the idle time is not shorter.
const handshakeTimeout = time.Minute

func (s *Session) hasTLS() bool { return s.server.TLS != nil }

// secure tells that the session runs over TLS.
func (s *Session) secure() bool {
	_, ok := s.wire.conn.(secureConn)
	return ok
}

// offersTLS tells that STARTTLS would work now (RFC 3207 4.2: not over TLS).
func (s *Session) offersTLS() bool {
	return s.hasTLS() && !s.secure() && s.behalf == nil && s.hasCertificate()
}

func (s *Session) hasCertificate() bool {
	c := s.server.TLS
	return len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil
}

// handshakeFirst runs the handshake of a connection that is TLS from its start (RFC 8314 3), or reads the header of its
// proxy: the Handler must not be asked about a client that is not known yet.
func (s *Session) handshakeFirst() error {
	if conn, ok := s.wire.conn.(handshaker); ok {
		return s.handshake(conn)
	}
	return nil
}

func (s *Session) handshake(conn handshaker) error {
	conn.SetDeadline(time.Now().Add(min(handshakeTimeout, s.idleTimeout)))
	return conn.HandshakeContext(context.Background()) // the deadline ends it; a context costs a goroutine
}

// startTLS answers STARTTLS (RFC 3207), and begins anew over TLS.
func (s *Session) startTLS(string) smtp.Reply {
	switch {
	case s.secure():
		return smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "TLS has been started already")
	case !s.esmtp:
		return s.sendHello()
	case s.behalf != nil: // STARTTLS would drop it (RFC 3207 4.2), and the client be taken for its proxy
		return smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "No STARTTLS after XCLIENT; start TLS first")
	case !s.hasCertificate():
		return smtp.NewReply(454, smtp.EnhancedCode{4, 7, 0}, "TLS is not available now")
	case len(s.wire.buffered()) > 0: // somebody in between could have put it there, to be taken for the client's own
		return smtp.Reply{Code: 554, Enhanced: smtp.EnhancedCode{5, 5, 1}, Close: true,
			Lines: []string{"STARTTLS must be the last command before TLS (RFC 3207 4)"}}
	}
	s.write("STARTTLS", smtp.NewReply(220, smtp.EnhancedCode{2, 0, 0}, "Ready for TLS"))
	if err := s.wire.flush(); err != nil {
		return smtp.Reply{Close: true}
	}
	s.wire.release()
	conn := tls.Server(s.wire.conn, s.server.TLS)
	if err := s.handshake(conn); err != nil {
		s.logger().Debug("the TLS handshake failed", "error", err)
		return smtp.Reply{Close: true}
	}
	s.wire.secure(conn)
	s.forget()
	return smtp.Reply{}
}

// forget drops what the client said before TLS (RFC 3207 4.2).
func (s *Session) forget() {
	s.reset()
	s.phase, s.hello, s.esmtp = phaseStart, smtp.Domain{}, false
	s.loggedIn, s.identity, s.behalf = false, "", nil
}
