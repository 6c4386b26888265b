package mail

import (
	"bytes"
	"net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
)

var testDate = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)

func TestReceived(t *testing.T) {
	full := Received{Hello: "mail.example.org", Addr: netip.MustParseAddr("192.0.2.1"), By: "mx.example.com",
		With: "ESMTP", ID: "0d3k8q9zv1x2", For: "joe@example.com", Date: testDate}
	change := func(f func(*Received)) Received {
		r := full
		f(&r)
		return r
	}
	tests := []struct {
		name string
		r    Received
		want string // unfolded, without the name
	}{
		{"all", full, "from mail.example.org ([192.0.2.1]) by mx.example.com (holub) with ESMTP id 0d3k8q9zv1x2 " +
			"for <joe@example.com>; Mon, 23 Nov 2026 15:00:00 +0000"},
		{"ipv6", change(func(r *Received) { r.Addr = netip.MustParseAddr("2001:db8::1%eth0") }),
			"from mail.example.org ([IPv6:2001:db8::1]) by mx.example.com (holub) with ESMTP id 0d3k8q9zv1x2 " +
				"for <joe@example.com>; Mon, 23 Nov 2026 15:00:00 +0000"},
		{"ipv4 in ipv6", Received{Addr: netip.MustParseAddr("::ffff:192.0.2.1"), By: "a.b", Date: testDate},
			"from [192.0.2.1] ([192.0.2.1]) by a.b (holub); Mon, 23 Nov 2026 15:00:00 +0000"},
		{"nothing known", Received{Date: testDate.In(time.FixedZone("", -3*3600-1800))},
			"from unknown by unknown (holub); Mon, 23 Nov 2026 11:30:00 -0330"},
		{"literal", Received{Hello: "[IPv6:2001:db8::1]", By: "a", With: "SMTP", Date: testDate},
			"from [IPv6:2001:db8::1] by a (holub) with SMTP; Mon, 23 Nov 2026 15:00:00 +0000"},
		{"odd literal", Received{Hello: "[x:a;b(c]", By: "a", Date: testDate},
			"from ?x?a?b?c? by a (holub); Mon, 23 Nov 2026 15:00:00 +0000"},
		{"hostile", Received{Hello: "a)\r\nX: y (", By: "b\x00", With: "E;", ID: "i\n", For: "a@b> (", Date: testDate},
			"from a???X??y?? by b? (holub) with E? id i?; Mon, 23 Nov 2026 15:00:00 +0000"},
		{"quoted recipient", Received{Hello: "a", By: "b", For: `"a > b"@c`, Date: testDate},
			`from a by b (holub) for <"a > b"@c>; Mon, 23 Nov 2026 15:00:00 +0000`},
		{"postmaster", Received{Hello: "a", By: "b", For: `Postmaster`, Date: testDate},
			`from a by b (holub) for <Postmaster>; Mon, 23 Nov 2026 15:00:00 +0000`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.r.Append([]byte("before"))
			got, ok := bytes.CutPrefix(got, []byte("before"))
			if !ok {
				t.Fatal("what was in dst is gone")
			}
			checkLines(t, got, softLine)
			if s := unfold(t, got, "Received"); s != tt.want {
				t.Errorf("got  %q\nwant %q", s, tt.want)
			}
			date := string(got[bytes.LastIndexByte(got, ';')+1:])
			if d, err := mail.ParseDate(strings.TrimSpace(date)); err != nil || !d.Equal(testDate) {
				t.Errorf("the date %q reads back as %v, %v", date, d, err)
			}
		})
	}
}

func TestReturnPath(t *testing.T) {
	path := func(s string) smtp.Path {
		p, err := smtp.ParsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	long := "<" + strings.Repeat("x", 200) + "@" + strings.Repeat("y.", 100) + "example>"
	for want, p := range map[string]smtp.Path{
		"<>":                      {},
		"<joe@example.org>":       path("<joe@example.org>"),
		`<"a b"@[192.0.2.1]>`:     path(`<"a b"@[192.0.2.1]>`),
		`<"a  ??X: y"@host>`:      {Mailbox: smtp.Mailbox{Local: "a  \r\nX: y", Domain: path("<a@host>").Domain}},
		long:                      path(long),
		`<"` + "??" + `"@host>`:   {Mailbox: smtp.Mailbox{Local: "\x00é"[:2], Domain: path("<a@host>").Domain}},
		`<"` + "a?b" + `"@host>`:  {Mailbox: smtp.Mailbox{Local: "a\x7fb", Domain: path("<a@host>").Domain}},
		`<"` + `\"\\` + `"@host>`: {Mailbox: smtp.Mailbox{Local: `"\`, Domain: path("<a@host>").Domain}},
	} {
		got := AppendReturnPath(nil, p)
		checkLines(t, got, hardLine)
		if s := unfold(t, got, "Return-Path"); s != want {
			t.Errorf("got %q, want %q", s, want)
		}
	}
}

func TestAppendFieldFolds(t *testing.T) {
	w := func(n int) string { return strings.Repeat("w", n) }
	tests := []struct {
		name  string
		parts []string
		want  string
	}{
		{"empty", nil, "N:\r\n"},
		{"empty parts", []string{"", " ", "a", "\r\n"}, "N: a ??\r\n"},
		{"just fits", []string{w(70), w(4)}, "N: " + w(70) + " " + w(4) + "\r\n"},
		{"one more", []string{w(70), w(5)}, "N: " + w(70) + "\r\n " + w(5) + "\r\n"},
		{"part kept together", []string{w(60), w(9) + " " + w(9)}, "N: " + w(60) + "\r\n " + w(9) + " " + w(9) + "\r\n"},
		{"part broken at a space", []string{w(40) + " " + w(40)}, "N: " + w(40) + "\r\n " + w(40) + "\r\n"},
		{"name alone on its line", []string{w(77)}, "N:\r\n " + w(77) + "\r\n"},
		{"first word too long", []string{w(90), w(3)}, "N: " + w(90) + "\r\n " + w(3) + "\r\n"},
		{"later word too long", []string{w(3), w(90)}, "N: " + w(3) + "\r\n " + w(90) + "\r\n"},
		{"no space to fold at", []string{w(2000)}, "N:\r\n " + w(997) + "\r\n " + w(997) + "\r\n " + w(6) + "\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendField(nil, "N", tt.parts...)); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func FuzzAppendField(f *testing.F) {
	f.Add("a b", "c\r\nd")
	f.Add(strings.Repeat(" x  y ", 300), "ü\x00\x7f")
	f.Add(strings.Repeat("z", 70), strings.Repeat("a   ", 240)+"b")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := AppendField(nil, "Name", a, b)
		checkLines(t, got, hardLine)
		unfold(t, got, "Name")
	})
}

func FuzzReceived(f *testing.F) {
	f.Add("a", "b", "c", "d", "e@f", []byte{1, 2, 3, 4})
	f.Add("[1.2.3.4]", ")(", strings.Repeat("x", 3000), "\r\n", `"a  b"@c`, make([]byte, 16))
	f.Fuzz(func(t *testing.T, hello, by, with, id, rcpt string, addr []byte) {
		a, _ := netip.AddrFromSlice(addr)
		got := Received{Hello: hello, Addr: a, By: by, With: with, ID: id, For: rcpt, Date: testDate}.Append(nil)
		checkLines(t, got, hardLine)
		unfold(t, got, "Received")
	})
}

// checkLines fails unless b is lines of printable ASCII ended by CRLF, each within limit and with something on it.
func checkLines(t *testing.T, b []byte, limit int) {
	t.Helper()
	rest, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		t.Fatalf("no CRLF at the end: %q", b)
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		if len(line) > limit {
			t.Errorf("a line of %d octets: %.100q", len(line), line)
		}
		if strings.TrimSpace(line) == "" {
			t.Errorf("a line without text in %q", b)
		}
		for _, c := range []byte(line) {
			if c < ' ' || c > '~' {
				t.Fatalf("the octet 0x%02x in %q", c, line)
			}
		}
	}
}

// unfold gives the body of the one field in b, and fails where there is more than one.
func unfold(t *testing.T, b []byte, name string) string {
	t.Helper()
	s := strings.ReplaceAll(strings.TrimSuffix(string(b), "\r\n"), "\r\n ", " ")
	body, ok := strings.CutPrefix(s, name+":")
	if !ok || strings.Contains(s, "\r\n") {
		t.Fatalf("not one field %s: %q", name, b)
	}
	return strings.TrimPrefix(body, " ")
}
