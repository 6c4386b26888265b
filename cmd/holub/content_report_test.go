package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/dsn"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// maildir is where a mailbox of here.example is.
func maildir(s *server, local string) string { return filepath.Join(s.cmd.Dir, "data", "mail", local) }

// noMail wants a mailbox to have nothing, once the spool has nothing left to send.
func noMail(t *testing.T, s *server, local string) {
	t.Helper()
	if files, _ := filepath.Glob(filepath.Join(maildir(s, local), "new", "*")); len(files) > 0 {
		t.Errorf("%s has %d messages", local, len(files))
	}
}

// logged waits until the log has so many lines with all of some texts.
func logged(t *testing.T, s *server, n int, texts ...string) {
	t.Helper()
	count := func() int {
		found := 0
		for line := range strings.Lines(s.log.String()) {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				found++
			}
		}
		return found
	}
	eventually(t, fmt.Sprintf("%d log lines with %q", n, texts), 20*time.Second, func() bool { return count() >= n })
	if got := count(); got != n {
		t.Errorf("%d log lines have %q, want %d:\n%s", got, texts, n, s.log)
	}
}

// status gives what a report says of a recipient.
func status(t *testing.T, report *dsn.Parsed, final string) dsn.RecipientStatus {
	t.Helper()
	for _, r := range report.Recipients {
		if r.Final.Text == final {
			return r
		}
	}
	t.Errorf("the report says nothing of %s, but of %+v", final, report.Recipients)
	return dsn.RecipientStatus{}
}

// TestDomainAlone: a recipient of whom only the domain is not ASCII, and mail from such an address, goes to a host without
// SMTPUTF8 with A-labels (RFC 6531 3.2, RFC 5891 4.4), although the client has asked for SMTPUTF8.
func TestDomainAlone(t *testing.T) {
	next := startCatcher(t, &receiver.Server{})
	s := serving(t, withRoutes(routeTo("bücher.example", "smtp://"+next.addr)))
	const content = "From: ann@example.org\r\nSubject: x\r\n\r\nbody\r\n"
	c := dial(t, s, sender.Options{})
	c.send(sender.Envelope{UTF8: true}, content, "ann@golubí.example", "joe@bücher.example")
	c.send(sender.Envelope{}, content, "ann@example.org", "jim@xn--bcher-kva.example")
	got := next.byRecipient(t, s, 2)
	for local, from := range map[string]string{"joe": "<ann@xn--golub-3sa.example>", "jim": "<ann@example.org>"} {
		p := got[local]
		if to := p.rcpts[0].To.String(); to != "<"+local+"@xn--bcher-kva.example>" || p.mail.From.String() != from || p.mail.UTF8 {
			t.Errorf("it came from %s to %s, SMTPUTF8 %v", p.mail.From, to, p.mail.UTF8)
		}
		if !strings.HasSuffix(p.content, content) || !isASCII(p.content) {
			t.Errorf("it arrived as %q", p.content)
		}
	}
	c.hangUp()
	s.stop()
}

// TestUTF8Returned: what needs SMTPUTF8 comes back from a host without it, with 5.6.7, in a report that the sender can read:
// one with an ASCII address at a host that takes nothing but 7 bits, and one with a UTF-8 address here.
func TestUTF8Returned(t *testing.T) {
	next, seven := startCatcher(t, &receiver.Server{}), startCatcher(t, &receiver.Server{SevenBit: true})
	s := serving(t, withRoutes(routeTo("example.net", "smtp://"+next.addr), routeTo("seven.example", "smtp://"+seven.addr)))
	c := dial(t, s, sender.Options{})
	const plain, inUTF8 = "Subject: x\r\n\r\nbody\r\n", "From: ján@here.example\r\nSubject: kůň\r\n\r\nčau\r\n"
	utf8 := sender.Envelope{UTF8: true}
	c.send(utf8, plain, "local@seven.example", "jörg@example.net")
	c.send(utf8, inUTF8, "header@seven.example", "joe@example.net")
	c.send(utf8, inUTF8, "ján@here.example", "jörg@example.net")

	back := seven.byRecipient(t, s, 2)
	here := mailbox(t, maildir(s, "j%C3%A1n"), 1)[0]
	for name, test := range map[string]struct{ content, final, subject string }{
		"a local part":   {back["local"].content, "jörg@example.net", "x"},
		"a header":       {back["header"].content, "joe@example.net", "kůň"},
		"a UTF-8 sender": {here, "jörg@example.net", "kůň"},
	} {
		report := readReport(t, name, test.content)
		r := status(t, report, test.final)
		if r.Action != dsn.Failed || r.Status != (smtp.EnhancedCode{5, 6, 7}) {
			t.Errorf("%s: the report says %s %v", name, r.Action, r.Status)
		}
		if report.Original == nil || report.Original.Subject != test.subject {
			t.Errorf("%s: the original is %+v", name, report.Original)
		}
		if m, ok := r.Final.Mailbox(); !ok || m.String() != test.final {
			t.Errorf("%s: the recipient is %+v", name, r.Final)
		}
		if why, next := r.Reason(); why == "" || next == "" {
			t.Errorf("%s: no reason is given", name)
		}
	}
	checkSevenBit(t, "the report about a local part", back["local"].content)
	checkSevenBit(t, "the report about a header", back["header"].content)
	if !strings.HasPrefix(here, "Return-Path: <>\nDelivered-To: ján@here.example\n") || !strings.Contains(here, "\nTo: <ján@here.example>\n") ||
		!strings.Contains(here, "message/global-delivery-status") {
		t.Errorf("the sender with a UTF-8 address has:\n%s", here)
	}
	if n := len(next.parcels()); n > 0 {
		t.Errorf("%d messages went to a host that can't take them", n)
	}
	c.hangUp()
	s.stop()
}

// TestReportToUTF8Domain: a sender of whom only the domain is not ASCII has the report by a host without SMTPUTF8.
func TestReportToUTF8Domain(t *testing.T) {
	next := startCatcher(t, &receiver.Server{})
	s := serving(t, withRoutes(routeTo("golubí.example", "smtp://"+next.addr)))
	c := dial(t, s, sender.Options{})
	for n, content := range []string{"Subject: x\r\n\r\nbody\r\n", "From: ann@golubí.example\r\nSubject: kůň\r\n\r\nčau\r\n"} {
		c.send(sender.Envelope{UTF8: true}, content, fmt.Sprintf("ann%d@golubí.example", n), "refuse@golubí.example")
	}
	for local, p := range next.byRecipient(t, s, 2) {
		report := readReport(t, local, p.content)
		want := map[string]smtp.EnhancedCode{"ann0": {5, 1, 1}, "ann1": {5, 6, 7}}[local]
		if r := status(t, report, "refuse@xn--golub-3sa.example"); r.Action != dsn.Failed || r.Status != want {
			t.Errorf("the report says %+v", r)
		}
		if p.mail.UTF8 || p.rcpts[0].To.String() != "<"+local+"@xn--golub-3sa.example>" {
			t.Errorf("it goes to %s, SMTPUTF8 %v", p.rcpts[0].To, p.mail.UTF8)
		}
	}
	noMail(t, s, "postmaster")
	c.hangUp()
	s.stop()
}

// TestReports asks for all kinds of reports, of a host that passes requests on (RFC 3461) and of one that does not, and of a
// mailbox here.
func TestReports(t *testing.T) {
	knows, plain := startCatcher(t, &receiver.Server{Offer: smtp.Extensions{DSN: true}}), startCatcher(t, &receiver.Server{})
	s := serving(t, withRoutes(routeTo("knows.example", "smtp://"+knows.addr), routeTo("plain.example", "smtp://"+plain.addr)))
	c := dial(t, s, sender.Options{})
	const content = "Message-ID: <1@example.org>\r\nSubject: reports\r\n\r\nthe body\r\n"
	notify := func(words smtp.Notify, n int) []sender.RecipientParams {
		return slices.Repeat([]sender.RecipientParams{{Notify: words}}, n)
	}
	everywhere := func(local string) []string {
		return []string{local + "@knows.example", local + "@plain.example", local + "@here.example"}
	}
	named := sender.Envelope{EnvelopeID: "QQ+314=159", Params: notify(smtp.NotifySuccess, 3)}
	named.Params[1].Original = smtp.OriginalRecipient{Type: "rfc822", Address: "Ann+first@elsewhere.example"}
	c.send(named, content, "success@here.example", everywhere("joe")...)
	c.send(sender.Envelope{Params: notify(smtp.NotifyNever, 3)}, content, "never@here.example",
		"refuse@knows.example", "refuse@plain.example", "jim@here.example")
	c.send(sender.Envelope{Params: notify(smtp.NotifySuccess, 1)}, content, "onlysuccess@here.example", "refuse2@plain.example")
	c.send(sender.Envelope{Return: smtp.ReturnHeaders, EnvelopeID: "E2", Params: notify(smtp.NotifyFailure, 4)}, content, "headers@here.example",
		"refuse3@plain.example", "sue@plain.example", "refuse4@plain.example", "refuse5@plain.example")
	c.send(sender.Envelope{Return: smtp.ReturnFull}, content, "full@here.example", "refuse6@plain.example")

	t.Run("success", func(t *testing.T) {
		// One report comes from each destination that reports: the host that knows RFC 3461 has the request instead.
		actions := map[string]dsn.Action{}
		for _, text := range mailbox(t, maildir(s, "success"), 2) {
			report := readReport(t, "success", text)
			if report.Kind != dsn.Success || report.EnvelopeID != "QQ+314=159" || report.Original == nil || report.Original.Part != dsn.HeaderOnly {
				t.Errorf("the report is %+v, original %+v", report, report.Original)
			}
			if strings.Contains(text, "the body") { // RFC 3461 5.2.6: not in a report of success
				t.Errorf("the report returns the body:\n%s", text)
			}
			for _, r := range report.Recipients {
				actions[r.Final.Text] = r.Action
				if (r.Original.Text == "Ann+first@elsewhere.example") != (r.Final.Text == "joe@plain.example") {
					t.Errorf("the original recipient of %s is %+v", r.Final.Text, r.Original)
				}
			}
		}
		if len(actions) != 2 || actions["joe@plain.example"] != dsn.Relayed || actions["joe@here.example"] != dsn.Delivered {
			t.Errorf("the reports say %v", actions)
		}
		p := knows.byRecipient(t, s, 1)["joe"]
		if p.mail.EnvelopeID != "QQ+314=159" || p.rcpts[0].Notify != smtp.NotifySuccess || p.mail.Return != smtp.ReturnDefault {
			t.Errorf("passed on were %+v, %+v", p.mail, p.rcpts)
		}
	})
	t.Run("failure", func(t *testing.T) {
		text := mailbox(t, maildir(s, "headers"), 1)[0]
		report := readReport(t, "failure", text)
		if report.Kind != dsn.Failure || report.EnvelopeID != "E2" || len(report.Recipients) != 3 {
			t.Errorf("the report is %+v", report)
		}
		for _, local := range []string{"refuse3", "refuse4", "refuse5"} {
			r := status(t, report, local+"@plain.example")
			if r.Action != dsn.Failed || r.Status != (smtp.EnhancedCode{5, 1, 1}) || r.Diagnostic.Text != "550 5.1.1 There is no "+local+" here" ||
				r.Remote.Name == "" {
				t.Errorf("of %s the report says %+v", local, r)
			}
		}
		if o := report.Original; o == nil || o.Part != dsn.HeaderOnly || o.MessageID != "1@example.org" || strings.Contains(text, "the body") {
			t.Errorf("RET=HDRS returns %+v:\n%s", o, text)
		}
		text = mailbox(t, maildir(s, "full"), 1)[0]
		if o := readReport(t, "full", text).Original; o == nil || o.Part != dsn.FullMessage || !strings.Contains(text, "the body") {
			t.Errorf("RET=FULL returns %+v:\n%s", o, text)
		}
	})
	t.Run("none", func(t *testing.T) {
		logged(t, s, 2, `"msg":"dropped"`, "never@here.example")
		logged(t, s, 1, `"msg":"dropped"`, "onlysuccess@here.example")
		noMail(t, s, "never")
		noMail(t, s, "onlysuccess")
		noMail(t, s, "postmaster")
	})
	c.hangUp()
	s.stop()
}

// TestDelayReports: mail that waits makes a note, once, for those who want it.
func TestDelayReports(t *testing.T) {
	next := startCatcher(t, &receiver.Server{})
	s := serving(t, withRoutes(routeTo("plain.example", "smtp://"+next.addr))+"[delivery]\nretry = [\"1s\"]\nwarn_after = \"1s\"\n")
	c := dial(t, s, sender.Options{})
	const content = "Subject: late\r\n\r\nthe body\r\n"
	for from, words := range map[string]smtp.Notify{"default": smtp.NotifyDefault, "delay": smtp.NotifyDelay, "never": smtp.NotifyNever,
		"failure": smtp.NotifyFailure} {
		c.send(sender.Envelope{EnvelopeID: from, Params: []sender.RecipientParams{{Notify: words}}}, content, from+"@here.example",
			"later-"+from+"@plain.example")
	}
	for _, from := range []string{"default", "delay"} {
		text := mailbox(t, maildir(s, from), 1)[0]
		report := readReport(t, from, text)
		r := status(t, report, "later-"+from+"@plain.example")
		if report.Kind != dsn.Delay || report.EnvelopeID != from || r.Action != dsn.Delayed || r.Status != (smtp.EnhancedCode{4, 2, 1}) ||
			r.RetryUntil.IsZero() || !strings.Contains(r.Diagnostic.Text, "is asleep") || strings.Contains(text, "the body") {
			t.Errorf("the report is %+v, of the recipient %+v:\n%s", report, r, text)
		}
	}
	for _, from := range []string{"default", "delay", "never", "failure"} { // all were tried after the notes were due
		eventually(t, from+" is tried three times", 20*time.Second, func() bool {
			return strings.Count(s.log.String(), "later-"+from+"@plain.example") >= 3
		})
	}
	for from, n := range map[string]int{"default": 1, "delay": 1} {
		mailbox(t, maildir(s, from), n)
	}
	noMail(t, s, "never")
	noMail(t, s, "failure")
	c.hangUp()
	s.stop()
}
