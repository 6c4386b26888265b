package receiver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// selfSigned makes the two sides of a TLS connection to mx.example.org.
func selfSigned(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	cert := certtest.New(t, "mx.example.org")
	return cert.Server(), cert.Client()
}

// asker speaks with a server line by line.
type asker struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newAsker(t *testing.T, conn net.Conn) *asker { return &asker{t, conn, bufio.NewReader(conn)} }

// ask says something and gives the reply, its lines joined by "|".
func (a *asker) ask(text string) string {
	a.t.Helper()
	if _, err := io.WriteString(a.conn, text); err != nil {
		a.t.Fatal(err)
	}
	var lines []string
	for {
		line, err := a.in.ReadString('\n')
		if err != nil {
			return strings.Join(append(lines, err.Error()), "|")
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if len(line) > 3 && line[3] == ' ' {
			return strings.Join(lines, "|")
		}
	}
}

// exchange says and expects by turns.
func (a *asker) exchange(turns ...string) {
	a.t.Helper()
	for i := 0; i < len(turns); i += 2 {
		if got := a.ask(turns[i]); got != turns[i+1] {
			a.t.Fatalf("to %q the server says\n%s\nwant\n%s", turns[i], got, turns[i+1])
		}
	}
}

// tlsWatcher keeps what a session knows of its TLS when content comes.
type tlsWatcher struct {
	*recorder
	versions chan uint16
}

func (h tlsWatcher) Data(ctx context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	version := uint16(0)
	if state := s.TLS(); state != nil {
		version = state.Version
	}
	h.versions <- version
	return h.recorder.Data(ctx, s, content)
}

const (
	greets = "250-mx.example.org greets client.example|250-PIPELINING|250-SIZE 52428800|250-8BITMIME|250-CHUNKING|"
	login  = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
)

// TestStartTLS: what was said before TLS is forgotten, and what needs TLS is offered then.
func TestStartTLS(t *testing.T) {
	server, client := selfSigned(t)
	h := tlsWatcher{&recorder{}, make(chan uint16, 1)}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: h, TLS: server, Auth: clerk{},
		Offer: smtp.Extensions{RequireTLS: true}}
	conn, done := overTCP(t, srv)
	a := newAsker(t, conn)
	a.exchange("", "220 mx.example.org ESMTP holub",
		"EHLO client.example\r\n", greets+"250-ENHANCEDSTATUSCODES|250-STARTTLS|250 AUTH X-PROOF",
		login, "538 5.7.11 This mechanism needs TLS; send STARTTLS first",
		"MAIL FROM:<alice@example.org> REQUIRETLS\r\n", "555 5.5.4 REQUIRETLS is not offered here",
		"STARTTLS\r\n", "220 2.0.0 Ready for TLS")
	a = newAsker(t, tls.Client(conn, client))
	a.exchange("MAIL FROM:<alice@example.org>\r\n", "503 5.5.1 Send EHLO first",
		"EHLO client.example\r\n", greets+"250-ENHANCEDSTATUSCODES|250-AUTH X-PROOF PLAIN|250 REQUIRETLS",
		"STARTTLS\r\n", "503 5.5.1 TLS has been started already",
		login, "235 2.7.0 You have logged in",
		"MAIL FROM:<alice@example.org> REQUIRETLS\r\n", "250 2.1.0 Ok",
		"RCPT TO:<bob@example.net>\r\n", "250 2.1.5 Ok",
		"BDAT 4 LAST\r\nHi\r\n", "250 2.0.0 Kept as 1",
		"QUIT\r\n", "221 2.0.0 mx.example.org closes the channel",
		"", "EOF")
	<-done
	if v := <-h.versions; v != tls.VersionTLS13 {
		t.Errorf("the Handler sees the TLS version %x", v)
	}
	want := "with ESMTPSA client.example\nlogged in as alice\nMAIL FROM:<alice@example.org> REQUIRETLS\n" +
		"RCPT TO:<bob@example.net>\n\"Hi\\r\\n\"\n"
	if h.kept() != want {
		t.Errorf("kept\n%s\nwant\n%s", h.kept(), want)
	}
}

// TestStartTLSInjection: what stands behind STARTTLS in clear text ends the session and is never a command.
func TestStartTLSInjection(t *testing.T) {
	server, _ := selfSigned(t)
	injected := "NOOP\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nBDAT 0 LAST\r\n"
	for _, tt := range []struct{ name, first, second, want string }{
		{"in one write", "STARTTLS\r\n" + injected, "",
			"554 5.5.1 STARTTLS must be the last command before TLS (RFC 3207 4)\r\n"},
		{"later", "STARTTLS\r\n", injected, "220 2.0.0 Ready for TLS\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &recorder{}
				c := begin(t, &receiver.Server{Hostname: "mx.example.org", Handler: h, TLS: server})
				c.ask("EHLO client.example\r\n")
				got := c.ask(tt.first)
				go c.say(tt.second)
				synctest.Wait()
				rest, closed := c.take()
				// What comes behind 220 is an alert of TLS.
				if got != tt.want || !closed || strings.Contains(rest, "250") || h.kept() != "" {
					t.Errorf("the server says %q and %q, hung up: %v, kept: %q", got, rest, closed, h.kept())
				}
			})
		})
	}
}

// TestImplicitTLS: a connection that is TLS from its start, and the words for Received over it (RFC 3848, RFC 6531 4.3).
func TestImplicitTLS(t *testing.T) {
	server, client := selfSigned(t)
	for _, tt := range []struct {
		hello, login, mail, protocol string
		lmtp                         bool
	}{
		{"HELO", "", "", "SMTP", false},
		{"EHLO", "", "", "ESMTPS", false},
		{"EHLO", login, "", "ESMTPSA", false},
		{"EHLO", "", " SMTPUTF8", "UTF8SMTPS", false},
		{"EHLO", login, " SMTPUTF8", "UTF8SMTPSA", false},
		{"LHLO", "", "", "LMTPS", true},
		{"LHLO", login, "", "LMTPSA", true},
		{"LHLO", "", " SMTPUTF8", "UTF8LMTPS", true},
	} {
		t.Run(fmt.Sprintf("%s%s %d", tt.hello, tt.mail, len(tt.login)), func(t *testing.T) {
			h := tlsWatcher{&recorder{}, make(chan uint16, 1)}
			srv := &receiver.Server{Hostname: "mx.example.org", Handler: h, LMTP: tt.lmtp, Auth: clerk{}, TLS: server,
				Offer: smtp.Extensions{UTF8: true}}
			near, far := net.Pipe()
			defer near.Close()
			near.SetDeadline(time.Now().Add(20 * time.Second))
			go srv.ServeConn(tls.Server(far, server))
			a := newAsker(t, tls.Client(near, client))
			if got := a.ask(""); !strings.HasPrefix(got, "220 ") {
				t.Fatalf("the greeting is %q", got)
			}
			for _, line := range []string{tt.hello + " client.example\r\n", tt.login,
				"MAIL FROM:<alice@example.org>" + tt.mail + "\r\n", "RCPT TO:<bob@example.net>\r\n", "BDAT 0 LAST\r\n"} {
				if line == "" {
					continue
				}
				if got := a.ask(line); got[0] != '2' || strings.Contains(got, "STARTTLS") {
					t.Fatalf("to %q the server says %q", line, got)
				}
			}
			if got, _, _ := strings.Cut(h.kept(), "\n"); got != "with "+tt.protocol+" client.example" {
				t.Errorf("the message came %s, want %s", got, tt.protocol)
			}
			if <-h.versions == 0 {
				t.Error("the session knows of no TLS")
			}
		})
	}
}

// TestHandshakeTimeout: a client that begins TLS and says nothing is given up after a minute.
func TestHandshakeTimeout(t *testing.T) {
	server, _ := selfSigned(t)
	t.Run("STARTTLS", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := begin(t, &receiver.Server{Hostname: "mx.example.org", TLS: server})
			c.ask("EHLO client.example\r\nSTARTTLS\r\n")
			<-time.After(time.Minute - time.Second)
			synctest.Wait()
			if _, closed := c.take(); closed {
				t.Error("the server hung up early")
			}
			<-time.After(2 * time.Second)
			synctest.Wait()
			if got, closed := c.take(); !closed {
				t.Errorf("the server waits; it said %q", got)
			}
		})
	})
	t.Run("implicit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			start := time.Now()
			(&receiver.Server{}).ServeConn(tls.Server(far, server))
			if took := time.Since(start); took != time.Minute {
				t.Errorf("the session ended after %v", took)
			}
		})
	})
}

// TestLinger: a client that sends on after a fatal reply still gets that reply.
func TestLinger(t *testing.T) {
	srv := &receiver.Server{Hostname: "mx.example.org", MaxErrors: 1}
	conn, done := overTCP(t, srv)
	if _, err := io.WriteString(conn, "XYZZY\r\n"+strings.Repeat("NOOP\r\n", 10_000)); err != nil {
		t.Fatal(err)
	}
	conn.CloseWrite()
	<-done // all of it has been read or thrown away
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(got), "421 4.7.0 Too many errors\r\n") {
		t.Errorf("the client reads %q, %v", got, err)
	}
}

// TestStartTLSAfterXClient: TLS would drop what XCLIENT said, and make the client pass for its proxy.
func TestStartTLSAfterXClient(t *testing.T) {
	config, _ := selfSigned(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &receiver.Server{Hostname: "mx.example.org", TLS: config, XClient: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	go srv.Serve(l)
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(now)
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	a := newAsker(t, conn)
	a.ask("")
	a.ask("EHLO proxy.example\r\n")
	a.ask("XCLIENT ADDR=203.0.113.9\r\n")
	if hello := a.ask("EHLO client.example\r\n"); strings.Contains(hello, "STARTTLS") {
		t.Errorf("STARTTLS is offered: %s", hello)
	}
	if r := a.ask("STARTTLS\r\n"); r != "503 5.5.1 No STARTTLS after XCLIENT; start TLS first" {
		t.Errorf("got %s", r)
	}
}
