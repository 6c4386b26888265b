package sasl

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"
)

// single is a client whose mechanism is one message.
type single struct {
	mechanism string
	message   func() ([]byte, error)
	sent      bool
}

// Mechanism implements Client.
func (c *single) Mechanism() string { return c.mechanism }

// Start implements Client.
func (c *single) Start() ([]byte, bool, error) {
	if c.sent {
		return nil, false, fmt.Errorf("%s: %w: started twice", c.mechanism, ErrMalformed)
	}
	m, err := c.message()
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", c.mechanism, err)
	}
	c.sent = true
	return m, true, nil
}

// Next implements Client.
func (c *single) Next([]byte) ([]byte, error) {
	return nil, fmt.Errorf("%s: %w: a challenge after the only message", c.mechanism, ErrMalformed)
}

// Finish implements Client.
func (c *single) Finish() error {
	if !c.sent {
		return fmt.Errorf("%s: %w: finished before it started", c.mechanism, ErrMalformed)
	}
	return nil
}

// Plain is the client side of PLAIN (RFC 4616): it shows the password to the server. Authzid, the user to act as, is
// empty for the user itself.
func Plain(authzid, user, password string) Client {
	return &single{mechanism: NamePlain, message: func() ([]byte, error) {
		authzid, err := prepareAuthzid(authzid)
		if err != nil {
			return nil, err
		}
		user, err := PrepareUser(user)
		if err != nil {
			return nil, err
		}
		password, err := PreparePassword(password)
		if err != nil {
			return nil, err
		}
		return []byte(authzid + "\x00" + user + "\x00" + password), nil
	}}
}

// plain is the server side of PLAIN: authzid NUL user NUL password (RFC 4616 2).
func (s *server) plain(ctx context.Context, response []byte) ([]byte, step, error) {
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.Valid(response) {
		return nil, nil, fmt.Errorf("%w: PLAIN is authzid NUL user NUL password in UTF-8", ErrMalformed)
	}
	return nil, nil, s.password(ctx, string(parts[0]), string(parts[1]), string(parts[2]))
}

// password puts a user and a password to the host.
func (s *server) password(ctx context.Context, authzid, user, password string) error {
	user, authzid, err := names(user, authzid)
	if err != nil {
		return err
	}
	if password, err = PreparePassword(password); err != nil {
		return noMatch(err)
	}
	account, err := s.auth.Password(ctx, user, password)
	return s.admit(ctx, account, user, authzid, err)
}

// loginClient is the client side of LOGIN.
type loginClient struct {
	answers []func() (string, error) // those not given yet
	started bool
}

// Login is the client side of LOGIN (draft-murchison-sasl-login): it shows the password to the server. PLAIN is the
// same in fewer round trips; LOGIN is for servers that know nothing else.
func Login(user, password string) Client {
	return &loginClient{answers: []func() (string, error){
		func() (string, error) { return PrepareUser(user) },
		func() (string, error) { return PreparePassword(password) },
	}}
}

// Mechanism implements Client.
func (c *loginClient) Mechanism() string { return NameLogin }

// Start implements Client. LOGIN has no initial response.
func (c *loginClient) Start() ([]byte, bool, error) {
	if c.started {
		return nil, false, fmt.Errorf("LOGIN: %w: started twice", ErrMalformed)
	}
	c.started = true
	return nil, false, nil
}

// Next implements Client. What the challenges say differs between servers; their order does not.
func (c *loginClient) Next([]byte) ([]byte, error) {
	if !c.started || len(c.answers) == 0 {
		return nil, fmt.Errorf("LOGIN: %w: asked for more than user and password", ErrMalformed)
	}
	answer, err := c.answers[0]()
	if err != nil {
		return nil, fmt.Errorf("LOGIN: %w", err)
	}
	c.answers = c.answers[1:]
	return []byte(answer), nil
}

// Finish implements Client.
func (c *loginClient) Finish() error {
	if len(c.answers) > 0 {
		return fmt.Errorf("LOGIN: %w: ended before user and password were asked for", ErrMalformed)
	}
	return nil
}

// login is the server side of LOGIN. The draft calls the prompts "User Name" and "Password" and tells clients to ignore
// them; some clients look for the words below. A user name as initial response is taken, for many send it.
func (s *server) login(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return []byte("Username:"), s.loginUser, nil
	}
	return s.loginUser(ctx, response)
}

// loginUser takes the user name.
func (s *server) loginUser(_ context.Context, response []byte) ([]byte, step, error) {
	user, err := loginText(response)
	if err != nil {
		return nil, nil, err
	}
	return []byte("Password:"), func(ctx context.Context, response []byte) ([]byte, step, error) {
		password, err := loginText(response)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, s.password(ctx, "", user, password)
	}, nil
}

// loginText checks one answer.
func loginText(response []byte) (string, error) {
	text := string(response)
	if text == "" || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "", fmt.Errorf("%w: LOGIN takes a user and a password in UTF-8, neither empty", ErrMalformed)
	}
	return text, nil
}

// External is the client side of EXTERNAL (RFC 4422 appendix A): the server knows the client already, by its TLS
// certificate or its socket. Authzid, the user to act as, is empty for whoever that is.
func External(authzid string) Client {
	return &single{mechanism: NameExternal, message: func() ([]byte, error) {
		authzid, err := prepareAuthzid(authzid)
		return []byte(authzid), err
	}}
}

// external is the server side of EXTERNAL: the response is the authzid, which may be empty.
func (s *server) external(ctx context.Context, response []byte) ([]byte, step, error) {
	if !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 { // RFC 4422 A.1
		return nil, nil, fmt.Errorf("%w: EXTERNAL takes a name in UTF-8 without NUL", ErrMalformed)
	}
	authzid, err := prepareAuthzid(string(response))
	if err != nil {
		return nil, nil, noMatch(err)
	}
	account, err := s.auth.External(ctx, authzid)
	return nil, nil, s.admit(ctx, account, "", authzid, err)
}
