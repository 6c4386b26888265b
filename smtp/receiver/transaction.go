package receiver

import (
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/holub-mail/holub/smtp"
)

func (s *Session) mailFrom(arg string) smtp.Reply {
	m, err := smtp.ParseMail(s.lenient("FROM:", arg))
	if err != nil {
		return syntaxReply(err, "MAIL FROM:<reverse-path>", smtp.EnhancedCode{5, 1, 7})
	}
	if r := s.checkMail(m, s.offered()); !r.IsZero() {
		return r
	}
	if !m.UTF8 && !isASCII(arg) { // in a path or in a parameter
		return needsUTF8
	}
	m.From = keepPath(m.From, arg)
	r := orReply(s.handler.Mail(s.ctx, s, m), mailOk)
	if r.Positive() {
		s.mail, s.phase = m, phaseMail
		s.mails++
	}
	return r
}

// checkMail refuses what the server can't take, by what it offers.
func (s *Session) checkMail(m smtp.Mail, e smtp.Extensions) smtp.Reply {
	unoffered := m.Unoffered(e)
	switch {
	case unoffered != "":
		return unknownParam(unoffered)
	case s.maxSize > 0 && m.Size > s.maxSize: // RFC 1870 6.1
		return replyTooLarge
	case m.DeliverBy != nil && m.DeliverBy.Return && m.DeliverBy.Within < e.MinDeliverBy: // RFC 2852 4
		return smtp.Replyf(501, smtp.EnhancedCode{5, 5, 4}, "BY must leave %d seconds or more", e.MinDeliverBy/time.Second)
	case m.HoldFor > e.MaxHold, !m.HoldUntil.IsZero() && m.HoldUntil.After(e.MaxHoldUntil): // RFC 4865 4
		return smtp.Replyf(501, smtp.EnhancedCode{5, 5, 4}, "A message is held for %d seconds at most",
			e.MaxHold/time.Second)
	case e.Limits != nil && e.Limits.Mails > 0 && s.mails >= e.Limits.Mails: // RFC 9422 4.1
		return smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 7, 0}, Close: true,
			Lines: []string{"Too many messages in this session; connect anew"}}
	}
	return smtp.Reply{}
}

// lenient takes the space behind the colon off where that is tolerated.
func (s *Session) lenient(word, arg string) string {
	if !s.server.LenientSpace || len(arg) < len(word) {
		return arg
	}
	return arg[:len(word)] + strings.TrimLeft(arg[len(word):], " ")
}

// keepPath gives a path that holds on to its own octets only, not to a line with much else in it.
func keepPath(p smtp.Path, arg string) smtp.Path {
	if len(arg) <= 2*(len(p.Local)+len(p.Domain.String()))+64 {
		return p
	}
	if own, err := smtp.ParsePath(p.String()); err == nil {
		return own
	}
	return p
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] > unicode.MaxASCII {
			return false
		}
	}
	return true
}

// needsUTF8 answers an address that only SMTPUTF8 allows (RFC 6531 3.5).
var needsUTF8 = smtp.NewReply(553, smtp.EnhancedCode{5, 6, 7}, "The address has octets above 127, which need SMTPUTF8")

// unknownParam answers a parameter of an extension that was not offered (4.1.1.11).
func unknownParam(keyword string) smtp.Reply {
	return smtp.Replyf(555, smtp.EnhancedCode{5, 5, 4}, "%s is not offered here", keyword)
}

func (s *Session) rcptTo(arg string) smtp.Reply {
	rcpt, err := smtp.ParseRcpt(s.lenient("TO:", arg))
	if err != nil {
		return syntaxReply(err, "RCPT TO:<forward-path>", smtp.EnhancedCode{5, 1, 3})
	}
	unoffered := rcpt.Unoffered(s.server.Offer) // of its extensions none depends on the session
	switch {
	case unoffered != "":
		return unknownParam(unoffered)
	case !s.mail.UTF8 && !isASCII(arg):
		return needsUTF8
	case s.maxRecipients > 0 && s.asked >= s.maxRecipients: // 4.5.3.1.10: 452, and what was accepted stands
		return smtp.NewReply(452, smtp.EnhancedCode{4, 5, 3}, "Too many recipients; send the others in another transaction")
	}
	another := s.anotherDomain(rcpt.To.Domain)
	if another && s.domains >= s.server.Offer.Limits.RcptDomains { // RFC 9422 4.3
		return smtp.NewReply(452, smtp.EnhancedCode{4, 5, 3}, "Too many domains; send the others in another transaction")
	}
	s.asked++
	rcpt.To, rcpt.Original.Type = keepPath(rcpt.To, arg), strings.Clone(rcpt.Original.Type)
	r := orReply(s.handler.Rcpt(s.ctx, s, rcpt), rcptOk)
	if r.Positive() {
		s.rcpts = append(s.rcpts, rcpt)
		s.phase = phaseRcpt
		if another {
			s.domains++
		}
	}
	return r
}

// anotherDomain tells that no recipient so far has the domain; false where domains are not limited.
func (s *Session) anotherDomain(d smtp.Domain) bool {
	if l := s.server.Offer.Limits; l == nil || l.RcptDomains <= 0 {
		return false
	}
	for _, r := range s.rcpts {
		if r.To.Domain.Equal(d) {
			return false
		}
	}
	return true
}

func (s *Session) rset(string) smtp.Reply {
	s.reset()
	return ok
}

// syntaxReply turns an error of a command's parser into its reply: 501, with a code for the address where it is at fault
// (4.2.4; RFC 5248).
func syntaxReply(err error, syntax string, address smtp.EnhancedCode) smtp.Reply {
	if errors.Is(err, smtp.ErrParam) || errors.Is(err, smtp.ErrDuplicate) {
		return smtp.NewReply(501, smtp.EnhancedCode{5, 5, 4}, "A parameter is wrong or given twice")
	}
	if errors.Is(err, smtp.ErrPath) { // its word or its brackets are missing, not the address in them wrong
		address = smtp.EnhancedCode{5, 5, 4}
	}
	return smtp.Replyf(501, address, "The syntax is: %s", syntax)
}
