package mail

import (
	"testing"

	"github.com/holub-mail/holub/smtp"
)

func TestDeliveredTo(t *testing.T) {
	h, _ := ParseHeader([]byte("Delivered-To: Joe@Example.org\r\nX-Delivered-To: x@y\r\ndelivered-to: <\"a b\"@c>\r\n" +
		"Delivered-To: root, and more\r\nDelivered-To: u@b\u00fccher.example\r\n\r\nDelivered-To: body@y\r\n"))
	for s, want := range map[string]bool{
		"joe@example.org": true, `"a b"@C`: true, "u@xn--bcher-kva.example": true, "x@y": false, "body@y": false,
		"joe@example.com": false, "ann@example.org": false,
	} {
		if got := h.DeliveredTo(testMailbox(t, s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if h.DeliveredTo(smtp.Mailbox{}) {
		t.Error("no mailbox at all was delivered to")
	}
}

func TestAutoSubmitted(t *testing.T) {
	for header, want := range map[string]bool{
		"":                                        false,
		"Subject: out of office":                  false,
		"Auto-Submitted: no":                      false,
		"auto-submitted: (x) NO ; a=b":            false,
		"Auto-Submitted: auto-replied":            true,
		"Auto-Submitted: Auto-generated; owner":   true,
		"Auto-Submitted:":                         true,
		"Auto-Submitted: no\r\nAuto-Submitted: x": true,
		"Precedence: bulk":                        true,
		"Precedence: Junk (x)":                    true,
		"Precedence: list":                        true,
		"Precedence: first-class":                 false,
		"List-Id: <x.example>":                    true,
		"list-unsubscribe: <mailto:x@y>":          true,
		"List-Of-Things: x":                       false,
		"no colon Auto-Submitted: x":              false,
		"X: y\r\n Precedence: bulk":               false,
		"X: y\r\n\r\nPrecedence: bulk":            false,
	} {
		h, _ := ParseHeader([]byte(header))
		if got := h.AutoSubmitted(); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}
