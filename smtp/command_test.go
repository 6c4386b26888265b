package smtp_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

func TestParseCommand(t *testing.T) {
	for _, tt := range []struct{ line, verb, arg string }{
		{"NOOP", "NOOP", ""},
		{"noop", "NOOP", ""},
		{"NoOp  \t ", "NOOP", ""},
		{"EHLO example.org", "EHLO", "example.org"},
		{"ehlo Example.ORG ", "EHLO", "Example.ORG"},
		{"MAIL FROM:<a@b> SIZE=1", "MAIL", "FROM:<a@b> SIZE=1"},
		{"HELP  two", "HELP", " two"},
		{"VRFY a\tb", "VRFY", "a\tb"},
		{"X1", "X1", ""},
		{"VRFY é", "VRFY", "é"},
		{"ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP", ""},
	} {
		c, err := smtp.ParseCommand([]byte(tt.line))
		if err != nil || c.Verb != tt.verb || c.Arg != tt.arg {
			t.Errorf("ParseCommand(%q) = %+v, %v", tt.line, c, err)
		}
	}
	for _, line := range []string{
		"", " ", " NOOP", "\tNOOP", "NOOP\tx", "NO-OP", "NO_OP x", "MAIL:FROM", "ABCDEFGHIJKLMNOPQ", "NOOP \x00",
		"NO\x00OP", "NOOP\r", "NOOP a\rb",
		"NOOP a\nb", "NOOP \x7f", "NOOP \xe9", "NOOÉ x", "\xff", "\x16\x03\x01\x02", "NOOP\x08",
	} {
		if c, err := smtp.ParseCommand([]byte(line)); !errors.Is(err, smtp.ErrCommand) || c != (smtp.Command{}) {
			t.Errorf("ParseCommand(%q) = %+v, %v", line, c, err)
		}
	}
}

func path(t *testing.T, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseMail(t *testing.T) {
	for _, tt := range []struct {
		arg  string
		want smtp.Mail
	}{
		{"FROM:<>", smtp.Mail{}},
		{"from:<a@b>", smtp.Mail{From: path(t, "<a@b>")}},
		{"FROM:<@r:a@b>", smtp.Mail{From: path(t, "<a@b>")}},
		{"FROM:<a@b> SIZE=1000", smtp.Mail{From: path(t, "<a@b>"), Size: 1000}},
		{"FROM:<a@b> size=00001 body=8bitmime", smtp.Mail{From: path(t, "<a@b>"), Size: 1, Body: smtp.Body8BitMIME}},
		{"FROM:<a@b>  BODY=7BIT ", smtp.Mail{From: path(t, "<a@b>"), Body: smtp.Body7Bit}},
		{"FROM:<> SIZE=18446744073709551615", smtp.Mail{Size: math.MaxInt64}},
		{"FROM:<> SIZE=99999999999999999999", smtp.Mail{Size: math.MaxInt64}},
		{"FROM:<a@b> x-flag x-a=b+2B", smtp.Mail{From: path(t, "<a@b>"), Other: smtp.Params{{"X-FLAG", ""}, {"X-A", "b+2B"}}}},
		{`FROM:<"a> SIZE=9"@b> SIZE=3`, smtp.Mail{From: smtp.Path{Mailbox: smtp.Mailbox{Local: "a> SIZE=9", Domain: path(t,
			"<a@b>").Domain}}, Size: 3}},
	} {
		if m, err := smtp.ParseMail(tt.arg); err != nil || !reflect.DeepEqual(m, tt.want) {
			t.Errorf("ParseMail(%q) = %+v, %v", tt.arg, m, err)
		}
	}
	for _, tt := range []struct {
		arg string
		err error
	}{
		{"", smtp.ErrPath}, {"FROM", smtp.ErrPath}, {"FROM:", smtp.ErrPath}, {"FROM: <a@b>", smtp.ErrPath}, {"FROM <a@b>",
			smtp.ErrPath},
		{" FROM:<a@b>", smtp.ErrPath}, {"TO:<a@b>", smtp.ErrPath}, {"FROM:a@b", smtp.ErrPath}, {"FROM:<postmaster>",
			smtp.ErrPath},
		{"FROM:<a>", smtp.ErrMailbox}, {"FROM:<a..b@c>", smtp.ErrLocalPart}, {"FROM:<a@b..c>", smtp.ErrDomain},
		{"FROM:<a@b>SIZE=1", smtp.ErrParam}, {"FROM:<a@b>\tSIZE=1", smtp.ErrParam}, {"FROM:<a@b> SIZE", smtp.ErrParam},
		{"FROM:<a@b> SIZE=", smtp.ErrParam}, {"FROM:<a@b> SIZE=-1", smtp.ErrParam}, {"FROM:<a@b> SIZE=+1", smtp.ErrParam},
		{"FROM:<a@b> SIZE=1x", smtp.ErrParam}, {"FROM:<a@b> SIZE=0x1", smtp.ErrParam}, {"FROM:<a@b> SIZE=1_0", smtp.ErrParam},
		{"FROM:<a@b> SIZE=000000000000000000001", smtp.ErrParam},
		{"FROM:<a@b> BODY=", smtp.ErrParam}, {"FROM:<a@b> BODY", smtp.ErrParam}, {"FROM:<a@b> BODY=BINARY",
			smtp.ErrParam},
		{"FROM:<a@b> =x", smtp.ErrParam}, {"FROM:<a@b> -A=x", smtp.ErrParam}, {"FROM:<a@b> A=b=c", smtp.ErrParam},
		{"FROM:<a@b> A_B", smtp.ErrParam},
		{"FROM:<a@b> SIZE=1 size=2", smtp.ErrDuplicate}, {"FROM:<a@b> X X", smtp.ErrDuplicate},
	} {
		if m, err := smtp.ParseMail(tt.arg); !errors.Is(err, tt.err) || !reflect.DeepEqual(m, smtp.Mail{}) {
			t.Errorf("ParseMail(%q) = %+v, %v, want %v", tt.arg, m, err, tt.err)
		}
	}
}

func TestParseRcpt(t *testing.T) {
	for _, tt := range []struct {
		arg  string
		want smtp.Rcpt
	}{
		{"TO:<a@b>", smtp.Rcpt{To: path(t, "<a@b>")}},
		{"to:<Postmaster>", smtp.Rcpt{To: path(t, "<Postmaster>")}},
		{"TO:<@x,@y:a@b> X-A=1", smtp.Rcpt{To: path(t, "<a@b>"), Other: smtp.Params{{"X-A", "1"}}}},
		{"TO:<a@b> SIZE=x", smtp.Rcpt{To: path(t, "<a@b>"), Other: smtp.Params{{"SIZE", "x"}}}},
	} {
		if r, err := smtp.ParseRcpt(tt.arg); err != nil || !reflect.DeepEqual(r, tt.want) {
			t.Errorf("ParseRcpt(%q) = %+v, %v", tt.arg, r, err)
		}
	}
	for _, arg := range []string{"", "TO:", "TO:<>", "TO: <a@b>", "FROM:<a@b>", "TO:<a>", "TO:a@b", "TO:<a@b>,<c@d>",
		"TO:<a@b> A A", "TO:<a@b>x"} {
		if r, err := smtp.ParseRcpt(arg); err == nil || !reflect.DeepEqual(r, smtp.Rcpt{}) {
			t.Errorf("ParseRcpt(%q) = %+v, %v", arg, r, err)
		}
	}
}

func TestCommandsAreWritten(t *testing.T) {
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{smtp.Command{Verb: "QUIT"}.Append(nil), "QUIT\r\n"},
		{smtp.Command{Verb: "EHLO", Arg: "example.org"}.Append([]byte("x")), "xEHLO example.org\r\n"},
		{smtp.Mail{}.Append(nil), "MAIL FROM:<>\r\n"},
		{smtp.Mail{From: path(t, "<a@b>"), Size: 5, Body: smtp.Body8BitMIME, Other: smtp.Params{{"A", ""}, {"B",
			"c"}}}.Append(nil),
			"MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME A B=c\r\n"},
		{smtp.Rcpt{To: path(t, `<"a b"@c>`), Other: smtp.Params{{"NOTIFY", "NEVER"}}}.Append(nil),
			"RCPT TO:<\"a b\"@c> NOTIFY=NEVER\r\n"},
		{smtp.Rcpt{To: smtp.Postmaster}.Append(nil), "RCPT TO:<postmaster>\r\n"},
	} {
		if string(tt.got) != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

// reread takes the one line that a command was written as and gives its argument.
func reread(t *testing.T, wire []byte, verb string) string {
	t.Helper()
	line, ok := strings.CutSuffix(string(wire), "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n") {
		t.Fatalf("%q is not one line", wire)
	}
	c, err := smtp.ParseCommand([]byte(line))
	if err != nil || verb != "" && c.Verb != verb {
		t.Fatalf("%q is read as %+v, %v", wire, c, err)
	}
	return c.Arg
}

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"NOOP", "ehlo x  ", "MAIL FROM:<a@b>", "A\tb", "X  y\t", "\x00", "quit \xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := smtp.ParseCommand(line)
		if err != nil {
			return
		}
		if c.Verb == "" || strings.ToUpper(c.Verb) != c.Verb || strings.HasSuffix(c.Arg, " ") {
			t.Fatalf("%q: %+v", line, c)
		}
		if arg := reread(t, c.Append(nil), c.Verb); arg != c.Arg {
			t.Fatalf("%q: the argument %q comes back as %q", line, c.Arg, arg)
		}
	})
}

// FuzzParseMailAndRcpt reads one text as the argument of both.
func FuzzParseMailAndRcpt(f *testing.F) {
	for _, s := range []string{
		"<>", "<a@b> SIZE=1 BODY=7BIT", `<"a b"@[192.0.2.1]> X=y Z`, "<postmaster> NOTIFY=NEVER", "<@a:b@c>  D",
		"<a@b> SIZE=99999999999999999999",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := smtp.ParseCommand([]byte("X " + s)); err != nil {
			return // such a line never reaches these parsers
		}
		if m, err := smtp.ParseMail("FROM:" + s); err == nil {
			again, err := smtp.ParseMail(reread(t, m.Append(nil), "MAIL"))
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%q: %+v comes back as %+v, %v", s, m, again, err)
			}
		}
		if r, err := smtp.ParseRcpt("TO:" + s); err == nil {
			again, err := smtp.ParseRcpt(reread(t, r.Append(nil), "RCPT"))
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%q: %+v comes back as %+v, %v", s, r, again, err)
			}
		}
	})
}
