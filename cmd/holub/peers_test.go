package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/dnstest"
	"github.com/holub-mail/holub/internal/peers"
)

// relayTo is a configuration that takes mail from the loopback and sends all of it to one next host.
func relayTo(next string) string {
	return fmt.Sprintf(`
hostname = "mx.example.org"
data_dir = "data"
[[listen]]
address = "127.0.0.1:0"
networks = ["127.0.0.0/8"]
[[route]]
to = "smtp://%s"
`, next)
}

// oneMessage waits for the first message of a sink.
func oneMessage(t *testing.T, s *sink, what string) taken {
	t.Helper()
	eventually(t, what, 20*time.Second, func() bool { return len(s.messages()) > 0 })
	return s.messages()[0]
}

func TestSwaks(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	s := startServer(t, t.TempDir(), relayTo(next.addr))
	out, err := peers.Command(t, "swaks", "--server", s.addr, "--from", "Joe@Example.ORG", "--to", "Ann@example.net,bob@example.net",
		"--header", "Subject: from swaks", "--body", ".\n..two\nlast").CombinedOutput()
	if err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	m := oneMessage(t, next, "the mail of swaks is relayed")
	if m.from.String() != "<Joe@Example.ORG>" || len(m.to) != 2 || m.to[0].String() != "<Ann@example.net>" {
		t.Errorf("envelope: from %s to %v", m.from, m.to)
	}
	if !strings.Contains(m.content, "\r\nSubject: from swaks\r\n") || !strings.Contains(m.content, "\r\n.\r\n..two\r\nlast\r\n") {
		t.Errorf("content:\n%s", m.content)
	}
	if n := strings.Count(m.content, "Received: "); n != 1 {
		t.Errorf("%d Received fields, want 1:\n%s", n, m.content)
	}
	out, err = peers.Command(t, "swaks", "--server", s.addr, "--from", "a@example.org", "--to", "b@example.net", "--quit-after", "RCPT").CombinedOutput()
	if err != nil {
		t.Errorf("swaks that quits after RCPT: %v\n%s", err, out)
	}
	s.stop()
}

// smtplibScript sends with pipelined extensions off, and talks to the server's odd corners.
const smtplibScript = `
import smtplib, sys
host, port = sys.argv[1].rsplit(":", 1)
with smtplib.SMTP(host, int(port)) as s:
    s.ehlo("client.example.org")
    assert s.has_extn("pipelining") and s.has_extn("8bitmime") and s.has_extn("size"), s.esmtp_features
    assert s.verify("joe")[0] == 252
    assert s.noop()[0] == 250
    assert s.docmd("help")[0] == 214
    refused = s.sendmail("a@example.org", ["b@example.net", "c@example.net"],
        "Subject: smtplib\r\n\r\n.dot\r\nh\u00e4r\r\n".encode("utf-8"), mail_options=["BODY=8BITMIME"])
    assert refused == {}, refused
    assert s.docmd("DATA")[0] == 503
    try:
        s.sendmail("a@example.org", ["b@reject.example"], "x")
        raise SystemExit("a rejected recipient was accepted")
    except smtplib.SMTPRecipientsRefused as e:
        assert e.recipients["b@reject.example"][0] == 550, e.recipients
    s.helo("client.example.org")
    s.sendmail("", ["b@example.net"], "Subject: null reverse-path\r\n\r\n")
`

func TestSmtplib(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	config := strings.Replace(relayTo(next.addr), "[[route]]", "[[route]]\nmatch = { domain = [\"reject.example\"] }\nto = \"reject:not here\"\n[[route]]", 1)
	s := startServer(t, t.TempDir(), config)
	if out, err := peers.Command(t, "python3", "-c", smtplibScript, s.addr).CombinedOutput(); err != nil {
		t.Fatalf("smtplib: %v\n%s\n%s", err, out, s.log)
	}
	eventually(t, "two messages are relayed", 20*time.Second, func() bool { return len(next.messages()) == 2 })
	for _, m := range next.messages() {
		if m.from.IsNull() {
			if !strings.Contains(m.content, " with SMTP\r\n") && !strings.Contains(m.content, " with SMTP ") {
				t.Errorf("after HELO the protocol is SMTP:\n%s", m.content)
			}
		} else if !strings.HasSuffix(m.content, "\r\n\r\n.dot\r\nh\u00e4r\r\n") {
			t.Errorf("content: %q", m.content)
		}
	}
	s.stop()
}

// TestPostfixTools relays from Postfix's smtp-source to its smtp-sink, with several sessions and recipients.
func TestPostfixTools(t *testing.T) {
	var recipients atomic.Int64
	next := startSink(t, "127.0.0.1:0", func(m taken) { recipients.Add(int64(len(m.to))) })
	s := startServer(t, t.TempDir(), relayTo(next.addr))
	out, err := peers.Command(t, "smtp-source", "-s", "10", "-m", "200", "-r", "3", "-l", "4096", "-f", "from@example.org",
		"-t", "to@example.net", s.addr).CombinedOutput()
	if err != nil {
		t.Fatalf("smtp-source: %v\n%s\n%s", err, out, s.log)
	}
	eventually(t, "600 recipients have their mail", 30*time.Second, func() bool { return recipients.Load() == 600 })
	s.stop()
}

func TestPostfixSink(t *testing.T) {
	addr := peers.Sink(t)
	s := startServer(t, t.TempDir(), relayTo(addr))
	out, err := peers.Command(t, "smtp-source", "-s", "5", "-m", "50", "-d", "-l", "4096", s.addr).CombinedOutput()
	if err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, out)
	}
	delivered := func() bool { return strings.Count(s.log.String(), `"msg":"delivered"`) == 50 }
	eventually(t, "smtp-sink took all 50 messages", 30*time.Second, delivered)
	s.stop()
}

// TestMX walks the whole way of a mail for a domain of the DNS: the first host is down, the second refuses for now, the
// third takes it.
func TestMX(t *testing.T) {
	third := startSink(t, "127.0.0.3:0", nil)
	zone := dnstest.Start(t, `
example.net.      MX 10 mx1.example.net.
example.net.      MX 20 mx2.example.net.
example.net.      MX 30 mx3.example.net.
mx1.example.net.  A 127.0.0.4
mx2.example.net.  A 127.0.0.5
mx3.example.net.  A 127.0.0.3
null.example.     MX 0 .
`)
	busy(t, net.JoinHostPort("127.0.0.5", third.port()))
	dir := t.TempDir()
	s := startServer(t, dir, byMX(zone, third.port()))
	sendMail(t, s, "me@localhost", "x@example.net", "Subject: by MX\n\nhello\n")
	oneMessage(t, third, "the third host has the mail")

	sendMail(t, s, "me@localhost", "x@null.example", "Subject: to a domain without mail\n\nhello\n")
	bounce := mailbox(t, filepath.Join(dir, "data", "mail", "me"), 1)[0]
	for _, want := range []string{"Return-Path: <>\n", "Final-Recipient: rfc822; x@null.example\n", "Status: 5.1.10\n",
		"Action: failed\n", "\nSubject: to a domain without mail\n"} {
		if !strings.Contains(bounce, want) {
			t.Errorf("the bounce lacks %q:\n%s", want, bounce)
		}
	}

	sendMail(t, s, "", "x@null.example", "Subject: nobody to tell\n\nhello\n")
	kept := mailbox(t, filepath.Join(dir, "data", "mail", "postmaster"), 1)[0]
	if !strings.Contains(kept, "\nSubject: nobody to tell\n") {
		t.Errorf("the postmaster's copy lacks the message:\n%s", kept)
	}
	s.stop()
	if !strings.Contains(s.log.String(), `"kept_for_postmaster":1`) {
		t.Errorf("the log does not count the kept message:\n%s", s.log)
	}
}

// TestRestart stops a server whose next host is down, and starts it when that host is up.
func TestRestart(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	dir := t.TempDir()
	s := startServer(t, dir, relayTo(dead.Addr().String())+"[delivery]\nretry = [\"1s\"]\n")
	sendMail(t, s, "a@example.org", "b@example.net", "Subject: waits\n\nfor a while\n")
	eventually(t, "the mail is deferred", 20*time.Second, func() bool { return strings.Contains(s.log.String(), `"msg":"deferred"`) })
	s.stop()
	if len(next.messages()) > 0 {
		t.Fatal("the mail went out too early")
	}
	s = startServer(t, dir, relayTo(next.addr)) // what waits takes the new route
	oneMessage(t, next, "the mail goes out after the restart")
	s.stop()
}

// TestSilentDestination sends to a host that accepts connections and never says a word, more than it may have at once,
// and then to another.
func TestSilentDestination(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := startServer(t, t.TempDir(), strings.Replace(relayTo(next.addr), "[[route]]",
		"[[route]]\nmatch = { domain = [\"silent.example\"] }\nto = \"smtp://"+silent.Addr().String()+"\"\n[[route]]", 1))
	for range 40 {
		sendMail(t, s, "a@example.org", "b@silent.example", "Subject: nobody listens\n\n")
	}
	start := time.Now()
	sendMail(t, s, "a@example.org", "b@example.net", "Subject: past it\n\n")
	oneMessage(t, next, "mail to another destination goes by")
	t.Logf("mail to another destination took %v with 40 messages stuck before it", time.Since(start))
	s.kill() // its attempts would wait for minutes
}

// sendMail sends with `holub send`, the command that users have.
func sendMail(t *testing.T, s *server, from, to, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	send := rootCommand()
	send.SetOut(io.Discard)
	send.SetArgs([]string{"send", "--server", s.addr, "--from", from, "--to", to, file})
	if err := send.Execute(); err != nil {
		t.Fatalf("holub send: %v\n%s", err, s.log)
	}
}

// mailbox waits until n messages are in a Maildir and gives them.
func mailbox(t *testing.T, dir string, n int) []string {
	t.Helper()
	var files []string
	eventually(t, fmt.Sprintf("%d messages in %s", n, dir), 20*time.Second, func() bool {
		files, _ = filepath.Glob(filepath.Join(dir, "new", "*"))
		return len(files) == n
	})
	var texts []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

// busy is a host that answers 421 to everyone.
func busy(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "421 busy.example is too busy\r\n")
			c.Close()
		}
	}()
}
