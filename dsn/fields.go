package dsn

import (
	"bytes"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

// readStatus reads the fields of message/delivery-status (RFC 3464 2). Each is known by its name, wherever it stands,
// for some servers lack the empty lines between groups and some have too many.
func readStatus(out *Parsed, body []byte) {
	var current *RecipientStatus
	eachGroup(body, func(h mail.Header) {
		var seen [2]bool // Original-Recipient and Final-Recipient: a second one is of the next recipient
		current = nil
		for f := range h.Fields() {
			name, value := strings.ToLower(f.Name()), unfolded(f)
			if value == "" || messageField(out, name, value) {
				continue
			}
			isOriginal, isFinal := name == "original-recipient", name == "final-recipient"
			next := isOriginal && seen[0] || isFinal && seen[1]
			if recipientFields[name] == nil {
				continue
			}
			if current == nil || next {
				if len(out.Recipients) == maxRecipients {
					out.Truncated = true
					return
				}
				out.Recipients = append(out.Recipients, RecipientStatus{})
				current = &out.Recipients[len(out.Recipients)-1]
				seen = [2]bool{}
			}
			seen[0], seen[1] = seen[0] || isOriginal, seen[1] || isFinal
			recipientFields[name](current, value)
		}
	})
	for i := range out.Recipients {
		out.Recipients[i].complete()
	}
}

// unfolded gives the body of a field on one line, one space in place of each fold, cut after maxValue octets.
func unfolded(f mail.Field) string {
	_, body, ok := bytes.Cut(f.Raw(), []byte(":"))
	if !ok {
		return ""
	}
	var b strings.Builder
	for line := range bytes.SplitSeq(body, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.Write(line[:min(len(line), maxValue)])
		if b.Len() > maxValue {
			return b.String()[:maxValue]
		}
	}
	return b.String()
}

// eachGroup calls do with each run of fields between empty lines.
func eachGroup(body []byte, do func(mail.Header)) {
	for len(body) > 0 {
		h, rest := mail.ParseHeader(body)
		if h.Len() > 0 {
			do(h)
		}
		if len(rest) == 0 {
			return
		}
		_, body, _ = bytes.Cut(rest, []byte("\n")) // the empty line
	}
}

// messageField takes a field about the whole message (RFC 3464 2.2). The first of a name counts.
func messageField(out *Parsed, name, value string) bool {
	switch name {
	case "reporting-mta":
		setMTA(&out.Reporter, value)
	case "dsn-gateway", "mdn-gateway":
		setMTA(&out.Gateway, value)
	case "received-from-mta":
		setMTA(&out.From, value)
	case "arrival-date":
		if out.Arrived.IsZero() {
			out.Arrived = parseDate(value)
		}
	case "original-envelope-id":
		set(&out.EnvelopeID, value)
	default:
		// X-Postfix-Queue-ID, X-Holub-Queue-ID, and what others with the same habit have.
		switch {
		case strings.HasPrefix(name, "x-") && strings.HasSuffix(name, "-queue-id"):
			set(&out.QueueID, value)
			set(&out.Software, softwareOfField(name))
		case strings.HasPrefix(name, "x-") && strings.HasSuffix(name, "-sender"):
			set(&out.Sender, typedAddress(value).Text)
		default:
			return false
		}
	}
	return true
}

// recipientFields are the fields about one recipient (RFC 3464 2.3). The first of a name counts.
var recipientFields = map[string]func(*RecipientStatus, string){
	"original-recipient": func(s *RecipientStatus, v string) { setAddress(&s.Original, v) },
	"final-recipient":    func(s *RecipientStatus, v string) { setAddress(&s.Final, v) },
	"action": func(s *RecipientStatus, v string) {
		if s.Action == "" {
			s.Action = parseAction(v)
		}
	},
	"status": func(s *RecipientStatus, v string) {
		if s.Status == (smtp.EnhancedCode{}) {
			s.Status, _, _ = smtp.ParseEnhancedCode(v)
		}
	},
	"remote-mta": func(s *RecipientStatus, v string) { setMTA(&s.Remote, v) },
	"diagnostic-code": func(s *RecipientStatus, v string) {
		if s.Diagnostic == (Diagnostic{}) {
			s.Diagnostic = parseDiagnostic(v)
		}
	},
	"final-log-id": func(s *RecipientStatus, v string) { set(&s.LogID, v) },
	"last-attempt-date": func(s *RecipientStatus, v string) {
		if s.LastAttempt.IsZero() {
			s.LastAttempt = parseDate(v)
		}
	},
	"will-retry-until": func(s *RecipientStatus, v string) {
		if s.RetryUntil.IsZero() {
			s.RetryUntil = parseDate(v)
		}
	},
}

// complete draws what follows where a field is missing.
func (s *RecipientStatus) complete() {
	if s.Status == (smtp.EnhancedCode{}) {
		s.Status = s.Diagnostic.Enhanced
	}
	if s.Status == (smtp.EnhancedCode{}) && s.Diagnostic.Code != 0 {
		s.Status = smtp.EnhancedCode{s.Diagnostic.Code / 100, 0, 0}
	}
	if s.Action != "" {
		return
	}
	switch s.Status[0] {
	case 2:
		s.Action = Delivered
	case 4:
		s.Action = Delayed
	default:
		s.Action = Failed
	}
}

// parseAction takes the first word, for comments follow it here and there, and some servers decline the words.
func parseAction(v string) Action {
	v = strings.ToLower(v)
	for _, w := range []struct {
		stem   string
		action Action
	}{{"fail", Failed}, {"delay", Delayed}, {"deliver", Delivered}, {"relay", Relayed}, {"expand", Expanded}} {
		if strings.HasPrefix(v, w.stem) {
			return w.action
		}
	}
	return ""
}

// splitType cuts "dns; mx.example.org" in two. Text without a type has the type "".
func splitType(v string) (kind, text string) {
	kind, text, ok := strings.Cut(v, ";")
	if !ok || strings.ContainsAny(kind, " \t@<.") {
		return "", strings.TrimSpace(v)
	}
	return strings.ToLower(strings.TrimSpace(kind)), strings.TrimSpace(text)
}

func setMTA(where *MTA, v string) {
	if *where == (MTA{}) {
		where.Type, where.Name = splitType(v)
	}
}

func setAddress(where *Address, v string) {
	if where.IsZero() {
		*where = typedAddress(v)
	}
}

// typedAddress reads "rfc822; joe@example.org", also with brackets around the address.
func typedAddress(v string) Address {
	kind, text := splitType(v)
	if inner, ok := strings.CutPrefix(text, "<"); ok {
		if end := strings.LastIndexByte(inner, '>'); end >= 0 {
			text = inner[:end]
		}
	}
	if kind == typeUTF8 && strings.Contains(text, `\x{`) {
		text = unescapeUTF8(strings.ReplaceAll(text, " ", "")) // a space is a fold: the forms have none of their own
	}
	if text == "" {
		return Address{}
	}
	return Address{kind, unquoteOctets(text)}
}

// unquoteOctets mends UTF-8 that Postfix quotes octet by octet in X-Postfix-Sender, "j\xc3\xa1n" with a backslash in
// front of each of the two.
func unquoteOctets(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] != '\\' || i+1 == len(s) || s[i+1] < utf8.RuneSelf {
			b.WriteByte(s[i])
		}
	}
	if m, err := smtp.ParseMailbox(b.String()); err == nil {
		return m.String()
	}
	return s
}

// parseDiagnostic reads "smtp; 550 5.1.1 no such user".
func parseDiagnostic(v string) Diagnostic {
	kind, text := splitType(v)
	d := Diagnostic{Type: kind, Text: text}
	d.Code, d.Enhanced = findReply(text)
	return d
}

// findReply finds the first SMTP code in a text, and the enhanced code behind it or, as "(#5.1.1)", elsewhere.
func findReply(text string) (code int, enhanced smtp.EnhancedCode) {
	for at := 0; at+3 <= len(text); at++ {
		if c := text[at]; c != '2' && c != '4' && c != '5' || at > 0 && isWordOctet(text[at-1]) {
			continue
		}
		if e, ok := enhancedAt(text[at:]); ok {
			if enhanced == (smtp.EnhancedCode{}) {
				enhanced = e
			}
			continue
		}
		rest := text[at:]
		n, err := strconv.Atoi(rest[:3])
		if code != 0 || err != nil || rest[1] > '5' || len(rest) > 3 && isWordOctet(rest[3]) {
			continue
		}
		code = n
		if e, ok := enhancedAt(strings.TrimLeft(rest[3:], " -#")); ok {
			return code, e
		}
	}
	return code, enhanced
}

// enhancedAt reads an enhanced code at the start of s, whatever follows it but for more of a number: 5.1.2.3 is the
// address of a host.
func enhancedAt(s string) (smtp.EnhancedCode, bool) {
	end := 0
	for end < len(s) && end < len("5.999.999.") && ('0' <= s[end] && s[end] <= '9' || s[end] == '.') {
		end++
	}
	e, rest, ok := smtp.ParseEnhancedCode(strings.TrimRight(s[:end], "."))
	return e, ok && rest == ""
}

func isWordOctet(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '.' || c == '@' || c == '_' || c >= 0x80
}

// parseDate reads a date-time; the zero time stands for one that can't be read.
func parseDate(v string) time.Time {
	if len(v) > 100 {
		return time.Time{}
	}
	t, err := netmail.ParseDate(v)
	if err != nil {
		return time.Time{}
	}
	return t
}
