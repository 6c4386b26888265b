package receiver

import (
	"context"
	"crypto/x509"
	"errors"

	"github.com/holub-mail/holub/sasl"
	"github.com/holub-mail/holub/smtp"
)

// SASL is the Authenticator that package sasl does the exchanges for: fill in the functions that check passwords, tokens
// or SCRAM keys, and give it to Server.Auth.
type SASL struct {
	sasl.Authenticators

	// Leaf is the certificate that the server shows in TLS, for the channel binding of SCRAM-SHA-256-PLUS that older
	// clients know (RFC 5929 4); nil leaves the newer one (RFC 9266) alone.
	Leaf *x509.Certificate
}

// Mechanisms lists what the authenticators can do over the session's channel, strongest first.
func (a SASL) Mechanisms(s *Session) []string { return a.Authenticators.Mechanisms(a.channel(s)) }

// Start begins an exchange.
func (a SASL) Start(_ context.Context, s *Session, mechanism string) (Exchange, error) {
	server, err := a.NewServer(mechanism, a.channel(s))
	if err != nil {
		return nil, err
	}
	return saslExchange{server}, nil
}

// channel says what the exchange runs over.
func (a SASL) channel(s *Session) sasl.Channel {
	ch := sasl.Channel{}
	if state := s.TLS(); state != nil {
		ch = sasl.ServerChannel(*state, a.Leaf)
	}
	ch.Private = s.private()
	return ch
}

// saslExchange is a sasl.Server in the form of this package.
type saslExchange struct{ server sasl.Server }

// Next gives the errors of package sasl the replies of RFC 4954 6.
func (e saslExchange) Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = e.server.Next(ctx, response)
	switch {
	case errors.Is(err, sasl.ErrTemporary):
		err = smtp.NewReply(454, smtp.EnhancedCode{4, 7, 0}, "The login cannot be checked now; try again later")
	case errors.Is(err, sasl.ErrMalformed):
		err = badResponse
	case errors.Is(err, sasl.ErrTooLong):
		err = smtp.Replyf(500, smtp.EnhancedCode{5, 5, 6}, "The response is longer than %d octets", maxAuthLine)
	}
	return challenge, done, err
}

// Identity is the name as which the client acts.
func (e saslExchange) Identity() string { return e.server.Identity().Authzid }
