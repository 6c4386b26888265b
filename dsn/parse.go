package dsn

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holub-mail/holub/mail"
)

// ErrNoReport is the error of Parse for a message that no known form of a report fits.
var ErrNoReport = errors.New("not a delivery report of a form that is known")

// Limits of Parse: what it keeps of a message, however large that is. Octets beyond are counted and passed over.
const (
	maxParts      = 64        // of a multipart, on all levels together
	maxDepth      = 8         // multiparts within multiparts
	maxStatus     = 256 << 10 // of the part for programs
	maxText       = 64 << 10  // of the part for people
	maxOriginal   = 96 << 10  // of the returned part: base64 of maxHeader
	maxRecipients = 1000
	maxValue      = 8 << 10 // of one field
)

// Parse reads a report to its end. It knows delivery reports by RFC 3464 and RFC 6533 of any server, complaints (RFC
// 5965), disposition notifications (RFC 8098), and the text that servers of several makes send instead; Parsed.Dialect
// says which it was. A report as an attachment of another message is not taken for one.
//
// The error is ErrNoReport, wrapped, for any other message, and else one of reading r. Memory is bounded, a few MiB for
// the worst input; malformed fields are passed over. Parse believes what it reads: that the message comes from a mail
// server, and is about one of yours, is for its caller to know, for example by the envelope id or the returned header.
func Parse(r io.Reader) (*Parsed, error) {
	p := &parser{out: &Parsed{}}
	s := newSplitter(r, p.visit)
	if err := s.run(); err != nil {
		return nil, fmt.Errorf("reading a delivery report: %w", err)
	}
	p.top = s.top
	p.out.Truncated = p.out.Truncated || s.cut
	if !p.finish() {
		if subject := p.top.Get("Subject"); subject != "" {
			return nil, fmt.Errorf("a message with the subject %.60q: %w", subject, ErrNoReport)
		}
		return nil, ErrNoReport
	}
	return p.out, nil
}

// parser gathers what the parts of one message say.
type parser struct {
	out    *Parsed
	top    mail.Header
	text   *leaf // the first text for people
	status bool  // a part for programs was read
}

// wanted is how much is kept of a part, by its type.
func wanted(mediaType string) int {
	switch mediaType {
	case "message/delivery-status", "message/global-delivery-status", "message/feedback-report",
		"message/disposition-notification", "message/global-disposition-notification":
		return maxStatus
	case "text/plain", "": // a part without type is text (RFC 2045 5.2)
		return maxText
	case "message/rfc822", "message/global", "text/rfc822-headers", "text/rfc822-header", "message/global-headers",
		"message/rfc822-headers":
		return maxOriginal
	}
	return 0
}

// visit takes the next part.
func (p *parser) visit(l *leaf) {
	switch l.mediaType {
	case "message/delivery-status", "message/global-delivery-status":
		p.begin(DialectStatus, l)
		readStatus(p.out, l.decoded())
	case "message/feedback-report":
		p.begin(DialectFeedback, l)
		p.out.Complaint = readFeedback(p.out, l.decoded())
	case "message/disposition-notification", "message/global-disposition-notification":
		p.begin(DialectDisposition, l)
		p.out.Disposition = readDisposition(p.out, l.decoded())
	case "message/rfc822", "message/global":
		p.original(l, FullMessage)
	case "text/rfc822-headers", "text/rfc822-header", "message/global-headers", "message/rfc822-headers":
		p.original(l, HeaderOnly)
	case "text/plain", "":
		if p.text == nil {
			p.text = l
		}
	}
}

// begin notes that a part for programs came. The first decides the dialect.
func (p *parser) begin(d Dialect, l *leaf) {
	if p.out.Dialect == "" {
		p.out.Dialect = d
	}
	p.out.Truncated = p.out.Truncated || l.cut
	p.status = true
}

// original takes the returned part: the first behind the part for programs, for in front of it may stand anything.
func (p *parser) original(l *leaf, part Part) {
	if o := p.out.Original; o != nil && o.Header != nil || !p.status {
		return
	}
	header, _ := mail.ParseHeader(l.decoded())
	o := newOriginal(p.out, header)
	o.Part, o.Offset, o.Size, o.Encoding = part, l.start, l.size, l.encoding
}

// newOriginal fills in what the header of the original says.
func newOriginal(out *Parsed, header mail.Header) *Original {
	if out.Original == nil {
		out.Original = &Original{}
	}
	o := out.Original
	o.Header = header.Bytes()
	if len(o.Header) > maxHeader {
		o.Header, out.Truncated = o.Header[:maxHeader], true
	}
	set(&o.MessageID, unbracket(header.Get("Message-ID")))
	set(&o.From, bounded(header.Get("From")))
	set(&o.To, bounded(header.Get("To")))
	set(&o.Subject, bounded(header.Get("Subject")))
	o.Date = parseDate(header.Get("Date"))
	return o
}

// finish draws what all parts together say; it is false where they are no report.
func (p *parser) finish() bool {
	out := p.out
	var text plainText
	if p.text != nil {
		text = newPlainText(p.text)
	}
	if out.Dialect == "" || out.Dialect == DialectStatus && len(out.Recipients) == 0 {
		if !p.readWords(text) {
			return false
		}
	}
	out.Software = softwareOf(out, p.top, text)
	switch out.Dialect {
	case DialectFeedback:
		out.Kind = Complaint
	case DialectDisposition:
		out.Kind = Receipt
	default:
		out.Kind = kindOf(out.Recipients)
	}
	return true
}

// kindOf is what the worst of the recipients makes of a report.
func kindOf(recipients []RecipientStatus) Kind {
	kind := Success
	for i := range recipients {
		switch outcomeOf(recipients[i].Action) {
		case lost:
			return Failure
		case late:
			kind = Delay
		}
	}
	return kind
}

// set puts s where nothing is yet.
func set(where *string, s string) {
	if *where == "" {
		*where = s
	}
}

// bounded cuts a value after maxValue octets.
func bounded(s string) string { return strings.Clone(s[:min(len(s), maxValue)]) }

// unbracket takes angle brackets and white space off.
func unbracket(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") {
		s, _, _ = strings.Cut(s[1:], ">")
	}
	return bounded(strings.TrimSpace(s))
}
