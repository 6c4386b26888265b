package dsn

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

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
		checkLines(t, out.Bytes(), report.NeedsEightBit())
		m := read(t, out.Bytes())
		if len(m.parts) != 3 {
			t.Fatalf("%d parts in:\n%s", len(m.parts), out.Bytes())
		}
		perMessage, groups := statusFields(t, m.parts[1].body)
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

// FuzzParse reads anything. What it makes of it keeps the limits, and a report about the recipients that it found can
// be written and read back.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/parse/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(bytes.NewReader(b))
		if err != nil {
			if p != nil || !errors.Is(err, ErrNoReport) {
				t.Fatalf("%+v, %v", p, err)
			}
			return
		}
		if len(p.Recipients) > maxRecipients || p.Dialect == "" {
			t.Fatalf("%d recipients, dialect %q", len(p.Recipients), p.Dialect)
		}
		if o := p.Original; o != nil {
			if o.Offset < 0 || o.Size < 0 || o.Offset+o.Size > int64(len(b)) || len(o.Header) > maxHeader {
				t.Fatalf("the original is at %d, %d octets, header %d, of %d", o.Offset, o.Size, len(o.Header), len(b))
			}
		}
		checkWriteBack(t, p)
	})
}

// checkWriteBack writes a report about the recipients of another one and compares what is read of it.
func checkWriteBack(t *testing.T, p *Parsed) {
	t.Helper()
	r := baseReport()
	r.Recipients = nil
	for _, s := range p.Recipients {
		if m, ok := s.Final.Mailbox(); ok && cleanUTF8(m.Local, smtp.MaxLocalPart) == m.Local && len(m.String()) < 100 {
			r.Recipients = append(r.Recipients, Recipient{Final: smtp.Path{Mailbox: m}, Action: s.Action})
		}
	}
	if len(r.Recipients) == 0 {
		return
	}
	var out bytes.Buffer
	if err := r.Write(&out, nil); err != nil {
		t.Fatal(err)
	}
	back, err := Parse(&out)
	if err != nil || len(back.Recipients) != len(r.Recipients) {
		t.Fatalf("%v: %+v", err, back)
	}
	for i, s := range back.Recipients {
		if want := r.recipientAddress(r.Recipients[i].Final); s.Final != want {
			t.Errorf("%+v came back as %+v", want, s.Final)
		}
	}
}

// made makes a path that no parser has seen.
func made(local string, d smtp.Domain) smtp.Path {
	return smtp.Path{Mailbox: smtp.Mailbox{Local: local, Domain: d}}
}

// checkLines fails unless b is lines of at most 998 octets, each ended by CRLF, without other controls than HT; of
// ASCII, or else of UTF-8.
func checkLines(t *testing.T, b []byte, eightBit bool) {
	t.Helper()
	rest, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		t.Fatalf("no CRLF at the end of %q", b)
	}
	if !utf8.Valid(b) {
		t.Errorf("no UTF-8: %q", b)
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d octets: %.100q", len(line), line)
		}
		for _, c := range []byte(line) {
			if c < ' ' && c != '\t' || c == 0x7f || c > 0x7f && !eightBit {
				t.Fatalf("the octet 0x%02x in %q", c, line)
			}
		}
	}
}
