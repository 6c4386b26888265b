package sender

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// Mechanism is the client's side of one SASL exchange (RFC 4422); every sasl.Client is one. It is used once. Where it
// also has a method Finish() error, that is called when the server ended the exchange, and its error counts as a
// failure.
type Mechanism interface {
	// Mechanism is the name to ask for.
	Mechanism() string
	// Start gives the initial response; has tells an empty one from none.
	Start() (initial []byte, has bool, err error)
	// Next answers a challenge that came after the initial response. An error cancels the exchange.
	Next(challenge []byte) (response []byte, err error)
}

// maxAuthCommand is the longest command line, and so what limits an initial response (RFC 4954 4).
const maxAuthCommand = 512

// maxChallenges bounds an exchange.
const maxChallenges = 100

// Auth authenticates (RFC 4954). A refusal by the server is an error that carries its smtp.Reply, and the session can
// go on, with another mechanism say. So it is with ErrAuth, where the exchange was not begun or was cancelled here. A
// *SessionError says that the session broke.
func (c *Client) Auth(ctx context.Context, m Mechanism) error {
	if c.Broken() {
		return &SessionError{Stage: StageAuth, Err: ErrClosed}
	}
	k := c.begin(ctx, 0)
	defer k.end()
	return k.auth(m)
}

// authAtOpening chooses a mechanism and authenticates; what fails ends the session.
func (k *call) authAtOpening(choose func([]string, *tls.ConnectionState) (Mechanism, error)) error {
	m, err := choose(k.c.ext.Auth, k.c.tls)
	if err == nil && m == nil {
		return nil
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrAuth, err)
	} else {
		err = k.auth(m)
	}
	var broke *SessionError
	if err == nil || errors.As(err, &broke) {
		return err
	}
	k.quit()
	reply, refused := smtp.AsReply(err)
	if refused && !errors.Is(err, ErrAuth) {
		err = nil
	}
	return k.fail(StageAuth, err, reply)
}

// auth goes through one exchange.
func (k *call) auth(m Mechanism) error {
	name := strings.ToUpper(m.Mechanism())
	switch {
	case !isMechanism(name):
		return fmt.Errorf("%w: %q is no mechanism", ErrAuth, name)
	case !slices.Contains(k.c.ext.Auth, name):
		return fmt.Errorf("%w: the server does not offer %s, but %q", ErrAuth, name, k.c.ext.Auth)
	case !k.c.verified && !k.c.authInClear:
		return fmt.Errorf("%w: %s could show the password to others; use TLS, or allow AuthInClear", ErrAuth, name)
	}
	initial, has, err := m.Start()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAuth, err)
	}
	k.replies.long = true
	defer func() { k.replies.long = false }()
	k.replies.octets += maxChallenges * maxAuthLine
	line, shown := "AUTH "+name, "AUTH "+name
	if has {
		if ir := initialResponse(initial); len(line)+len(" ")+len(ir)+len("\r\n") <= maxAuthCommand {
			line, shown, has = line+" "+ir, line+" ...", false
		}
	}
	reply, err := k.say(line, shown)
	if err == nil && reply.Code == 334 && has { // RFC 4954 4: too long for the command, so in answer to an empty challenge
		reply, err = k.respond(initial)
	}
	if err != nil {
		return err
	}
	return k.challenges(m, reply)
}

// initialResponse encodes what follows the name of the mechanism; "=" stands for an empty one (RFC 4954 4).
func initialResponse(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}

// challenges answers the server until it ends the exchange.
func (k *call) challenges(m Mechanism, reply smtp.Reply) error {
	for range maxChallenges {
		if reply.Code != 334 {
			return k.authEnded(m, reply)
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.Join(reply.Lines, ""))
		if err != nil {
			return k.cancel(fmt.Errorf("%w: the challenge is not base64: %w", ErrAuth, err))
		}
		response, err := m.Next(challenge)
		if err != nil {
			return k.cancel(fmt.Errorf("%w: %w", ErrAuth, err))
		}
		if base64.StdEncoding.EncodedLen(len(response)) > maxAuthLine-len("\r\n") {
			return k.cancel(fmt.Errorf("%w: a response of %d octets is too long", ErrAuth, len(response)))
		}
		if reply, err = k.respond(response); err != nil {
			return err
		}
	}
	return k.cancel(fmt.Errorf("%w: more than %d challenges", ErrAuth, maxChallenges))
}

// authEnded judges the end of an exchange.
func (k *call) authEnded(m Mechanism, reply smtp.Reply) error {
	if reply.Code/100 == 3 {
		return k.unexpected(StageAuth, reply)
	}
	var finish error
	if f, ok := m.(interface{ Finish() error }); ok {
		finish = f.Finish()
	}
	switch {
	case !reply.Positive():
		return fmt.Errorf("AUTH %s was refused: %w", m.Mechanism(), reply)
	case finish != nil: // the server is not the one it should be: nothing more is said to it
		return k.fail(StageAuth, fmt.Errorf("%w: %w", ErrAuth, finish), smtp.Reply{})
	}
	return nil
}

// cancel ends an exchange from our side (RFC 4954 4).
func (k *call) cancel(cause error) error {
	reply, err := k.say("*", "*")
	switch {
	case err != nil:
		return err
	case reply.Code/100 != 5 && reply.Code/100 != 4: // it must refuse; else the two sides are out of step
		return k.unexpected(StageAuth, reply)
	}
	return cause
}

// respond sends a response.
func (k *call) respond(response []byte) (smtp.Reply, error) {
	return k.say(base64.StdEncoding.EncodeToString(response), "...")
}

// say sends a line of the exchange and reads the reply; the trace is told what it may know of it.
func (k *call) say(line, shown string) (smtp.Reply, error) {
	k.traceSent([]byte(shown))
	return k.command(StageAuth, func(b []byte) []byte { return append(append(b, line...), '\r', '\n') })
}

// isMechanism tells the name of a SASL mechanism (RFC 4422 3.1).
func isMechanism(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 20
}
