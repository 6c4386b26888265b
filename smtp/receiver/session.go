package receiver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// phase is how far a session has come. Phases are bits, so that a command can name all in which it may come.
type phase uint8

const (
	phaseStart phase = 1 << iota // no EHLO or HELO yet
	phaseReady                   // no transaction
	phaseMail                    // MAIL accepted, no recipient yet
	phaseRcpt                    // one recipient or more
	phaseDead                    // the greeting was 554: nothing but QUIT (3.1)

	inTransaction = phaseMail | phaseRcpt
	anyPhase      = phaseStart | phaseReady | phaseMail | phaseRcpt
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

	phase  phase
	hello  smtp.Domain
	esmtp  bool
	mail   smtp.Mail
	rcpts  []smtp.Rcpt
	asked  int // RCPT commands of this transaction, refused ones included
	errors int
	verb   string // of the command that is answered; "" where the line is none
}

// RemoteAddr is the client's address.
func (s *Session) RemoteAddr() net.Addr { return s.wire.conn.RemoteAddr() }

// LocalAddr is the address the client connected to.
func (s *Session) LocalAddr() net.Addr { return s.wire.conn.LocalAddr() }

// Hello is the name the client gave in EHLO or HELO; zero before that.
func (s *Session) Hello() smtp.Domain { return s.hello }

// Protocol is the word for the "with" clause of a Received field (4.4): "SMTP" after HELO, "ESMTP" after EHLO.
func (s *Session) Protocol() string {
	if s.esmtp {
		return "ESMTP"
	}
	return "SMTP"
}

// Mail is the accepted MAIL command of the transaction.
func (s *Session) Mail() smtp.Mail { return s.mail }

// Recipients are the accepted RCPT commands of the transaction, in their order. They are valid during a call.
func (s *Session) Recipients() []smtp.Rcpt { return s.rcpts }

// serve speaks with the client until one of both ends the session.
func (s *Session) serve() {
	defer s.wire.release()
	if d, ok := s.handler.(Disconnecter); ok {
		defer d.Disconnect(s)
	}
	log := s.logger()
	log.Debug("session begins")
	if s.write(greetingVerb, s.greeting()) {
		s.wire.flush()
		return
	}
	for {
		s.verb = ""
		line, err := s.wire.readLine(time.Now().Add(s.idleTimeout), s.phase&inTransaction == 0)
		reply, goOn := s.lineReply(line, err)
		if !goOn {
			log.Debug("session broke off", "error", err)
			return
		}
		if s.write(s.verb, reply) {
			break
		}
	}
	s.wire.flush()
	log.Debug("session ends")
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
	return smtp.Replyf(220, smtp.EnhancedCode{}, "%s ESMTP holub", s.server.hostname())
}

// lineReply answers one line, or what came instead of it. goOn is false when the client is gone.
func (s *Session) lineReply(line []byte, err error) (r smtp.Reply, goOn bool) {
	if s.phase&inTransaction == 0 && s.wire.wasInterrupted() {
		return smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 3, 2}, Close: true,
			Lines: []string{s.server.hostname() + " is shutting down"}}, true
	}
	switch {
	case err == nil:
		return s.countErrors(s.command(line)), true
	case errors.Is(err, errLineTooLong):
		return s.countErrors(smtp.Replyf(500, smtp.EnhancedCode{5, 5, 2}, "The line is longer than %d octets", maxLine)), true
	case errors.Is(err, errBareLF):
		return s.countErrors(smtp.NewReply(500, smtp.EnhancedCode{5, 5, 2}, "Lines must end with CRLF (RFC 5321 2.3.8)")), true
	case isTimeout(err):
		return replyTimeout, true
	}
	return smtp.Reply{}, false
}

// countErrors ends the session of a client that gets nothing right (4.2.4.2 allows 421 for it). What the Handler
// refuses does not count: a list of recipients may have gone stale.
func (s *Session) countErrors(r smtp.Reply) smtp.Reply {
	if r.Code < 500 || r.Code > 504 {
		return r
	}
	if s.errors++; s.errors < s.maxErrors || s.maxErrors < 0 {
		return r
	}
	return smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 7, 0}, Close: true, Lines: []string{"Too many errors"}}
}

// write is the one place where replies leave. It logs refusals and tells whether the session ends with this reply.
func (s *Session) write(verb string, r smtp.Reply) (end bool) {
	switch verb {
	case greetingVerb, "EHLO", "HELO":
		r.Enhanced = smtp.EnhancedCode{} // RFC 2034 4
	}
	if r.Code >= 400 {
		s.logger().LogAttrs(s.ctx, slog.LevelInfo, "refused", slog.String("command", verb), slog.String("reply", r.Text()))
	}
	var line [128]byte
	s.wire.put(r.Append(line[:0]))
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
	s.asked = 0
}

// receive runs the content of DATA through the Handler, and answers.
func (s *Session) receive() smtp.Reply {
	if err := s.wire.flush(); err != nil {
		return smtp.Reply{Close: true}
	}
	c := &content{s: s, deadline: time.Now().Add(s.messageTimeout)}
	r := s.handler.Data(s.ctx, s, c)
	err := c.drain()
	if refusal, ok := c.err.(smtp.Reply); ok {
		r = refusal
	} else if flaw := c.flaw(); !flaw.IsZero() && (r.IsZero() || r.Positive()) {
		r = flaw // the Handler did not read so far
	}
	switch {
	case err == nil:
		return orReply(r, smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Ok"))
	case errors.Is(err, errEndless):
		r.Close = true
		return r
	case isTimeout(err):
		return replyTimeout
	}
	return replyBroken
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

var _ io.Reader = (*content)(nil)
