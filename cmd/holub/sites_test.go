package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/dnstest"
)

// byMX is the configuration of a server that sends by MX, to hosts at a port of the test.
func byMX(zone, port string) string {
	return fmt.Sprintf(`
hostname = "mx.example.org"
data_dir = "data"
[[listen]]
address = "127.0.0.1:0"
networks = ["127.0.0.0/8"]
[dns]
servers = ["%s"]
[delivery]
port = %s
`, zone, port)
}

// TestSharedSite sends one message to three domains, two of which have the same hosts: these are one site, and share a
// transaction.
func TestSharedSite(t *testing.T) {
	next := startSink(t, "127.0.0.3:0", nil)
	zone := dnstest.Start(t, `
one.example.    MX 10 a.mx.example.
one.example.    MX 20 b.mx.example.
two.example.    MX 5 B.mx.example.
two.example.    MX 5 a.mx.example.
other.example.  MX 10 b.mx.example.
a.mx.example.   A 127.0.0.3
b.mx.example.   A 127.0.0.3
`)
	s := startServer(t, t.TempDir(), byMX(zone, next.port()))
	sendMail(t, s, "me@localhost", "x@one.example,y@two.example,z@other.example,w@one.example", "Subject: to three domains\n\nhello\n")
	eventually(t, "all have the mail", 20*time.Second, func() bool { return len(next.messages()) == 2 })
	s.stop()
	sizes := map[int]int{}
	for _, m := range next.messages() {
		sizes[len(m.to)]++
	}
	if sizes[3] != 1 || sizes[1] != 1 {
		t.Errorf("transactions of so many recipients: %v, want one of 3 and one of 1", sizes)
	}
}

// TestReload changes the configuration of a running server: a good file is applied whole while mail waits and a session is
// open, a bad one is refused whole.
func TestReload(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	dir := t.TempDir()
	old := relayTo(dead.Addr().String()) + "[delivery]\nretry = [\"1h\"]\n"
	s := startServer(t, dir, old)
	file := filepath.Join(dir, "holub.toml")
	sendMail(t, s, "a@example.org", "b@example.net", "Subject: waits\n\nfor another route\n")
	eventually(t, "the mail is deferred", 20*time.Second, func() bool { return strings.Contains(s.log.String(), `"msg":"deferred"`) })

	session, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	say := talk(t, session)
	say("EHLO client.example\r\n", "250 ")

	reload := func(config, outcome string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(s.log.String(), outcome)
		began := time.Now()
		s.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, outcome, 20*time.Second, func() bool { return strings.Count(s.log.String(), outcome) > before })
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s after %v", outcome, took)
		}
	}
	good := relayTo(next.addr) + "[delivery]\nretry = [\"1s\"]\n"
	reload(good+"retyr = [\"1s\"]\n", "the new configuration was refused")
	reload(strings.Replace(good, `data_dir = "data"`, `data_dir = "elsewhere"`, 1), "the new configuration was refused")
	for _, want := range []string{`did you mean`, `data_dir is \"elsewhere\"`} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, s.log)
		}
	}
	say("NOOP\r\n", "250 ")

	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second := free.Addr().String()
	free.Close()
	reload(good+"[[listen]]\naddress = \""+second+"\"\nnetworks = []\n", "the configuration was read again")
	// The old session goes on, both listeners answer, and the new rules hold: nobody may relay at the second.
	say("NOOP\r\n", "250 ")
	for _, addr := range []string{s.addr, second} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("after the reload: %v", err)
		}
		say := talk(t, c)
		say("EHLO client.example\r\n", "250 ")
		say("MAIL FROM:<a@example.org>\r\n", "250 ")
		if addr == second {
			say("RCPT TO:<b@example.net>\r\n", "550 ")
		} else {
			say("RCPT TO:<b@example.net>\r\n", "250 ")
		}
		c.Close()
	}
	// The waiting mail takes the new route at its next attempt, which an hour away is a long time; new mail goes at once.
	sendMail(t, s, "a@example.org", "c@example.net", "Subject: by the new route\n\n")
	oneMessage(t, next, "new mail takes the new route")

	// Who may not relay any more may not in a session that was open before, either.
	reload(strings.Replace(good, `networks = ["127.0.0.0/8"]`, `networks = []`, 1), "the configuration was read again")
	say("MAIL FROM:<a@example.org>\r\n", "250 ")
	say("RCPT TO:<b@example.net>\r\n", "550 ")
	if c, err := net.Dial("tcp", second); err == nil {
		c.Close()
		t.Error("a listener that is gone still takes connections")
	}
	session.Close()
	s.stop()
}

// talk reads the greeting of a session and gives a function that says a line and wants a reply that ends so.
func talk(t *testing.T, c net.Conn) func(line, want string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	read := func() string {
		var last strings.Builder
		for buf := make([]byte, 1); ; {
			if _, err := c.Read(buf); err != nil {
				t.Fatalf("the session ended: %v", err)
			}
			if buf[0] != '\n' {
				last.WriteByte(buf[0])
				continue
			}
			if line := last.String(); len(line) > 3 && line[3] == ' ' {
				return line
			}
			last.Reset()
		}
	}
	read()
	return func(line, want string) {
		t.Helper()
		if _, err := c.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if got := read(); !strings.HasPrefix(got, want) {
			t.Errorf("%q is answered %q, want %q", line, got, want)
		}
	}
}

// TestDeadSite: mail for a host that can't be reached waits without being touched, but for one try in each pause; when the host
// is back all of it leaves.
func TestDeadSite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := startServer(t, t.TempDir(), relayTo(addr)+"[delivery]\nretry = [\"2s\"]\n")
	const mails = 30
	for n := range mails {
		sendMail(t, s, "a@example.org", fmt.Sprintf("b%d@example.net", n), "Subject: waits\n\n")
	}
	eventually(t, "the site is given up for now", 20*time.Second, func() bool {
		return strings.Contains(s.log.String(), `"msg":"deferred"`)
	})
	tried := strings.Count(s.log.String(), `"msg":"deferred"`)
	if tried > mails/2 {
		t.Errorf("%d of %d mails were tried at a host that is down", tried, mails)
	}
	next := startSink(t, addr, nil)
	eventually(t, "all mail leaves when the host is back", 20*time.Second, func() bool { return len(next.messages()) == mails })
	s.stop()
}
