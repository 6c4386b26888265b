package sender

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/holub-mail/holub/smtp"
)

// wireOriginal gives the form of an ORCPT for the wire. One in UTF-8 is written in ASCII where SMTPUTF8 is not declared
// (RFC 6533 3); one that can't be written is left out, which RFC 3461 allows for any.
func wireOriginal(o smtp.OriginalRecipient, withUTF8 bool) smtp.OriginalRecipient {
	if o == (smtp.OriginalRecipient{}) {
		return o
	}
	if !withUTF8 && !isASCII(o.Address) && strings.EqualFold(o.Type, "utf-8") {
		o.Address = embedUnicode(o.Address)
	}
	if !isAddressType(o.Type) || o.Address == "" || !clean(o.Address, withUTF8) || len(o.String()) > maxOriginal {
		return smtp.OriginalRecipient{}
	}
	return o
}

// embedUnicode writes "\x{E9}" for what is not plain ASCII (RFC 6533 3, utf-8-addr-xtext).
func embedUnicode(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r <= ' ' || r >= utf8.RuneSelf-1 || r == '\\' || r == '+' || r == '=' {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isAddressType tells a name such as "rfc822".
func isAddressType(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return s != ""
}
