package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// parcel is a message that a catcher took, with the commands that came before it.
type parcel struct {
	mail    smtp.Mail
	rcpts   []smtp.Rcpt
	content string
}

// catcher is a next host that keeps what is said to it. Recipients whose local part starts with "refuse" get 550, and with
// "later" 451.
type catcher struct {
	addr string
	mu   sync.Mutex
	all  []parcel
}

// startCatcher runs a server as a next host. What it says to EHLO is without the extensions in hide.
func startCatcher(t *testing.T, srv *receiver.Server, hide ...string) *catcher {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &catcher{addr: l.Addr().String()}
	srv.Handler, srv.Hostname = c, "next.example"
	go srv.Serve(hiding{l, hide})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
	})
	return c
}

// hiding is a listener whose connections rename what a server offers: a client does not know what it sees then.
type hiding struct {
	net.Listener
	words []string
}

func (h hiding) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	return renaming{c, h.words}, err
}

type renaming struct {
	net.Conn
	words []string
}

func (r renaming) Write(p []byte) (int, error) {
	said := p
	for _, w := range r.words {
		said = bytes.ReplaceAll(said, []byte(w), []byte("X-"+w))
	}
	if _, err := r.Conn.Write(said); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *catcher) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }

func (c *catcher) Rcpt(_ context.Context, _ *receiver.Session, r smtp.Rcpt) smtp.Reply {
	switch {
	case strings.HasPrefix(r.To.Local, "refuse"):
		return smtp.Replyf(550, smtp.EnhancedCode{5, 1, 1}, "There is no %s here", r.To.Local)
	case strings.HasPrefix(r.To.Local, "later"):
		return smtp.Replyf(451, smtp.EnhancedCode{4, 2, 1}, "%s is asleep", r.To.Local)
	}
	return smtp.Reply{}
}

func (c *catcher) Data(_ context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	b, err := io.ReadAll(content)
	if err != nil {
		return smtp.Reply{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, parcel{s.Mail(), slices.Clone(s.Recipients()), string(b)})
	return smtp.Reply{}
}

func (c *catcher) parcels() []parcel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// byRecipient waits for n parcels and gives them by the local part of their first recipient.
func (c *catcher) byRecipient(t *testing.T, s *server, n int) map[string]parcel {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	eventually(t, fmt.Sprintf("%d messages arrive", n), time.Minute, func() bool {
		if time.Now().After(end) {
			t.Fatalf("%d of %d messages arrived\n%.3000s", len(c.parcels()), n, s.log)
		}
		return len(c.parcels()) >= n
	})
	m := map[string]parcel{}
	for _, p := range c.parcels() {
		if _, twice := m[p.rcpts[0].To.Local]; twice {
			t.Errorf("%s got two messages", p.rcpts[0].To)
		}
		m[p.rcpts[0].To.Local] = p
	}
	return m
}

// route is a route of a configuration: mail for a domain goes to a target.
func routeTo(domain, target string, more ...string) string {
	return fmt.Sprintf("[[route]]\nmatch = { domain = [%q] }\nto = %q\n%s\n", domain, target, strings.Join(more, "\n"))
}

// withRoutes is a configuration that takes mail from the loopback and sends it by routes; localhost and here.example have
// their Maildirs in data/mail.
func withRoutes(routes ...string) string {
	return `
hostname = "mx.example.org"
data_dir = "data"
[[listen]]
address = "127.0.0.1:0"
networks = ["127.0.0.0/8"]
` + strings.Join(routes, "") + routeTo("here.example", "maildir:{data_dir}/mail/{local}")
}

// serving runs a server in a folder of its own. The race detector waits for a second at the end of a process, unless told.
func serving(t *testing.T, config string) *server {
	t.Helper()
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return startServer(t, t.TempDir(), config)
}

// client sends messages in one session, over BDAT and as they are.
type client struct {
	t *testing.T
	c *sender.Client
}

func dial(t *testing.T, s *server, o sender.Options) *client {
	t.Helper()
	c, err := sender.Dial(t.Context(), s.addr, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c}
}

// hangUp ends the session: a server that stops waits for its clients to hear of it.
func (c *client) hangUp() { c.c.Close() }

// send sends a message to recipients, of which each must be taken.
func (c *client) send(env sender.Envelope, content string, from string, to ...string) {
	c.t.Helper()
	env.From, env.Verbatim = aPath(c.t, from), true
	for _, r := range to {
		env.To = append(env.To, aPath(c.t, r))
	}
	env.EightBit = env.EightBit || !isASCII(content)
	r, err := c.c.Send(c.t.Context(), env, strings.NewReader(content))
	if err != nil {
		c.t.Fatal(err)
	}
	for i, o := range r.Outcomes {
		if !o.Reply.Positive() {
			c.t.Fatalf("%.100q to %s: %s", content, to[i], o.Reply.Text())
		}
	}
}

// aPath reads an address without its brackets.
func aPath(t *testing.T, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath("<" + s + ">")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
}

// mimeVectors are messages of other projects. They lie beside the checkout, for they have licences of their own.
const mimeVectors = "../../../shared/vectors/mime"

// realMail reads the messages of the vectors by their names.
func realMail(t *testing.T) map[string]string {
	t.Helper()
	if _, err := os.Stat(mimeVectors); errors.Is(err, fs.ErrNotExist) {
		t.Skip("left out, for the messages are not beside the checkout: ", mimeVectors)
	}
	all := map[string]string{}
	err := filepath.WalkDir(mimeVectors, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".raw", ".msg", ".eml", ".txt"}, filepath.Ext(name)) ||
			strings.Contains(name, "_decoded_") { // a part of a message
			return err
		}
		b, err := os.ReadFile(name)
		all[name] = string(b)
		return err
	})
	if err != nil || len(all) < 150 {
		t.Fatalf("%d messages read, %v", len(all), err)
	}
	return all
}

var lineEnd = regexp.MustCompile("\r\n|\r|\n")

// inLines ends all lines with CRLF, as SMTP has them.
func inLines(s string) string { return lineEnd.ReplaceAllString(s, "\r\n") }

// oddMail are messages that a server may stumble over. The lines of all but those in BINARYMIME end with CRLF.
func oddMail() map[string]string {
	long := strings.Repeat("long ", 1000)
	every := make([]byte, 0, 256)
	for c := range 256 {
		if c != '\r' && c != '\n' && c != 0 {
			every = append(every, byte(c))
		}
	}
	return map[string]string{
		"nothing at all":           "",
		"an empty line":            "\r\n",
		"two empty lines":          "\r\n\r\n",
		"an empty body":            "Subject: x\r\n\r\n",
		"no body":                  "Subject: x\r\n",
		"no body, no line end":     "Subject: x",
		"no header":                "\r\nThe body.\r\n",
		"text alone":               "no colon here\r\nnor here\r\n\r\nSubject: not a field\r\n",
		"no final line end":        "Subject: x\r\n\r\nThe end",
		"an end with a dot":        "Subject: x\r\n\r\n.",
		"a dot":                    ".\r\n",
		"dots":                     "Subject: x\r\n\r\n.\r\n..\r\n...\r\n.\r\n",
		"lines that start so":      "Subject: x\r\n\r\n.a\r\n..b\r\n. \r\n .\r\n",
		"a dot, commands":          "Subject: x\r\n\r\n.\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
		"dots in the header":       ".Subject: x\r\n.\r\n..\r\n\r\n",
		"a fold first":             " folded: nothing\r\nSubject: x\r\n\r\n",
		"a blank line with spaces": "Subject: x\r\n \t \r\nTo: y\r\n\r\nbody\r\n",
		"a field without a name":   ": no name\r\nSubject: x\r\n\r\nbody\r\n",
		"space before the colon":   "Subject : x\r\nTo\t: y\r\n\r\nbody\r\n",
		"odd names":                "!#$%&'*+/=?^_`{|}~: x\r\nSubject;: y\r\n\r\nbody\r\n",
		"no space, much space":     "Subject:x\r\nTo:\t  \t y  \r\nCc:\r\n\r\nbody\r\n",
		"the same field again":     "To: a\r\nTo: b\r\nFrom: c\r\nFrom: d\r\nDate: e\r\nDate: f\r\n\r\nbody\r\n",
		"fields of servers":        "Return-Path: <x@example.org>\r\nDelivered-To: y@example.org\r\nBcc: z@example.org\r\n\r\nbody\r\n",
		"a broken date":            "Date: yesterday\r\nMessage-ID: none\r\nFrom: nobody\r\n\r\n",
		"8-bit in the header":      "Subject: h\xe4r\r\nX-\xff: \x80\r\n\r\n",
		"8-bit in the body":        "Subject: x\r\n\r\nh\xe4r \xc3\xa4\r\n",
		"every octet":              "Subject: x\r\n\r\n" + string(every) + "\r\n",
		"control characters":       "Subject: \x01\x7f\x1b[31m\r\n\r\n\x08\x0c\x1a\x04\r\n",
		"NUL in lines":             "Subject: \x00\r\n\r\n\x00\r\n",
		"spaces at line ends":      "Subject: x   \r\n\r\nbody  \r\n\t\r\n  \r\n",
		"empty lines at the end":   "Subject: x\r\n\r\nbody\r\n\r\n\r\n\r\n",
		"a long line":              "Subject: x\r\n\r\n" + long + "\r\nshort\r\n",
		"a long field":             "Subject: " + long + "\r\n\r\nbody\r\n",
		"many fields":              strings.Repeat("X-Many: field\r\n", 3000) + "\r\nbody\r\n",
		"a long name":              strings.Repeat("x", 5000) + ": y\r\n\r\nbody\r\n",
		"a line of 1 MB":           "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef", 1<<16) + "\r\n",
		"a line of 1 MB, 8-bit":    "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcde\xe4", 1<<16),
		"short lines, many":        "Subject: x\r\n\r\n" + strings.Repeat(".\r\n", 1<<16),
		"From with its escape":     "Subject: x\r\n\r\nFrom me\r\n>From you\r\n",
		"a wrong encoding":         "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%\r\n",
		"a boundary that never is": "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n",
		"an open multipart":        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b",
	}
}

// oddBinary are messages that no lines need hold (RFC 3030 3).
func oddBinary() map[string]string {
	var every strings.Builder
	for c := range 256 {
		every.WriteByte(byte(c))
	}
	return map[string]string{
		"NUL":                      "Subject: x\r\n\r\n\x00\x00\x00",
		"NUL, very many":           "Subject: x\r\n\r\n" + strings.Repeat("\x00", 1<<20),
		"a bare LF":                "Subject: x\r\n\r\na\nb\n",
		"a bare CR":                "Subject: x\r\n\r\na\rb\r",
		"line ends the other way":  "Subject: x\r\n\r\n\n\r\n\r\r\r\n\n",
		"the end of DATA":          "Subject: x\r\n\r\n\n.\n\r.\r\r\n.\r\nQUIT\r\n",
		"every octet":              "Subject: x\r\n\r\n" + strings.Repeat(every.String(), 40),
		"a header with bare LFs":   "Subject: x\nTo: y\n\nbody\n",
		"nothing":                  "",
		"a CR alone":               "\r",
		"a LF alone":               "\n",
		"no line end in 1 MB, all": "Subject: x\r\n\r\n" + strings.Repeat("\xff\xfe", 1<<19),
	}
}

// traceField is what a server puts on top of a message, without its folds.
var traceField = regexp.MustCompile(`^Received: from \[127\.0\.0\.1\] \(\[127\.0\.0\.1\]\) by mx\.example\.org \(holub\) with ESMTP ` +
	`id [0-9a-z]{20}( for <[^ ]+>)?; \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}$`)

// folded is one field.
var folded = regexp.MustCompile(`^[^ \t\r\n][^\r\n]*\r\n([ \t][^\r\n]+\r\n)*$`)

// below tells that content is what was sent below the one field that the server puts on top, and nothing else.
func below(content, sent string) bool {
	top, ok := strings.CutSuffix(content, sent)
	return ok && folded.MatchString(top) && traceField.MatchString(strings.Join(strings.Fields(top), " "))
}

// TestUntouched sends messages through the server to a host that takes BDAT and to one that takes DATA alone. Each arrives
// octet for octet, below one Received field; DATA alone gives a last line the end that it has not.
func TestUntouched(t *testing.T) {
	u := newUntouched(t)
	for name, content := range oddMail() {
		u.send(name, content, false)
	}
	for name, content := range oddBinary() {
		u.send(name, content, true)
	}
	u.check()
}

// TestUntouchedRealMail does so with the mail of others: as it is, for what is not in lines is BINARYMIME, and in lines.
func TestUntouchedRealMail(t *testing.T) {
	all := realMail(t)
	u := newUntouched(t)
	for name, content := range all {
		u.send(name, inLines(content), false)
		if content != inLines(content) {
			u.send(name+" as it is", content, true)
		}
	}
	u.check()
}

// untouched is a test that compares what comes out with what went in.
type untouched struct {
	t          *testing.T
	server     *server
	bdat, data *catcher
	byBDAT     *client
	byDATA     *client
	names      []string
	sent       map[string]sent // by the local part of the recipient
}

// sent is what went in, to be found at one of the hosts.
type sent struct {
	name, content string
	binary        bool
}

func newUntouched(t *testing.T) *untouched {
	u := &untouched{t: t, sent: map[string]sent{}}
	u.bdat = startCatcher(t, &receiver.Server{Offer: smtp.Extensions{BinaryMIME: true}})
	u.data = startCatcher(t, &receiver.Server{}, "CHUNKING")
	u.server = serving(t, withRoutes(routeTo("bdat.example", "smtp://"+u.bdat.addr), routeTo("data.example", "smtp://"+u.data.addr)))
	u.byBDAT = dial(t, u.server, sender.Options{})
	u.byDATA = dial(t, u.server, sender.Options{NoChunking: true})
	return u
}

// send sends a message in all ways that it can take. What is binary can't go to a host without BDAT as it is.
func (u *untouched) send(name, content string, binary bool) {
	u.t.Helper()
	n := len(u.names)
	u.names = append(u.names, name)
	local := func(way string) string {
		l := fmt.Sprintf("m%d-%s", n, way)
		u.sent[l] = sent{name, content, binary}
		return l
	}
	if binary {
		u.byBDAT.send(sender.Envelope{Binary: true}, content, "ann@example.org", local("by-bdat")+"@bdat.example")
		return
	}
	u.byBDAT.send(sender.Envelope{}, content, "ann@example.org", local("by-bdat")+"@bdat.example", local("to-data")+"@data.example")
	if inLines(content) == content && (content == "" || strings.HasSuffix(content, "\r\n")) {
		u.byDATA.send(sender.Envelope{}, content, "ann@example.org", local("by-data")+"@bdat.example")
	}
}

func (u *untouched) check() {
	t := u.t
	t.Helper()
	toData := 0
	for local := range u.sent {
		if strings.HasSuffix(local, "-to-data") {
			toData++
		}
	}
	got := u.bdat.byRecipient(t, u.server, len(u.sent)-toData)
	for local, p := range u.data.byRecipient(t, u.server, toData) {
		got[local] = p
	}
	for local, s := range u.sent {
		p, arrived := got[local]
		if !arrived {
			t.Errorf("%s (%s) did not arrive", s.name, local)
			continue
		}
		want := s.content
		if strings.HasSuffix(local, "-to-data") && want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n" // the only difference that there may be (RFC 5321 4.1.1.4)
		}
		if !below(p.content, want) {
			t.Errorf("%s (%s): %d octets arrived for %d: %.300q..., end %q, want %.100q", s.name, local, len(p.content), len(want),
				p.content, p.content[max(0, len(p.content)-40):], want)
		}
		u.checkBody(local, s, p)
	}
	u.byBDAT.hangUp()
	u.byDATA.hangUp()
	u.server.stop()
	t.Logf("%d messages, %d ways", len(u.names), len(u.sent))
}

// checkBody wants a message to be declared as what it is, and as no more (RFC 6152 3, RFC 3030 3).
func (u *untouched) checkBody(local string, s sent, p parcel) {
	u.t.Helper()
	want := smtp.BodyDefault
	switch {
	case s.binary:
		want = smtp.BodyBinaryMIME
	case !isASCII(s.content):
		want = smtp.Body8BitMIME
	}
	if p.mail.Body != want {
		u.t.Errorf("%s (%s) came with BODY %v, want %v", s.name, local, p.mail.Body, want)
	}
}
