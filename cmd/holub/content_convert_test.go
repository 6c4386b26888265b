package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	stdmail "net/mail"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/holub-mail/holub/dsn"
	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// maxLine is the longest line that SMTP carries, without its end (RFC 5321 4.5.3.1.6).
const maxLine = 998

// checkSevenBit wants octets up to 127, no NUL, lines that end with CRLF and are not too long.
func checkSevenBit(t *testing.T, name, content string) {
	t.Helper()
	if i := strings.IndexFunc(content, func(r rune) bool { return r == 0 || r > 127 }); i >= 0 {
		t.Errorf("%s: at octet %d stands %.20q", name, i, content[i:])
	}
	checkLines(t, name, content)
}

func checkLines(t *testing.T, name, content string) {
	t.Helper()
	for n, line := range strings.Split(content, "\r\n") {
		if strings.ContainsAny(line, "\r\n") || len(line) > maxLine {
			t.Errorf("%s: line %d has %d octets or a bare CR or LF: %.80q", name, n+1, len(line), line)
		}
	}
}

// compareScript reads pairs of a message before and after its conversion and prints the names of those that Python's email
// package reads as different: in their tree of parts, the types of those, and what the leaves are when they are decoded.
const compareScript = `
import base64, email, json, sys

def lines(b):
    return b.replace(b"\r\n", b"\n").rstrip(b"\n")

def parts(m):
    if m.is_multipart():
        return [m.get_content_type()] + [parts(p) for p in m.get_payload()]
    body = m.get_payload(decode=True)
    name = m.get_filename()
    if name and not name.isascii(): # unreadable before, for it stands there in 8 bits
        name = "8-bit"
    return [m.get_content_type(), name, base64.b64encode(lines(body)).decode()]

bad = 0
for name, before, after in json.load(sys.stdin):
    one, two = (parts(email.message_from_bytes(base64.b64decode(b))) for b in (before, after))
    if one != two:
        bad += 1
        print(name, str(one)[:300], str(two)[:300], sep="\n  ")
sys.exit(bad > 0)
`

// sameParts lets Python's email package compare messages with what became of them.
func sameParts(t *testing.T, pairs [][3]string) {
	t.Helper()
	for i := range pairs {
		for k := 1; k < 3; k++ {
			pairs[i][k] = base64.StdEncoding.EncodeToString([]byte(pairs[i][k]))
		}
	}
	in, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := peers.Command(t, "python3", "-c", compareScript)
	cmd.Stdin = bytes.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("Python reads other parts: %v\n%s", err, out)
	}
}

// converting is a server with a next host that takes 7 bits alone, one that takes 8 by BDAT, and one that takes 8 by DATA.
// Reports go to the first one.
type converting struct {
	server                  *server
	seven, eight, eightData *catcher
	client                  *client
}

func newConverting(t *testing.T, more string) converting {
	c := converting{seven: startCatcher(t, &receiver.Server{SevenBit: true}), eight: startCatcher(t, &receiver.Server{}),
		eightData: startCatcher(t, &receiver.Server{}, "CHUNKING")}
	c.server = serving(t, withRoutes(routeTo("seven.example", "smtp://"+c.seven.addr),
		routeTo("eight.example", "smtp://"+c.eight.addr), routeTo("data.example", "smtp://"+c.eightData.addr))+more)
	c.client = dial(t, c.server, sender.Options{})
	return c
}

// readOtherwise are messages whose header Python ends elsewhere than package mail, and why.
var readOtherwise = map[string]string{
	"obsolete.msg": "a field has 8 bits in its name: there Python's header ends",
}

// TestConvertedRealMail sends the messages that are not 7-bit to a host that takes nothing else: each arrives converted, or
// comes back with 5.6.3 in a report that is 7-bit too.
func TestConvertedRealMail(t *testing.T) {
	mails := map[string]string{}
	for name, content := range realMail(t) {
		if content = inLines(content); !isASCII(content) {
			mails[name] = content
		}
	}
	for name, content := range oddMail() {
		if !isASCII(content) {
			mails[name] = content
		}
	}
	c := newConverting(t, "")
	names := map[string]string{} // by local part of the recipient, and by that of the sender
	for name, content := range mails {
		n := len(names) / 2
		to, from := fmt.Sprintf("m%d", n), fmt.Sprintf("back%d", n)
		names[to], names[from] = name, name
		c.client.send(sender.Envelope{}, content, from+"@seven.example", to+"@seven.example")
	}
	var pairs [][3]string
	returned := 0
	for local, p := range c.seven.byRecipient(t, c.server, len(mails)) {
		name := names[local]
		checkSevenBit(t, name, p.content)
		if p.mail.Body == smtp.Body8BitMIME {
			t.Errorf("%s came as 8BITMIME", name)
		}
		if strings.HasPrefix(local, "back") {
			returned++
			report := readReport(t, name, p.content)
			if r := report.Recipients[0]; r.Action != dsn.Failed || r.Status != (smtp.EnhancedCode{5, 6, 3}) {
				t.Errorf("%s: the report says %s %v", name, r.Action, r.Status)
			}
			t.Logf("%s comes back: %.200s", name, report.Recipients[0].Diagnostic.Text)
			continue
		}
		if readOtherwise[path.Base(name)] == "" {
			pairs = append(pairs, [3]string{name, "Received: x\r\n" + mails[name], p.content})
		}
	}
	c.client.hangUp()
	c.server.stop()
	t.Logf("%d messages, of which %d came back", len(mails), returned)
	if len(pairs) < 10 || returned > len(mails)/4 {
		t.Errorf("of %d messages %d were converted and %d came back", len(mails), len(pairs), returned)
	}
	sameParts(t, pairs)
}

// TestUnconvertible has mail of which there is no 7-bit form: it comes back with 5.6.3 from a host that takes nothing else, and
// goes as it is where 8-bit is taken.
func TestUnconvertible(t *testing.T) {
	c := newConverting(t, "")
	mails := map[string]string{
		"address":  "From: j\xc3\xb6rg@example.org\r\nSubject: x\r\n\r\nbody\r\n",
		"partial":  "MIME-Version: 1.0\r\nContent-Type: message/partial; id=a; number=1; total=2\r\n\r\nSubject: x\r\n\r\nh\xe4r\r\n",
		"encoding": "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-rot13\r\n\r\nh\xe4r\r\n",
	}
	for name, content := range mails {
		c.client.send(sender.Envelope{}, content, name+"@seven.example", "joe@seven.example", name+"@eight.example")
	}
	for name, p := range c.seven.byRecipient(t, c.server, len(mails)) {
		checkSevenBit(t, name, p.content)
		report := readReport(t, name, p.content)
		r := report.Recipients[0]
		if len(report.Recipients) != 1 || r.Final.Text != "joe@seven.example" || r.Status != (smtp.EnhancedCode{5, 6, 3}) {
			t.Errorf("%s: the report says %+v", name, report.Recipients)
		}
		if report.Original == nil || !p.mail.From.IsNull() {
			t.Errorf("%s: a report from %s returns %+v", name, p.mail.From, report.Original)
		}
	}
	for name, p := range c.eight.byRecipient(t, c.server, len(mails)) {
		if !below(p.content, mails[name]) {
			t.Errorf("%s arrives as %q", name, p.content)
		}
	}
	c.client.hangUp()
	c.server.stop()
}

// readReport reads a report, which must come from no address and be answered by nobody.
func readReport(t *testing.T, name, content string) *dsn.Parsed {
	t.Helper()
	report, err := dsn.Parse(strings.NewReader(content))
	if err != nil || len(report.Recipients) == 0 {
		t.Fatalf("%s: no report: %v\n%.2000s", name, err, content)
	}
	header, _, _ := strings.Cut(content, "\n\n")
	if h, _, ok := strings.Cut(content, "\r\n\r\n"); ok {
		header = h
	}
	if !strings.Contains(header, "\nAuto-Submitted: auto-") { // RFC 3834 5
		t.Errorf("%s: the report is not Auto-Submitted:\n%s", name, header)
	}
	return report
}

// everyOctet is content that only binary mail can have.
func everyOctet() string {
	var b strings.Builder
	for i := range 3000 {
		b.WriteByte(byte(i * 7 / 3))
	}
	return b.String() + "\r\n.\r\n\n.\n\x00"
}

// binaryMail has a text and a part of any octets.
func binaryMail() (mail, text, data string) {
	text, data = "Ahoj, k\xc5\xaf\xc5\x88!\r\n.\r\n", everyOctet()
	return "From: ann@example.org\r\nSubject: both\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n" +
		"Content-Transfer-Encoding: binary\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text +
		"\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + data + "\r\n--b--\r\n", text, data
}

// leaves decodes the parts of a multipart message with Go's own packages.
func leaves(t *testing.T, message string) (parts, encodings []string) {
	t.Helper()
	m, err := stdmail.ReadMessage(strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return parts, encodings
		}
		if err != nil {
			t.Fatal(err)
		}
		encoding := part.Header.Get("Content-Transfer-Encoding")
		parts, encodings = append(parts, decoded(t, encoding, part)), append(encodings, encoding)
	}
}

// TestConvertedBinary sends BINARYMIME to hosts that take none: over BDAT and DATA, with 8 bits and with 7.
func TestConvertedBinary(t *testing.T) {
	content, text, data := binaryMail()
	c := newConverting(t, "")
	c.client.send(sender.Envelope{Binary: true}, content, "ann@here.example", "a@eight.example", "b@data.example", "c@seven.example")
	for to, want := range map[*catcher]string{c.eight: "8bit", c.eightData: "8bit", c.seven: "7bit"} {
		var p parcel
		for _, p = range to.byRecipient(t, c.server, 1) {
		}
		if body := map[string]smtp.Body{"8bit": smtp.Body8BitMIME, "7bit": smtp.BodyDefault}[want]; p.mail.Body != body {
			t.Errorf("it came with BODY %q, want %q", p.mail.Body, body)
		}
		if want == "7bit" {
			checkSevenBit(t, want, p.content)
		}
		checkLines(t, want, p.content)
		if strings.Contains(p.content, "\x00") {
			t.Errorf("%s has NUL", want)
		}
		parts, encodings := leaves(t, p.content)
		if !slices.Equal(parts, []string{text, data}) {
			t.Errorf("the parts are %.200q", parts)
		}
		if encodings[1] != "base64" || (encodings[0] == "8bit") != (want == "8bit") {
			t.Errorf("for %s the encodings are %q", want, encodings)
		}
		if n := p.mail.Size; n != int64(len(p.content)) {
			t.Errorf("SIZE=%d for %d octets", n, len(p.content))
		}
	}
	c.client.hangUp()
	c.server.stop()
}

// TestSignedReturned: where the configuration wants signatures to stay valid, signed mail comes back from a host that would
// take it only in another form, and goes as it is to all others.
func TestSignedReturned(t *testing.T) {
	const signature = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=from; bh=x; b=y\r\n"
	c := newConverting(t, "[delivery]\nsigned = \"return\"\n")
	const eight = "From: ann@example.org\r\nSubject: x\r\n\r\nk\xc5\xaf\xc5\x88\r\n"
	const seven = "From: ann@example.org\r\nSubject: x\r\n\r\nhorse\r\n"
	c.client.send(sender.Envelope{}, signature+eight, "back@seven.example", "signed@seven.example", "signed@eight.example")
	c.client.send(sender.Envelope{}, signature+seven, "back@seven.example", "ascii@seven.example")
	c.client.send(sender.Envelope{}, eight, "back@seven.example", "unsigned@seven.example")
	got := c.seven.byRecipient(t, c.server, 3)
	report := readReport(t, "the report", got["back"].content)
	checkSevenBit(t, "the report", got["back"].content)
	r := report.Recipients[0]
	if len(report.Recipients) != 1 || r.Final.Text != "signed@seven.example" || r.Status != (smtp.EnhancedCode{5, 6, 3}) ||
		!strings.Contains(r.Diagnostic.Text, "signature") {
		t.Errorf("the report says %+v", report.Recipients)
	}
	if !below(got["ascii"].content, signature+seven) {
		t.Errorf("signed mail in ASCII arrives as %q", got["ascii"].content)
	}
	if p := got["unsigned"]; !strings.Contains(p.content, "\r\n\r\nk=C5=AF=C5=88\r\n") && !strings.Contains(p.content, "a8WvxYg") {
		t.Errorf("mail without a signature arrives as %q", p.content)
	}
	if p := c.eight.byRecipient(t, c.server, 1)["signed"]; !below(p.content, signature+eight) {
		t.Errorf("where 8-bit is taken, signed mail arrives as %q", p.content)
	}
	c.client.hangUp()
	c.server.stop()
}

// decoded takes a transfer encoding off.
func decoded(t *testing.T, encoding string, r io.Reader) string {
	t.Helper()
	switch encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("%s: %v", encoding, err)
	}
	return string(b)
}
