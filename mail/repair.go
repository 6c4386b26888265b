package mail

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Repairs says what Repair may put into the header of a mail that its author submits (RFC 6409 8). What is left at its
// zero value is not put in, so the zero Repairs only takes out what a submitted mail must not carry.
type Repairs struct {
	// Now becomes the Date of a mail without one (RFC 6409 8.2), in its own time zone.
	Now time.Time
	// MessageID gives a new id such as "<x@host>", asked for once at most (RFC 6409 8.3). Brackets may be left out.
	MessageID func() string
	// Sender is the mailbox of the one who logged in. It becomes From where there is none, and Sender where there is none
	// and From has another mailbox or several (RFC 6409 8.1, RFC 5322 3.6.2).
	Sender smtp.Mailbox
	// Claimed says that nobody logged in and Sender is only what the client gave as reverse-path. It becomes From all the
	// same, but Sender only where From has several mailboxes, which asks for one (RFC 5322 3.6.2).
	Claimed bool
	// ReplaceSender puts Sender in place of a Sender field that names somebody else, as RFC 6409 8.1 allows.
	ReplaceSender bool
	// UTF8 says that the mail goes by SMTPUTF8. Without it, the domain of Sender is written in A-labels, and a Sender with
	// a local part that is not ASCII is not put in.
	UTF8 bool
}

// Repair makes the header of a submitted mail whole and returns the names of the fields that it put in, replaced or
// took out. It puts in Date, From, Sender and Message-ID as Repairs says, above all other fields. It takes out Bcc and
// Resent-Bcc, so that no recipient sees them (RFC 5322 3.6.3: the first of the three ways, for everyone alike), and
// Return-Path, which only final delivery writes (RFC 5321 4.4). All other fields keep their octets and their order, be
// they wrong: a Date that is no date stays.
//
// The recipients must be known by then: whoever takes them from Bcc reads it first.
//
// It is for mail that comes from its author; mail that is relayed must not be repaired (RFC 5321 6.4).
func Repair(h *Header, rep Repairs) (changed []string) {
	var added []Field
	add := func(name, body string) {
		added = append(added, newField(name, body))
		changed = append(changed, name)
	}
	if !h.Has("Date") && !rep.Now.IsZero() {
		add("Date", string(AppendDate(nil, rep.Now)))
	}
	if sender, ok := rep.sender(); ok {
		switch {
		case !h.Has("From"):
			add("From", sender)
		case !h.Has("Sender") && !rep.alone(h, "From") && (!rep.Claimed || h.several("From")):
			add("Sender", sender)
		case rep.ReplaceSender && h.Has("Sender") && !rep.alone(h, "Sender"):
			h.Replace("Sender", sender)
			changed = append(changed, "Sender")
		}
	}
	if !h.Has("Message-ID") && rep.MessageID != nil {
		if id := strings.Trim(rep.MessageID(), "<> "); id != "" {
			add("Message-ID", "<"+id+">")
		}
	}
	for _, name := range []string{"Bcc", "Resent-Bcc", "Return-Path"} {
		if h.Remove(name) > 0 {
			changed = append(changed, name)
		}
	}
	h.addRepaired(added)
	return changed
}

// addRepaired puts fields on top, but for a header whose first line is a fold of nothing: that would become a part of
// the field above it, so there they go to the end.
func (h *Header) addRepaired(added []Field) {
	if len(h.fields) > 0 && isSpace(h.fields[0].raw[0]) {
		for _, f := range added {
			h.insert(len(h.fields), f)
		}
		return
	}
	h.fields = slices.Concat(added, h.fields)
}

// sender gives the text of the mailbox of the one who logged in, false where there is none that can be written.
func (rep Repairs) sender() (string, bool) {
	m := rep.Sender
	if !rep.UTF8 {
		m.Domain = m.Domain.ASCII()
	}
	return m.String(), m != smtp.Mailbox{} && (rep.UTF8 || m.IsASCII())
}

// alone tells that the field has the mailbox of the one who logged in and no other.
func (rep Repairs) alone(h *Header, name string) bool {
	list, _ := h.Addresses(name)
	return len(list) == 1 && sameMailbox(list[0].Mailbox, rep.Sender)
}

// several tells that the field has more than one mailbox.
func (h *Header) several(name string) bool {
	list, _ := h.Addresses(name)
	return len(list) > 1
}

// headerNames are fields of which one at least stands in the header of any mail that was written by a mail program.
var headerNames = []string{
	"From", "To", "Cc", "Bcc", "Subject", "Date", "Sender", "Reply-To", "Message-ID", "Received", "Return-Path",
	"MIME-Version", "Content-Type",
}

// isText tells a header that is none: what came is text from its first line on, such as a program's output that was
// given to sendmail without a header.
func (h Header) isText() bool {
	if len(h.fields) == 0 || h.fields[0].nameLen > 0 {
		return false
	}
	return !slices.ContainsFunc(headerNames, h.Has)
}

// RepairReader passes a message on and repairs its header on the way.
type RepairReader struct {
	r       io.Reader
	rep     Repairs
	limit   int
	buf     []byte // what goes out before the rest of r
	ready   bool   // the header is done
	err     error  // of the header; comes behind buf
	changed []string
	tooLong bool
}

// NewRepairReader reads a message from r that is to be repaired as Repair does. It holds the header in memory, up to
// limit octets, and nothing of the body, which passes octet for octet. A longer header passes untouched; TooLong tells.
//
// A message may have no body, and no empty line: then all of it is header. Where it has no header, because its first
// line is no field and no field that is well known follows, the new fields and an empty line come in front of it, and
// all of it becomes the body. What can't be read is passed on as far as it came, not repaired, before the error.
func NewRepairReader(r io.Reader, rep Repairs, limit int) *RepairReader {
	return &RepairReader{r: r, rep: rep, limit: max(limit, 0)}
}

// Read gives the next octets of the repaired message.
func (r *RepairReader) Read(p []byte) (int, error) {
	if !r.ready {
		r.header()
	}
	if len(r.buf) > 0 {
		n := copy(p, r.buf)
		r.buf = r.buf[n:]
		return n, nil
	}
	r.buf = nil
	if r.err != nil {
		return 0, r.err
	}
	return r.r.Read(p)
}

// Changed gives the names that Repair returned. It is complete from the first Read on.
func (r *RepairReader) Changed() []string { return r.changed }

// TooLong tells that the header is longer than the limit and was not repaired: a Bcc may still be in it. It is known
// from the first Read on.
func (r *RepairReader) TooLong() bool { return r.tooLong }

// header reads the header, repairs it, and leaves in buf what goes out in its place.
func (r *RepairReader) header() {
	r.ready = true
	var scan Scanner
	for scan.state != scanBody && len(r.buf) < r.limit+len("\r\n") { // the empty line behind a header that just fits
		if len(r.buf) == cap(r.buf) {
			size := min(r.limit+len("\r\n"), max(4096, 2*len(r.buf)))
			r.buf = append(make([]byte, 0, size), r.buf...)
		}
		n, err := r.r.Read(r.buf[len(r.buf):cap(r.buf)])
		scan.header(r.buf[len(r.buf) : len(r.buf)+n])
		scan.size += int64(n)
		r.buf = r.buf[:len(r.buf)+n]
		if err != nil {
			r.err = err
			break
		}
	}
	if r.err != nil && !errors.Is(r.err, io.EOF) {
		r.err = fmt.Errorf("reading the header of a message to repair, behind its octet %d: %w", len(r.buf), r.err)
		return
	}
	if r.tooLong = scan.HeaderSize() > int64(r.limit); r.tooLong {
		return
	}
	h, rest := ParseHeader(r.buf)
	if h.isText() {
		h, rest = Header{}, slices.Concat([]byte("\r\n"), r.buf)
	}
	r.changed = Repair(&h, r.rep)
	r.buf = append(h.Bytes(), rest...)
}
