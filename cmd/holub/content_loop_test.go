package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/holub-mail/holub/dsn"
	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// TestReceivedLoop has two servers that send each other the mail of a domain: after so many rounds it is refused, and the
// sender is told.
func TestReceivedLoop(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	free.Close()
	const limits = "[limits]\nreceived = 7\n"
	b := serving(t, withRoutes(routeTo("loop.example", "smtp://"+first))+limits)
	a := serving(t, strings.Replace(withRoutes(routeTo("loop.example", "smtp://"+b.addr)), "127.0.0.1:0", first, 1)+limits)
	c := dial(t, a, sender.Options{})
	c.send(sender.Envelope{}, "Subject: round\r\n\r\n", "ann@here.example", "joe@loop.example")
	// The first server stamps the odd fields. At the seventh message that the second one is offered, the sixth field stands.
	text := mailbox(t, maildir(a, "ann"), 1)[0]
	r := status(t, readReport(t, "loop", text), "joe@loop.example")
	if r.Action != dsn.Failed || r.Status != (smtp.EnhancedCode{5, 4, 6}) || strings.Count(text, "\nReceived: ") != 7 {
		t.Errorf("the report says %s %v and has %d Received fields:\n%s", r.Action, r.Status, strings.Count(text, "\nReceived: "), text)
	}
	noMail(t, b, "ann")
	c.hangUp()
	b.kill() // its session with the other is open, and would be waited for
	a.stop()
}

// TestDeliveredToLoop: a mailbox that is forwarded to itself gets its mail once, and the sender is told.
func TestDeliveredToLoop(t *testing.T) {
	s := serving(t, withRoutes())
	c := dial(t, s, sender.Options{})
	c.send(sender.Envelope{}, "Subject: first\r\n\r\nbody\r\n", "ann@here.example", "joe@here.example", "jim@here.example")
	got := mailbox(t, maildir(s, "joe"), 1)[0]
	if !strings.HasPrefix(got, "Return-Path: <ann@here.example>\nDelivered-To: joe@here.example\nReceived: ") {
		t.Errorf("the mail is:\n%s", got)
	}
	// What joe has goes to jim and, round the corner, to joe again.
	c.send(sender.Envelope{}, inLines(got), "ann@here.example", "Joe@Here.Example", "jim@here.example")
	report := readReport(t, "loop", mailbox(t, maildir(s, "ann"), 1)[0])
	if r := status(t, report, "Joe@Here.Example"); len(report.Recipients) != 1 || r.Action != dsn.Failed || r.Status != (smtp.EnhancedCode{5, 4, 6}) {
		t.Errorf("the report says %+v", report.Recipients)
	}
	mailbox(t, maildir(s, "jim"), 2)
	mailbox(t, maildir(s, "joe"), 1)
	noMail(t, s, "Joe")
	c.hangUp()
	s.stop()
}

// TestDoubleBounce: what can be neither delivered nor returned is the postmaster's, with the mail in it; nothing is ever sent
// because of mail from a null reverse-path, whatever reports it asks for (RFC 5321 4.5.5, 6.1).
func TestDoubleBounce(t *testing.T) {
	next := startCatcher(t, &receiver.Server{})
	s := serving(t, withRoutes(routeTo("example.net", "smtp://"+next.addr)))
	c := dial(t, s, sender.Options{})
	everything := smtp.NotifySuccess | smtp.NotifyFailure | smtp.NotifyDelay
	for n, words := range []smtp.Notify{smtp.NotifyDefault, smtp.NotifyNever, everything} {
		params := []sender.RecipientParams{{Notify: words}, {Notify: words}}
		c.send(sender.Envelope{Params: params}, fmt.Sprintf("Subject: null %d\r\n\r\nthe body\r\n", n), "", fmt.Sprintf("refuse%d@example.net", n),
			fmt.Sprintf("joe%d@example.net", n))
	}
	c.send(sender.Envelope{}, "Subject: not null\r\n\r\nthe body\r\n", "refuse-ann@example.net", "refuse3@example.net")
	kept := mailbox(t, maildir(s, "postmaster"), 4)
	for _, text := range kept {
		report := readReport(t, "kept", text)
		if !strings.HasPrefix(text, "Return-Path: <>\n") || report.Original == nil || report.Original.Part != dsn.FullMessage ||
			!strings.Contains(text, "the body") {
			t.Errorf("the postmaster has, with the original %+v:\n%s", report.Original, text)
		}
	}
	if all := strings.Join(kept, ""); !strings.Contains(all, "Subject: not null") || !strings.Contains(all, "Subject: null 1") {
		t.Errorf("the postmaster has:\n%s", all)
	}
	c.hangUp()
	s.stop()
	for _, p := range next.parcels() { // the mail to joe alone, and no report to whoever
		if !p.mail.From.IsNull() || !strings.HasPrefix(p.rcpts[0].To.Local, "joe") || strings.Contains(p.content, "Auto-Submitted") {
			t.Errorf("from %s to %s went out:\n%s", p.mail.From, p.rcpts[0].To, p.content)
		}
	}
	if n := len(next.parcels()); n != 3 {
		t.Errorf("%d messages went out, want 3", n)
	}
}

// submitted is what a mail program may hand in.
const submitted = "Subject: by a program\r\nFrom: ann@example.org\r\nTo: joe@example.net\r\nBCC: secret@example.net,\r\n more@example.net\r\n" +
	"X-Odd:  kept \t\r\nbcc: again@example.net\r\n\r\n.body\r\n"

// TestSubmission: mail that a program submits gets the fields that it must have, and loses Bcc (RFC 6409 8); the same mail at a
// relay stays as it is.
func TestSubmission(t *testing.T) {
	next := startCatcher(t, &receiver.Server{})
	config := withRoutes(routeTo("example.net", "smtp://"+next.addr))
	relay := serving(t, config)
	c := dial(t, relay, sender.Options{})
	c.send(sender.Envelope{}, submitted, "ann@example.org", "relayed@example.net")
	if p := next.byRecipient(t, relay, 1)["relayed"]; !below(p.content, submitted) {
		t.Errorf("relayed mail arrives as %q", p.content)
	}
	c.hangUp()
	relay.stop()

	s := serving(t, strings.Replace(config, "[[listen]]", "[[listen]]\nrole = \"submission\"", 1))
	if out, err := peers.Command(t, "python3", "-c", `
import smtplib, sys
host, port = sys.argv[1].rsplit(":", 1)
with smtplib.SMTP(host, int(port)) as s:
    s.sendmail("ann@example.org", ["smtplib@example.net"], sys.argv[2])
`, s.addr, submitted).CombinedOutput(); err != nil {
		t.Fatalf("smtplib: %v\n%s\n%s", err, out, s.log)
	}
	if out, err := peers.Command(t, "swaks", "--server", s.addr, "--from", "ann@example.org", "--to", "swaks@example.net",
		"--data", "From: ann@example.org, bob@example.org\\nBcc: secret@example.net\\nSubject: two\\n\\nbody").CombinedOutput(); err != nil {
		t.Fatalf("swaks: %v\n%s\n%s", err, out, s.log)
	}
	const whole = "Date: Fri, 27 Mar 2026 12:00:00 +0000\r\nFrom: ann@example.org\r\nMessage-ID: <1@example.org>\r\nSubject: whole\r\n\r\nbody\r\n"
	c = dial(t, s, sender.Options{})
	c.send(sender.Envelope{}, whole, "ann@example.org", "whole@example.net")

	got := next.byRecipient(t, s, 4)
	for _, local := range []string{"smtplib", "swaks"} {
		header, _, _ := strings.Cut(got[local].content, "\r\n\r\n")
		for _, field := range []string{"\r\nDate: ", "\r\nMessage-ID: <"} {
			if strings.Count(header, field) != 1 {
				t.Errorf("%s has %q not once:\n%s", local, field, header)
			}
		}
		if strings.Contains(strings.ToLower(header), "bcc:") || strings.Contains(header, "secret@") || strings.Contains(header, "more@") {
			t.Errorf("%s tells of Bcc:\n%s", local, header)
		}
		if several := local == "swaks"; strings.Contains(header, "\r\nSender: ann@example.org") != several {
			t.Errorf("%s: a Sender is in the header, want %v:\n%s", local, several, header)
		}
	}
	rest := strings.NewReplacer("BCC: secret@example.net,\r\n more@example.net\r\n", "", "bcc: again@example.net\r\n", "").Replace(submitted)
	if !strings.HasSuffix(got["smtplib"].content, "\r\n"+rest) {
		t.Errorf("what the program wrote arrives as %q", got["smtplib"].content)
	}
	if !below(got["whole"].content, whole) {
		t.Errorf("a whole mail arrives as %q", got["whole"].content)
	}
	c.hangUp()
	s.stop()
}
