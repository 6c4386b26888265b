package mail

import (
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// DeliveredTo tells whether a Delivered-To field has this mailbox: then the mail was there before, and to deliver or
// forward it there once more is a loop. Names are compared without case on both sides of the "@", for a loop that is
// not seen is worse than two mailboxes that differ by case alone.
func (h Header) DeliveredTo(m smtp.Mailbox) bool {
	for _, f := range h.fields {
		if !f.Is("Delivered-To") {
			continue
		}
		list, _ := ParseAddressList(f.Body())
		for _, a := range list {
			if a.Mailbox != (smtp.Mailbox{}) && sameMailbox(a.Mailbox, m) {
				return true
			}
		}
	}
	return false
}

// sameMailbox compares without the case of the local part.
func sameMailbox(a, b smtp.Mailbox) bool {
	return strings.EqualFold(a.Local, b.Local) && a.Domain.Equal(b.Domain)
}

// listFields are the fields that mailing lists put in (RFC 2369 3, RFC 2919 3).
var listFields = []string{
	"List-Id", "List-Help", "List-Post", "List-Subscribe", "List-Unsubscribe", "List-Owner", "List-Archive",
}

// AutoSubmitted tells mail that no person wrote to one other person, and that no program may answer (RFC 3834 2). It is
// true where one of these stands in the header:
//   - Auto-Submitted with anything but "no" (RFC 3834 5);
//   - Precedence with bulk, junk or list;
//   - a field of a mailing list: List-Id, List-Post, List-Unsubscribe or another of RFC 2369 and RFC 2919.
//
// The null reverse-path, which says the same, is in the envelope.
func (h Header) AutoSubmitted() bool {
	for _, f := range h.fields {
		switch {
		case f.Is("Auto-Submitted"):
			if firstWord(f.Body()) != "no" {
				return true
			}
		case f.Is("Precedence"):
			if w := firstWord(f.Body()); w == "bulk" || w == "junk" || w == "list" {
				return true
			}
		}
	}
	for _, name := range listFields {
		if h.Has(name) {
			return true
		}
	}
	return false
}

// firstWord gives the first atom behind comments, in lower case.
func firstWord(s string) string {
	l := addressLexer{s: s}
	for {
		if t := l.next(); t.kind != tokenComment {
			return strings.ToLower(t.text)
		}
	}
}
