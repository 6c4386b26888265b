package dsn

import (
	"bufio"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holub-mail/holub/mail"
)

// textWidth is where lines of text are broken; maxTextLine is what a line of plain text may have.
const (
	textWidth   = 72
	maxTextLine = 78
)

// writeText writes the first part. The text is made twice: once to see whether it is lines of ASCII that go as they
// are, and once to write it, as quoted-printable where they don't.
func (r Report) writeText(out *bufio.Writer, boundary string, o *returned) {
	var probe textProbe
	r.text(&textWriter{w: &probe}, o)
	charset, encoding := "us-ascii", "7bit"
	if probe.eightBit {
		charset = "utf-8"
	}
	if probe.eightBit || probe.long {
		encoding = "quoted-printable" // it keeps long words, such as links, in one piece
	}
	out.WriteString("\r\n--" + boundary + "\r\n")
	b := mail.AppendField(nil, "Content-Type", "text/plain;", "charset="+charset)
	b = mail.AppendField(b, "Content-Description", "Report for people")
	b = mail.AppendField(b, "Content-Transfer-Encoding", encoding)
	out.Write(append(b, '\r', '\n'))
	if encoding == "7bit" {
		r.text(&textWriter{w: out}, o)
		return
	}
	qp := quotedprintable.NewWriter(out)
	r.text(&textWriter{w: qp}, o)
	qp.Close()
}

// text tells what happened, to whom, why, and what the reader can do. Recipients are told by what became of them, those
// first that the report is for.
func (r Report) text(t *textWriter, o *returned) {
	main := outcomeOf(r.defaultAction())
	r.section(t, main, r.opening)
	for _, o := range []outcome{lost, late, onward} {
		if o != main {
			r.section(t, o, func(t *textWriter, these string) { r.aside(t, o, these) })
		}
	}
	if r.Kind == Failure && len(r.Recipients) == 1 {
		t.para("", "Other recipients of the message, if it has any, are not affected by this report.")
	} else if r.Kind == Failure {
		t.para("", "Recipients of the message that do not stand above are not affected by this report.")
	}
	r.colophon(t, o)
}

// section tells about the recipients of one outcome, where there are any.
func (r Report) section(t *textWriter, o outcome, head func(t *textWriter, these string)) {
	var about []Recipient
	for _, rcpt := range r.Recipients {
		if outcomeOf(r.action(rcpt)) == o {
			about = append(about, rcpt)
		}
	}
	if len(about) == 0 {
		return
	}
	head(t, these(about))
	for _, rcpt := range about {
		r.recipient(t, rcpt)
	}
}

// outcome is what the actions come to for a person.
type outcome uint8

const (
	lost outcome = iota
	late
	onward
)

func outcomeOf(a Action) outcome {
	switch a {
	case Delayed:
		return late
	case Delivered, Relayed, Expanded:
		return onward
	}
	return lost
}

// opening says what the report is for.
func (r Report) opening(t *textWriter, these string) {
	switch r.Kind {
	case Failure:
		t.para("", "Your message could not be delivered to "+these+" below. It will not be tried again there.")
	case Delay:
		t.para("", "Your message has not yet been delivered to "+these+" below.")
		t.para("", "You need do nothing: the server keeps trying"+untilWords(r.RetryUntil)+". If it can't deliver the "+
			"message by then, you get another report. If you send it again now, it may arrive twice.")
	case Success:
		t.para("", "You asked for a report when your message gets on. This is it, for "+these+" below.")
	default:
		t.para("", "The message that this report is about could not be delivered to "+these+" below, and it could "+
			"not be returned either: "+r.noReturn()+" So it is kept for you, the postmaster of "+r.From+".")
		t.para("", "The server does nothing more with it. If somebody should still get it, pass it on by hand; "+
			"otherwise you can delete it.")
	}
}

// aside tells of recipients with whom it went another way than the report is for.
func (r Report) aside(t *textWriter, o outcome, these string) {
	switch o {
	case lost:
		t.para("", "The message could not be delivered to "+these+" below. It will not be tried again there.")
	case late:
		t.para("", "The message has not yet been delivered to "+these+" below. The server keeps trying"+
			untilWords(r.RetryUntil)+".")
	default:
		t.para("", "The message was delivered or passed on to "+these+" below.")
	}
}

// these counts recipients in words.
func these(about []Recipient) string {
	if len(about) == 1 {
		return "the address"
	}
	return "the addresses"
}

// noReturn says why the original could not be returned.
func (r Report) noReturn() string {
	if r.Sender.IsNull() {
		return "it has no return address, as is the rule for reports of mail servers."
	}
	return "no report could be sent to its return address " + r.sender() + "."
}

// recipient tells about one recipient.
func (r Report) recipient(t *textWriter, rcpt Recipient) {
	domain := rcpt.Final.Domain.String()
	if rcpt.Final.Domain.IsZero() {
		domain = r.From
	}
	why, action := reasonOf(rcpt, domain), r.action(rcpt)
	t.line("", r.address(rcpt.Final))
	if outcomeOf(action) == onward {
		t.line("  ", successWords(action))
	} else {
		t.line("  ", why.why)
	}
	if action == Failed && status(action, rcpt.Reply)[0] == 4 {
		t.line("  ", "This may pass, but the server has tried"+r.sinceWords()+" and has now given up.")
	}
	if action == Failed && r.Kind != Kept {
		t.line("  ", "What you can do: "+why.todo)
	}
	if !rcpt.Reply.IsZero() {
		t.blank()
		if rcpt.Host == "" {
			t.line("  ", "The server "+r.From+", which sends this report, noted:")
		} else {
			t.line("  ", "The server "+cleanUTF8(rcpt.Host, 500)+" answered:")
		}
		for _, line := range replyLines(rcpt.Reply) {
			t.line("    ", line)
		}
	}
	t.blank()
}

// sinceWords says how long it was tried.
func (r Report) sinceWords() string {
	if r.Arrived.IsZero() {
		return " for as long as it may"
	}
	return " since " + dateWords(r.Arrived)
}

// successWords says how far a message got.
func successWords(a Action) string {
	switch a {
	case Delivered:
		return "It lies in the mailbox."
	case Expanded:
		return "It was sent on to the members of a list."
	}
	return "It was passed on to a mail server that sends no reports of success. You will hear of it again only if it " +
		"can't be delivered there."
}

// colophon says who writes, about which message, and what follows.
func (r Report) colophon(t *textWriter, o *returned) {
	t.line("", "--------")
	s := "This report was written by the mail server " + r.From + "."
	if !r.Arrived.IsZero() {
		s += " The message reached it on " + dateWords(r.Arrived) + "."
	}
	if r.QueueID != "" {
		s += " Its number there is " + clean(r.QueueID, 250)
		if r.Kind != Kept {
			s += "; name it if you ask postmaster@" + r.From + " for help"
		}
		s += "."
	}
	s += " Below this text follow a report for programs"
	if what := o.what(); what != "" {
		s += " and " + what
	}
	t.line("", s+".")
}

func untilWords(t time.Time) string {
	if t.IsZero() {
		return " for some time"
	}
	return " until " + dateWords(t)
}

func dateWords(t time.Time) string { return t.Format("Monday, 2 January 2006, 15:04 (-0700)") }

// textWriter writes text as lines ended by CRLF, broken between words.
type textWriter struct{ w io.Writer }

// para writes a paragraph and an empty line.
func (t *textWriter) para(indent, s string) {
	t.line(indent, s)
	t.blank()
}

func (t *textWriter) blank() { io.WriteString(t.w, "\r\n") }

// line writes s, indented, on as many lines as it needs. Its words are made safe; a word is never broken.
func (t *textWriter) line(indent, s string) {
	var b strings.Builder
	b.WriteString(indent)
	col, start := len(indent), true
	for _, word := range strings.Fields(s) {
		word = readable(word)
		n := utf8.RuneCountInString(word)
		if !start && col+1+n > textWidth {
			b.WriteString("\r\n" + indent)
			col, start = len(indent), true
		}
		if !start {
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
		start = false
	}
	b.WriteString("\r\n")
	io.WriteString(t.w, b.String())
}

// readable writes "?" for what can't be seen or is no UTF-8: controls, and marks that turn the direction of text.
func readable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
}

// textProbe looks at lines, which come whole.
type textProbe struct{ eightBit, long bool }

func (p *textProbe) Write(b []byte) (int, error) {
	for line := range strings.SplitSeq(string(b), "\r\n") {
		p.long = p.long || len(line) > maxTextLine
	}
	for _, c := range b {
		p.eightBit = p.eightBit || c >= 0x80
	}
	return len(b), nil
}
