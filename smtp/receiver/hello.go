package receiver

import (
	"strings"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// sendHello answers what comes before the client's name, or needs ESMTP after HELO.
func (s *Session) sendHello() smtp.Reply {
	verb := "EHLO"
	if s.server.LMTP {
		verb = "LHLO"
	}
	return smtp.Replyf(503, smtp.EnhancedCode{5, 5, 1}, "Send %s first", verb)
}

// checkHello refuses what is no name; the session then stays as it was (4.1.4).
func checkHello(_ *Session, arg string) smtp.Reply {
	if _, err := smtp.ParseHelo(arg); err != nil {
		return smtp.NewReply(501, smtp.EnhancedCode{}, "Give your domain name or address literal")
	}
	return smtp.Reply{}
}

func (s *Session) ehlo(arg string) smtp.Reply {
	s.greet(arg, true)
	first := s.server.hostname() + " greets " + s.hello.String()
	return smtp.Reply{Code: 250, Lines: append([]string{first}, s.offered().Lines()...)}
}

func (s *Session) helo(arg string) smtp.Reply {
	s.greet(arg, false)
	return smtp.Replyf(250, smtp.EnhancedCode{}, "%s greets %s", s.server.hostname(), s.hello)
}

// greet takes the client's name and drops an open transaction (4.1.4).
func (s *Session) greet(arg string, esmtp bool) {
	s.reset()
	s.hello, _ = smtp.ParseHelo(strings.Clone(arg)) // checked; a copy, for the line may be long
	s.esmtp, s.phase = esmtp, phaseReady
}

// offered are the extensions of this session: what the server does itself, and what the Handler does.
func (s *Session) offered() smtp.Extensions {
	srv := s.server
	e := srv.Offer
	e.Pipelining, e.EnhancedCodes, e.Chunking = true, true, true
	e.Size, e.MaxSize = true, max(s.maxSize, 0)
	e.EightBitMIME = !srv.SevenBit
	e.UTF8 = e.UTF8 && !srv.SevenBit // RFC 6531 3.1: it needs 8BITMIME
	e.BinaryMIME = e.BinaryMIME && !srv.SevenBit
	e.StartTLS = s.offersTLS()
	e.Auth = s.mechanisms()
	e.RequireTLS = e.RequireTLS && s.secure() // RFC 8689 2
	offerHold(&e, time.Now())
	if e.Limits != nil {
		l := *e.Limits
		l.Rcpts = max(s.maxRecipients, 0)
		e.Limits = &l
	}
	_, e.VRFY = s.handler.(Verifier)
	e.EXPN, e.ETRN = s.expands(), s.turns()
	e.XCLIENT = nil
	if s.mayXClient() {
		e.XCLIENT = xclientAttributes
	}
	return e
}

// offerHold completes the two limits of FUTURERELEASE (RFC 4865 4) from the one that is set.
func offerHold(e *smtp.Extensions, now time.Time) {
	switch {
	case !e.FutureRelease:
	case e.MaxHold == 0 && e.MaxHoldUntil.After(now):
		e.MaxHold = e.MaxHoldUntil.Sub(now)
	case e.MaxHold > 0 && e.MaxHoldUntil.IsZero():
		e.MaxHoldUntil = now.Add(e.MaxHold)
	}
	e.FutureRelease = e.FutureRelease && e.MaxHold >= time.Second
}
