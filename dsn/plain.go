package dsn

import (
	"bytes"
	"strings"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

// plainText is text for people as lines, with where each stands.
type plainText struct {
	leaf  *leaf
	bytes []byte
	lines []string // without line ends
	at    []int    // offsets of the lines in bytes
}

func newPlainText(l *leaf) plainText {
	t := plainText{leaf: l, bytes: l.decoded()}
	for at := 0; at < len(t.bytes); {
		end := len(t.bytes)
		if i := bytes.IndexByte(t.bytes[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		t.lines = append(t.lines, strings.TrimRight(string(t.bytes[at:end]), "\r\n"))
		t.at = append(t.at, at)
		at = end
	}
	return t
}

// find gives the first line at or behind from that has the words in it, as they are, and -1 where none has.
func (t plainText) find(from int, words string) int {
	for i := from; i < len(t.lines); i++ {
		if strings.Contains(t.lines[i], words) {
			return i
		}
	}
	return -1
}

// wordForms are the forms of reports in words. The first with a sign that stands in the text reads it; it is a report
// where that found a recipient.
var wordForms = []struct {
	dialect Dialect
	signs   []string
	read    func(t plainText, p *parser)
}{
	{DialectQmail, []string{"Hi. This is the"}, readQmail},
	{DialectExim, []string{"This message was created automatically by mail delivery software"}, readExim},
	{DialectSendmail, []string{"----- The following addresses had", "----- Transcript of session follows"}, readSendmail},
	{DialectPostfix, []string{"This is the mail system at host", "This is the Postfix program at host"}, readPostfix},
	{DialectGmail, []string{"Delivery to the following recipient"}, readGmail},
	{DialectExchange, []string{
		"Generating server:", "Delivery has failed to these recipients", "Delivery is delayed to these recipients",
		"did not reach some or all of the intended recipients", "Diagnostic information for administrators:",
	}, readExchange},
}

// readWords reads a report that has no fields for programs; it is false where the message is none.
func (p *parser) readWords(t plainText) bool {
	for _, form := range wordForms {
		for _, sign := range form.signs {
			if t.find(0, sign) < 0 {
				continue
			}
			form.read(t, p)
			if len(p.out.Recipients) == 0 {
				break
			}
			p.out.Dialect = form.dialect
			p.out.Truncated = p.out.Truncated || t.leaf.cut && p.out.Original == nil
			for i := range p.out.Recipients {
				p.out.Recipients[i].complete()
			}
			return true
		}
	}
	for _, value := range p.top.Values("X-Failed-Recipients") { // of Exim and Gmail
		for a := range strings.SplitSeq(bounded(value), ",") {
			if m, ok := mailboxIn(a); ok {
				p.add(RecipientStatus{Final: m, Action: Failed})
			}
		}
	}
	if len(p.out.Recipients) > 0 {
		p.out.Dialect = DialectHeader
		return true
	}
	return p.out.Dialect != "" // fields for programs without a recipient are still a report
}

// add notes a recipient and gives it, to be filled in; nil where there are too many.
func (p *parser) add(s RecipientStatus) *RecipientStatus {
	if len(p.out.Recipients) == maxRecipients {
		p.out.Truncated = true
		return nil
	}
	p.out.Recipients = append(p.out.Recipients, s)
	return &p.out.Recipients[len(p.out.Recipients)-1]
}

// copied notes the copy of the original that begins with line i of the text, after empty lines.
func (p *parser) copied(t plainText, i int, part Part) {
	for i < len(t.lines) && strings.TrimSpace(t.lines[i]) == "" {
		i++
	}
	if i >= len(t.lines) {
		return
	}
	header, _ := mail.ParseHeader(bytes.Clone(t.bytes[t.at[i]:]))
	o := newOriginal(p.out, header)
	o.Part = part
	if l := t.leaf; l.encoding != "base64" && l.encoding != "quoted-printable" {
		o.Offset, o.Size, o.Encoding = l.start+int64(t.at[i]), l.size-int64(t.at[i]), l.encoding
	}
}

// mailboxIn reads text that is one mailbox and nothing else, perhaps in brackets, perhaps with a colon behind.
func mailboxIn(s string) (Address, bool) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ":")
	if inner, ok := strings.CutPrefix(s, "<"); ok {
		if s, ok = strings.CutSuffix(inner, ">"); !ok {
			return Address{}, false
		}
	}
	if len(s) > maxValue || !strings.Contains(s, "@") {
		return Address{}, false
	}
	m, err := smtp.ParseMailbox(s)
	if err != nil {
		return Address{}, false
	}
	return addressOf(m.String()), true
}

// said makes a diagnostic of words. Its type is smtp where they are a reply, else the server's own.
func said(text, own string) Diagnostic {
	text = bounded(strings.Join(strings.Fields(text), " "))
	d := Diagnostic{Text: text}
	d.Code, d.Enhanced = findReply(text)
	switch {
	case text == "":
		return Diagnostic{}
	case d.Code != 0:
		d.Type = "smtp"
	default:
		d.Type = own
	}
	return d
}

// indent counts the spaces that a line starts with, a tab as eight.
func indent(line string) int {
	n := 0
	for i := range len(line) {
		switch line[i] {
		case ' ':
			n++
		case '\t':
			n += 8
		default:
			return n
		}
	}
	return n
}

// between gives what stands in s behind a and in front of b; "" where either is missing.
func between(s, a, b string) string {
	_, s, ok := strings.Cut(s, a)
	if !ok {
		return ""
	}
	s, _, ok = strings.Cut(s, b)
	if !ok {
		return ""
	}
	return strings.TrimSpace(s)
}

// remoteOf makes an MTA of a name in words, such as "mx.example.org[192.0.2.1]:25".
func remoteOf(name string) MTA {
	if name = hostName(strings.TrimRight(strings.TrimSpace(name), ".:")); name == "" {
		return MTA{}
	}
	return MTA{"dns", name}
}
