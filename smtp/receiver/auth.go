package receiver

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Authenticator lets clients log in (AUTH, RFC 4954).
type Authenticator interface {
	// Mechanisms names those that the session may use now, in upper case, as they are to be offered. The server itself
	// leaves out those that show a password or token where there is no TLS.
	Mechanisms(s *Session) []string
	// Start begins an exchange of one of them. Its errors are answered as those of Exchange.Next.
	Start(ctx context.Context, s *Session, mechanism string) (Exchange, error)
}

// Exchange is one try to log in; a sasl.Server is one but for the form of its Identity.
type Exchange interface {
	// Next takes a response and gives the next challenge, or done with what is left to say. The first response is nil
	// where the client sent none along with the command. An error ends the exchange: one that is a smtp.Reply (4yz or
	// 5yz) is sent, one with Temporary() true is answered with 454, all others with 535.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Identity is who has logged in; it is asked when the exchange is done.
	Identity() string
}

var authFailed = smtp.NewReply(535, smtp.EnhancedCode{5, 7, 8}, "The login is not accepted")

// showsSecret tells the mechanisms that let whoever reads along log in, too.
func showsSecret(mechanism string) bool {
	switch mechanism {
	case "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2":
		return true
	}
	return false
}

func (s *Session) hasAuth() bool { return s.server.Auth != nil }

// private tells that mechanisms which show a secret may be used.
func (s *Session) private() bool { return s.secure() || s.server.AuthWithoutTLS }

// mechanisms are those that are offered now.
func (s *Session) mechanisms() []string {
	if !s.hasAuth() {
		return nil
	}
	var names []string
	for _, m := range s.server.Auth.Mechanisms(s) {
		if s.private() || !showsSecret(m) {
			names = append(names, m)
		}
	}
	return names
}

func (s *Session) auth(arg string) smtp.Reply {
	mechanism, initial, given := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	switch {
	case !s.esmtp:
		return s.sendHello()
	case s.loggedIn: // RFC 4954 4
		return smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "You have logged in already")
	case showsSecret(mechanism) && !s.private():
		return smtp.NewReply(538, smtp.EnhancedCode{5, 7, 11}, "This mechanism needs TLS; send STARTTLS first")
	case !slices.Contains(s.mechanisms(), mechanism):
		return smtp.NewReply(504, smtp.EnhancedCode{5, 5, 4}, "This mechanism is not offered")
	}
	var response []byte
	if given {
		var r smtp.Reply
		if response, r = decodeResponse([]byte(initial)); !r.IsZero() {
			return r
		}
	}
	exchange, err := s.server.Auth.Start(s.ctx, s, mechanism)
	if err != nil {
		return authReply(err)
	}
	return s.exchange(exchange, response)
}

// exchange carries challenges and responses to their end.
func (s *Session) exchange(e Exchange, response []byte) smtp.Reply {
	s.wire.limit = maxAuthLine
	defer func() { s.wire.limit = maxLine }()
	for {
		challenge, done, err := e.Next(s.ctx, response)
		if err != nil {
			return authReply(err)
		}
		if !done || len(challenge) > 0 {
			var r smtp.Reply
			if response, r = s.ask(challenge); !r.IsZero() || r.Close {
				return r
			}
		}
		switch {
		case !done:
			continue
		case len(challenge) > 0 && len(response) > 0: // RFC 4954 4: what is said with success is answered by an empty line
			return badResponse
		}
		s.loggedIn, s.identity = true, e.Identity()
		return smtp.NewReply(235, smtp.EnhancedCode{2, 7, 0}, "You have logged in")
	}
}

// ask sends a challenge and reads the response.
func (s *Session) ask(challenge []byte) ([]byte, smtp.Reply) {
	s.wire.challenge(challenge)
	line, err := s.wire.readLine(time.Now().Add(s.idleTimeout), true)
	flaw := lineFlaw(err)
	switch {
	case s.wire.wasInterrupted():
		return nil, s.shuttingDown()
	case errors.Is(err, errLineTooLong):
		return nil, smtp.Replyf(500, smtp.EnhancedCode{5, 5, 6}, "The response is longer than %d octets", maxAuthLine)
	case !flaw.IsZero():
		return nil, flaw
	case isTimeout(err):
		return nil, replyTimeout
	case err != nil:
		return nil, smtp.Reply{Close: true}
	case string(line) == "*":
		return nil, smtp.NewReply(501, smtp.EnhancedCode{5, 7, 0}, "The login was cancelled")
	case string(line) == "=": // stands for an empty initial response only
		return nil, badResponse
	}
	return decodeResponse(line)
}

var badResponse = smtp.NewReply(501, smtp.EnhancedCode{5, 5, 2}, "The response is not what RFC 4954 asks for")

// decodeResponse reads base64; "=" is the empty initial response (RFC 4954 4).
func decodeResponse(text []byte) ([]byte, smtp.Reply) {
	if string(text) == "=" {
		return []byte{}, smtp.Reply{}
	}
	response := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(response, text)
	if err != nil || bytes.IndexByte(text, '\r') >= 0 { // which the decoder would pass over
		return nil, badResponse
	}
	return response[:n], smtp.Reply{}
}

// authReply answers an exchange that failed.
func authReply(err error) smtp.Reply {
	var temporary interface{ Temporary() bool }
	r, given := smtp.AsReply(err)
	switch {
	case given && r.Code >= 400:
		return r
	case errors.As(err, &temporary) && temporary.Temporary():
		return smtp.NewReply(454, smtp.EnhancedCode{4, 7, 0}, "The login cannot be checked now; try again later")
	}
	return authFailed
}
