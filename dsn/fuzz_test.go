package dsn

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

// FuzzReport writes reports with texts and addresses of any kind and reads them back.
func FuzzReport(f *testing.F) {
	f.Add("user unknown", "joe", "ann", "mx.example.org", "h", uint8(0), 550, 5, 1, 1)
	f.Add("a\r\n--x\r\n\r\nb\x00", "a b", "\"", "x\r\ny", "[IPv6:::1]:25", uint8(1), 451, 4, 4, 1)
	f.Add(strings.Repeat("long ", 900)+"ü\xff\u202e", strings.Repeat("\"", 400), strings.Repeat("é", 300), "", " ",
		uint8(2), 0, 0, 0, 0)
	f.Add(strings.Repeat("x", 5000), "", "", strings.Repeat("y", 2000), strings.Repeat("z", 2000),
		uint8(3), -1, -5, 1<<40, 9)
	f.Fuzz(func(t *testing.T, text, final, to, from, host string, kind uint8, code, e0, e1, e2 int) {
		domain := path("<a@example.org>").Domain
		reply := smtp.NewReply(code, smtp.EnhancedCode{e0, e1, e2}, text)
		report := Report{
			Kind: Kind(kind), Date: testNow, MessageID: host, From: from, QueueID: text, Arrived: testNow, RetryUntil: testNow,
			To: made("x"+to, domain), Sender: made(final, smtp.Domain{}),
			Recipients: []Recipient{
				{Final: made(final, domain), Reply: reply, Host: host, Action: Action(text)},
				{Final: made(text, smtp.Domain{}), Reply: smtp.Reply{Code: code, Lines: []string{host, text, final}}},
			},
		}
		var out bytes.Buffer
		if err := report.Write(&out, strings.NewReader(text+"\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		checkLines(t, out.Bytes())
		m := read(t, out.Bytes())
		if len(m.parts) != 3 {
			t.Fatalf("%d parts in:\n%s", len(m.parts), out.Bytes())
		}
		perMessage, groups := readStatus(t, m.parts[1].body)
		if len(groups) != 2 || len(perMessage["Reporting-Mta"]) != 1 {
			t.Fatalf("%d recipients in:\n%s", len(groups), m.parts[1].body)
		}
		for _, g := range groups {
			if len(g["Final-Recipient"]) != 1 || len(g["Action"]) != 1 || len(g["Status"]) != 1 {
				t.Fatalf("fields %v", g)
			}
			if code, _, ok := smtp.ParseEnhancedCode(g.Get("Status")); !ok || code[0] == 0 {
				t.Fatalf("Status: %q", g.Get("Status"))
			}
		}
	})
}

// made makes a path that no parser has seen.
func made(local string, d smtp.Domain) smtp.Path {
	return smtp.Path{Mailbox: smtp.Mailbox{Local: local, Domain: d}}
}

// checkLines fails unless b is 7-bit lines of at most 998 octets, each ended by CRLF, without other controls than HT.
func checkLines(t *testing.T, b []byte) {
	t.Helper()
	rest, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		t.Fatalf("no CRLF at the end of %q", b)
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d octets: %.100q", len(line), line)
		}
		for _, c := range []byte(line) {
			if c < ' ' && c != '\t' || c > '~' {
				t.Fatalf("the octet 0x%02x in %q", c, line)
			}
		}
	}
}
