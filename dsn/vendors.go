package dsn

import (
	"strings"

	"github.com/holub-mail/holub/mail"
)

// readGmail reads the text that Gmail sent in place of fields: addresses with an indent, then what went wrong.
func readGmail(t plainText, p *parser) {
	i := t.find(0, "Delivery to the following recipient")
	action := Failed
	if strings.Contains(t.lines[i], "delayed") {
		action = Delayed
	}
	first := len(p.out.Recipients)
	var reason []string
	remote := MTA{}
	for i++; i < len(t.lines); i++ {
		line := t.lines[i]
		m, isMailbox := mailboxIn(line)
		switch {
		case strings.HasPrefix(line, "----- Original message -----"), strings.HasPrefix(line, "----- Message header follows"):
			p.copied(t, i+1, HeaderOnly)
			i = len(t.lines)
		case isMailbox && indent(line) > 0 && len(reason) == 0:
			p.add(RecipientStatus{Final: m, Action: action})
		case len(p.out.Recipients) > first && strings.TrimSpace(line) != "":
			reason = append(reason, line)
		}
	}
	text := strings.Join(strings.Fields(strings.Join(reason, " ")), " ")
	if at := strings.LastIndex(text, " by "); at >= 0 {
		if host, _, ok := strings.Cut(text[at+len(" by "):], " ["); ok && !strings.Contains(host, " ") {
			remote = remoteOf(host)
		}
	}
	if _, after, ok := strings.Cut(text, "server returned was: "); ok {
		text = after
	}
	for j := first; j < len(p.out.Recipients); j++ {
		p.out.Recipients[j].Remote, p.out.Recipients[j].Diagnostic = remote, said(text, "x-gmail")
	}
}

// readExchange reads the text of Exchange. Its newer form has a section for administrators with each address on a line
// of its own and the reply below; the older has "address on date" and below that what went wrong.
func readExchange(t plainText, p *parser) {
	action := Failed
	if t.find(0, "Delivery is delayed") >= 0 {
		action = Delayed
	}
	first, start := len(p.out.Recipients), 0
	if i := t.find(0, "Generating server:"); i >= 0 {
		_, name, _ := strings.Cut(t.lines[i], ":")
		p.out.Reporter, start = remoteOf(name), i+1
	}
	p.exchangeRecipients(t, start, action)
	if len(p.out.Recipients) == first && start > 0 {
		p.exchangeRecipients(t, 0, action)
	}
}

func (p *parser) exchangeRecipients(t plainText, start int, action Action) {
	var rcpt *RecipientStatus
	var reason []string
	end := func() {
		if rcpt != nil {
			rcpt.exchangeReason(strings.Join(strings.Fields(strings.Join(reason, " ")), " "))
		}
		reason = nil
	}
	defer func() { end() }()
	for i := start; i < len(t.lines); i++ {
		line := strings.TrimSpace(t.lines[i])
		if strings.HasPrefix(line, "Original message headers:") {
			p.copied(t, i+1, HeaderOnly)
			return
		}
		if subject, ok := strings.CutPrefix(line, "Subject:"); ok && rcpt == nil {
			if p.out.Original == nil {
				p.out.Original = &Original{}
			}
			set(&p.out.Original.Subject, bounded(strings.TrimSpace(subject)))
		}
		switch m, ok := exchangeMailbox(line); {
		case ok && (rcpt == nil || m != rcpt.Final):
			end()
			rcpt = p.add(RecipientStatus{Final: m, Action: action})
			if rcpt == nil {
				return
			}
		case ok:
		case rcpt != nil:
			reason = append(reason, line)
		}
	}
}

// exchangeMailbox reads "joe@example.org", "joe@example.org on 11/23/2026 3:00 PM" and "Joe
// (joe@example.org)<mailto:...>".
func exchangeMailbox(line string) (Address, bool) {
	line, _, _ = strings.Cut(line, "<mailto:")
	if m, ok := mailboxIn(line); ok {
		return m, true
	}
	if before, _, ok := strings.Cut(line, " on "); ok {
		if m, ok := mailboxIn(strings.Trim(before, "'")); ok {
			return m, true
		}
	}
	if inner := between(line, "(", ")"); strings.HasSuffix(line, ")") {
		return mailboxIn(inner)
	}
	return Address{}, false
}

func (s *RecipientStatus) exchangeReason(reason string) {
	if i := strings.Index(reason, "Remote Server returned '"); i >= 0 {
		reason = strings.TrimSuffix(reason[i+len("Remote Server returned '"):], "'")
	}
	if inner := between(reason, "<", ">"); strings.Contains(inner, "#") { // of the older form: the rest is for people
		reason = inner
	}
	if host, rest, ok := strings.Cut(reason, "#"); ok {
		host = strings.TrimSpace(host)
		if strings.Contains(host, ".") && !strings.ContainsAny(host, " <>@") {
			s.Remote, reason = remoteOf(host), rest
		} else if host == "" {
			reason = rest
		}
	}
	s.Diagnostic = said(strings.TrimRight(strings.TrimSuffix(reason, "#SMTP#"), "# "), "x-exchange")
}

// softwareSigns tell who wrote a report: by words in its text or in a field of its header.
var softwareSigns = []struct{ software, field, words string }{
	{"Gmail", "From", "@googlemail.com"},
	{"Gmail", "From", "@gmail.com"},
	{"Exchange", "X-MS-Exchange-Message-Is-Ndr", ""},
	{"Exchange", "X-MS-Exchange-Organization-SCL", ""},
	{"Exchange", "X-MS-Exchange-CrossTenant-Id", ""},
	{"Exchange", "", "Generating server:"},
	{"Exim", "", "This message was created automatically by mail delivery software"},
	{"Postfix", "", "This is the mail system at host"},
	{"Postfix", "", "This is the Postfix program at host"},
	{"Courier", "", "running the Courier mail server"},
	{"Sendmail", "", "----- The following addresses had"},
	{"Sendmail", "", "----- Transcript of session follows"},
	{"qmail", "", "This is the qmail-send program"},
}

// softwareOf guesses who wrote a report.
func softwareOf(out *Parsed, top mail.Header, text plainText) string {
	if out.Software != "" {
		return out.Software
	}
	for _, sign := range softwareSigns {
		if sign.field == "" && text.find(0, sign.words) >= 0 ||
			sign.field != "" && top.Has(sign.field) && strings.Contains(top.Get(sign.field), sign.words) {
			return sign.software
		}
	}
	if out.Dialect == DialectExchange {
		return "Exchange"
	}
	return ""
}

// softwareOfField knows two servers by their own field.
func softwareOfField(name string) string {
	switch name {
	case "x-postfix-queue-id":
		return "Postfix"
	case "x-holub-queue-id":
		return "holub"
	}
	return ""
}
