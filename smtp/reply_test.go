package smtp_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

func TestEnhancedCode(t *testing.T) {
	for _, tt := range []struct {
		text string
		code smtp.EnhancedCode
		rest string
		ok   bool
	}{
		{"2.0.0 Ok", smtp.EnhancedCode{2, 0, 0}, "Ok", true},
		{"5.1.1", smtp.EnhancedCode{5, 1, 1}, "", true},
		{"4.999.999 x y", smtp.EnhancedCode{4, 999, 999}, "x y", true},
		{"4.7.10  two spaces", smtp.EnhancedCode{4, 7, 10}, " two spaces", true},
		{"3.0.0 class", smtp.EnhancedCode{}, "", false},
		{"0.0.0", smtp.EnhancedCode{}, "", false},
		{"5.1", smtp.EnhancedCode{}, "", false},
		{"5.1.", smtp.EnhancedCode{}, "", false},
		{"5..1", smtp.EnhancedCode{}, "", false},
		{"5.1.1.1", smtp.EnhancedCode{}, "", false},
		{"5.1.1x", smtp.EnhancedCode{}, "", false},
		{"5.01.1", smtp.EnhancedCode{}, "", false},
		{"5.1000.1", smtp.EnhancedCode{}, "", false},
		{"", smtp.EnhancedCode{}, "", false},
		{"Ok", smtp.EnhancedCode{}, "", false},
	} {
		code, rest, ok := smtp.ParseEnhancedCode(tt.text)
		if !tt.ok {
			tt.rest = tt.text // untouched
		}
		if code != tt.code || rest != tt.rest || ok != tt.ok {
			t.Errorf("ParseEnhancedCode(%q) = %v, %q, %v", tt.text, code, rest, ok)
		}
		if ok && !strings.HasPrefix(tt.text, code.String()) {
			t.Errorf("%q is written as %q", tt.text, code)
		}
	}
	if s := (smtp.EnhancedCode{}).String(); s != "" {
		t.Errorf("the zero code is written as %q", s)
	}
}

func TestReplyOnTheWire(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		name  string
		reply smtp.Reply
		want  string
	}{
		{"one line", smtp.NewReply(250, smtp.EnhancedCode{2, 1, 0}, "Ok"), "250 2.1.0 Ok\r\n"},
		{"no text", smtp.Reply{Code: 354}, "354 \r\n"},
		{"code alone", smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, ""), "250 2.0.0 \r\n"},
		{"no enhanced code", smtp.NewReply(220, smtp.EnhancedCode{}, "mx.example.org ESMTP"), "220 mx.example.org ESMTP\r\n"},
		{"lines", smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "one\ntwo\nthree"),
			"550-5.1.1 one\r\n550-5.1.1 two\r\n550 5.1.1 three\r\n"},
		{"empty line inside", smtp.NewReply(250, smtp.EnhancedCode{}, "a\n\nb"), "250-a\r\n250-\r\n250 b\r\n"},
		{"hostile octets", smtp.Reply{Code: 550, Lines: []string{"a\r\n250 b\x00c\x7fd\xffe\tf"}},
			"550 a??250 b?c?d?e\tf\r\n"},
		{"two octets of one letter", smtp.NewReply(550, smtp.EnhancedCode{}, "é"), "550 ??\r\n"},
		{"folded", smtp.NewReply(550, smtp.EnhancedCode{5, 0, 0}, long),
			"550-5.0.0 " + long[:500] + "\r\n550 5.0.0 " + long[500:] + "\r\n"},
		{"folded inside", smtp.NewReply(250, smtp.EnhancedCode{}, long[:507]+"\nend"),
			"250-" + long[:506] + "\r\n250-x\r\n250 end\r\n"},
	} {
		got := string(tt.reply.Append([]byte("before:")))
		if got != "before:"+tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

// readReply reads what Append wrote, as a client does.
func readReply(wire string) (smtp.Reply, error) {
	var r smtp.Reply
	for line := range strings.SplitAfterSeq(wire, "\r\n") {
		last, err := r.AddLine([]byte(strings.TrimSuffix(line, "\r\n")))
		if err != nil || last {
			return r, err
		}
	}
	return r, errors.New("no last line")
}

func TestReplyRoundTrip(t *testing.T) {
	for _, r := range []smtp.Reply{
		smtp.NewReply(250, smtp.EnhancedCode{2, 1, 5}, "Ok"),
		smtp.NewReply(450, smtp.EnhancedCode{4, 2, 1}, "busy\ntry later\n"),
		smtp.NewReply(250, smtp.EnhancedCode{}, "mx.example.org\nPIPELINING\nSIZE 1000"),
		smtp.NewReply(354, smtp.EnhancedCode{}, "go on"),
		smtp.NewReply(221, smtp.EnhancedCode{2, 0, 0}, ""),
	} {
		got, err := readReply(string(r.Append(nil)))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v comes back as %+v, %v", r, got, err)
		}
	}
}

func TestReplyAddLine(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  smtp.Reply
	}{
		{"code alone", []string{"250"}, smtp.Reply{Code: 250, Lines: []string{""}}},
		{"another class is text", []string{"550 4.2.2 full"}, smtp.Reply{Code: 550, Lines: []string{"4.2.2 full"}}},
		{"enhanced code on the first line only", []string{"550-5.1.1 no", "550 such user"},
			smtp.Reply{Code: 550, Enhanced: smtp.EnhancedCode{5, 1, 1}, Lines: []string{"no", "such user"}}},
		{"enhanced code not on the first line", []string{"550-no", "550 5.1.1 such user"},
			smtp.Reply{Code: 550, Lines: []string{"no", "5.1.1 such user"}}},
		{"enhanced codes that differ", []string{"550-5.1.1 no", "550 5.1.2 such user"},
			smtp.Reply{Code: 550, Enhanced: smtp.EnhancedCode{5, 1, 1}, Lines: []string{"no", "5.1.2 such user"}}},
		{"octets are kept", []string{"554 \xff\x00"}, smtp.Reply{Code: 554, Lines: []string{"\xff\x00"}}},
	} {
		var r smtp.Reply
		for i, line := range tt.lines {
			last, err := r.AddLine([]byte(line))
			if err != nil || last != (i == len(tt.lines)-1) {
				t.Errorf("%s: AddLine(%q) = %v, %v", tt.name, line, last, err)
			}
		}
		if !reflect.DeepEqual(r, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, r, tt.want)
		}
	}
	for _, line := range []string{"", "2", "25", "25x", "250x", "2500", "150 early", "600 late", "-25", "abc def",
		" 250", "250\t"} {
		var r smtp.Reply
		if _, err := r.AddLine([]byte(line)); !errors.Is(err, smtp.ErrReplySyntax) || !r.IsZero() || r.Lines != nil {
			t.Errorf("AddLine(%q): error %v, reply %+v", line, err, r)
		}
	}
	r := smtp.Reply{Code: 250, Lines: []string{"a"}}
	if _, err := r.AddLine([]byte("251 b")); !errors.Is(err, smtp.ErrReplySyntax) || len(r.Lines) != 1 {
		t.Errorf("a code that changes: error %v, reply %+v", err, r)
	}
}

func TestReplyAsError(t *testing.T) {
	for _, tt := range []struct {
		code                           int
		positive, temporary, permanent bool
	}{
		{250, true, false, false}, {354, true, false, false}, {451, false, true, false}, {550, false, false, true},
		{0, false, false, false},
	} {
		r := smtp.Reply{Code: tt.code}
		if r.Positive() != tt.positive || r.Temporary() != tt.temporary || r.Permanent() != tt.permanent {
			t.Errorf("%d: %v %v %v", tt.code, r.Positive(), r.Temporary(), r.Permanent())
		}
	}
	refusal := smtp.Replyf(550, smtp.EnhancedCode{5, 1, 1}, "no user %q\nhere", "joe")
	if got, ok := smtp.AsReply(fmt.Errorf("deliver: %w", refusal)); !ok || !reflect.DeepEqual(got, refusal) {
		t.Errorf("AsReply = %+v, %v", got, ok)
	}
	if got, want := refusal.Error(), `550 5.1.1 no user "joe" here`; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	if r, ok := smtp.AsReply(errors.New("other")); ok || !r.IsZero() {
		t.Errorf("AsReply finds %v in another error", r)
	}
}

// FuzzReplyAddLine: what is read and written again reads the same, and the wire is clean whatever was read.
func FuzzReplyAddLine(f *testing.F) {
	f.Add("250-5.1.1 a\n250 b")
	f.Add("550 5.1.1 no such user")
	f.Add("250-2.1.0 one\n250-2.1.0 two\n250 2.1.0 2.1.0 three")
	f.Add("354")
	f.Add("421 4.3.2 \xff\x00\r bye")
	f.Fuzz(func(t *testing.T, text string) {
		var r smtp.Reply
		for line := range strings.SplitSeq(text, "\n") {
			last, err := r.AddLine([]byte(line))
			if err != nil {
				return
			}
			if last {
				break
			}
		}
		wire := string(r.Append(nil))
		lines := strings.SplitAfter(wire, "\r\n")
		for i, line := range lines[:len(lines)-1] {
			if len(line) > 512 || strings.ContainsAny(line[:len(line)-2], "\r\n\x00\x7f") ||
				line[3] != "- "[b2i(i == len(lines)-2)] {
				t.Fatalf("line %d of %q", i, wire)
			}
		}
		again, err := readReply(wire)
		if err != nil {
			t.Fatalf("%q: %v", wire, err)
		}
		if again.Code != r.Code {
			t.Fatalf("the code %d comes back as %d", r.Code, again.Code)
		}
		if second := string(again.Append(nil)); second != wire {
			t.Fatalf("%q is written again as %q", wire, second)
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
