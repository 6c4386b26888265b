package receiver

import (
	"context"
	"io"

	"github.com/holub-mail/holub/smtp"
)

// Handler decides on mail. Each method answers one command; the zero Reply accepts it in the usual words. One Handler
// serves all sessions at once; what it wants to remember of one it puts into Session.Value.
type Handler interface {
	// Mail is asked when a transaction begins.
	Mail(ctx context.Context, s *Session, m smtp.Mail) smtp.Reply
	// Rcpt is asked for each recipient. A refusal leaves the transaction as it was.
	Rcpt(ctx context.Context, s *Session, r smtp.Rcpt) smtp.Reply
	// Data takes the content for the accepted recipients. A positive reply makes the server responsible for the mail
	// (4.2.5), so it must not be given before content has returned io.EOF and the mail is safe.
	Data(ctx context.Context, s *Session, content io.Reader) smtp.Reply
}

// Connecter is a Handler that wants to see a session before its greeting. A negative reply is sent instead of the
// greeting: 554 leaves the client with QUIT alone (3.1), 421 ends the session.
type Connecter interface {
	Connect(ctx context.Context, s *Session) smtp.Reply
}

// Disconnecter is a Handler that wants to know when a session is over.
type Disconnecter interface {
	Disconnect(s *Session)
}

// refuseAll is the Handler of a Server that was given none.
type refuseAll struct{}

var noMailHere = smtp.NewReply(554, smtp.EnhancedCode{5, 3, 2}, "This server takes no mail")

func (refuseAll) Mail(context.Context, *Session, smtp.Mail) smtp.Reply { return noMailHere }
func (refuseAll) Rcpt(context.Context, *Session, smtp.Rcpt) smtp.Reply { return noMailHere }
func (refuseAll) Data(context.Context, *Session, io.Reader) smtp.Reply { return noMailHere }
