package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// withTLS adds TLS to the listener of a configuration.
func withTLS(t *testing.T, config, dir, mode string) string {
	t.Helper()
	cert, key := certtest.New(t, "localhost", "127.0.0.1").Write(t, dir)
	return strings.Replace(config, "[[listen]]\n", fmt.Sprintf("[[listen]]\ntls = %q\ncertificate = %q\nkey = %q\n", mode, cert, key), 1)
}

// TestTLS: STARTTLS from swaks, implicit TLS from our own client; the trace says ESMTPS.
func TestTLS(t *testing.T) {
	t.Run("starttls", func(t *testing.T) {
		next, dir := startSink(t, "127.0.0.1:0", nil), t.TempDir()
		s := startServer(t, dir, withTLS(t, relayTo(next.addr), dir, "starttls"))
		out, err := peers.Command(t, "swaks", "--server", s.addr, "--tls", "--from", "a@example.org", "--to", "b@example.net").CombinedOutput()
		if err != nil {
			t.Fatalf("swaks --tls: %v\n%s\n%s", err, out, s.log)
		}
		if m := oneMessage(t, next, "the mail is relayed"); !strings.Contains(m.content, "with ESMTPS\r\n") && !strings.Contains(m.content, "with ESMTPS ") {
			t.Errorf("the trace does not say ESMTPS:\n%s", m.content)
		}
		s.stop()
	})
	t.Run("implicit", func(t *testing.T) {
		next, dir := startSink(t, "127.0.0.1:0", nil), t.TempDir()
		s := startServer(t, dir, withTLS(t, relayTo(next.addr), dir, "implicit"))
		c, err := sender.Dial(t.Context(), s.addr, sender.Options{TLS: sender.TLSImplicit, TLSConfig: &tls.Config{InsecureSkipVerify: true}})
		if err != nil {
			t.Fatalf("%v\n%s", err, s.log)
		}
		from, _ := smtp.ParsePath("<a@example.org>")
		to, _ := smtp.ParsePath("<b@example.net>")
		r, err := c.Send(t.Context(), sender.Envelope{From: from, To: []smtp.Path{to}}, strings.NewReader("Subject: x\r\n\r\n"))
		if err != nil || !r.Outcomes[0].Reply.Positive() {
			t.Fatalf("%v %v", r, err)
		}
		c.Close()
		oneMessage(t, next, "the mail is relayed")
		s.stop()
	})
}

// TestNextHopTLS relays from one holub to another: opportunistic TLS does not mind who signed the certificate; required TLS
// does, and waits; REQUIRETLS is returned with 5.7.30.
func TestNextHopTLS(t *testing.T) {
	dir := t.TempDir()
	next := startServer(t, dir, withTLS(t, `
hostname = "next.example.org"
data_dir = "data"
[[listen]]
address = "127.0.0.1:0"
networks = ["127.0.0.0/8"]
[[route]]
to = "maildir:{data_dir}/mail/{local}"
`, dir, "starttls"))
	first := startServer(t, t.TempDir(), relayTo(next.addr))
	sendMail(t, first, "a@localhost", "opportunistic@example.net", "Subject: x\n\n")
	if m := mailbox(t, filepath.Join(dir, "data", "mail", "opportunistic"), 1)[0]; !strings.Contains(m, "with ESMTPS") {
		t.Errorf("no TLS was used:\n%s", m)
	}
	first.stop()

	strictDir := t.TempDir()
	strict := startServer(t, strictDir, relayTo(next.addr)+"tls = \"required\"\n")
	sendMail(t, strict, "a@localhost", "required@example.net", "Subject: x\n\n")
	eventually(t, "the mail waits for a certificate to be trusted", 20*time.Second, func() bool {
		return strings.Contains(strict.log.String(), `"msg":"deferred"`)
	})
	strict.stop()
	next.stop()
}

// TestExec relays through a program: `holub session` on the other end of a pipe, as ssh would run it.
func TestExec(t *testing.T) {
	far := t.TempDir()
	file := filepath.Join(far, "far.toml")
	config := fmt.Sprintf("hostname = \"far.example.org\"\ndata_dir = %q\n[[listen]]\naddress = \"127.0.0.1:0\"\n"+
		"[[route]]\nto = \"maildir:{data_dir}/mail/{local}\"\n", filepath.Join(far, "data"))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	near := startServer(t, t.TempDir(), strings.Replace(relayTo("x:1"), `"smtp://x:1"`,
		fmt.Sprintf("%q", "smtp+exec:"+os.Args[0]+" session -c "+file), 1))
	long := strings.Repeat("a line through a pipe\n.dots\n", 10000)
	sendMail(t, near, "a@localhost", "joe@example.net", "Subject: by pipe\n\n"+long)
	eventually(t, "the program took the mail", 20*time.Second, func() bool { return strings.Contains(near.log.String(), `"msg":"delivered"`) })
	near.stop()
	s := startServer(t, far, config) // it carries on what the session left in the spool
	if m := mailbox(t, filepath.Join(far, "data", "mail", "joe"), 1)[0]; !strings.HasSuffix(m, "\nSubject: by pipe\n\n"+long) {
		t.Errorf("the mailbox has %d octets:\n%.500s", len(m), m)
	}
	s.stop()
}

// TestSessionHandsOver: with a server on the data folder, `holub session` is a session with it.
func TestSessionHandsOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	dir := t.TempDir()
	s := startServer(t, dir, strings.Replace(relayTo("127.0.0.1:1"), "127.0.0.1:0", l.Addr().String(), 1))
	cmd := exec.Command(os.Args[0], "session", "-c", filepath.Join(dir, "holub.toml"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asHolub+"=1")
	cmd.Stdin = strings.NewReader("HELO a.example\r\nNOOP\r\nQUIT\r\n")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "220 mx.example.org") || !strings.Contains(string(out), "\r\n221 2.0.0 ") {
		t.Errorf("%v\n%s\n%s", err, out, &errs)
	}
	s.stop()
}

// TestUnixAndLMTP: a client on a Unix socket, and LMTP to a second holub on another.
func TestUnixAndLMTP(t *testing.T) {
	store := t.TempDir()
	socket := filepath.Join(store, "lmtp.sock")
	second := startServer(t, store, fmt.Sprintf(`
hostname = "store.example.org"
data_dir = "data"
[[listen]]
address = "unix:%s"
role = "lmtp"
[[route]]
match = { domain = ["example.net"] }
to = "maildir:{data_dir}/mail/{local}"
`, socket))
	dir := t.TempDir()
	front := filepath.Join(dir, "smtp.sock")
	first := startServer(t, dir, strings.NewReplacer("127.0.0.1:0", "unix:"+front, "networks = [\"127.0.0.0/8\"]\n", "",
		"smtp://x:1", "lmtp://unix:"+socket).Replace(relayTo("x:1")))
	conn, err := net.Dial("unix", front)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sender.NewClient(t.Context(), conn, sender.Options{})
	if err != nil {
		t.Fatal(err)
	}
	from, _ := smtp.ParsePath("<a@localhost>")
	var to []smtp.Path
	for _, s := range []string{"<ann@example.net>", "<bob@elsewhere.example>", "<eve@example.net>"} {
		p, _ := smtp.ParsePath(s)
		to = append(to, p)
	}
	r, err := c.Send(t.Context(), sender.Envelope{From: from, To: to}, strings.NewReader("Subject: by LMTP\r\n\r\n"))
	if err != nil || !r.Outcomes[2].Reply.Positive() {
		t.Fatalf("%v %v\n%s", r, err, first.log)
	}
	c.Close()
	for _, box := range []string{"ann", "eve"} {
		if m := mailbox(t, filepath.Join(store, "data", "mail", box), 1)[0]; !strings.Contains(m, "with LMTP") {
			t.Errorf("%s has:\n%s", box, m)
		}
	}
	eventually(t, "the recipient that is not of the store's domains bounces", 20*time.Second, func() bool {
		return strings.Contains(first.log.String(), `"msg":"bounced"`)
	})
	first.stop()
	second.stop()
}

// TestFutureRelease holds a message until its time.
func TestFutureRelease(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	s := startServer(t, t.TempDir(), relayTo(next.addr))
	c, err := sender.Dial(t.Context(), s.addr, sender.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from, _ := smtp.ParsePath("<a@example.org>")
	to, _ := smtp.ParsePath("<b@example.net>")
	start := time.Now()
	r, err := c.Send(t.Context(), sender.Envelope{From: from, To: []smtp.Path{to}, HoldFor: 2 * time.Second}, strings.NewReader("Subject: later\r\n\r\n"))
	if err != nil || !r.Outcomes[0].Reply.Positive() {
		t.Fatalf("%v %v", r, err)
	}
	oneMessage(t, next, "the message is released")
	if waited := time.Since(start); waited < 2*time.Second {
		t.Errorf("it was released after %v, and was to be held for 2 s", waited)
	}
	s.stop()
}

// TestRequireTLS: mail that must not go without TLS comes back from a next hop that has none (RFC 8689).
func TestRequireTLS(t *testing.T) {
	next, dir := startSink(t, "127.0.0.1:0", nil), t.TempDir()
	s := startServer(t, dir, strings.Replace(withTLS(t, relayTo(next.addr), dir, "starttls"), "[[route]]",
		"[[route]]\nmatch = { domain = [\"localhost\"] }\nto = \"maildir:{data_dir}/mail/{local}\"\n[[route]]", 1))
	c, err := sender.Dial(t.Context(), s.addr, sender.Options{TLS: sender.TLSRequired, TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from, _ := smtp.ParsePath("<ann@localhost>")
	to, _ := smtp.ParsePath("<b@example.net>")
	r, err := c.Send(t.Context(), sender.Envelope{From: from, To: []smtp.Path{to}, RequireTLS: true}, strings.NewReader("Subject: secret\r\n\r\n"))
	if err != nil || !r.Outcomes[0].Reply.Positive() {
		t.Fatalf("%v %v", r, err)
	}
	if m := mailbox(t, filepath.Join(dir, "data", "mail", "ann"), 1)[0]; !strings.Contains(m, "\nStatus: 5.7.30\n") {
		t.Errorf("the report is:\n%s", m)
	}
	if n := len(next.messages()); n != 0 {
		t.Errorf("%d messages went out without TLS", n)
	}
	s.stop()
}

// TestSystemd: the server takes its listening socket from who started it, as systemd hands it over.
func TestSystemd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "holub.toml")
	config := strings.Replace(relayTo("x:1"), "127.0.0.1:0", "systemd:smtp", 1)
	config = strings.Replace(config, "smtp://x:1", "maildir:{data_dir}/mail/{local}", 1)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp exec "$0" serve -c "$1"`, os.Args[0], file)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = dir, append(os.Environ(), asHolub+"=1"), []*os.File{socket}
	s := &server{t: t, cmd: cmd, log: &lockedBuffer{}, addr: l.Addr().String(), done: make(chan struct{})}
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { cmd.Wait(); close(s.done) }()
	t.Cleanup(s.kill)
	sendMail(t, s, "a@localhost", "joe@example.net", "Subject: by systemd\n\n") // the kernel holds the connection until it serves
	mailbox(t, filepath.Join(dir, "data", "mail", "joe"), 1)
	s.stop()
}

// TestSMTPS relays over TLS from the first octet, to a host whose certificate is checked unless the route says otherwise.
func TestSMTPS(t *testing.T) {
	dir := t.TempDir()
	next := startServer(t, dir, withTLS(t, strings.Replace(relayTo("x:1"), "smtp://x:1", "maildir:{data_dir}/mail/{local}", 1), dir, "implicit"))
	route := strings.Replace(relayTo(next.addr), "smtp://", "smtps://", 1)
	first := startServer(t, t.TempDir(), route+"tls = \"opportunistic\"\n")
	sendMail(t, first, "a@localhost", "joe@example.net", "Subject: x\n\n")
	if m := mailbox(t, filepath.Join(dir, "data", "mail", "joe"), 1)[0]; !strings.Contains(m, "with ESMTPS") {
		t.Errorf("no TLS was used:\n%s", m)
	}
	first.stop()
	strict := startServer(t, t.TempDir(), route)
	sendMail(t, strict, "a@localhost", "joe@example.net", "Subject: x\n\n")
	eventually(t, "the mail waits for a certificate to be trusted", 20*time.Second, func() bool {
		return strings.Contains(strict.log.String(), `"msg":"deferred"`)
	})
	strict.stop()
	next.stop()
}
