package dsn

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/holub-mail/holub/smtp"
)

// summary writes what matters of a parsed report on lines, for comparison.
func summary(p *Parsed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %q by %s\n", p.Kind, p.Dialect, p.Software, p.Reporter.Name)
	if p.EnvelopeID+p.QueueID+p.Sender != "" {
		fmt.Fprintf(&b, "envid %q queue %q sender %q\n", p.EnvelopeID, p.QueueID, p.Sender)
	}
	for _, r := range p.Recipients {
		fmt.Fprintf(&b, "%s;%s %s %s remote %q %s;%q %d\n", r.Final.Type, r.Final.Text, r.Action, r.Status, r.Remote.Name,
			r.Diagnostic.Type, r.Diagnostic.Text, r.Diagnostic.Code)
		if !r.Original.IsZero() {
			fmt.Fprintf(&b, "  for %s;%s\n", r.Original.Type, r.Original.Text)
		}
	}
	if o := p.Original; o != nil {
		fmt.Fprintf(&b, "original %q %q part %d header %v\n", o.MessageID, o.Subject, o.Part, len(o.Header) > 0)
	}
	return b.String()
}

// TestParseSamples reads the files of testdata/parse: reports written for this test in the shape that each server gives
// them. Behind the last line of "=====" stands what Parse is to find.
func TestParseSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/parse/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.LastIndex(b, []byte("=====\n"))
			want := string(b[at+len("=====\n"):])
			for name, message := range map[string]string{
				"LF": string(b[:at]), "CRLF": strings.ReplaceAll(string(b[:at]), "\n", "\r\n"),
			} {
				p, err := Parse(iotest.HalfReader(strings.NewReader(message)))
				got := ""
				if err != nil {
					if !errors.Is(err, ErrNoReport) {
						t.Fatal(err)
					}
					got = "no report\n"
				} else {
					got = summary(p)
					checkPlace(t, p, message)
				}
				if got == want {
					continue
				}
				t.Errorf("%s gives\n%swant\n%s", name, got, want)
				if *update {
					if err := os.WriteFile(file, append(b[:at:at], "=====\n"+got...), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// checkPlace holds Offset and Size to the header that was read there.
func checkPlace(t *testing.T, p *Parsed, message string) {
	t.Helper()
	o := p.Original
	if o == nil || o.Size == 0 {
		return
	}
	if o.Offset < 0 || o.Offset+o.Size > int64(len(message)) {
		t.Fatalf("the original is at %d, %d octets, of %d", o.Offset, o.Size, len(message))
	}
	if o.Encoding == "7bit" || o.Encoding == "8bit" {
		if place := message[o.Offset : o.Offset+o.Size]; !strings.HasPrefix(place, string(o.Header)) {
			t.Errorf("at %d stands %.100q, not %.100q", o.Offset, place, o.Header)
		}
	}
}

// TestRoundTrip reads back what Write wrote.
func TestRoundTrip(t *testing.T) {
	reports := goldens()
	for _, inUTF8 := range []bool{false, true} {
		reports = append(reports, golden{name: fmt.Sprintf("UTF8 %t", inUTF8), report: foreignReport(inUTF8), original: foreignOriginal})
	}
	for _, g := range reports {
		t.Run(g.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := g.report.Write(&out, strings.NewReader(g.original)); err != nil {
				t.Fatal(err)
			}
			p, err := Parse(&out)
			if err != nil {
				t.Fatal(err)
			}
			checkReadBack(t, g.report, p)
			if p.Original == nil || !bytes.Contains([]byte(g.original), bytes.TrimSpace(p.Original.Header)) && g.name != "odd" {
				t.Errorf("the original came back as %+v", p.Original)
			}
		})
	}
}

// checkReadBack compares a report with what was read of it.
func checkReadBack(t *testing.T, r Report, p *Parsed) {
	t.Helper()
	kind := r.Kind
	if kind == Kept {
		kind = Failure
	}
	if p.Kind != kind || p.Dialect != DialectStatus || p.Software != "holub" || p.Truncated {
		t.Errorf("read as %s, %s, by %q, truncated %t", p.Kind, p.Dialect, p.Software, p.Truncated)
	}
	if p.Reporter != (MTA{"dns", "mx.example.com"}) || !p.Arrived.Equal(r.Arrived) || p.EnvelopeID != r.EnvelopeID ||
		p.QueueID != r.QueueID || p.From.Name != r.Received {
		t.Errorf("about the message: %+v", p)
	}
	if len(p.Recipients) != len(r.Recipients) {
		t.Fatalf("%d recipients", len(p.Recipients))
	}
	for i, want := range r.Recipients {
		got := p.Recipients[i]
		if text := r.recipientAddress(want.Final).Text; got.Final.Text != text {
			t.Errorf("recipient %d is %q, not %q", i, got.Final.Text, text)
		}
		if o := want.Original; o != (smtp.OriginalRecipient{}) && got.Original != (Address{strings.ToLower(o.Type), unescapeUTF8(o.Address)}) {
			t.Errorf("recipient %d: original %+v, not %+v", i, got.Original, o)
		}
		if got.Action != r.action(want) || got.Status != status(got.Action, want.Reply) || got.Diagnostic.Code != want.Reply.Code ||
			got.LogID != want.LogID || !got.LastAttempt.Equal(want.LastAttempt) {
			t.Errorf("recipient %d: %+v, not %+v", i, got, want)
		}
		if kind, name := want.remote(); name != "" && got.Remote != (MTA{kind, name}) {
			t.Errorf("recipient %d: remote %+v, not %s; %s", i, got.Remote, kind, name)
		}
		if got.Action == Delayed && !got.RetryUntil.Equal(r.RetryUntil) {
			t.Errorf("recipient %d: until %s", i, got.RetryUntil)
		}
	}
}

func TestParseErrors(t *testing.T) {
	gone := errors.New("the disk is gone")
	if _, err := Parse(iotest.ErrReader(gone)); !errors.Is(err, gone) {
		t.Errorf("a reader that fails: %v", err)
	}
	for _, s := range []string{"", "\r\n", "Subject: x\r\n\r\nHi.\r\n", "Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\r\n--x--\r\n"} {
		if p, err := Parse(strings.NewReader(s)); !errors.Is(err, ErrNoReport) || p != nil {
			t.Errorf("%q: %+v, %v", s, p, err)
		}
	}
}

// TestParseLimits reads reports that are far too large in each way.
func TestParseLimits(t *testing.T) {
	head := "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
	status := "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\n"
	rcpt := "Final-Recipient: rfc822; joe@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
	var nested strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&nested, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	for name, message := range map[string]string{
		"recipients":  head + status + strings.Repeat(rcpt, 20000) + "--b--\r\n",
		"tiny fields": head + status + rcpt + strings.Repeat("a:\r\n", 1<<20) + "--b--\r\n",
		"one line":    head + status + rcpt + "X: " + strings.Repeat("x", 10<<20) + "\r\n--b--\r\n",
		"header":      strings.Repeat("X: y\r\n", 1<<20) + "\r\n",
		"parts":       head + status + rcpt + strings.Repeat("--b\r\n\r\n", 1<<20) + "--b--\r\n",
		"depth":       head + status + rcpt + "--b\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n" + nested.String(),
		"original":    head + status + rcpt + "--b\r\nContent-Type: message/rfc822\r\n\r\n" + strings.Repeat("X: y\r\n", 1<<20) + "--b--\r\n",
		"text":        "\r\nHi. This is the\r\n\r\n" + strings.Repeat("<a@b>:\r\nno\r\n\r\n", 1<<18),
	} {
		t.Run(name, func(t *testing.T) {
			r := strings.NewReader(message)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, err := Parse(r)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
				t.Errorf("%d octets allocated", n)
			}
			if name != "header" && (err != nil || !p.Truncated || len(p.Recipients) == 0 || len(p.Recipients) > maxRecipients) {
				t.Errorf("%v, %d recipients, truncated %t", err, len(p.Recipients), p.Truncated)
			}
			if r.Len() > 0 {
				t.Errorf("%d octets are left", r.Len())
			}
		})
	}
}

func TestFindReply(t *testing.T) {
	for text, want := range map[string]struct {
		code     int
		enhanced string
	}{
		"550 5.1.1 no": {550, "5.1.1"}, "550-5.1.1 no": {550, "5.1.1"}, "452 busy": {452, ""}, "(#5.1.2)": {0, "5.1.2"},
		"host [5.1.2.3] 551": {551, ""}, "took 5500 ms": {0, ""}, "port 250.": {0, ""}, "#550 #5.7.1 no": {550, "5.7.1"},
		"5.1.1 smtp;550 5.1.1 x": {550, "5.1.1"}, "579": {0, ""}, "": {0, ""}, "a550 x": {0, ""},
	} {
		if code, enhanced := findReply(text); code != want.code || enhanced.String() != want.enhanced {
			t.Errorf("%q: %d %s, want %v", text, code, enhanced, want)
		}
	}
}

func TestAddressForms(t *testing.T) {
	for plain, want := range map[string][2]string{
		"user@例子.example":    {`user@\x{4F8B}\x{5B50}.example`, "user@例子.example"},
		"jörg+a=b@x.example": {`j\x{F6}rg\x{2B}a\x{3D}b@x.example`, "jörg+a=b@x.example"},
		`"ö \\x{41}"@x`:      {`"\x{F6}\x{20}\x{5C}\x{5C}x{41}"@x`, `"ö\x{20}\x{5C}\x{5C}x{41}"@x`},
		"🕊@x":                {`\x{1F54A}@x`, "🕊@x"},
	} {
		a := Address{typeUTF8, plain}
		for i, inUTF8 := range []bool{false, true} {
			got := a.encoded(inUTF8)
			if got.Text != want[i] {
				t.Errorf("%s is written %s, want %s", plain, got.Text, want[i])
			}
			if back := typedAddress("utf-8; " + got.Text); back != a {
				t.Errorf("%s comes back as %+v", got.Text, back)
			}
		}
	}
	for _, odd := range []string{`\x{}`, `\x{0A}`, `\x{D800}`, `\x{110000}`, `\x{4`, `\x{zz}`, `\x`} {
		if got := unescapeUTF8(odd); got != odd {
			t.Errorf("%s became %q", odd, got)
		}
	}
	quoted := "rfc822; \"j\\\xc3\\\xa1n\"@example.org"
	if got := typedAddress(quoted); got.Text != "ján@example.org" {
		t.Errorf("%q became %+v", quoted, got)
	}
	if m, ok := (Address{"rfc822", "a@b.example"}).Mailbox(); !ok || m.Local != "a" {
		t.Errorf("%v %t", m, ok)
	}
	if _, ok := (Address{"x400", "/S=a/"}).Mailbox(); ok {
		t.Error("an X.400 address is a mailbox")
	}
}

// TestNotices looks at what is special to complaints and disposition notifications.
func TestNotices(t *testing.T) {
	p := parseSample(t, "feedback")
	want := &Feedback{Type: "abuse", UserAgent: "Somebody/1", Version: "1", MailFrom: "ann@example.com",
		RcptTo: []string{"joe@example.org"}, SourceIP: "192.0.2.7", Domains: []string{"example.com"}}
	if !reflect.DeepEqual(p.Complaint, want) || p.Arrived.IsZero() || p.Disposition != nil {
		t.Errorf("a complaint: %+v", p.Complaint)
	}
	p = parseSample(t, "receipt")
	read := &Disposition{UserAgent: "laptop.example; Reader 2", Type: "displayed", Modifiers: []string{"warning"}, Manual: true, Consented: true}
	if !reflect.DeepEqual(p.Disposition, read) || p.Complaint != nil {
		t.Errorf("a receipt: %+v", p.Disposition)
	}
}

func parseSample(t *testing.T, name string) *Parsed {
	t.Helper()
	b, err := os.ReadFile("testdata/parse/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestParsePieces reads a report octet by octet: how it comes makes no difference.
func TestParsePieces(t *testing.T) {
	b, err := os.ReadFile("testdata/failure.eml")
	if err != nil {
		t.Fatal(err)
	}
	one, err := Parse(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	two, err := Parse(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil || !reflect.DeepEqual(one, two) {
		t.Errorf("read octet by octet it is\n%+v\nand else\n%+v, %v", two, one, err)
	}
}
