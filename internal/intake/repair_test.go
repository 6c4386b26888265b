package intake

import (
	"context"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// submission is a house whose clients are authors. MAIL comes with UTF-8 where it is asked for.
func submission(t *testing.T) *house {
	t.Helper()
	h := newHouse(t, func(o *Options) { o.Repair = true })
	h.server.Offer.UTF8 = true
	return h
}

// repaired submits a message and gives what is stored below the Received field, with the envelope.
func (h *house) repaired(c *client, mailFrom, content string) (*spool.Message, string) {
	h.t.Helper()
	c.say("MAIL FROM:"+mailFrom, 250)
	c.say("RCPT TO:<joe@example.net>", 250)
	c.say("DATA", 354)
	c.send(content + ".\r\n")
	c.expect("the final dot", 250)
	m, stored := h.stored()
	if m.Size != int64(len(stored)) {
		h.t.Errorf("the size is %d, and %d octets are stored", m.Size, len(stored))
	}
	all, rest := mail.ParseHeader([]byte(stored))
	for f := range all.Fields() {
		if !f.Is("Received") {
			h.t.Fatalf("the first field is %q", f.Raw())
		}
		return m, strings.TrimPrefix(string(append(all.Bytes(), rest...)), string(f.Raw()))
	}
	h.t.Fatal("nothing is stored")
	return nil, ""
}

// TestRepair makes the header of submitted mail whole: DATE and ID stand for what the server puts in.
func TestRepair(t *testing.T) {
	const date, id = "Date: DATE\r\n", "Message-ID: <ID@mx.example.net>\r\n"
	for name, test := range map[string]struct{ from, content, want string }{
		"whole": {"<ann@example.com>", "Date: x\r\nFrom: a@b.example\r\nMessage-ID: <1>\r\n\r\nbody\r\n",
			"Date: x\r\nFrom: a@b.example\r\nMessage-ID: <1>\r\n\r\nbody\r\n"},
		"no Date": {"<ann@example.com>", "From: a@b.example\r\nMessage-ID: <1>\r\n\r\n", date + "From: a@b.example\r\nMessage-ID: <1>\r\n\r\n"},
		"no id":   {"<ann@example.com>", "Date: x\r\nFrom: a@b.example\r\n\r\n", id + "Date: x\r\nFrom: a@b.example\r\n\r\n"},
		"no From": {"<ann@example.com>", "Date: x\r\nMessage-ID: <1>\r\n\r\n", "From: ann@example.com\r\nDate: x\r\nMessage-ID: <1>\r\n\r\n"},
		"nothing": {"<ann@example.com>", "Subject: x\r\n", date + "From: ann@example.com\r\n" + id + "Subject: x\r\n"},
		"Bcc": {"<ann@example.com>", "Date: x\r\nBcc: s@b.example,\r\n t@b.example\r\nFrom: a@b.example\r\nBCC:\r\nMessage-ID: <1>\r\n\r\nBcc: stays\r\n",
			"Date: x\r\nFrom: a@b.example\r\nMessage-ID: <1>\r\n\r\nBcc: stays\r\n"},
		"Return-Path": {"<ann@example.com>", "Return-Path: <x@y.example>\r\nDate: x\r\nFrom: a@b.example\r\nMessage-ID: <1>\r\n\r\n",
			"Date: x\r\nFrom: a@b.example\r\nMessage-ID: <1>\r\n\r\n"},
		"two authors": {"<ann@example.com>", "Date: x\r\nFrom: a@b.example, ann@example.com\r\nMessage-ID: <1>\r\n\r\n",
			"Sender: ann@example.com\r\nDate: x\r\nFrom: a@b.example, ann@example.com\r\nMessage-ID: <1>\r\n\r\n"},
		"two authors, a Sender": {"<ann@example.com>", "Date: x\r\nFrom: a@b.example, c@d.example\r\nSender: c@d.example\r\nMessage-ID: <1>\r\n\r\n",
			"Date: x\r\nFrom: a@b.example, c@d.example\r\nSender: c@d.example\r\nMessage-ID: <1>\r\n\r\n"},
		"null reverse-path":   {"<>", "Date: x\r\nMessage-ID: <1>\r\n\r\n", "Date: x\r\nMessage-ID: <1>\r\n\r\n"},
		"a domain in UTF-8":   {"<ann@bücher.example> SMTPUTF8", "Date: x\r\nMessage-ID: <1>\r\n\r\n", "From: ann@bücher.example\r\nDate: x\r\nMessage-ID: <1>\r\n\r\n"},
		"text without header": {"<ann@example.com>", "a program says this\r\nand that\r\n", date + "From: ann@example.com\r\n" + id + "\r\na program says this\r\nand that\r\n"},
		"octets of others stay": {"<ann@example.com>", "X-Odd:  a \t\r\n\tb\r\nDate: x\r\nFrom:a@b.example\r\nMESSAGE-ID: <1>\r\n: no name\r\n\r\n.body \r\n",
			"X-Odd:  a \t\r\n\tb\r\nDate: x\r\nFrom:a@b.example\r\nMESSAGE-ID: <1>\r\n: no name\r\n\r\nbody \r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h := submission(t)
			m, got := h.repaired(h.dial(friend), test.from, test.content)
			want := strings.Replace(test.want, "DATE", string(mail.AppendDate(nil, m.Arrived)), 1)
			want = strings.Replace(want, "<ID@", "<"+m.ID.String()+"@", 1)
			if got != want {
				t.Errorf("stored is\n%q, want\n%q", got, want)
			}
			if wantsID := strings.Contains(test.want, "<ID@"); wantsID != strings.Contains(h.logs.String(), "message_id=<"+m.ID.String()) {
				t.Errorf("the log is %s", &h.logs)
			}
		})
	}
}

// TestRelayedStays: what is relayed is not made whole (RFC 5321 6.4).
func TestRelayedStays(t *testing.T) {
	const content = "Bcc: secret@example.net\r\nReturn-Path: <x@y.example>\r\nFrom: a@b.example, c@d.example\r\n\r\n"
	h := newHouse(t, nil)
	if _, got := h.repaired(h.dial(friend), "<ann@example.com>", content); got != content {
		t.Errorf("stored is %q", got)
	}
}

// TestRepairLongHeader refuses a header that can't be read whole, for a Bcc might be in what was not: 552 5.3.4, and the
// session goes on. A header that just fits is repaired, and a relay takes the long one.
func TestRepairLongHeader(t *testing.T) {
	const line = "X-Long: 123456789012345678901234567890123456789012345678901234\r\n" // 64 octets
	long := func(octets int) string { return strings.Repeat(line, octets/len(line)) }
	const bcc, body = "Bcc: secret@example.net, and a few letters to make it 64 octets\r\n", "\r\nbody\r\n"
	if len(line) != 64 {
		t.Fatalf("the line has %d octets", len(line))
	}
	h := submission(t)
	c := h.dial(friend)
	for name, content := range map[string]string{"with a body": long(maxRepaired) + bcc + body, "that does not end": long(maxRepaired) + bcc} {
		if r := c.mailAside(content, 552, "<joe@example.net>"); r.Enhanced != (smtp.EnhancedCode{5, 3, 4}) {
			t.Errorf("a header %s: %s", name, r.Text())
		}
	}
	if len(h.waiting()) != 0 || len(h.accepted) != 0 {
		t.Errorf("%d messages are in the spool", len(h.waiting()))
	}
	_, got := h.repaired(c, "<ann@example.com>", long(maxRepaired-2*len(line))+bcc+body)
	if strings.Contains(got, "Bcc") || !strings.HasSuffix(got, line+body) || !strings.HasPrefix(got, "Date: ") {
		t.Errorf("stored are %d octets, %.200q to %.100q", len(got), got, got[len(got)-100:])
	}
	relay := newHouse(t, nil)
	relay.dial(friend).mailAside(long(maxRepaired)+bcc+body, 250, "<joe@example.net>")
}

// TestRepairRefused has content that the receiver refuses or that breaks off, in the header that is to be repaired.
func TestRepairRefused(t *testing.T) {
	h := submission(t)
	c := h.dial(friend)
	if r := c.mailAside("Subject: a\nBcc: b@example.net\r\n\r\nbody\r\n", 554, "<joe@example.net>"); r.Enhanced != (smtp.EnhancedCode{5, 5, 2}) {
		t.Errorf("a bare LF: %s", r.Text())
	}
	r := c.mailAside(strings.Repeat("Received: from a by b; Fri, 27 Mar 2026 12:00:00 +0000\r\n", 5)+letter, 554, "<joe@example.net>")
	if r.Enhanced != (smtp.EnhancedCode{5, 4, 6}) {
		t.Errorf("a circle: %s", r.Text())
	}
	c.begin("<joe@example.net>")
	c.send("Subject: x\r\nBcc: se")
	c.conn.Close()
	<-c.ended
	if len(h.accepted) != 0 || len(h.waiting()) != 0 {
		t.Errorf("%d accepted, %d in the spool", len(h.accepted), len(h.waiting()))
	}
	if log := h.logs.String(); !strings.Contains(log, "msg=aborted") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log is %s", log)
	}
}

// anyone logs in whoever asks, by a mechanism of one step.
type anyone struct{}

func (anyone) Mechanisms(*receiver.Session) []string { return []string{"ANYONE"} }

func (anyone) Start(context.Context, *receiver.Session, string) (receiver.Exchange, error) {
	return anyone{}, nil
}

func (anyone) Next(context.Context, []byte) ([]byte, bool, error) { return nil, true, nil }

func (anyone) Identity() string { return "ann" }

// TestRepairSender: who has logged in stands in Sender where From has another address; what a client only says of itself in MAIL
// does not.
func TestRepairSender(t *testing.T) {
	const content = "Date: x\r\nFrom: boss@example.com\r\nMessage-ID: <1>\r\n\r\n"
	for _, login := range []bool{false, true} {
		h := submission(t)
		h.server.Auth = anyone{}
		c := h.dial(friend)
		want := content
		if login {
			c.say("AUTH ANYONE", 235)
			want = "Sender: ann@example.com\r\n" + content
		}
		if _, got := h.repaired(c, "<ann@example.com>", content); got != want {
			t.Errorf("logged in %v: stored is %q", login, got)
		}
	}
}
