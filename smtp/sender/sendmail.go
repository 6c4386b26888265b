package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// Refused is a recipient who did not get the message of a SendMail.
type Refused struct {
	To      smtp.Path
	Outcome Outcome
}

// RefusedError lists the recipients whom the server, or this package in its place, refused. All others have the
// message.
type RefusedError struct {
	Recipients []Refused
}

// Error names each recipient with the reply.
func (e *RefusedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "not accepted for %d recipients", len(e.Recipients))
	for _, r := range e.Recipients {
		fmt.Fprintf(&b, "; %v: %s", r.To, r.Outcome.Reply.Text())
	}
	return b.String()
}

// Unwrap gives the replies, so that smtp.AsReply finds the first.
func (e *RefusedError) Unwrap() []error {
	errs := make([]error, len(e.Recipients))
	for i, r := range e.Recipients {
		errs[i] = r.Outcome.Reply
	}
	return errs
}

// SendMail connects to addr ("host:port"), starts TLS where it is offered, sends one message, and says QUIT: net/smtp's
// function of that name, with a context. From is an address or empty; the addresses may stand in angle brackets or not.
//
// As in net/smtp the server's certificate must be valid for the host where TLS is started. Options, at most one of
// them, may say more: with TLS set to TLSRequired a server without TLS gets no mail; TLSNone stands for the way told
// here. The error is a *RefusedError where the server refused some recipients or all; a *SessionError where no session
// came about or it broke, beside the *RefusedError for those that were refused before; or that of an address.
//
// A message that is an io.Seeker is read once more, first, to declare its size and what octets it has. Of another it is
// told to a server with 8BITMIME that it may have octets above 127; for a server without, it must have none.
func SendMail(ctx context.Context, addr, from string, to []string, msg io.Reader, opts ...Options) error {
	if len(opts) > 1 {
		return errors.New("SendMail takes the Options once")
	}
	env, err := envelopeOf(from, to)
	if err != nil {
		return err
	}
	known := false
	if seeker, ok := msg.(io.ReadSeeker); ok {
		if known, err = scan(&env, seeker); err != nil {
			return fmt.Errorf("read the message: %w", err)
		}
	}
	var o Options
	if len(opts) == 1 {
		o = opts[0]
	}
	if o.TLS == TLSNone {
		o.TLS = tlsIfOffered
	}
	client, err := Dial(ctx, addr, o)
	if err != nil {
		return err
	}
	defer client.Close()
	if !known {
		env.EightBit = client.use.EightBitMIME
		if !env.EightBit {
			msg = sevenBitReader{msg}
		}
	}
	result, err := client.Send(ctx, env, msg)
	if err == nil {
		client.Quit(ctx)
	}
	return errors.Join(refusedOf(env, result), err)
}

// envelopeOf reads the addresses.
func envelopeOf(from string, to []string) (Envelope, error) {
	var env Envelope
	var err error
	if env.From, err = pathOf(from); err != nil {
		return env, fmt.Errorf("the sender: %w", err)
	}
	for _, s := range to {
		p, err := pathOf(s)
		if err == nil && p.IsNull() {
			err = fmt.Errorf("%w: %q", smtp.ErrMailbox, s)
		}
		if err != nil {
			return env, fmt.Errorf("a recipient: %w", err)
		}
		env.To = append(env.To, p)
	}
	return env, nil
}

func pathOf(s string) (smtp.Path, error) {
	if !strings.HasPrefix(s, "<") {
		s = "<" + s + ">"
	}
	return smtp.ParsePath(s)
}

// refusedOf makes the error of a result, nil where nobody was refused.
func refusedOf(env Envelope, result Result) error {
	var refused []Refused
	for i, o := range result.Outcomes {
		if !o.Reply.IsZero() && !o.Reply.Positive() {
			refused = append(refused, Refused{env.To[i], o})
		}
	}
	if refused == nil {
		return nil
	}
	return &RefusedError{refused}
}

// scan finds what a message must be declared as, and goes back to where it was. It tells whether it could.
func scan(env *Envelope, msg io.ReadSeeker) (bool, error) {
	again := newRewinder(msg)
	if !again.can() {
		return false, nil
	}
	var (
		buf   = make([]byte, 32<<10)
		lines lineEnds
		head  headScan
		out   []byte
	)
	for {
		n, err := readSome(msg, buf)
		for _, c := range buf[:n] {
			env.EightBit = env.EightBit || c > 127
		}
		out = lines.append(out[:0], buf[:n])
		env.Size += int64(len(out))
		head.write(out)
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	env.Size += int64(len(lines.close(nil)))
	env.UTF8 = head.utf8
	return true, again.rewind()
}

// headScan looks for octets above 127 in the headers, which need SMTPUTF8 (RFC 6532 3).
type headScan struct {
	utf8  bool
	ended bool
	tail  []byte // up to three octets that came before
}

func (h *headScan) write(b []byte) {
	if h.ended {
		return
	}
	joined := append(h.tail, b...)
	if len(h.tail) == 0 && bytes.HasPrefix(joined, []byte("\r\n")) {
		h.ended = true // no headers at all
		return
	}
	end := bytes.Index(joined, []byte("\r\n\r\n"))
	h.ended = end >= 0
	if !h.ended {
		end = len(joined)
	}
	for _, c := range joined[:end] {
		h.utf8 = h.utf8 || c > 127
	}
	h.tail = bytes.Clone(joined[max(0, end-3):end])
}
