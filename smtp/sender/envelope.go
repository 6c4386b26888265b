package sender

import (
	"time"
	"unicode/utf8"

	"github.com/holub-mail/holub/smtp"
)

// Envelope says whom a message is from and to, what it needs, and what its sender asked for. What a server does not
// offer is left out where that loses no promise; where it would, the recipients are refused here (see Send).
type Envelope struct {
	From smtp.Path   // null for reports
	To   []smtp.Path // each gets an Outcome, in this order
	// Params are the DSN parameters of To[i]; it may be shorter than To, or nil.
	Params []RecipientParams

	Size     int64 // octets of the content with CRLF line ends, before dot-stuffing (RFC 1870 5); 0 unknown
	EightBit bool  // the content has octets above 127
	Binary   bool  // the content is BINARYMIME: octets that need not be lines (RFC 3030 3)
	Verbatim bool  // the content is as it is to arrive: over BDAT no line end is mended (over DATA it always is)
	UTF8     bool  // the content has UTF-8 in its headers (RFC 6531); addresses that need SMTPUTF8 ask for it themselves

	Return     smtp.Return     // RET; only where DSN is offered
	EnvelopeID string          // ENVID, decoded, printable ASCII; only where DSN is offered
	Submitter  *smtp.Path      // the parameter AUTH of MAIL (RFC 4954 5); only where AUTH is offered
	RequireTLS bool            // every hop must have TLS and offer REQUIRETLS (RFC 8689); the caller checks certificates
	DeliverBy  *smtp.DeliverBy // with the time that is left; mode R only to a server that offers DELIVERBY
	HoldFor    time.Duration   // only where FUTURERELEASE is offered: else whoever queues the message holds it
	HoldUntil  time.Time       // as HoldFor, before which it goes
	Priority   *smtp.Priority  // only where MT-PRIORITY is offered
}

// RecipientParams are what a sender asked for about the reports of one recipient (RFC 3461 4.1, 4.2).
type RecipientParams struct {
	Notify   smtp.Notify
	Original smtp.OriginalRecipient
}

// Outcome is the reply that settled a recipient, verbatim, and the command that it answered. A zero Reply means that
// the session broke before there was one; Stage then says where.
type Outcome struct {
	Reply smtp.Reply
	Stage Stage
	Local bool // the reply was made here; the server did not say it
}

// Result has one Outcome for each recipient of the envelope, in its order. Replies may share memory: don't change them.
type Result struct {
	Outcomes []Outcome
}

// Limits of parameters that could come from elsewhere than the parsers of package smtp, which keep them.
const (
	maxEnvelopeID = 100 // RFC 3461 4.4
	maxOriginal   = 500 // RFC 3461 4.2
	maxSubmitter  = 500 // RFC 4954 3
)

// declare makes the MAIL command of an envelope for a server: every parameter that it offers, and no other.
func (e *Envelope) declare(ext *smtp.Extensions, withUTF8 bool) smtp.Mail {
	m := smtp.Mail{From: wirePath(e.From, withUTF8), UTF8: withUTF8}
	if ext.Size {
		m.Size = e.Size // RFC 1870 6
	}
	switch { // RFC 6152 3, RFC 3030 3; refuseHere keeps away what is not offered
	case e.Binary:
		m.Body = smtp.BodyBinaryMIME
	case e.EightBit:
		m.Body = smtp.Body8BitMIME
	}
	if ext.DSN {
		m.Return = e.Return
		if clean(e.EnvelopeID, false) && len(smtp.EncodeXtext(e.EnvelopeID)) <= maxEnvelopeID {
			m.EnvelopeID = e.EnvelopeID
		}
	}
	if len(ext.Auth) > 0 && e.Submitter != nil {
		m.Submitter = e.submitter(withUTF8)
	}
	m.RequireTLS = e.RequireTLS
	if ext.DeliverBy && e.DeliverBy != nil {
		by := *e.DeliverBy
		if by.Return { // a time below a second is none, and R must have one (RFC 2852 4)
			by.Within = wholeSeconds(by.Within)
		}
		m.DeliverBy = &by
	}
	if ext.FutureRelease {
		m.HoldUntil = e.HoldUntil
		if m.HoldUntil.IsZero() { // RFC 4865 5: they exclude each other
			m.HoldFor = wholeSeconds(e.HoldFor)
		}
	}
	if ext.Priority {
		m.Priority = e.Priority
	}
	return m
}

// submitter gives the path for AUTH=, or nil where it can't be said to this server.
func (e *Envelope) submitter(withUTF8 bool) *smtp.Path {
	p := wirePath(*e.Submitter, withUTF8)
	if !printable(p, withUTF8) || len(smtp.EncodeXtext(p.Mailbox.String())) > maxSubmitter {
		return nil
	}
	return &p
}

// rcpt makes the RCPT command of the recipient at place i.
func (e *Envelope) rcpt(i int, ext *smtp.Extensions, withUTF8 bool) smtp.Rcpt {
	r := smtp.Rcpt{To: wirePath(e.To[i], withUTF8)}
	if ext.DSN && i < len(e.Params) {
		r.Notify = e.Params[i].Notify
		r.Original = wireOriginal(e.Params[i].Original, withUTF8)
	}
	return r
}

// wirePath gives the form of a path for the wire: without SMTPUTF8, A-labels stand for U-labels.
func wirePath(p smtp.Path, withUTF8 bool) smtp.Path {
	if !withUTF8 {
		p.Domain = p.Domain.ASCII()
	}
	return p
}

// wholeSeconds rounds up, for the wire knows no shorter time.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// sendable tells a forward-path that fits into a command.
func sendable(to smtp.Path, withUTF8 bool) bool { return !to.IsNull() && printable(to, withUTF8) }

// printable tells a path whose local part is short and has no octet that could end a command. The parsers of package
// smtp let no other through, but a path can be made by hand.
func printable(p smtp.Path, withUTF8 bool) bool {
	return len(p.Local) <= smtp.MaxLocalPart && clean(p.Local, withUTF8)
}

// clean tells printable ASCII with spaces, and where it is wanted UTF-8.
func clean(s string, withUTF8 bool) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 127 || c >= utf8.RuneSelf && !withUTF8 {
			return false
		}
	}
	return !withUTF8 || utf8.ValidString(s)
}

// isASCII tells a string without octets above 127.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
