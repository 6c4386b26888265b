package dsn

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

const foreignOriginal = "From: Jörg <jörg@例子.example>\r\nTo: 用户@例子.example\r\nSubject: Grüße\r\nMessage-ID: <7@x>\r\n\r\nhallo, Jörg\r\n"

// foreignReport is about mail that came with SMTPUTF8.
func foreignReport(inUTF8 bool) Report {
	r := baseReport()
	r.Original, r.EightBit, r.OriginalUTF8, r.UTF8, r.Received = FullMessage, true, true, inUTF8, "client.example.net"
	r.Recipients = []Recipient{
		{Final: path("<用户@例子.example>"), Host: "mx.例子.example [192.0.2.1]:25", LastAttempt: testNow, LogID: "77 x",
			Original: smtp.OriginalRecipient{Type: "utf-8", Address: `\x{7528}\x{6237}@old.example`},
			Reply:    smtp.NewReply(550, smtp.EnhancedCode{5, 6, 7}, "nein, Jörg")},
		{Final: path("<amy@例子.example>"), Action: Delivered, LastAttempt: testNow, Reply: smtp.NewReply(250, smtp.EnhancedCode{2, 1, 5}, "ok")},
		{Final: path("<bob@example.org>"), Action: Delayed, Host: "the copier", HostType: "x-fax", LastAttempt: testNow,
			Reply: smtp.NewReply(451, smtp.EnhancedCode{4, 4, 1}, "busy")},
	}
	r.RetryUntil = testNow
	return r
}

// TestUTF8 writes the same report for hosts with SMTPUTF8 and for any host.
func TestUTF8(t *testing.T) {
	for _, tt := range []struct {
		inUTF8   bool
		types    string
		encoding string
		fields   [][2]string
	}{
		{false, "text/plain message/delivery-status message/global", "7bit base64", [][2]string{
			{"Final-Recipient", `utf-8; \x{7528}\x{6237}@\x{4F8B}\x{5B50}.example`},
			{"Original-Recipient", `utf-8; \x{7528}\x{6237}@old.example`},
			{"Remote-Mta", "dns; mx.xn--fsqu00a.example"}, {"Diagnostic-Code", "smtp; 550 5.6.7 nein, J??rg"}}},
		{true, "text/plain message/global-delivery-status message/global", "8bit 8bit", [][2]string{
			{"Final-Recipient", "utf-8; 用户@例子.example"}, {"Original-Recipient", "utf-8; 用户@old.example"},
			{"Remote-Mta", "dns; mx.xn--fsqu00a.example"}, {"Diagnostic-Code", "smtp; 550 5.6.7 nein, Jörg"}}},
	} {
		r := foreignReport(tt.inUTF8)
		if r.NeedsUTF8() != tt.inUTF8 || r.NeedsEightBit() != tt.inUTF8 {
			t.Errorf("UTF8 %t needs UTF8 %t, 8BITMIME %t", tt.inUTF8, r.NeedsUTF8(), r.NeedsEightBit())
		}
		var out bytes.Buffer
		if err := r.Write(&out, strings.NewReader(foreignOriginal)); err != nil {
			t.Fatal(err)
		}
		checkLines(t, out.Bytes(), tt.inUTF8)
		m := read(t, out.Bytes())
		var types []string
		for _, p := range m.parts {
			types = append(types, p.mediaType)
		}
		encoding := m.header.Get("Content-Transfer-Encoding") + " " + m.parts[2].header.Get("Content-Transfer-Encoding")
		if strings.Join(types, " ") != tt.types || encoding != tt.encoding {
			t.Fatalf("%v encoded %s", types, encoding)
		}
		_, groups := statusFields(t, m.parts[1].body)
		for _, f := range tt.fields {
			if got := groups[0].Get(f[0]); got != f[1] {
				t.Errorf("%s: %s, want %s", f[0], got, f[1])
			}
		}
		if got := groups[2].Get("Remote-Mta"); got != "x-fax; the copier" {
			t.Errorf("Remote-MTA: %s", got)
		}
		text := strings.Join(strings.Fields(string(m.parts[0].body)), " ")
		for _, s := range []string{"用户@例子.example", "550 5.6.7 nein, Jörg", "outside of plain English",
			"has not yet been delivered to the address below", "delivered or passed on to the address below", "It lies in the mailbox."} {
			if !strings.Contains(text, s) {
				t.Errorf("%q is not in the text", s)
			}
		}
	}
}

// TestUTF8Header returns headers alone.
func TestUTF8Header(t *testing.T) {
	for _, tt := range []struct {
		inUTF8, original bool
		header           string
		want             string
	}{
		{true, true, foreignOriginal, "message/global-headers 8bit"},
		{false, true, foreignOriginal, "message/global-headers quoted-printable"},
		{false, false, foreignOriginal, "text/rfc822-headers quoted-printable"},
		{true, true, testOriginal, "text/rfc822-headers 7bit"},
		{true, true, "Subject: \xff\r\n\r\n", "text/rfc822-headers quoted-printable"},
	} {
		r := foreignReport(tt.inUTF8)
		r.Original, r.OriginalUTF8 = HeaderOnly, tt.original
		var out bytes.Buffer
		if err := r.Write(&out, strings.NewReader(tt.header)); err != nil {
			t.Fatal(err)
		}
		p := read(t, out.Bytes()).parts[2]
		if got := p.mediaType + " " + p.header.Get("Content-Transfer-Encoding"); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
		header, _, _ := strings.Cut(tt.header, "\r\n\r\n")
		if string(p.body) != header+"\r\n" {
			t.Errorf("the header came back as %q", p.body)
		}
	}
}

// TestUTF8Sender writes to a sender whom only SMTPUTF8 can reach, and to one whose domain alone is not ASCII.
func TestUTF8Sender(t *testing.T) {
	r := baseReport()
	for to, want := range map[string]string{"<jörg@例子.example>": "To: <jörg@例子.example>\r\n", "<joe@例子.example>": "To: <joe@xn--fsqu00a.example>\r\n"} {
		r.To, r.Sender = path(to), path(to)
		var out bytes.Buffer
		if err := r.Write(&out, nil); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) || r.NeedsUTF8() != strings.Contains(to, "jörg") {
			t.Errorf("%s, needs UTF8 %t:\n%s", to, r.NeedsUTF8(), out.String())
		}
		checkLines(t, out.Bytes(), r.NeedsEightBit())
	}
}
