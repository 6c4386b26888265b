package dsn

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
)

var update = flag.Bool("update", false, "write the golden files anew")

var testNow = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)

const testOriginal = "Received: from laptop ([192.0.2.7]) by mx.example.com (holub) with ESMTP\r\n id 0d3k8q9zv1x2; " +
	"Mon, 23 Nov 2026 14:00:00 +0000\r\nFrom: Ann <ann@example.com>\r\nTo: joe@example.org\r\nSubject: lunch\r\n" +
	"Message-ID: <1@laptop>\r\n\r\nAt noon?\r\n--\r\nAnn\r\n"

func path(s string) smtp.Path {
	p, err := smtp.ParsePath(s)
	if err != nil {
		panic(err)
	}
	return p
}

func baseReport() Report {
	return Report{
		MessageID: "<0d3k8q9zv1x9@mx.example.com>", Date: testNow, From: "mx.example.com",
		To: path("<ann@example.com>"), Sender: path("<ann@example.com>"),
		QueueID: "0d3k8q9zv1x2", Arrived: testNow.Add(-time.Hour),
		Recipients: []Recipient{{
			Final: path("<joe@example.org>"), Host: "mail.example.org [192.0.2.25]:25", LastAttempt: testNow.Add(-time.Minute),
			Reply: smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "<joe@example.org>: user unknown"),
		}},
	}
}

// golden is one report with a file in testdata.
type golden struct {
	name     string
	report   Report
	original string
	parts    []string // content types
	contains []string // in the text, its white space taken as one space
	fields   [][2]string
}

func goldens() []golden {
	failure := baseReport()
	failure.Original = FullMessage
	failure.Recipients = append(failure.Recipients,
		Recipient{Final: path("<Ops.Team@nowhere.example>"), LastAttempt: testNow,
			Reply: smtp.NewReply(556, smtp.EnhancedCode{5, 1, 10}, "nowhere.example takes no mail (null MX, RFC 7505)")},
		Recipient{Final: path("<bob@slow.example>"), Host: "[IPv6:2001:db8::25]:25", LastAttempt: testNow,
			Reply: smtp.NewReply(452, smtp.EnhancedCode{}, "too many messages\ncome back later, and read\n"+
				"https://slow.example/help/"+strings.Repeat("why-we-are-so-slow/", 5))})

	delay := baseReport()
	delay.Kind, delay.RetryUntil, delay.Original = Delay, testNow.Add(5*24*time.Hour), FullMessage
	delay.Recipients[0].Reply = smtp.NewReply(451, smtp.EnhancedCode{4, 4, 1}, "mail.example.org: no answer within 5m0s")
	delay.Recipients[0].Host = ""

	kept := baseReport()
	kept.Kind, kept.To, kept.Sender = Kept, smtp.Postmaster, smtp.Path{}
	kept.Original, kept.EightBit = FullMessage, true
	kept.Recipients[0].Reply = smtp.NewReply(552, smtp.EnhancedCode{5, 2, 2}, "mailbox full")

	odd := baseReport()
	odd.To = path(`<"ann  o'neill"@[192.0.2.9]>`)
	odd.Sender = odd.To
	odd.Recipients = []Recipient{
		{Final: path(`<"a b"@example.org>`),
			Reply: smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, "Grüße:\tnein\r\n--=_x\x00\x1b[31m")},
		{Final: path(`<"\"\\<>@;:"@example.org>`), Host: "h\r\nX: y",
			Reply: smtp.Reply{Code: 550, Lines: []string{"\xff\xfe"}}},
		{Final: smtp.Postmaster, Host: "relay.example", Reply: smtp.Reply{Code: 250}},
		{Final: path("<" + strings.Repeat("x", 255) + "@" + strings.Repeat("long-label.", 20) + "example>")},
	}
	success := baseReport()
	success.Kind, success.EnvelopeID, success.Original = Success, "QQ 314", FullMessage
	success.Recipients[0].Original = smtp.OriginalRecipient{Type: "rfc822", Address: "Joe@old.example"}
	success.Recipients[0].Reply = smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Ok: queued")
	success.Recipients = append(success.Recipients, Recipient{Final: path("<amy@example.com>"), Action: Delivered, LastAttempt: testNow,
		Reply: smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Delivered to a mailbox")})

	return []golden{
		{"success", success, testOriginal, []string{"text/plain", "message/delivery-status", "text/rfc822-headers"},
			[]string{"You asked for a report", "It lies in the mailbox.", "passed on to a mail server"},
			[][2]string{{"rfc822; joe@example.org", "2.0.0"}, {"rfc822; amy@example.com", "2.0.0"}}},
		{"failure", failure, testOriginal, []string{"text/plain", "message/delivery-status", "message/rfc822"},
			[]string{"could not be delivered to the addresses below", "no mailbox of this name at example.org",
				"takes no mail: its owner says so", "550 5.1.1 <joe@example.org>: user unknown", "452-too many messages",
				"mail.example.org [192.0.2.25]:25 answered", "has now given up", "the whole message"},
			[][2]string{{"rfc822; joe@example.org", "5.1.1"}, {"rfc822; Ops.Team@nowhere.example", "5.1.10"},
				{"rfc822; bob@slow.example", "4.0.0"}}},
		{"delay", delay, testOriginal, []string{"text/plain", "message/delivery-status", "text/rfc822-headers"},
			[]string{"has not yet been delivered", "You need do nothing", "until Saturday, 28 November 2026, 15:00 (+0000)",
				"did not answer", "The server mx.example.com, which sends this report, noted"},
			[][2]string{{"rfc822; joe@example.org", "4.4.1"}}},
		{"kept", kept, strings.Replace(testOriginal, "noon", "n\u00f6\u00f6n", 1),
			[]string{"text/plain", "message/delivery-status", "message/rfc822"},
			[]string{"it has no return address", "it is kept for you, the postmaster of mx.example.com", "The mailbox is full."},
			[][2]string{{"rfc822; joe@example.org", "5.2.2"}}},
		{"odd", odd, "Subject: \xfc\r\nX: " + strings.Repeat("y", 2000) + "\r\nZ: a\rb\nc\r\n\r\n",
			[]string{"text/plain", "message/delivery-status", "text/rfc822-headers"},
			[]string{`"a b"@example.org`, "550-5.7.1 Grüße: nein 550 5.7.1 --=_x??[31m", "The reason is not known."},
			[][2]string{{`rfc822; "a b"@example.org`, "5.7.1"}, {`rfc822; "\"\\<>@;:"@example.org`, "5.0.0"},
				{"rfc822; postmaster@mx.example.com", "5.0.0"},
				{"rfc822; " + strings.Repeat("x", 255) + "@" + strings.Repeat("long-label.", 20) + "example", "5.0.0"}}},
	}
}

func TestGolden(t *testing.T) {
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			var got bytes.Buffer
			if err := g.report.Write(&got, strings.NewReader(g.original)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", g.name+".eml")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("the report differs from %s; if that is meant, run the test with -update. Got:\n%s", file, got.Bytes())
			}
			checkGolden(t, g, read(t, want))
		})
	}
}

// checkGolden compares a report, read back, with what was put in.
func checkGolden(t *testing.T, g golden, m *message) {
	t.Helper()
	var types []string
	for _, p := range m.parts {
		types = append(types, p.mediaType)
	}
	if fmt.Sprint(types) != fmt.Sprint(g.parts) {
		t.Fatalf("the parts are %v, want %v", types, g.parts)
	}
	text := strings.Join(strings.Fields(string(m.parts[0].body)), " ")
	for _, s := range g.contains {
		if !strings.Contains(text, s) {
			t.Errorf("%q is not in the text", s)
		}
	}
	perMessage, groups := statusFields(t, m.parts[1].body)
	if s := perMessage.Get("Reporting-Mta"); s != "dns; mx.example.com" {
		t.Errorf("Reporting-MTA: %q", s)
	}
	if s := perMessage.Get("X-Holub-Queue-Id"); s != "0d3k8q9zv1x2" {
		t.Errorf("X-Holub-Queue-ID: %q", s)
	}
	if len(groups) != len(g.fields) {
		t.Fatalf("%d groups of fields for %d recipients", len(groups), len(g.fields))
	}
	for i, f := range g.fields {
		if a, b := groups[i].Get("Final-Recipient"), groups[i].Get("Status"); a != f[0] || b != f[1] {
			t.Errorf("recipient %d: %q with status %q, want %q", i, a, b, f)
		}
	}
	if m.parts[2].mediaType == "message/rfc822" && string(m.parts[2].body) != g.original {
		t.Errorf("the original came back as %q", m.parts[2].body)
	}
}

func TestGoldenDetails(t *testing.T) {
	file := func(name string) *message {
		b, err := os.ReadFile(filepath.Join("testdata", name+".eml"))
		if err != nil {
			t.Fatal(err)
		}
		return read(t, b)
	}
	_, groups := statusFields(t, file("failure").parts[1].body)
	for i, want := range []map[string]string{
		{"Action": "failed", "Remote-Mta": "dns; mail.example.org", "Last-Attempt-Date": "Mon, 23 Nov 2026 14:59:00 +0000",
			"Diagnostic-Code": "smtp; 550 5.1.1 <joe@example.org>: user unknown", "Will-Retry-Until": ""},
		{"Remote-Mta": "", "Diagnostic-Code": "X-Holub; 556 5.1.10 nowhere.example takes no mail (null MX, RFC 7505)"},
		{"Remote-Mta": "dns; [IPv6:2001:db8::25]", "Diagnostic-Code": "smtp; 452-too many messages " +
			"452-come back later, and read 452 https://slow.example/help/" + strings.Repeat("why-we-are-so-slow/", 5)},
	} {
		for k, v := range want {
			if got := groups[i].Get(k); got != v {
				t.Errorf("recipient %d: %s is %q, want %q", i, k, got, v)
			}
		}
	}
	delay := file("delay")
	_, groups = statusFields(t, delay.parts[1].body)
	for k, v := range map[string]string{"Action": "delayed", "Will-Retry-Until": "Sat, 28 Nov 2026 15:00:00 +0000"} {
		if got := groups[0].Get(k); got != v {
			t.Errorf("%s is %q, want %q", k, got, v)
		}
	}
	if want, _, _ := strings.Cut(testOriginal, "\r\n\r\n"); string(delay.parts[2].body) != want+"\r\n" {
		t.Errorf("the header came back as %q", delay.parts[2].body)
	}
	kept := file("kept")
	if to := kept.header.Get("To"); to != "<postmaster@mx.example.com>" {
		t.Errorf("To: %s", to)
	}
	for _, h := range []interface{ Get(string) string }{kept.header, kept.parts[2].header} {
		if s := h.Get("Content-Transfer-Encoding"); s != "8bit" {
			t.Errorf("an 8-bit original goes as %q", s)
		}
	}
	odd := file("odd")
	if s := odd.header.Get("Content-Transfer-Encoding"); s != "7bit" {
		t.Errorf("a report with a header in quoted-printable is %q", s)
	}
	want := "Subject: \xfc\r\nX: " + strings.Repeat("y", 2000) + "\r\nZ: a\r\nb\r\nc\r\n"
	if string(odd.parts[2].body) != want {
		t.Errorf("the header came back as %q", odd.parts[2].body)
	}
}

func TestNeedsEightBit(t *testing.T) {
	r := Report{EightBit: true}
	if r.NeedsEightBit() {
		t.Error("a header alone never needs it")
	}
	r.Original = FullMessage
	if !r.NeedsEightBit() {
		t.Error("an 8-bit message needs it")
	}
	r.Kind = Delay
	if r.NeedsEightBit() {
		t.Error("a note of delay has the header alone")
	}
}

func TestWriteRefuses(t *testing.T) {
	r := baseReport()
	r.To = smtp.Path{}
	if err := r.Write(io.Discard, nil); !errors.Is(err, ErrNullTo) {
		t.Errorf("a report to the null path: %v", err)
	}
	r = baseReport()
	r.Recipients = nil
	if err := r.Write(io.Discard, nil); !errors.Is(err, ErrNoRecipient) {
		t.Errorf("a report about nobody: %v", err)
	}
}

func TestWriteErrors(t *testing.T) {
	gone, full := errors.New("the disk is gone"), errors.New("the disk is full")
	for _, part := range []Part{HeaderOnly, FullMessage} {
		r := baseReport()
		r.Original = part
		err := r.Write(io.Discard, io.MultiReader(strings.NewReader("A: b\r\n"), failing{gone}))
		if !errors.Is(err, gone) || !strings.Contains(err.Error(), "reading the original") {
			t.Errorf("part %d: %v", part, err)
		}
		err = r.Write(failing{full}, strings.NewReader(testOriginal+strings.Repeat("x\r\n", 100000)))
		if !errors.Is(err, full) || !strings.Contains(err.Error(), "writing") {
			t.Errorf("part %d: %v", part, err)
		}
	}
}

func TestWithoutOriginal(t *testing.T) {
	for _, part := range []Part{HeaderOnly, FullMessage} {
		r := baseReport()
		r.Original, r.EightBit = part, true
		var out bytes.Buffer
		if err := r.Write(&out, nil); err != nil {
			t.Fatal(err)
		}
		if n := len(read(t, out.Bytes()).parts); n != 2 {
			t.Errorf("%d parts without an original", n)
		}
	}
}

func TestLongHeaderIsCut(t *testing.T) {
	var out bytes.Buffer
	line := "X-Long: " + strings.Repeat("x", 60) + "\r\n"
	if err := baseReport().Write(&out, strings.NewReader(strings.Repeat(line, 10000))); err != nil {
		t.Fatal(err)
	}
	m := read(t, out.Bytes())
	if n := len(m.parts[2].body); n > maxHeader || n < maxHeader-len(line) || n%len(line) != 0 {
		t.Errorf("%d octets of header are returned", n)
	}
	text := strings.Join(strings.Fields(string(m.parts[0].body)), " ")
	if !strings.Contains(text, "the first part of the message's header") {
		t.Error("the text does not say that the header is cut")
	}
}

// TestStreams writes a report about a message far larger than what may be allocated.
func TestStreams(t *testing.T) {
	r := baseReport()
	r.Original = FullMessage
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := r.Write(io.Discard, io.LimitReader(zeros{}, 50<<20)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 200<<10 {
		t.Errorf("%d octets allocated for a message of 50 MiB", n)
	}
}

func TestBoundaryDiffers(t *testing.T) {
	a := baseReport()
	b := a
	b.MessageID = "<other@mx.example.com>"
	if a.boundary() == b.boundary() {
		t.Error("two reports have the same boundary")
	}
}

func TestStatus(t *testing.T) {
	reply := func(code int, e smtp.EnhancedCode) smtp.Reply { return smtp.Reply{Code: code, Enhanced: e} }
	for _, tt := range []struct {
		action Action
		reply  smtp.Reply
		want   string
	}{
		{Failed, reply(550, smtp.EnhancedCode{5, 1, 1}), "5.1.1"},
		{Failed, reply(450, smtp.EnhancedCode{4, 2, 2}), "4.2.2"},
		{Failed, reply(450, smtp.EnhancedCode{}), "4.0.0"},
		{Failed, reply(554, smtp.EnhancedCode{}), "5.0.0"},
		{Failed, smtp.Reply{}, "5.0.0"},
		{Failed, reply(250, smtp.EnhancedCode{2, 1, 5}), "5.1.5"},
		{Failed, reply(550, smtp.EnhancedCode{5, 1000, -1}), "5.0.0"},
		{Delayed, smtp.Reply{}, "4.0.0"},
		{Delayed, reply(451, smtp.EnhancedCode{4, 4, 1}), "4.4.1"},
		{Delayed, reply(550, smtp.EnhancedCode{5, 1, 1}), "4.1.1"},
		{Delivered, reply(250, smtp.EnhancedCode{}), "2.0.0"},
	} {
		if got := status(tt.action, tt.reply).String(); got != tt.want {
			t.Errorf("%s with %v: %s, want %s", tt.action, tt.reply, got, tt.want)
		}
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "mx.example": "mx.example", "mx.example [192.0.2.1]:25": "mx.example", "mx.example[192.0.2.1]": "mx.example",
		"mx.example:2525": "mx.example", "[192.0.2.1]:25": "[192.0.2.1]", "[IPv6:2001:db8::1]": "[IPv6:2001:db8::1]",
		"mx.example (192.0.2.1)": "mx.example", "a\r\nb": "a??b",
	} {
		if got := hostName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestReasons holds the tables to what the texts promise: each says why and what to do, as sentences.
func TestReasons(t *testing.T) {
	all := []reason{unsaid, own}
	for _, r := range reasons {
		all = append(all, r)
	}
	for _, r := range append(all, subjectReasons[:]...) {
		for _, s := range []string{r.why, r.todo} {
			if !strings.HasSuffix(s, ".") || strings.TrimSpace(s) != s {
				t.Errorf("no sentence: %q", s)
			}
			if rest := strings.ReplaceAll(s, "{domain}", ""); strings.ContainsAny(rest, "{}") {
				t.Errorf("an unknown word in braces: %q", s)
			}
		}
	}
	for code, want := range map[smtp.EnhancedCode]string{
		{5, 1, 1}: "no mailbox of this name at x.example", {4, 4, 99}: "found no way", {5, 99, 1}: "its own words",
		{5, 7, 99}: "by its own rules",
	} {
		got := reasonOf(Recipient{Reply: smtp.Reply{Code: 550, Enhanced: code}, Host: "h"}, "x.example").why
		if !strings.Contains(got, want) {
			t.Errorf("%v: %q lacks %q", code, got, want)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// message is a report as a reader of MIME sees it.
type message struct {
	header mail.Header
	parts  []part
}

type part struct {
	mediaType string
	header    textproto.MIMEHeader
	body      []byte // quoted-printable taken off
}

// read reads a report and fails where it is not what RFC 3464 and RFC 6522 ask for.
func read(t *testing.T, b []byte) *message {
	t.Helper()
	msg, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	m := &message{header: msg.Header}
	mediaType, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type %q %v %v", mediaType, params, err)
	}
	if got := msg.Header.Get("Mime-Version"); got != "1.0" {
		t.Errorf("MIME-Version: %q", got)
	}
	if got := msg.Header.Get("Auto-Submitted"); got != "auto-replied" && got != "auto-generated" {
		t.Errorf("Auto-Submitted: %q", got)
	}
	for _, k := range []string{"From", "To"} {
		if _, err := msg.Header.AddressList(k); err != nil {
			t.Errorf("%s: %q: %v", k, msg.Header.Get(k), err)
		}
	}
	if _, err := msg.Header.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	mr := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return m
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		m.parts = append(m.parts, readPart(t, p))
	}
}

func readPart(t *testing.T, p *multipart.Part) part {
	t.Helper()
	mediaType, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(p)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\r\n") {
		if mediaType == "text/plain" && len(line) > maxTextLine {
			t.Errorf("a line of text of %d octets: %q", len(line), line)
		}
	}
	if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		if b, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(b))); err != nil {
			t.Fatal(err)
		}
	}
	return part{mediaType, p.Header, b}
}

// statusFields reads the fields of message/delivery-status.
func statusFields(t *testing.T, body []byte) (perMessage textproto.MIMEHeader, groups []textproto.MIMEHeader) {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(body, "\r\n"...))))
	for {
		h, err := r.ReadMIMEHeader()
		if err == io.EOF && len(h) == 0 {
			break
		}
		if err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		groups = append(groups, h)
	}
	if len(groups) == 0 {
		t.Fatalf("no fields in %q", body)
	}
	return groups[0], groups[1:]
}
