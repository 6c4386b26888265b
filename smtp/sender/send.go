package sender

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/holub-mail/holub/smtp"
)

// Send carries one message to its recipients: through one transaction, or several in a row where the server's LIMITS
// ask for that (RFC 9422) and content is an io.Seeker; else the recipients that one transaction can't have get a local
// 452 with StageRcpt, and another Send may have them. Refusals are no errors: Result has them per recipient. The error
// is a *SessionError and says that the session broke; what was known by then is in Result.
//
// These are refused here without a word to the server: a message that is too large for it (552 5.3.4); 8-bit and binary
// content that it does not take (554 5.6.3); what needs SMTPUTF8 that it does not offer (553 5.6.7), though a domain in
// U-labels goes as A-labels; REQUIRETLS where it is not offered or the session has no TLS (550 5.7.30); delivery by a
// time or return (DELIVERBY, mode R) where that is not offered (550 5.3.3). Such an outcome has Local set.
//
// Content ends its lines with CRLF; a bare CR or LF is sent as CRLF, and a last line without its end gets one, over
// BDAT as over DATA. Binary content leaves as it is, and so does verbatim content over BDAT. It is read in the caller's goroutine: the context ends every wait
// for the server, but not a Read of content that blocks. If content fails, the message is not completed and the session
// breaks with ErrContent.
func (c *Client) Send(ctx context.Context, env Envelope, content io.Reader) (Result, error) {
	t := &transaction{env: env, settling: settling{outcomes: make([]Outcome, len(env.To))}}
	if c.Broken() {
		for i := range t.outcomes {
			t.outcomes[i].Stage = StageMail
		}
		return Result{t.outcomes}, &SessionError{Stage: StageMail, Err: ErrClosed}
	}
	left, withUTF8 := t.refuseHere(c)
	if len(left) == 0 {
		return Result{t.outcomes}, nil
	}
	if c.messageTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.messageTimeout,
			fmt.Errorf("%w (%v)", ErrMessageTimeout, c.messageTimeout))
		defer cancel()
	}
	t.mail = t.env.declare(&c.use, withUTF8)
	return Result{t.outcomes}, c.transactions(ctx, t, left, content)
}

// transactions sends to the recipients at the places left, as many at a time as the server takes.
func (c *Client) transactions(ctx context.Context, t *transaction, left []int, content io.Reader) error {
	var again rewinder
	if c.use.Limits != nil {
		again = newRewinder(content)
	}
	for first := true; len(left) > 0; first = false {
		if c.Exhausted() {
			t.some(left, Outcome{Reply: usedUp, Stage: StageRcpt, Local: true})
			return nil
		}
		if !first {
			if !again.can() {
				t.some(left, Outcome{Reply: tooMany, Stage: StageRcpt, Local: true})
				return nil
			}
			if err := again.rewind(); err != nil {
				return c.contentFailed(t, left, err)
			}
		}
		t.to, left = c.batch(t.env.To, left)
		if err := c.transact(ctx, t, content); err != nil {
			rest := Outcome{Stage: StageMail}
			if broke, ok := err.(*SessionError); ok && broke.InDoubt {
				rest = Outcome{Reply: notTried, Stage: StageMail, Local: true} // they can't have it: no doubt of theirs
			}
			t.some(left, rest)
			return err
		}
	}
	return nil
}

// transact goes through one transaction.
func (c *Client) transact(ctx context.Context, t *transaction, content io.Reader) error {
	t.call = c.begin(ctx, len(t.to))
	defer t.call.end()
	t.reset, t.lmtp = c.needReset, nil
	c.mails++
	err := t.run(content)
	if broke, ok := err.(*SessionError); ok {
		t.some(t.to, Outcome{Reply: broke.Reply, Stage: broke.Stage})
	}
	return err
}

// contentFailed ends a session over content that can't be rewound.
func (c *Client) contentFailed(t *transaction, left []int, err error) error {
	t.some(left, Outcome{Stage: StageContent})
	c.abort()
	return &SessionError{Stage: StageContent, Err: fmt.Errorf("%w: %w", ErrContent, err)}
}

// batch parts recipients into those of the next transaction and the rest, by the limits that the server told (RFC 9422
// 4).
func (c *Client) batch(to []smtp.Path, left []int) (now, rest []int) {
	limits := c.use.Limits
	if limits == nil || (limits.Rcpts == 0 || len(left) <= limits.Rcpts) && limits.RcptDomains == 0 {
		return left, nil
	}
	var domains []string
	for _, i := range left {
		if limits.Rcpts > 0 && len(now) == limits.Rcpts {
			rest = append(rest, i)
			continue
		}
		if domain := to[i].Domain.Key(); limits.RcptDomains > 0 && !slices.Contains(domains, domain) {
			if len(domains) == limits.RcptDomains {
				rest = append(rest, i)
				continue
			}
			domains = append(domains, domain)
		}
		now = append(now, i)
	}
	return now, rest
}

// Exhausted tells that the session has had as many messages as the server takes in one (MAILMAX, RFC 9422 4.1): open
// another for the next message.
func (c *Client) Exhausted() bool {
	return c.use.Limits != nil && c.use.Limits.Mails > 0 && c.mails >= c.use.Limits.Mails
}

// rewinder takes content back to where it was first.
type rewinder struct {
	seeker io.Seeker // nil where there is no way back
	start  int64
}

func newRewinder(content io.Reader) rewinder {
	seeker, ok := content.(io.Seeker)
	if !ok {
		return rewinder{}
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return rewinder{} // a pipe behind an *os.File, say: it can be read once
	}
	return rewinder{seeker, start}
}

func (r rewinder) can() bool { return r.seeker != nil }

func (r rewinder) rewind() error {
	_, err := r.seeker.Seek(r.start, io.SeekStart)
	return err
}
