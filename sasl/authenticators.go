package sasl

import (
	"context"
	"errors"
	"fmt"
)

// Authenticators says whom a server believes. The host program sets a function for each kind of proof that it takes; a
// mechanism is offered when its function is there. Names and passwords come prepared (PrepareUser, PreparePassword), at
// most 1024 octets each.
//
// Each function returns the account: the name of who logged in, in the host's own form. It returns ErrCredentials, or
// an error that wraps it, for everybody it does not believe, and should take as long for a user it doesn't know as
// for a wrong password. Any other error means that it can't tell now, and reaches the session within ErrTemporary.
type Authenticators struct {
	// Password checks a password, for PLAIN and LOGIN.
	Password func(ctx context.Context, user, password string) (account string, err error)

	// Scram finds what is stored of a user, for SCRAM-SHA-256 and -PLUS. With ErrCredentials it may still return an
	// account, the form the name would have: made-up salts depend on it, so that two spellings of one name that share a
	// salt when the user exists share one when not.
	Scram func(ctx context.Context, user string) (account string, keys ScramKeys, err error)
	// ScramSecret makes the salts of users that don't exist, so that they look like others. It is random, at least 16
	// octets, and the same after a restart and on all nodes; without it SCRAM is not offered.
	ScramSecret []byte
	// ScramIterations is the count shown for users that don't exist: that of those who do. 0: DefaultIterations.
	ScramIterations int

	// Token checks an OAuth 2 access token, for OAUTHBEARER and XOAUTH2. User is the name given with the token; with
	// OAUTHBEARER it may be empty.
	Token func(ctx context.Context, user, token string) (account string, err error)

	// External tells who the client is from what the session knows of it, as its TLS certificate. Authzid, which may be
	// empty, is the name that the client asks for. Set it for a connection only where there is such a proof.
	External func(ctx context.Context, authzid string) (account string, err error)

	// Authorize says whether an account may act as another name: nil if so, ErrCredentials if not. Where Authorize is
	// nil nobody may.
	Authorize func(ctx context.Context, account, authzid string) error
}

// minSecret is the least length of ScramSecret in octets.
const minSecret = 16

// Mechanisms lists what these authenticators can do over the channel, strongest first.
func (a Authenticators) Mechanisms(ch Channel) []string {
	var names []string
	for _, m := range mechanisms {
		if a.has(m.name, ch) && (ch.Private || !m.secret) {
			names = append(names, m.name)
		}
	}
	return names
}

// has tells that the functions for a mechanism are there.
func (a Authenticators) has(name string, ch Channel) bool {
	switch name {
	case NameExternal:
		return a.External != nil
	case NameScramSHA256Plus:
		return a.Scram != nil && len(a.ScramSecret) >= minSecret && len(ch.Bindings) > 0
	case NameScramSHA256:
		return a.Scram != nil && len(a.ScramSecret) >= minSecret
	case NameOAuthBearer, NameXOAuth2:
		return a.Token != nil
	case NamePlain, NameLogin:
		return a.Password != nil
	}
	return false
}

// NewServer starts the server side of an exchange. The name may be in any case. It returns ErrMechanism for what is not
// known or has no function here, and ErrNotPrivate for what would show a secret over this channel.
func (a Authenticators) NewServer(name string, ch Channel) (Server, error) {
	name = upper(name)
	if !a.has(name, ch) {
		return nil, fmt.Errorf("%w: choose one of %q", ErrMechanism, a.Mechanisms(ch))
	}
	for _, m := range mechanisms {
		if m.name == name && m.secret && !ch.Private {
			return nil, fmt.Errorf("%w: start TLS before %s", ErrNotPrivate, name)
		}
	}
	s := &server{mechanism: name, auth: a, channel: ch}
	switch name {
	case NameExternal:
		s.step = s.external
	case NameScramSHA256Plus, NameScramSHA256:
		s.step = s.scramFirst
	case NameOAuthBearer:
		s.step = s.oauthBearer
	case NameXOAuth2:
		s.step = s.xoauth2
	case NamePlain:
		s.step = s.plain
	case NameLogin:
		s.step, s.speaksFirst = s.login, true
	}
	return s, nil
}

// step takes a response and gives a challenge with the step that takes its answer. No step after it: all is proved.
type step func(ctx context.Context, response []byte) (challenge []byte, next step, err error)

// server is one exchange: what every mechanism shares.
type server struct {
	mechanism   string
	auth        Authenticators
	channel     Channel
	speaksFirst bool          // the mechanism has a challenge of its own for a client without initial response
	step        step          // nil when the exchange is over
	begun       bool          // Next was called
	nonce       func() string // nil: random; tests set it

	identity Identity
	done     bool
}

// Next implements Server.
func (s *server) Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	if s.step == nil {
		return nil, false, fmt.Errorf("%w: the %s exchange is over", ErrMalformed, s.mechanism)
	}
	first := !s.begun
	s.begun = true
	if first && response == nil && !s.speaksFirst {
		return []byte{}, false, nil // RFC 4422 5: an empty challenge asks for the initial response
	}
	now := s.step
	s.step = nil
	if len(response) > MaxMessage {
		return nil, false, fmt.Errorf("%w: a response of %d octets, at most %d", ErrTooLong, len(response), MaxMessage)
	}
	challenge, s.step, err = now(ctx, response)
	if err != nil {
		s.step = nil
		return nil, false, err
	}
	s.done = s.step == nil
	return challenge, s.done, nil
}

// Identity implements Server.
func (s *server) Identity() Identity {
	if !s.done {
		return Identity{}
	}
	return s.identity
}

// admit is the one place where somebody is let in: what the authenticator answered for user, and whether the account
// may act as authzid.
func (s *server) admit(ctx context.Context, account, user, authzid string, err error) error {
	if err != nil {
		return verdict(s.mechanism, err)
	}
	if account == "" {
		return fmt.Errorf("%w: the authenticator for %s named no account", ErrTemporary, s.mechanism)
	}
	id := Identity{User: account, Authzid: account}
	if authzid != "" && authzid != account && authzid != user {
		if s.auth.Authorize == nil {
			return fmt.Errorf("%w: nobody may act as another", ErrCredentials)
		}
		if err := s.auth.Authorize(ctx, account, authzid); err != nil {
			return verdict("acting as another", err)
		}
		id.Authzid = authzid
	}
	s.identity = id
	return nil
}

// verdict sorts the error of a function of the host into "no" and "can't tell".
func verdict(what string, err error) error {
	if errors.Is(err, ErrCredentials) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrTemporary, what, err)
}

// names prepares the names a client sent. What can't be prepared matches nobody (RFC 4616 2).
func names(user, authzid string) (preparedUser, preparedAuthzid string, err error) {
	if preparedUser, err = PrepareUser(user); err != nil {
		return "", "", noMatch(err)
	}
	if preparedAuthzid, err = prepareAuthzid(authzid); err != nil {
		return "", "", noMatch(err)
	}
	return preparedUser, preparedAuthzid, nil
}

// noMatch keeps ErrTooLong and makes of every other failure to prepare a wrong name or password.
func noMatch(err error) error {
	if errors.Is(err, ErrTooLong) {
		return err
	}
	return fmt.Errorf("%w: %v", ErrCredentials, err)
}
