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

// text tells what happened, to whom, why, and what the reader can do.
func (r Report) text(t *textWriter, o *returned) {
	switch r.Kind {
	case Failure:
		t.para("", "Your message could not be delivered to "+r.these()+" below. It will not be tried again there.")
	case Delay:
		t.para("", "Your message has not yet been delivered to "+r.these()+" below.")
		t.para("", "You need do nothing: the server keeps trying"+untilWords(r.RetryUntil)+". If it can't deliver the "+
			"message by then, you get another report. If you send it again now, it may arrive twice.")
	case Success:
		t.para("", "You asked for a report when your message gets on. This is it, for "+r.these()+" below.")
	default:
		t.para("", "The message that this report is about could not be delivered to "+r.these()+" below, and it could "+
			"not be returned either: "+r.noReturn()+" So it is kept for you, the postmaster of "+r.From+".")
		t.para("", "The server does nothing more with it. If somebody should still get it, pass it on by hand; "+
			"otherwise you can delete it.")
	}
	for _, rcpt := range r.Recipients {
		r.recipient(t, rcpt)
	}
	if r.Kind == Failure && len(r.Recipients) == 1 {
		t.para("", "Other recipients of the message, if it has any, are not affected by this report.")
	} else if r.Kind == Failure {
		t.para("", "Recipients of the message that do not stand above are not affected by this report.")
	}
	r.colophon(t, o)
}

// these counts the recipients in words.
func (r Report) these() string {
	if len(r.Recipients) == 1 {
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
	why := reasonOf(rcpt, domain)
	t.line("", r.address(rcpt.Final))
	if r.Kind == Success {
		t.line("  ", successWords(r.action(rcpt)))
	} else {
		t.line("  ", why.why)
	}
	if (r.Kind == Failure || r.Kind == Kept) && status(r.action(rcpt), rcpt.Reply)[0] == 4 {
		t.line("  ", "This may pass, but the server has tried for as long as it may and has now given up.")
	}
	if r.Kind == Failure {
		t.line("  ", "What you can do: "+why.todo)
	}
	if !rcpt.Reply.IsZero() {
		t.blank()
		if rcpt.Host == "" {
			t.line("  ", "The server "+r.From+", which sends this report, noted:")
		} else {
			t.line("  ", "The server "+rcpt.Host[:min(len(rcpt.Host), 500)]+" answered:")
		}
		for _, line := range replyLines(rcpt.Reply) {
			t.line("    ", line)
		}
	}
	t.blank()
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
