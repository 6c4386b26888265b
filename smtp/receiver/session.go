package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// phase is how far a session has come. Phases are bits, so that a command can name all in which it may come.
type phase uint8

const (
	phaseStart  phase = 1 << iota // no EHLO or HELO yet
	phaseReady                    // no transaction
	phaseMail                     // MAIL accepted, no recipient yet
	phaseRcpt                     // one recipient or more
	phaseChunks                   // between two chunks of BDAT; the Handler reads the content
	phaseDead                     // the greeting was 554: nothing but QUIT (3.1)

	takesRcpt     = phaseMail | phaseRcpt
	inTransaction = takesRcpt | phaseChunks
	anyPhase      = phaseStart | phaseReady | inTransaction
)

// Session is one client's conversation. A Handler may read it while it is asked, and keep its own state in Value.
type Session struct {
	// Value is the Handler's own.
	Value any

	server  *Server
	handler Handler
	wire    wire
	ctx     context.Context // ends with the session
	cancel  context.CancelFunc

	maxSize        int64
	maxErrors      int
	maxRecipients  int
	idleTimeout    time.Duration
	messageTimeout time.Duration

	phase    phase
	hello    smtp.Domain
	esmtp    bool
	loggedIn bool
	identity string   // who logged in
	behalf   *xclient // for whom the client speaks; nil: for itself
	mail     smtp.Mail
	mails    int // transactions so far
	rcpts    []smtp.Rcpt
	asked    int // RCPT commands of this transaction, refused ones included
	domains  int // of the recipients accepted; counted where they are limited
	errors   int
	idle     int    // commands since the last content that brought no mail
	verb     string // of the command that is answered; "" where the line is none
}

// RemoteAddr is the client's address, or the one that XCLIENT gave in its place.
func (s *Session) RemoteAddr() net.Addr {
	if s.behalf != nil && s.behalf.remote != nil {
		return s.behalf.remote
	}
	return s.wire.conn.RemoteAddr()
}

// LocalAddr is the address the client connected to, or the one that XCLIENT gave in its place.
func (s *Session) LocalAddr() net.Addr {
	if s.behalf != nil && s.behalf.local != nil {
		return s.behalf.local
	}
	return s.wire.conn.LocalAddr()
}

// Hello is the name the client gave in EHLO, HELO or LHLO, zero before that; or the one that XCLIENT gave.
func (s *Session) Hello() smtp.Domain {
	if s.behalf != nil && !s.behalf.hello.IsZero() {
		return s.behalf.hello
	}
	return s.hello
}

// ClientName is the verified host name that XCLIENT gave; "" where it gave none. The server itself looks up no names.
func (s *Session) ClientName() string {
	if s.behalf == nil {
		return ""
	}
	return s.behalf.name
}

// Identity is who logged in with AUTH or was given by XCLIENT; "" is nobody.
func (s *Session) Identity() string { return s.identity }

// TLS tells of the connection's TLS; nil where it has none.
func (s *Session) TLS() *tls.ConnectionState {
	if c, ok := s.wire.conn.(secureConn); ok {
		state := c.ConnectionState()
		return &state
	}
	return nil
}

// Protocol is the word for the "with" clause of a Received field (4.4), from SMTP to UTF8SMTPSA and LMTPSA: with a word
// for HELO, for TLS and for a client that logged in (RFC 3848), and for SMTPUTF8 (RFC 6531 4.3).
func (s *Session) Protocol() string {
	esmtp := s.esmtp
	if s.behalf != nil && s.behalf.protocol != "" {
		esmtp = s.behalf.protocol == "ESMTP"
	}
	word := "ESMTP"
	switch {
	case s.server.LMTP && s.mail.UTF8:
		word = "UTF8LMTP"
	case s.server.LMTP:
		word = "LMTP"
	case s.mail.UTF8:
		word = "UTF8SMTP"
	case !esmtp: // there is no word for HELO over TLS
		return "SMTP"
	}
	if _, ok := s.wire.conn.(secureConn); ok {
		word += "S"
	}
	if s.loggedIn {
		word += "A"
	}
	return word
}

// Mail is the accepted MAIL command of the transaction.
func (s *Session) Mail() smtp.Mail { return s.mail }

// Recipients are the accepted RCPT commands of the transaction, in their order. They are valid during a call.
func (s *Session) Recipients() []smtp.Rcpt { return s.rcpts }

// serve speaks with the client until one of both ends the session. It waits here, so little stands on its stack.
func (s *Session) serve() {
	defer s.end()
	for goOn := s.begin(); goOn; {
		line, err := s.wire.readLine(time.Now().Add(s.idleTimeout), s.phase&inTransaction == 0)
		goOn = s.turn(line, err)
	}
}

// begin runs the handshake of a connection with TLS and greets.
func (s *Session) begin() (goOn bool) {
	s.logger().Debug("session begins")
	if err := s.handshakeFirst(); err != nil {
		s.logger().Debug("the connection was not made ready", "error", err)
		return false
	}
	if s.write(greetingVerb, s.greeting()) {
		s.wire.linger()
		return false
	}
	s.verb = ""
	return true
}

// turn answers one line, or what came instead of it.
func (s *Session) turn(line []byte, err error) (goOn bool) {
	reply, there := s.lineReply(line, err)
	if !there {
		s.logger().Debug("session broke off", "error", err)
		return false
	}
	if s.write(s.verb, reply) {
		if s.verb != "QUIT" {
			s.wire.linger()
		}
		s.wire.flush()
		return false
	}
	s.verb = ""
	return true
}

// end tells the Handler and gives back what the session holds.
func (s *Session) end() {
	if d, ok := s.handler.(Disconnecter); ok {
		d.Disconnect(s)
	}
	s.wire.release()
	s.logger().Debug("session ends")
}

// greetingVerb stands in the log where no command was given yet.
const greetingVerb = "connect"

// greeting asks the Handler what to greet with (3.1, 4.3.1).
func (s *Session) greeting() smtp.Reply {
	s.phase = phaseStart
	if c, ok := s.handler.(Connecter); ok {
		if r := c.Connect(s.ctx, s); r.Code >= 400 {
			s.phase = phaseDead
			return r
		}
	}
	return smtp.Replyf(220, smtp.EnhancedCode{}, "%s %s holub", s.server.hostname(), s.family())
}

// lineReply answers one line, or what came instead of it. goOn is false when the client is gone.
func (s *Session) lineReply(line []byte, err error) (r smtp.Reply, goOn bool) {
	flaw := lineFlaw(err)
	switch {
	case s.phase&inTransaction == 0 && s.wire.wasInterrupted():
		return s.shuttingDown(), true
	case err == nil:
		return s.countErrors(s.countIdle(s.command(line))), true
	case !flaw.IsZero():
		return s.countErrors(flaw), true
	case isTimeout(err):
		return replyTimeout, true
	}
	return smtp.Reply{}, false
}

// shuttingDown answers whoever waits when the server ends (4.2.4.2).
func (s *Session) shuttingDown() smtp.Reply {
	return smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 3, 2}, Close: true,
		Lines: []string{s.server.hostname() + " is shutting down"}}
}

// lineFlaw answers a line that was read but is none; zero for other errors.
func lineFlaw(err error) smtp.Reply {
	switch {
	case err == nil:
	case errors.Is(err, errLineTooLong):
		return smtp.Replyf(500, smtp.EnhancedCode{5, 5, 2}, "The line is longer than %d octets", maxLine)
	case errors.Is(err, errBareLF):
		// What follows a bare LF may be a line that the client never meant to send, but was made to.
		return smtp.Reply{Code: 500, Enhanced: smtp.EnhancedCode{5, 5, 2}, Close: true,
			Lines: []string{"Lines must end with CRLF (RFC 5321 2.3.8)"}}
	}
	return smtp.Reply{}
}

// family is the protocol that the greeting names.
func (s *Session) family() string {
	if s.server.LMTP {
		return "LMTP"
	}
	return "ESMTP"
}

// countErrors ends the session of a client that gets nothing right (4.2.4.2 allows 421 for it). What the Handler
// refuses does not count: a list of recipients may have gone stale.
func (s *Session) countErrors(r smtp.Reply) smtp.Reply {
	failedLogin := s.verb == "AUTH" && r.Code == authFailed.Code
	if (r.Code < 500 || r.Code > 504) && !failedLogin {
		return r
	}
	if s.errors++; s.errors < s.maxErrors || s.maxErrors < 0 {
		return r
	}
	return smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 7, 0}, Close: true, Lines: []string{"Too many errors"}}
}

// maxIdle is how many commands a client may give that bring its mail no further. Without a bound one NOOP in five minutes
// would hold a session for ever.
const maxIdle = 100

// countIdle ends the session of a client that only passes the time.
func (s *Session) countIdle(r smtp.Reply) smtp.Reply {
	switch s.verb {
	case "NOOP", "RSET", "HELP", "VRFY", "EXPN", "ETRN", "EHLO", "HELO", "LHLO":
		s.idle++
	case "DATA", "BDAT":
		s.idle = 0
	}
	if s.idle <= maxIdle {
		return r
	}
	return smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 7, 0}, Close: true, Lines: []string{"Too many commands without mail"}}
}

// write is the one place where replies leave. It logs refusals and tells whether the session ends with this reply.
func (s *Session) write(verb string, r smtp.Reply) (end bool) {
	if r.IsZero() { // said already, or there is nobody to hear it
		return r.Close
	}
	switch verb {
	case greetingVerb, "EHLO", "HELO", "LHLO":
		r.Enhanced = smtp.EnhancedCode{} // RFC 2034 4
	}
	if r.Code >= 400 {
		s.logger().LogAttrs(s.ctx, slog.LevelInfo, "refused", slog.String("command", verb), slog.String("reply", r.Text()))
	}
	s.wire.put(r)
	return r.Close || r.Code == 421 // 3.8
}

func (s *Session) logger() *slog.Logger {
	if s.server.Logger == nil {
		return s.server.logger()
	}
	return s.server.Logger.With("client", addrText(s.RemoteAddr()))
}

// keepRcpts is for how many recipients a session keeps the room between transactions.
const keepRcpts = 16

// reset ends the transaction (4.1.1.5).
func (s *Session) reset() {
	if s.phase&inTransaction != 0 {
		s.phase = phaseReady
	}
	s.mail = smtp.Mail{}
	clear(s.rcpts)
	s.rcpts = s.rcpts[:0]
	if cap(s.rcpts) > keepRcpts {
		s.rcpts = nil
	}
	s.asked, s.domains = 0, 0
}

func orReply(r, def smtp.Reply) smtp.Reply {
	if r.IsZero() {
		return def
	}
	return r
}

func addrText(a net.Addr) string {
	if a == nil {
		return "unknown"
	}
	return a.String()
}
