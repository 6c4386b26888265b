package sender

import (
	"errors"
	"fmt"

	"github.com/holub-mail/holub/smtp"
)

// Errors that a SessionError may wrap.
var (
	// ErrClosed is the error of a call on a session that broke before or was closed. Open another session.
	ErrClosed = errors.New("the session is closed")
	// ErrContent says that the message's own reader failed: the fault is here, not at the server.
	ErrContent = errors.New("the content cannot be read")
	// ErrMessageTimeout is the cause where a message took longer than Options.MessageTimeout.
	ErrMessageTimeout = errors.New("the message took longer than it may")
	// ErrTLS says that there is no TLS as Options.TLS demands it: not offered, refused, or not to be trusted. The error
	// carries a Reply made here, 451 4.7.4 or 451 4.7.5.
	ErrTLS = errors.New("no TLS as it is required")
	// ErrInjection says that somebody put plaintext behind the server's 220 to STARTTLS, to have it taken for part of
	// the protected session.
	ErrInjection = errors.New("octets in the clear behind the reply to STARTTLS")
	// ErrAuth says that AUTH could not be done, or was cancelled, on this side; the server refused nothing.
	ErrAuth = errors.New("cannot authenticate")
)

// Stage is the part of a session that gave a reply or in which the session broke.
type Stage uint8

// The stages in the order in which a session goes through them.
const (
	StageConnect Stage = iota
	StageGreeting
	StageHello   // EHLO, then HELO
	StageTLS     // STARTTLS and the handshake, of implicit TLS too
	StageAuth    // AUTH
	StageReset   // RSET in front of a transaction, after one that did not end
	StageMail    // MAIL, and what is refused here before anything is sent
	StageRcpt    // RCPT
	StageData    // DATA up to the server's 354
	StageContent // the content, and the reply to its final dot or to BDAT
	StageQuit    // QUIT
)

// stageNames are the words for an operator.
var stageNames = [...]string{
	StageConnect:  "connecting",
	StageGreeting: "the greeting",
	StageHello:    "EHLO",
	StageTLS:      "STARTTLS",
	StageAuth:     "AUTH",
	StageReset:    "RSET",
	StageMail:     "MAIL",
	StageRcpt:     "RCPT",
	StageData:     "DATA",
	StageContent:  "the content",
	StageQuit:     "QUIT",
}

// String names the stage by its command where it has one.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// SessionError says that a session could not be opened or broke. The connection is closed; open another one to go on.
type SessionError struct {
	Stage Stage
	// Err is the cause: an I/O error, a timeout (os.ErrDeadlineExceeded), the context's error, ErrContent, ErrClosed,
	// or smtp.ErrReplySyntax. It is nil where the server's Reply is the whole cause.
	Err error
	// InDoubt says that the end of the content may have reached the server but no reply to it was read: the recipients
	// without a reply may have the message or not; sending it again may give them two (6.1). A short message that left
	// in one write with its envelope can be in doubt at any stage.
	InDoubt bool
	// Reply is what the server said, verbatim; zero where it said nothing.
	Reply smtp.Reply
	// Local says that Reply was made here: TLS was required and the server has none, or none to be trusted.
	Local bool
}

// Error tells the stage, the cause, the server's words, and whether the message may have arrived.
func (e *SessionError) Error() string {
	text := "SMTP session broke at " + e.Stage.String()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	switch {
	case e.Reply.IsZero():
	case e.Local:
		text += ": " + e.Reply.Text()
	default:
		text += ": the server said " + e.Reply.Text()
	}
	if e.InDoubt {
		text += "; the message may have been delivered"
	}
	return text
}

// Unwrap gives the cause and the reply, so that errors.Is, errors.As and smtp.AsReply find either.
func (e *SessionError) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	if !e.Reply.IsZero() {
		errs = append(errs, e.Reply)
	}
	return errs
}
