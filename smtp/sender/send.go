package sender

import (
	"context"
	"io"

	"github.com/holub-mail/holub/smtp"
)

// Envelope says whom a message is from and to.
type Envelope struct {
	From     smtp.Path   // null for reports
	To       []smtp.Path // each gets an Outcome, in this order
	Size     int64       // octets of the content with CRLF line ends, before dot-stuffing (RFC 1870 5); 0 unknown
	EightBit bool        // the content has octets above 127
}

// Outcome is the reply that settled a recipient, verbatim, and the command that it answered. A zero Reply means that
// the session broke before there was one; Stage then says where.
type Outcome struct {
	Reply smtp.Reply
	Stage Stage
}

// Result has one Outcome for each recipient of the envelope, in its order. Replies may share memory: don't change them.
type Result struct {
	Outcomes []Outcome
}

// Replies to what can't be sent to this server, made here in its place.
var (
	badSender    = smtp.NewReply(553, smtp.EnhancedCode{5, 1, 7}, "The sender's address cannot be written in SMTP")
	badRecipient = smtp.NewReply(553, smtp.EnhancedCode{5, 1, 3}, "The recipient's address cannot be written in SMTP")
	// RFC 6152 3 gives the choice between conversion and a permanent failure; there is no conversion yet.
	no8Bit = smtp.NewReply(554, smtp.EnhancedCode{5, 6, 3},
		"The message has 8-bit content, and the receiving host does not accept 8BITMIME")
)

// Send carries one message through a transaction. Refusals are no errors: Result has them per recipient. The error is a
// *SessionError and says that the session broke; what was known by then is in Result. A message that is too large
// for the server or needs an extension that it lacks is refused here without a word to the server, with StageMail.
//
// Content ends its lines with CRLF; a bare CR or LF is sent as CRLF. It is read in the caller's goroutine: the context
// ends every wait for the server, but not a Read of content that blocks. If content fails, the message is not
// completed and the session breaks with ErrContent.
func (c *Client) Send(ctx context.Context, env Envelope, content io.Reader) (Result, error) {
	t := transaction{env: env, outcomes: make([]Outcome, len(env.To)), pipelined: c.ext.Pipelining}
	if c.Broken() {
		t.settle(smtp.Reply{}, StageMail)
		return Result{t.outcomes}, &SessionError{Stage: StageMail, Err: ErrClosed}
	}
	if !t.refuseHere(c.ext) {
		return Result{t.outcomes}, nil
	}
	t.call = c.begin(ctx, len(env.To))
	defer t.call.end()
	t.reset = c.needReset
	err := t.run(content)
	if broke, ok := err.(*SessionError); ok {
		t.settle(broke.Reply, broke.Stage)
	}
	return Result{t.outcomes}, err
}
