package sasl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/scram"
)

const (
	// maxScram is the longest SCRAM message in octets, so that what the server adds still fits MaxMessage.
	maxScram = 4096
	// minIterations is what RFC 7677 4 asks for at least; a client does no less.
	minIterations = 4096
	// maxIterations keeps a hostile server from making a client compute for more than about a second.
	maxIterations = 2_000_000
)

// scramClient is the client side of SCRAM-SHA-256 and -PLUS: the library speaks, this sees to preparation and limits.
type scramClient struct {
	mechanism               string
	authzid, user, password string
	begin                   func(*scram.Client) *scram.ClientConversation // says whether and how to bind
	nonce                   func() string                                 // nil: random; tests set it

	conv  *scram.ClientConversation
	steps int // challenges answered
}

// ScramSHA256 is the client side of SCRAM-SHA-256 (RFC 5802, RFC 7677): it proves that it knows the password without
// showing it, and makes the server prove the same. Authzid, the user to act as, is empty for the user itself.
func ScramSHA256(authzid, user, password string) Client {
	return &scramClient{mechanism: NameScramSHA256, authzid: authzid, user: user, password: password,
		begin: (*scram.Client).NewConversation}
}

// scramUnoffered is ScramSHA256 on a channel that has bindings where PLUS was not offered. The client says so, and a
// server that did offer it knows that somebody between took it away (RFC 5802 6, flag "y").
func scramUnoffered(authzid, user, password string) Client {
	return &scramClient{mechanism: NameScramSHA256, authzid: authzid, user: user, password: password,
		begin: (*scram.Client).NewConversationAdvertisingChannelBinding}
}

// ScramSHA256Plus is ScramSHA256 bound to the TLS connection it runs over: nobody who sits between two TLS connections
// can pass it on.
func ScramSHA256Plus(authzid, user, password string, binding ChannelBinding) Client {
	return &scramClient{mechanism: NameScramSHA256Plus, authzid: authzid, user: user, password: password,
		begin: func(c *scram.Client) *scram.ClientConversation {
			return c.NewConversationWithChannelBinding(libraryBinding(binding))
		}}
}

// libraryBinding gives a binding in the library's type.
func libraryBinding(b ChannelBinding) scram.ChannelBinding {
	return scram.ChannelBinding{Type: scram.ChannelBindingType(b.Type), Data: b.Data}
}

// Mechanism implements Client.
func (c *scramClient) Mechanism() string { return c.mechanism }

// Start implements Client.
func (c *scramClient) Start() ([]byte, bool, error) {
	m, err := c.start()
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", c.mechanism, err)
	}
	return []byte(m), true, nil
}

func (c *scramClient) start() (string, error) {
	if c.conv != nil {
		return "", fmt.Errorf("%w: started twice", ErrMalformed)
	}
	authzid, err := prepareAuthzid(c.authzid)
	if err != nil {
		return "", err
	}
	user, err := PrepareUser(c.user)
	if err != nil {
		return "", err
	}
	password, err := PreparePassword(c.password)
	if err != nil {
		return "", err
	}
	lib, err := scram.SHA256.NewClientUnprepped(user, password, authzid)
	if err != nil {
		return "", fmt.Errorf("preparing the exchange: %w", err)
	}
	if c.nonce != nil {
		lib.WithNonceGenerator(c.nonce)
	}
	conv := c.begin(lib.WithMinIterations(minIterations))
	m, err := conv.Step("")
	if err != nil {
		return "", fmt.Errorf("beginning the exchange: %w", err)
	}
	if c.mechanism == NameScramSHA256Plus && !strings.HasPrefix(m, "p=") {
		return "", fmt.Errorf("%w: -PLUS needs a binding with a type and data", ErrChannelBinding)
	}
	c.conv = conv
	return m, nil
}

// Next implements Client: the first challenge asks for the proof, the second is the server's own.
func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	response, err := c.next(string(challenge))
	if err != nil {
		c.steps = -1
		return nil, fmt.Errorf("%s: %w", c.mechanism, err)
	}
	c.steps++
	return []byte(response), nil
}

func (c *scramClient) next(challenge string) (string, error) {
	switch {
	case c.conv == nil || c.steps < 0 || c.steps > 1:
		return "", fmt.Errorf("%w: a challenge out of turn", ErrMalformed)
	case len(challenge) > MaxMessage:
		return "", fmt.Errorf("%w: a challenge of %d octets", ErrTooLong, len(challenge))
	case !printableFields(challenge):
		return "", fmt.Errorf("%w: control characters in a challenge", ErrMalformed)
	case c.steps == 0:
		if err := checkServerFirst(challenge); err != nil {
			return "", err
		}
	case strings.HasPrefix(challenge, "e="): // RFC 5802 7, server-error
		return "", fmt.Errorf("%w: the server says %.100q", ErrCredentials, challenge[2:])
	}
	response, err := c.conv.Step(challenge)
	switch {
	case err == nil:
		return response, nil
	case c.steps == 0:
		return "", fmt.Errorf("%w: the server's first message: %.200q", ErrMalformed, err.Error())
	}
	return "", fmt.Errorf("%w: %.200q", ErrServerUnproven, err.Error())
}

// checkServerFirst looks at the work that a server asks for before any of it is done.
func checkServerFirst(challenge string) error {
	fields := strings.Split(challenge, ",")
	if len(fields) < 3 || len(fields[1]) <= len("s=") {
		return fmt.Errorf("%w: the server's first message is not r=NONCE,s=SALT,i=ITERATIONS", ErrMalformed)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(fields[2], "i="))
	switch {
	case err != nil || n < minIterations:
		return fmt.Errorf("%w: the server's iteration count is %.20q, at least %d is safe (RFC 7677 4)", ErrMalformed,
			fields[2], minIterations)
	case n > maxIterations:
		return fmt.Errorf("%w: the server asks for %d iterations, at most %d", ErrTooLong, n, maxIterations)
	}
	return nil
}

// Finish implements Client: a yes counts only after the server's own proof.
func (c *scramClient) Finish() error {
	if c.conv == nil || !c.conv.Valid() {
		return fmt.Errorf("%s: %w: it ended the exchange early", c.mechanism, ErrServerUnproven)
	}
	return nil
}

// scramLogin is what the two messages of a client have in common on the server.
type scramLogin struct {
	conv    *scram.ServerConversation
	account string
	err     error // of the host's look-up
}

// scramFirst answers the client's first message with nonce, salt and iterations.
func (s *server) scramFirst(ctx context.Context, response []byte) ([]byte, step, error) {
	message := string(response)
	if len(message) > maxScram {
		return nil, nil, fmt.Errorf("%w: a SCRAM message of %d octets, at most %d", ErrTooLong, len(message), maxScram)
	}
	if !printableFields(message) {
		return nil, nil, scramMalformed("first", "")
	}
	binding, err := s.scramBinding(message)
	if err != nil {
		return nil, nil, err
	}
	login := &scramLogin{}
	lib, err := scram.SHA256.NewServer(func(user string) (keys scram.StoredCredentials, err error) {
		keys, login.account, login.err = s.scramKeys(ctx, user)
		return keys, login.err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: preparing SCRAM: %w", ErrTemporary, err)
	}
	if s.nonce != nil {
		lib.WithNonceGenerator(s.nonce)
	}
	login.conv = lib.NewConversationWithChannelBinding(libraryBinding(binding))
	challenge, err := login.conv.Step(message)
	switch {
	case login.err != nil:
		return nil, nil, login.err
	case err != nil:
		return nil, nil, scramMalformed("first", challenge)
	}
	return []byte(challenge), func(ctx context.Context, response []byte) ([]byte, step, error) {
		return s.scramFinal(ctx, login, response)
	}, nil
}

// scramFinal checks the client's proof and answers with the server's.
func (s *server) scramFinal(ctx context.Context, login *scramLogin, response []byte) ([]byte, step, error) {
	message := string(response)
	if len(message) > maxScram {
		return nil, nil, fmt.Errorf("%w: a SCRAM message of %d octets, at most %d", ErrTooLong, len(message), maxScram)
	}
	if !printableFields(message) {
		return nil, nil, scramMalformed("last", "")
	}
	challenge, err := login.conv.Step(message)
	if err != nil {
		return nil, nil, scramMalformed("last", challenge)
	}
	user, authzid, err := names(login.conv.Username(), login.conv.AuthzID())
	if err != nil {
		return nil, nil, err
	}
	if err := s.admit(ctx, login.account, user, authzid, nil); err != nil {
		return nil, nil, err
	}
	// Where success carries no data, the server's proof is a challenge with an empty answer (RFC 4422 5, RFC 4954 4).
	return []byte(challenge), func(_ context.Context, response []byte) ([]byte, step, error) {
		if len(response) != 0 {
			return nil, nil, fmt.Errorf("%w: SCRAM ends with an empty response", ErrMalformed)
		}
		return nil, nil, nil
	}, nil
}

// scramBinding chooses the binding that the client asks for in the flag before the first comma (RFC 5802 6 and 7).
func (s *server) scramBinding(message string) (ChannelBinding, error) {
	flag, _, _ := strings.Cut(message, ",")
	wanted, bound := strings.CutPrefix(flag, "p=")
	plus := s.mechanism == NameScramSHA256Plus
	switch {
	case plus && bound:
		for _, b := range s.channel.Bindings {
			if b.Type == wanted {
				return b, nil
			}
		}
		return ChannelBinding{}, fmt.Errorf("%w: %.40q is not known of this one", ErrChannelBinding, wanted)
	case plus:
		return ChannelBinding{}, fmt.Errorf("%w: -PLUS without a binding", ErrChannelBinding)
	case bound:
		return ChannelBinding{}, fmt.Errorf("%w: a binding without -PLUS", ErrMalformed)
	case flag == "y" && len(s.channel.Bindings) > 0:
		return ChannelBinding{}, fmt.Errorf("%w: the client did not see that -PLUS is offered", ErrChannelBinding)
	}
	return ChannelBinding{}, nil
}

// scramKeys looks a user up. Of one who does not exist it makes up keys that no password fits, so that the exchange
// goes on as with a wrong password.
func (s *server) scramKeys(ctx context.Context, name string) (scram.StoredCredentials, string, error) {
	user, err := PrepareUser(name)
	var account string
	var keys ScramKeys
	if err == nil {
		account, keys, err = s.auth.Scram(ctx, user)
		if err != nil {
			err = verdict(s.mechanism, err)
		} else if err = keys.check(); err != nil {
			err = fmt.Errorf("%w: the stored keys of %.100q: %w", ErrTemporary, user, err)
		}
	} else {
		user, err = name, noMatch(err)
	}
	if errors.Is(err, ErrCredentials) {
		if account == "" {
			account = user
		}
		keys, err = FakeScram(s.auth.ScramSecret, account, s.auth.ScramIterations), nil
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations},
		StoredKey:  keys.StoredKey,
		ServerKey:  keys.ServerKey,
	}, account, err
}

// scramMalformed turns what the library would answer into an error. Its own errors repeat what the client sent, so they
// are left out.
func scramMalformed(which, answer string) error {
	switch answer {
	case scram.ErrInvalidProof:
		return fmt.Errorf("SCRAM: %w", ErrCredentials)
	case scram.ErrChannelBindingsDontMatch:
		return fmt.Errorf("%w: the client's binding is not that of this one", ErrChannelBinding)
	}
	return fmt.Errorf("%w: the client's %s SCRAM message is not as RFC 5802 7 says", ErrMalformed, which)
}

// printableFields tells that a message is UTF-8 without control characters.
func printableFields(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
