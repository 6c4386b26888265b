package mail

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/holub-mail/holub/smtp"
)

func testMailbox(t testing.TB, s string) smtp.Mailbox {
	t.Helper()
	m, err := smtp.ParseMailbox(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testRepairs puts in all there is.
func testRepairs(t testing.TB) Repairs {
	return Repairs{
		Now:       testDate,
		MessageID: func() string { return "<1@mx.example>" },
		Sender:    testMailbox(t, "Joe@example.org"),
	}
}

const (
	dateLine = "Date: Mon, 23 Nov 2026 15:00:00 +0000\r\n"
	idLine   = "Message-ID: <1@mx.example>\r\n"
	fromLine = "From: Joe@example.org\r\n"
)

func TestRepair(t *testing.T) {
	const whole = "date: never\r\nmessage-id : \r\n"
	tests := []struct {
		name, header string
		change       func(*Repairs)
		want         string
		changed      string
	}{
		{"empty", "", nil, dateLine + fromLine + idLine, "Date From Message-ID"},
		{"whole", whole + "FROM:joe@EXAMPLE.org\r\n", nil, whole + "FROM:joe@EXAMPLE.org\r\n", ""},
		{"nothing to put in", "Subject: x\r\n", func(r *Repairs) { *r = Repairs{} }, "Subject: x\r\n", ""},
		{"odd lines stay", "\xff\x00 x\r\nX :\ty\n \n" + whole + "From: joe@example.org (Joe)\r\nno end", nil,
			"\xff\x00 x\r\nX :\ty\n \n" + whole + "From: joe@example.org (Joe)\r\nno end", ""},
		{"Date", "Message-ID: x\r\nFrom: <joe@example.org>\r\n", nil,
			dateLine + "Message-ID: x\r\nFrom: <joe@example.org>\r\n", "Date"},
		{"another author", whole + "From: ann@example.org\r\n", nil,
			"Sender: Joe@example.org\r\n" + whole + "From: ann@example.org\r\n", "Sender"},
		{"several authors", whole + "From: joe@example.org, ann@example.org\r\n", nil,
			"Sender: Joe@example.org\r\n" + whole + "From: joe@example.org, ann@example.org\r\n", "Sender"},
		{"authors unreadable", whole + "From: @\r\n", nil, "Sender: Joe@example.org\r\n" + whole + "From: @\r\n", "Sender"},
		{"sender unknown", whole + "From: a@b, c@d\r\n", func(r *Repairs) { r.Sender = smtp.Mailbox{} },
			whole + "From: a@b, c@d\r\n", ""},
		{"another author, nobody logged in", whole + "From: a@b\r\n", func(r *Repairs) { r.Claimed = true }, whole + "From: a@b\r\n", ""},
		{"two authors, nobody logged in", whole + "From: a@b, c@d\r\n", func(r *Repairs) { r.Claimed = true },
			"Sender: Joe@example.org\r\n" + whole + "From: a@b, c@d\r\n", "Sender"},
		{"another sender stays", whole + "From: a@b\r\nSender: c@d\r\n", nil, whole + "From: a@b\r\nSender: c@d\r\n", ""},
		{"another sender goes", whole + "Sender: c@d\r\nFrom: a@b\r\n", func(r *Repairs) { r.ReplaceSender = true },
			whole + "Sender: Joe@example.org\r\nFrom: a@b\r\n", "Sender"},
		{"sender is right", whole + "Sender:joe@example.org\r\nFrom: a@b\r\n", func(r *Repairs) { r.ReplaceSender = true },
			whole + "Sender:joe@example.org\r\nFrom: a@b\r\n", ""},
		{"Bcc", whole + "From: joe@example.org\r\nBcc: a\r\n b\r\nReturn-path: <x>\r\nbCC : c\r\nResent-Bcc:\r\nX: y\r\n",
			nil, whole + "From: joe@example.org\r\nX: y\r\n", "Bcc Resent-Bcc Return-Path"},
		{"leading fold", " x\r\nFrom: joe@example.org\r\nSubject: y", nil,
			" x\r\nFrom: joe@example.org\r\nSubject: y\r\n" + dateLine + idLine, "Date Message-ID"},
		{"id without brackets", "Date: x\r\n" + fromLine,
			func(r *Repairs) { r.MessageID = func() string { return "1@mx.example" } },
			idLine + "Date: x\r\n" + fromLine, "Message-ID"},
		{"A-labels", whole, func(r *Repairs) { r.Sender = testMailbox(t, "joe@b\u00fccher.example") },
			"From: joe@xn--bcher-kva.example\r\n" + whole, "From"},
		{"U-labels", whole, func(r *Repairs) { r.Sender, r.UTF8 = testMailbox(t, "jos\u00e9@b\u00fccher.example"), true },
			"From: jos\u00e9@b\u00fccher.example\r\n" + whole, "From"},
		{"no ASCII for the sender", whole, func(r *Repairs) { r.Sender = testMailbox(t, "jos\u00e9@b\u00fccher.example") },
			whole, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rep := testRepairs(t)
			if tt.change != nil {
				tt.change(&rep)
			}
			h, _ := ParseHeader([]byte(tt.header))
			changed := Repair(&h, rep)
			if got := string(h.Bytes()); got != tt.want || strings.Join(changed, " ") != tt.changed {
				t.Errorf("got  %q, changed %q\nwant %q, changed %q", got, changed, tt.want, tt.changed)
			}
			if again := Repair(&h, rep); len(again) > 0 {
				t.Errorf("a second Repair changed %q", again)
			}
		})
	}
}

func TestRepairReader(t *testing.T) {
	const limit = 200
	added := dateLine + fromLine + idLine
	long := "Bcc: " + strings.Repeat("x", limit)
	fits := "X: " + strings.Repeat("x", limit-5) + "\r\n"
	body := "\r\n\x00\xff\r.\r\n..\r\nBcc: a" + strings.Repeat("y", 10000)
	tests := []struct {
		name, msg, want string
		tooLong         bool
	}{
		{"plain", "Subject: x\r\nBcc: y\r\n" + body, added + "Subject: x\r\n" + body, false},
		{"bare LF", "Subject: x\nBcc: y\n\nbody\n", added + "Subject: x\n\nbody\n", false},
		{"nothing", "", added, false},
		{"no header", body, added + body, false},
		{"no body", "Subject: x\r\n", added + "Subject: x\r\n", false},
		{"no line end", "Subject: x", added + "Subject: x", false},
		{"text", "Hello\r\n\r\nSubject: x\r\n", added + "\r\nHello\r\n\r\nSubject: x\r\n", false},
		{"a line of text", "Hello there", added + "\r\nHello there", false},
		{"mbox line", "From joe Mon\r\nSubject: x\r\n\r\n", added + "From joe Mon\r\nSubject: x\r\n\r\n", false},
		{"just fits", fits + body, added + fits + body, false},
		{"just fits, no body", fits, added + fits, false},
		{"one octet too long", "x" + fits + body, "x" + fits + body, true},
		{"too long", long + "\r\n" + body, long + "\r\n" + body, true},
		{"too long without an end", long, long, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, in := range map[string]io.Reader{
				"whole":       strings.NewReader(tt.msg),
				"octets":      iotest.OneByteReader(strings.NewReader(tt.msg)),
				"end at once": iotest.DataErrReader(strings.NewReader(tt.msg)),
			} {
				r := NewRepairReader(in, testRepairs(t), limit)
				got, err := io.ReadAll(r)
				if err != nil || string(got) != tt.want || r.TooLong() != tt.tooLong {
					t.Errorf("%s: got  %.500q, too long %v, %v\nwant %.500q", name, got, r.TooLong(), err, tt.want)
				}
				if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("%s: behind the end: %d, %v", name, n, err)
				}
				if tt.tooLong == (len(r.Changed()) > 0) {
					t.Errorf("%s: changed %q", name, r.Changed())
				}
			}
		})
	}
}

func TestRepairReaderError(t *testing.T) {
	broken := errors.New("broken")
	for _, msg := range []string{"", "Subject: x\r\n", "Subject: x\r\n\r\nbody"} {
		in := io.MultiReader(strings.NewReader(msg), iotest.ErrReader(broken))
		got, err := io.ReadAll(NewRepairReader(in, Repairs{}, 1000))
		if string(got) != msg || !errors.Is(err, broken) {
			t.Errorf("%q came as %q, %v", msg, got, err)
		}
	}
}

// TestRepairReaderHoldsNoBody counts what is read ahead.
func TestRepairReaderHoldsNoBody(t *testing.T) {
	in := &countingReader{r: strings.NewReader("Subject: x\r\n\r\n" + strings.Repeat("y", 1<<20))}
	r := NewRepairReader(in, testRepairs(t), 10000)
	if _, err := r.Read(make([]byte, 1)); err != nil || in.n > 10002 {
		t.Errorf("%d octets read for the first, %v", in.n, err)
	}
}

// FuzzRepairReader: all octets but those of the fields that go are there, in order.
func FuzzRepairReader(f *testing.F) {
	f.Add([]byte("Subject: x\r\nBcc: y\r\n z\r\n\r\nBcc: body\r\n"), 100)
	f.Add([]byte("text\r\n\r\n"), 0)
	f.Add([]byte(" lead\nFrom: a@b, c@d\nReturn-Path:"), 50)
	f.Fuzz(func(t *testing.T, msg []byte, limit int) {
		limit &= 1<<16 - 1
		r := NewRepairReader(bytes.NewReader(msg), testRepairs(t), limit)
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		h, rest := ParseHeader(msg)
		if r.TooLong() != (len(msg)-len(rest) > limit) {
			t.Fatalf("limit %d: %q is too long: %v", limit, msg, r.TooLong())
		}
		if r.TooLong() || h.isText() {
			if !bytes.HasSuffix(got, msg) || r.TooLong() && len(got) > len(msg) {
				t.Fatalf("%q became %q", msg, got)
			}
			return
		}
		want := slices.DeleteFunc(fieldsOf(h), func(s string) bool {
			name, _, _ := strings.Cut(strings.ToLower(s), "|")
			return name == "bcc" || name == "resent-bcc" || name == "return-path"
		})
		repaired, body := ParseHeader(got)
		if !bytes.Equal(body, rest) {
			t.Errorf("%q has the body %q now", msg, body)
		}
		next := 0
		for _, field := range fieldsOf(repaired) {
			if next < len(want) && field == want[next] {
				next++
			}
		}
		if next < len(want) || !repaired.Has("Date") || !repaired.Has("Message-ID") || !repaired.Has("From") {
			t.Errorf("%q became %q", msg, got)
		}
	})
}
