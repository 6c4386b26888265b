package dsn

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

// Kind is what a report is for.
type Kind uint8

const (
	Failure Kind = iota // to the sender: the message will not be delivered to these recipients
	Delay               // to the sender: it has not been delivered yet, and is still tried
	Kept                // to the postmaster: it can be neither delivered nor returned, and is kept
	Success             // to the sender, who asked for it: the message was delivered or passed on (RFC 3461 5.2)

	// The next are known to Parse alone; Write takes them, as any other number, for Failure.

	Complaint // from a provider: a recipient calls the message spam, or it failed a check (ARF, RFC 5965)
	Receipt   // from a recipient's mail program: what became of the message there (MDN, RFC 8098)
)

var kindWords = [...]string{
	Failure: "failure", Delay: "delay", Kept: "kept", Success: "success", Complaint: "complaint", Receipt: "receipt",
}

// String gives the kind as a lower-case word.
func (k Kind) String() string {
	if int(k) < len(kindWords) {
		return kindWords[k]
	}
	return "unknown"
}

var subjects = [...]string{
	Failure: "Your message could not be delivered",
	Delay:   "Your message is late: delivery is still being tried",
	Kept:    "A message could be neither delivered nor returned",
	Success: "Your message was delivered or passed on",
}

// Part is how much of the original a report carries.
type Part uint8

const (
	HeaderOnly  Part = iota // its header, up to 64 KiB
	FullMessage             // all of it; only in Failure and Kept, the others always have the header alone (RFC 3461 4.3)
)

// maxHeader is how much of the original's header is returned, in octets.
const maxHeader = 64 << 10

// Errors of Write that are the caller's.
var (
	ErrNoRecipient = errors.New("a report must be about at least one recipient")
	ErrNullTo      = errors.New("a report must not be sent to the null path: keep the message for the postmaster")
)

// Report is one delivery report. It needs MessageID, Date, From, To, Sender and Recipients; the zero value of any other
// field leaves out what it would say.
type Report struct {
	Kind       Kind
	MessageID  string    // of the report itself, with or without angle brackets; must be new for each report
	Date       time.Time // when the report is written
	From       string    // name of the host that reports; what is no domain is written as localhost
	To         smtp.Path // whom the report goes to: the original's reverse-path, or for Kept the postmaster
	QueueID    string    // of the original
	EnvelopeID string    // what the sender named the original with ENVID (RFC 3461 4.4); "" where it did not
	Arrived    time.Time // when the original was accepted
	Received   string    // name of the host that the original came from, where it is known by one (Received-From-MTA)
	Sender     smtp.Path // the original's reverse-path; it may be null where Kind is Kept
	RetryUntil time.Time // for Delay: when the server gives up
	Recipients []Recipient
	Original   Part // how much of the original is returned
	EightBit   bool // the original has octets above 127; matters for FullMessage

	// OriginalUTF8 tells that the original came with SMTPUTF8: its header may be in UTF-8 (RFC 6532).
	OriginalUTF8 bool
	// UTF8 tells that the report may go by SMTPUTF8 alone; a non-ASCII local part in To means the same. Without it the
	// report is for any host; what UTF-8 it is about is encoded (see the package doc).
	UTF8 bool
}

// inUTF8 tells that the report may have UTF-8 in its fields.
func (r Report) inUTF8() bool { return r.UTF8 || !isASCII(r.To.Local) }

// NeedsEightBit tells that what Write writes may have octets above 127, so that the next host must offer 8BITMIME.
func (r Report) NeedsEightBit() bool {
	if r.NeedsUTF8() {
		return true
	}
	return r.EightBit && r.part() == FullMessage && !r.OriginalUTF8 // without UTF8 that goes as base64
}

// NeedsUTF8 tells that what Write writes may have UTF-8 in header fields, its own or those of a part, so that the next
// host must offer SMTPUTF8 (RFC 6531 3.2). It is false wherever UTF8 is, but for a To that only SMTPUTF8 can carry.
func (r Report) NeedsUTF8() bool {
	return r.inUTF8() && (r.OriginalUTF8 || !r.To.IsASCII() || r.statusInUTF8())
}

func (r Report) part() Part {
	if r.Kind == Delay || r.Kind == Success {
		return HeaderOnly
	}
	return r.Original
}

// Write writes the report to w, all lines ended by CRLF. Of original it reads the header into memory, at most 64 KiB,
// or copies all of it as it is; nil leaves the third part out, which RFC 6522 3 allows. An error says whether the
// original could not be read or the report not be written; what was written up to then is no whole report.
func (r Report) Write(w io.Writer, original io.Reader) error {
	if len(r.Recipients) == 0 {
		return fmt.Errorf("writing a delivery report about %.40q: %w", r.QueueID, ErrNoRecipient)
	}
	if r.To.IsNull() {
		return fmt.Errorf("writing a delivery report about %.40q: %w", r.QueueID, ErrNullTo)
	}
	if _, err := smtp.ParseHelo(r.From); err != nil { // a report with a poor name is better than none
		r.From = "localhost"
	}
	if d, err := smtp.ParseDomain(r.From); err == nil { // RFC 6533 4.1 has names of hosts in ASCII, whatever else is in UTF-8
		r.From = d.ASCII().String()
	}
	if r.Kind > Success {
		r.Kind = Failure
	}
	o, err := r.open(original)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 16<<10) // its errors stick until Flush
	boundary := r.boundary()
	out.Write(r.header(boundary, o))
	r.writeText(out, boundary, o)
	r.writeStatus(out, boundary)
	if err := o.write(out, boundary); err != nil {
		return err
	}
	out.WriteString("\r\n--" + boundary + "--\r\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing a delivery report about %.40q: %w", r.QueueID, err)
	}
	return nil
}

// header gives the header of the report; the empty line behind it is the line end that each boundary starts with.
func (r Report) header(boundary string, o *returned) []byte {
	var b []byte
	b = mail.AppendField(b, "From", "Mail Delivery System", "<MAILER-DAEMON@"+r.From+">")
	b = r.appendField(b, "To", "<"+r.headerAddress(r.To)+">")
	b = mail.AppendField(b, "Subject", subjects[r.Kind])
	b = mail.AppendField(b, "Date", r.Date.Format(mail.DateLayout))
	b = mail.AppendField(b, "Message-ID", "<"+r.messageID(boundary)+">")
	b = mail.AppendField(b, "MIME-Version", "1.0")
	b = mail.AppendField(b, "Auto-Submitted", r.submitted())
	b = mail.AppendField(b, "Content-Type", "multipart/report;", "report-type=delivery-status;", `boundary="`+boundary+`"`)
	// A multipart says what the widest of its parts needs (RFC 2045 6.4).
	encoding := o.encoding()
	if r.inUTF8() && r.statusInUTF8() {
		encoding = "8bit"
	}
	return mail.AppendField(b, "Content-Transfer-Encoding", encoding)
}

// submitted keeps other machines from answering the report (RFC 3834 5). What goes to the postmaster answers nobody's
// mail.
func (r Report) submitted() string {
	if r.Kind == Kept {
		return "auto-generated"
	}
	return "auto-replied"
}

// appendField writes a field in UTF-8 where the report may have it.
func (r Report) appendField(b []byte, name string, parts ...string) []byte {
	text := strings.Join(parts, " ")
	if !r.inUTF8() || isASCII(text) {
		return mail.AppendField(b, name, parts...)
	}
	var h mail.Header
	h.Add(name, text)
	return append(b, h.Bytes()...)
}

// messageID gives the id without its brackets. A report without one would be lost among others, so it gets one.
func (r Report) messageID(boundary string) string {
	id := strings.Trim(strings.ReplaceAll(r.MessageID, " ", ""), "<>")
	if id = clean(id, 250); id == "" {
		id = strings.Trim(boundary, "=_") + "@" + r.From
	}
	return id
}

// boundary makes one that can't stand in the original: whoever wrote that did not know the ids of this report. "=_"
// keeps it out of quoted-printable text too (RFC 2045 6.7).
func (r Report) boundary() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d", r.MessageID, r.QueueID, r.Date.UnixNano())
	return "=_" + hex.EncodeToString(h.Sum(nil)[:20]) + "_="
}
