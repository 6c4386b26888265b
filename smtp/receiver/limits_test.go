package receiver_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// discard is a Handler that reads and accepts everything.
type discard struct{}

func (discard) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }
func (discard) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply { return smtp.Reply{} }
func (discard) Data(_ context.Context, _ *receiver.Session, content io.Reader) smtp.Reply {
	io.Copy(io.Discard, content)
	return smtp.Reply{}
}

// allocated tells how many octets were allocated while f ran, freed ones included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestEndless: what a client sends without end costs the server nothing but its time.
func TestEndless(t *testing.T) {
	const size = 16 << 20
	piece := strings.Repeat("x", 64<<10)
	lines := strings.Repeat("a line of the content\r\n", 3<<10)
	for _, tt := range []struct {
		name, before, text string
		maxSize            int64
	}{
		{"line", "", piece, 0},
		{"line of content", toContent, piece, -1},
		{"content", toContent, lines, -1},
		{"content over the limit", toContent, lines, 1 << 20},
		{"refused content", toContent + "\n", lines, -1},
		{"chunk", toChunks + "BDAT 99999999999\r\n", lines, -1},
		{"refused chunk", toChunks + "BDAT 99999999999\r\n\n", lines, -1},
		{"early chunk", "BDAT 99999999999\r\n", lines, -1},
		{"chunk over the limit", toChunks + "BDAT 99999999999\r\n", lines, 1 << 20},
		{"dots", toContent, strings.Repeat("\r\n..", 16<<10), -1},
		{"CRs", toContent, strings.Repeat("\r", 64<<10), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			endless := &again{text: tt.text, times: size / len(tt.text)}
			conn := &scriptConn{in: io.MultiReader(strings.NewReader(tt.before), endless)}
			srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}, MaxSize: tt.maxSize}
			if n := allocated(func() { srv.ServeConn(conn) }); n > 1<<20 {
				t.Errorf("%d octets were allocated for %d sent", n, size)
			}
			if conn.written > 1000 {
				t.Errorf("the server wrote %d octets", conn.written)
			}
		})
	}
}

// TestEndlessCommands: replies do not pile up while a client sends commands and reads nothing.
func TestEndlessCommands(t *testing.T) {
	const most = 100
	conn := &scriptConn{in: &again{text: strings.Repeat("NOOP\r\n", 100), times: 1000}}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	if n := allocated(func() { srv.ServeConn(conn) }); n > 64<<10 {
		t.Errorf("%d octets were allocated", n)
	}
	want := len("220 mx.example.org ESMTP holub\r\n") + most*len("250 2.0.0 Ok\r\n") + len("421 4.7.0 Too many commands without mail\r\n")
	if conn.written != want {
		t.Errorf("the server wrote %d octets, want %d", conn.written, want)
	}
}

// TestManyRecipients: ten thousand recipients in one transaction.
func TestManyRecipients(t *testing.T) {
	var b strings.Builder
	b.WriteString("HELO client.example\r\nMAIL FROM:<alice@example.org>\r\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "RCPT TO:<user%d@example.net>\r\n", i)
	}
	b.WriteString("DATA\r\nHi\r\n.\r\nQUIT\r\n")
	h := &recorder{}
	conn := &scriptConn{in: strings.NewReader(b.String()), keep: true}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: h}
	if n := allocated(func() { srv.ServeConn(conn) }); n > 8<<20 {
		t.Errorf("%d octets were allocated", n)
	}
	got := conn.out.String()
	accepted, refused := strings.Count(got, "250 2.1.5 Ok\r\n"), strings.Count(got, "452 4.5.3 ")
	if accepted != receiver.DefaultMaxRecipients || accepted+refused != 10_000 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
	if len(h.messages) != 1 || strings.Count(h.messages[0], "RCPT TO:") != accepted {
		t.Errorf("%d messages are kept, or not for the recipients that were accepted", len(h.messages))
	}
}

// TestMaxSessions: one session more than there may be is turned away, and the next has its place again.
func TestMaxSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &receiver.Server{Hostname: "mx.example.org", Handler: &recorder{}, MaxSessions: 2}
		first, _ := begin(t, srv), begin(t, srv)
		turnedAway := func() string {
			near, far := net.Pipe()
			defer near.Close()
			go srv.ServeConn(far)
			got, _ := io.ReadAll(near)
			return string(got)
		}
		if got := turnedAway(); got != "421 mx.example.org has too many sessions, try again later\r\n" {
			t.Errorf("the third session is told %q", got)
		}
		if srv.Sessions() != 2 {
			t.Errorf("%d sessions", srv.Sessions())
		}
		first.ask("QUIT\r\n")
		begin(t, srv)

		near, far := net.Pipe() // a client that does not even read its 421 holds nothing for long
		defer near.Close()
		start := time.Now()
		srv.ServeConn(far)
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v to turn away a client that does not read", took)
		}
	})
}

// TestNoLimits: negative numbers switch limits off.
func TestNoLimits(t *testing.T) {
	const times = 2 * receiver.DefaultMaxRecipients
	conn := &scriptConn{keep: true, in: io.MultiReader(
		strings.NewReader("HELO client.example\r\nMAIL FROM:<alice@example.org>\r\n"),
		&again{text: "RCPT TO:<bob@example.net>\r\nXYZZY\r\n", times: times})}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{},
		MaxSize: -1, MaxRecipients: -1, MaxErrors: -1, MaxSessions: -1}
	srv.ServeConn(conn)
	accepted, wrong := strings.Count(conn.out.String(), "250 2.1.5"), strings.Count(conn.out.String(), "500 5.5.1")
	if accepted != times || wrong != times {
		t.Errorf("%d recipients and %d errors, want %d each", accepted, wrong, times)
	}
}

// TestWrites: the replies to a group leave in one write (RFC 2920 3.2), however its octets arrive in reads.
func TestWrites(t *testing.T) {
	var recipients strings.Builder
	for i := range 50 {
		fmt.Fprintf(&recipients, "RCPT TO:<user%d@example.net>\r\n", i)
	}
	exchange := []string{
		"EHLO client.example\r\n",
		"MAIL FROM:<alice@example.org>\r\n" + recipients.String() + "DATA\r\n",
		strings.Repeat("a line of the content\r\n", 200) + ".\r\n",
		"QUIT\r\n",
	}
	h := &recorder{}
	conn := &scriptConn{in: groups(exchange...), keep: true}
	(&receiver.Server{Hostname: "mx.example.org", Handler: h}).ServeConn(conn)
	if len(h.messages) != 1 {
		t.Fatalf("%d messages are kept: %s", len(h.messages), conn.out.String())
	}
	if want := 1 + len(exchange); conn.writes != want { // the greeting, and one for each group
		t.Errorf("the server wrote %d times, want %d", conn.writes, want)
	}
}

// TestZeroServer: a server that was told nothing refuses all mail.
func TestZeroServer(t *testing.T) {
	conn := &scriptConn{in: strings.NewReader("HELO client.example\r\nMAIL FROM:<alice@example.org>\r\n"), keep: true}
	(&receiver.Server{Hostname: "mx.example.org"}).ServeConn(conn)
	if got := conn.out.String(); !strings.HasSuffix(got, "\r\n554 5.3.2 This server takes no mail\r\n") {
		t.Errorf("the server says %q", got)
	}
	var nameless receiver.Server
	conn = &scriptConn{in: strings.NewReader("QUIT\r\n"), keep: true}
	nameless.ServeConn(conn)
	if got := conn.out.String(); !strings.Contains(got, " ESMTP holub\r\n221 2.0.0 ") {
		t.Errorf("the server says %q", got)
	}
}

// TestLog: each refusal is logged once, with the verb of its command and the reply as it was sent.
func TestLog(t *testing.T) {
	var log strings.Builder
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "client" {
			return slog.Attr{}
		}
		return a
	}
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: plain}))
	conn := &scriptConn{in: groups("EHLO\r\n", "XYZZY\r\n", "N\x00\r\n", toContent, "RSET\n\r\n.\r\n", "QUIT\r\n")}
	(&receiver.Server{Hostname: "mx.example.org", Handler: discard{}, Logger: logger}).ServeConn(conn)
	want := `level=INFO msg=refused command=EHLO reply="501 The syntax is: EHLO domain"
level=INFO msg=refused command=XYZZY reply="500 5.5.1 No such command; HELP lists those there are"
level=INFO msg=refused command="" reply="500 5.5.2 Not a command: a word of letters, then printable ASCII"
level=INFO msg=refused command=DATA reply="554 5.5.2 A CR or LF stands alone in the message; lines must end with CRLF (RFC 5321 2.3.8)"
`
	if log.String() != want {
		t.Errorf("the log has\n%s\nwant\n%s", log.String(), want)
	}
}

// TestSessionAddresses: a Handler learns who the client is.
func TestSessionAddresses(t *testing.T) {
	var srv receiver.Server
	seen := make(chan string, 1)
	srv.Handler = addressee{discard{}, seen}
	conn, done := overTCP(t, &srv)
	if got, want := <-seen, fmt.Sprintf("%v to %v", conn.LocalAddr(), conn.RemoteAddr()); got != want {
		t.Errorf("the Handler sees %s, want %s", got, want)
	}
	conn.Close()
	<-done
}

type addressee struct {
	discard
	seen chan string
}

func (a addressee) Connect(_ context.Context, s *receiver.Session) smtp.Reply {
	a.seen <- fmt.Sprintf("%v to %v", s.RemoteAddr(), s.LocalAddr())
	return smtp.Reply{}
}

// hoarder keeps what it is given of paths.
type hoarder struct {
	discard
	kept []smtp.Path
}

func (h *hoarder) Rcpt(_ context.Context, _ *receiver.Session, r smtp.Rcpt) smtp.Reply {
	h.kept = append(h.kept, r.To)
	return smtp.Reply{}
}

// TestPathsOfLongLines: a path that is kept does not keep the line it came in, be it filled with space or with a route.
func TestPathsOfLongLines(t *testing.T) {
	const count = 2000
	line := "RCPT TO:<@" + strings.Repeat("route.example,@", 200) + "r.example:bob@example.net>" +
		strings.Repeat(" ", 900) + "\r\n"
	h := &hoarder{}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: h, MaxRecipients: -1}
	before := inUse()
	srv.ServeConn(&scriptConn{in: io.MultiReader(strings.NewReader("EHLO client.example\r\nMAIL FROM:<a@b>\r\n"),
		&again{text: line, times: count})})
	held := inUse() - before
	if len(h.kept) != count || held > count*512 {
		t.Errorf("%d paths hold %d octets", len(h.kept), held)
	}
	runtime.KeepAlive(h)
}
