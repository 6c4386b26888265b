package sasl

import (
	"context"
	"errors"
	"fmt"
)

// The names of the mechanisms, as they are offered.
const (
	NameExternal        = "EXTERNAL"
	NameScramSHA256Plus = "SCRAM-SHA-256-PLUS"
	NameScramSHA256     = "SCRAM-SHA-256"
	NameOAuthBearer     = "OAUTHBEARER"
	NameXOAuth2         = "XOAUTH2"
	NamePlain           = "PLAIN"
	NameLogin           = "LOGIN"
)

// mechanism is what the table of mechanisms says of one.
type mechanism struct {
	name   string
	secret bool // sends a password or a token that whoever reads along could use again
}

// mechanisms, strongest first.
var mechanisms = []mechanism{
	{NameExternal, false},
	{NameScramSHA256Plus, false},
	{NameScramSHA256, false},
	{NameOAuthBearer, true},
	{NameXOAuth2, true},
	{NamePlain, true},
	{NameLogin, true},
}

// MaxMessage is the longest challenge or response, in octets, that either side takes: what 12288 octets of base64 hold
// (RFC 4954 4).
const MaxMessage = 12288 / 4 * 3

// maxName is the longest name, password or host, in octets. RFC 4616 2 asks for 255.
const maxName = 1024

// Errors of an exchange; look for them with errors.Is. ErrServerUnproven and ErrNoMechanism are a client's,
// ErrTemporary, ErrNotPrivate and ErrMechanism a server's, the others come on both sides.
var (
	// ErrCredentials: the user is unknown, or the password, token or certificate does not prove that user, or that user
	// may not act as the one they named. Which of these it was is not told.
	ErrCredentials = errors.New("sasl: wrong user or password")
	// ErrMalformed: the other side broke the rules of the mechanism.
	ErrMalformed = errors.New("sasl: malformed message")
	// ErrTooLong: a message, a name or the work asked for is over its limit.
	ErrTooLong = errors.New("sasl: too long")
	// ErrCanceled: the client ended the exchange before its end. Sessions return it from the function given to Run.
	ErrCanceled = errors.New("sasl: exchange canceled")
	// ErrTemporary: the host program could not tell whether the credentials are right; the same may work later.
	ErrTemporary = errors.New("sasl: can't check the credentials now")
	// ErrChannelBinding: the client is bound to another channel than this one, or somebody between hid from it that
	// channel binding was offered.
	ErrChannelBinding = errors.New("sasl: bound to another channel")
	// ErrMechanism: there is no such mechanism here.
	ErrMechanism = errors.New("sasl: no such mechanism")
	// ErrNotPrivate: the mechanism would show a secret to whoever reads along.
	ErrNotPrivate = errors.New("sasl: mechanism needs an encrypted channel")
	// ErrServerUnproven: the server said yes without proof that it knows the user, so it is not the server it should
	// be.
	ErrServerUnproven = errors.New("sasl: the server did not prove itself")
	// ErrNoMechanism: no mechanism that the server offers fits the credentials and the channel.
	ErrNoMechanism = errors.New("sasl: no mechanism in common")
)

// Client is the client side of one exchange. It is used once, by one goroutine.
type Client interface {
	// Mechanism is the name to ask for.
	Mechanism() string
	// Start gives the initial response; has tells an empty one from none. A session that can't send it along with the
	// name sends it in answer to the server's first, empty challenge.
	Start() (initial []byte, has bool, err error)
	// Next answers a challenge that came after the initial response. After an error the session cancels the exchange.
	Next(challenge []byte) (response []byte, err error)
	// Finish is called when the server ended the exchange. After its yes an error means: don't go on with this
	// server. After its no an error that wraps ErrCredentials holds the reason that the server gave; any other means
	// nothing then.
	Finish() error
}

// Server is the server side of one exchange. It is used once, by one goroutine.
type Server interface {
	// Next takes a response and gives the next challenge, or done. The first response is nil when the client sent no
	// initial response, and empty when it sent an empty one. An error ends the exchange.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Identity tells who logged in. It is the zero value until the exchange is done.
	Identity() Identity
}

// Identity is the outcome of an exchange.
type Identity struct {
	User    string // who logged in, as the host program calls them
	Authzid string // as whom they act; the same as User unless they asked for another and were allowed to
}

// Run runs a server side to its end. It hands each challenge to ask, which carries it to the client and returns the
// response, or ErrCanceled if the client wants no more. Initial is the initial response, nil for none.
func Run(ctx context.Context, s Server, initial []byte, ask func(challenge []byte) ([]byte, error)) (Identity, error) {
	response := initial
	for {
		challenge, done, err := s.Next(ctx, response)
		if err != nil {
			return Identity{}, err
		}
		if done {
			return s.Identity(), nil
		}
		if response, err = ask(challenge); err != nil {
			return Identity{}, fmt.Errorf("asking the client: %w", err)
		}
		if response == nil {
			response = []byte{}
		}
	}
}

// upper gives a mechanism's name in capitals, ASCII only: RFC 4422 3.1 knows no others.
func upper(name string) string {
	b := []byte(name)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
