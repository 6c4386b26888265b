package dsn

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/holub-mail/holub/smtp"
)

// Address is an address with its type, as the fields of a report have it (RFC 3464 2.1.2): {"rfc822",
// "joe@example.org"}. The zero value is no address.
type Address struct {
	Type string // in lower case: "rfc822", "utf-8" (RFC 6533 3), "x400", ...; "" where the report named none
	Text string // of utf-8 with the characters themselves, whatever form the report had them in
}

// IsZero tells that there is no address.
func (a Address) IsZero() bool { return a == Address{} }

// Mailbox reads the address as local-part@domain; ok is false where it is none.
func (a Address) Mailbox() (m smtp.Mailbox, ok bool) {
	if a.Type != "" && a.Type != typeRFC822 && a.Type != typeUTF8 {
		return smtp.Mailbox{}, false
	}
	m, err := smtp.ParseMailbox(a.Text)
	return m, err == nil
}

// The types of mail addresses.
const (
	typeRFC822 = "rfc822"
	typeUTF8   = "utf-8"
)

// addressOf types the text of an address.
func addressOf(text string) Address {
	if isASCII(text) {
		return Address{typeRFC822, text}
	}
	return Address{typeUTF8, text}
}

// encoded gives the address as a field has it: in UTF-8, or in ASCII.
func (a Address) encoded(inUTF8 bool) Address {
	if a.Type != typeUTF8 {
		return a
	}
	if inUTF8 && !strings.ContainsAny(a.Text, "\\ ") {
		return a // utf-8-address: nothing in it can be taken for an escape
	}
	return Address{a.Type, escapeUTF8(a.Text, inUTF8)}
}

func (a Address) isASCII() bool { return isASCII(a.Text) }

// escapeUTF8 writes utf-8-addr-unitext, or of ASCII alone utf-8-addr-xtext (RFC 6533 3). Unlike xtext it names
// characters and not octets.
func escapeUTF8(s string, inUTF8 bool) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c > ' ' && c < 0x7f && c != '+' && c != '=' && c != '\\', c >= utf8.RuneSelf && inUTF8:
			b.WriteRune(c)
		default:
			hex := strings.ToUpper(strconv.FormatUint(uint64(c), 16))
			b.WriteString(`\x{` + strings.Repeat("0", max(0, 2-len(hex))) + hex + "}")
		}
	}
	return b.String()
}

// unescapeUTF8 reads the three forms of RFC 6533 3. What is no escape stays as it is, and so does an escape of a
// control or of no character at all: nobody means those.
func unescapeUTF8(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		hex, after, closed := strings.Cut(rest, "}")
		code, err := strconv.ParseUint(hex, 16, 21)
		if !closed || err != nil || len(hex) < 2 || len(hex) > 6 || code < ' ' || code == 0x7f || !utf8.ValidRune(rune(code)) {
			b.WriteString(`\x{`)
			s = rest
			continue
		}
		b.WriteRune(rune(code))
		s = after
	}
}

// address writes a mailbox without brackets, as people read it, and without controls. A mailbox without domain is one
// of the host that reports, for fields need a whole address (RFC 3464 2.3.2).
func (r Report) address(p smtp.Path) string {
	p.Local = cleanUTF8(p.Local, smtp.MaxLocalPart)
	if p.Domain.IsZero() {
		return smtp.QuoteLocal(p.Local) + "@" + r.From
	}
	return p.Mailbox.String()
}

// recipientAddress types a mailbox for the fields. Where only its domain is not ASCII the report need not be UTF-8: a
// host without SMTPUTF8 knows it by its A-labels.
func (r Report) recipientAddress(p smtp.Path) Address {
	if !r.inUTF8() && isASCII(p.Local) {
		p.Domain = p.Domain.ASCII()
	}
	return addressOf(r.address(p))
}

// originalAddress gives an ORCPT back as it came (RFC 3461 6.3), but for an address of UTF-8: that gets the form that
// the report can have (RFC 6533 3).
func (r Report) originalAddress(o smtp.OriginalRecipient) Address {
	a := Address{clean(o.Type, 100), cleanUTF8(o.Address, 500)}
	switch {
	case strings.EqualFold(a.Type, typeUTF8):
		return Address{typeUTF8, unescapeUTF8(a.Text)}.encoded(r.inUTF8())
	case strings.EqualFold(a.Type, typeRFC822) && !a.isASCII(): // the sender named the type wrongly
		return Address{typeUTF8, a.Text}.encoded(r.inUTF8())
	}
	return a
}

// headerAddress writes a path for a field of the header, without brackets.
func (r Report) headerAddress(p smtp.Path) string {
	if !r.inUTF8() {
		p.Domain = p.Domain.ASCII()
	}
	return r.address(p)
}

// sender gives the original's reverse-path in its brackets, as people read it.
func (r Report) sender() string {
	if r.Sender.IsNull() {
		return "<>"
	}
	return "<" + r.address(r.Sender) + ">"
}

// senderField gives the original's reverse-path in its brackets for a field.
func (r Report) senderField() string {
	if r.Sender.IsNull() {
		return "<>"
	}
	return "<" + r.recipientAddress(r.Sender).encoded(r.inUTF8()).Text + ">"
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// clean cuts s after limit octets, and writes "?" for what is not printable ASCII.
func clean(s string, limit int) string {
	b := []byte(s[:min(len(s), limit)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// cleanUTF8 cuts s after limit octets, and writes "?" for controls and what is no UTF-8.
func cleanUTF8(s string, limit int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || 0x7f <= c && c < 0xa0 || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
}
