package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// TestHAProxy: behind a proxy that speaks PROXY version 2, the client in the trace is the proxy's client.
func TestHAProxy(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	s := startServer(t, t.TempDir(), strings.Replace(relayTo(next.addr), "[[route]]", "proxy = [\"127.0.0.1/32\"]\n[[route]]", 1))
	front := peers.HAProxy(t, fmt.Sprintf(`
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend smtp
    bind LISTEN
    default_backend holub
backend holub
    server one %s send-proxy-v2
`, s.addr))
	out, err := peers.Command(t, "swaks", "--server", front, "--local-interface", "127.0.0.7", "--from", "a@example.org",
		"--to", "b@example.net").CombinedOutput()
	if err != nil {
		t.Fatalf("swaks: %v\n%s\n%s", err, out, s.log)
	}
	if m := oneMessage(t, next, "the mail is relayed"); !strings.Contains(m.content, "([127.0.0.7])") {
		t.Errorf("the trace does not name the client:\n%s", m.content)
	}
	// swaks can speak PROXY itself, version 1 and 2.
	for i, version := range []string{"1", "2"} {
		out, err := peers.Command(t, "swaks", "--server", s.addr, "--from", "a@example.org", "--to", "b@example.net",
			"--proxy-version", version, "--proxy-family", []string{"TCP4", "AF_INET"}[i], "--proxy-protocol", "STREAM",
			"--proxy-source", "127.0.0.8", "--proxy-source-port", "4321", "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25").CombinedOutput()
		if err != nil {
			t.Errorf("swaks with PROXY version %s: %v\n%s", version, err, out)
		}
	}
	eventually(t, "two more messages name the client of swaks", 20*time.Second, func() bool {
		n := 0
		for _, m := range next.messages() {
			n += strings.Count(m.content, "([127.0.0.8])")
		}
		return n == 2
	})
	// Who comes from there without a header is not served.
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "EHLO a.example\r\n")
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, _ := c.Read(make([]byte, 100)); n > 0 {
		t.Error("a session without a PROXY header was greeted")
	}
	s.end()
}

// TestXClient: swaks speaks for another client where it may, and not elsewhere.
func TestXClient(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	s := startServer(t, t.TempDir(), strings.Replace(relayTo(next.addr), "[[route]]", "xclient = [\"127.0.0.1/32\"]\n[[route]]", 1))
	args := []string{"--server", s.addr, "--from", "a@example.org", "--to", "b@example.net",
		"--xclient", "ADDR=127.0.0.9 NAME=client.example.com HELO=helo.example.com"}
	out, err := peers.Command(t, "swaks", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("swaks: %v\n%s\n%s", err, out, s.log)
	}
	if m := oneMessage(t, next, "the mail is relayed"); !strings.Contains(m.content, "([127.0.0.9])") {
		t.Errorf("the trace does not name the client:\n%s", m.content)
	}
	if out, err := peers.Command(t, "swaks", append(args, "--local-interface", "127.0.0.2")...).CombinedOutput(); err == nil {
		t.Errorf("XCLIENT is taken from anyone\n%s", out)
	}
	s.stop()
}

func TestCurl(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	s := startServer(t, t.TempDir(), relayTo(next.addr))
	cmd := peers.Command(t, "curl", "--silent", "--show-error", "--mail-from", "a@example.org", "--mail-rcpt", "b@example.net",
		"--upload-file", "-", "smtp://"+s.addr+"/client.example.org")
	cmd.Stdin = strings.NewReader("Subject: from curl\r\n\r\n.dot\r\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("curl: %v\n%s\n%s", err, out, s.log)
	}
	if m := oneMessage(t, next, "the mail is relayed"); !strings.HasSuffix(m.content, "\r\nSubject: from curl\r\n\r\n.dot\r\n") {
		t.Errorf("content: %q", m.content)
	}
	s.stop()
	dir := t.TempDir()
	s = startServer(t, dir, withTLS(t, relayTo(next.addr), dir, "implicit"))
	cmd = peers.Command(t, "curl", "--silent", "--show-error", "--insecure", "--mail-from", "a@example.org", "--mail-rcpt", "b@example.net",
		"--upload-file", "-", "smtps://"+s.addr+"/client.example.org")
	cmd.Stdin = strings.NewReader("Subject: from curl over TLS\r\n\r\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("curl with smtps: %v\n%s\n%s", err, out, s.log)
	}
	eventually(t, "the second mail is relayed", 20*time.Second, func() bool { return len(next.messages()) == 2 })
	s.stop()
}

// TestPostfixNextHop relays to a real Postfix, which offers CHUNKING, SMTPUTF8, 8BITMIME and DSN, a mail that needs them.
func TestPostfixNextHop(t *testing.T) {
	postfix := peers.Postfix(t, peers.PostfixOptions{})
	s := startServer(t, t.TempDir(), relayTo(postfix.Addr))
	out, err := peers.Command(t, "python3", "-c", `
import smtplib, sys
host, port = sys.argv[1].rsplit(":", 1)
with smtplib.SMTP(host, int(port)) as s:
    s.ehlo("client.example.org")
    s.sendmail("ann@example.org", ["j\u00f6rg@example.net"], "Subject: gr\u00fc\u00dfe\r\n\r\nhallo\r\n".encode("utf-8"),
        mail_options=["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS", "ENVID=E1"], rcpt_options=["NOTIFY=FAILURE"])
`, s.addr).CombinedOutput()
	if err != nil {
		t.Fatalf("smtplib: %v\n%s\n%s", err, out, s.log)
	}
	if m := postfix.Mail(t, 1)[0]; !strings.Contains(m, "Subject: gr\u00fc\u00dfe\n") || !strings.Contains(m, "with UTF8SMTP") {
		t.Errorf("Postfix has:\n%s", m)
	}
	s.stop()
	if !strings.Contains(s.log.String(), `"msg":"delivered"`) {
		t.Errorf("not delivered:\n%s", s.log)
	}
}

// TestPostfixClient lets a real Postfix relay to holub, an address with UTF-8 included.
func TestPostfixClient(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	s := startServer(t, t.TempDir(), relayTo(next.addr))
	postfix := peers.Postfix(t, peers.PostfixOptions{Transport: "smtp:[127.0.0.1]:" + s.addr[strings.LastIndex(s.addr, ":")+1:]})
	sendMail(t, &server{addr: postfix.Addr, log: s.log}, "ann@example.org", "bob@example.net", "Subject: by Postfix\n\nhello\n")
	if m := oneMessage(t, next, "the mail came through Postfix"); strings.Count(m.content, "Received: ") != 2 {
		t.Errorf("content:\n%s", m.content)
	}
	s.stop()
	dir := t.TempDir()
	here := startServer(t, dir, strings.Replace(relayTo(next.addr), "smtp://"+next.addr, "maildir:{data_dir}/mail/{domain}", 1))
	postfix = peers.Postfix(t, peers.PostfixOptions{Transport: "smtp:[127.0.0.1]:" + here.addr[strings.LastIndex(here.addr, ":")+1:]})
	c, err := sender.Dial(t.Context(), postfix.Addr, sender.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from, _ := smtp.ParsePath("<ján@example.org>")
	to, _ := smtp.ParsePath("<bob@example.net>")
	r, err := c.Send(t.Context(), sender.Envelope{From: from, To: []smtp.Path{to}, UTF8: true, EightBit: true}, strings.NewReader("Subject: ahoj, Ján\r\n\r\nčau\r\n"))
	if err != nil || !r.Outcomes[0].Reply.Positive() {
		t.Fatalf("%v %v", r, err)
	}
	m := mailbox(t, filepath.Join(dir, "data", "mail", "example.net"), 1)[0]
	if !strings.HasPrefix(m, "Return-Path: <ján@example.org>\n") || !strings.Contains(m, "with UTF8SMTP") || !strings.Contains(m, "\nSubject: ahoj, Ján\n") || !strings.HasSuffix(m, "\n\nčau\n") {
		t.Errorf("the mailbox has:\n%s", m)
	}
	here.stop()
}

// TestDovecotLMTP delivers into Dovecot's mailboxes.
func TestDovecotLMTP(t *testing.T) {
	dovecot := peers.DovecotLMTP(t)
	for name, to := range map[string]string{"socket": "lmtp://unix:" + dovecot.Socket, "tcp": "lmtp://" + dovecot.Addr} {
		s := startServer(t, t.TempDir(), strings.Replace(relayTo("x:1"), "smtp://x:1", to, 1))
		sendMail(t, s, "ann@example.org", name+"@example.net", "Subject: "+name+"\n\nhello\n")
		if m := dovecot.Mail(t, name, 1)[0]; !strings.Contains(m, "Subject: "+name) {
			t.Errorf("%s has:\n%s", name, m)
		}
		s.stop()
	}
}
