package peers_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/peers"
)

func TestPeersRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"swaks", []string{"--version"}, "swaks version"},
		{"python3", []string{"-c", "import smtplib, ssl; print(smtplib.SMTP.__name__, ssl.HAS_TLSv1_3)"}, "SMTP True"},
		{"curl", []string{"--version"}, " smtps"},
		{"openssl", []string{"s_client", "-help"}, "-starttls"},
		{"haproxy", []string{"-v"}, "HAProxy version"},
		{"node", []string{"-p", "typeof require('nodemailer').createTransport"}, "function"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := peers.Command(t, tt.name, tt.args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %v\n%s\nwant %q", err, out, tt.want)
			}
		})
	}
}

// nodemailer is a script that sends one mail to a host and a port and prints the last reply.
const nodemailer = `
const [host, port] = process.argv.slice(1)
require("nodemailer").createTransport({host, port}).sendMail({from: "a@example.org", to: "b@example.org", text: "x"})
	.then(info => console.log(info.response))
`

// TestPeersTalk sends from each client to Postfix's sink.
func TestPeersTalk(t *testing.T) {
	sink := peers.Sink(t)
	host, port, _ := strings.Cut(sink, ":")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"smtp-source", []string{"-c", "-s", "2", "-m", "5", "-l", "4096", sink}, "5"},
		{"swaks", []string{"--server", host, "--port", port, "--from", "a@example.org", "--to", "b@example.org",
			"--helo", "client.example.org"}, "250 2.0.0 Ok"},
		{"python3", []string{"-c", `
import smtplib, sys
with smtplib.SMTP(sys.argv[1], int(sys.argv[2])) as s:
    print("refused:", s.sendmail("a@example.org", ["b@example.org", "c@example.org"], "Subject: x\r\n\r\ny\r\n"))
`, host, port}, "refused: {}"},
		{"curl", []string{"-sSv", "smtp://" + sink, "--mail-from", "a@example.org", "--mail-rcpt", "b@example.org",
			"-F", "=text"}, "< 250 2.0.0 Ok"},
		{"node", []string{"-e", nodemailer, "--", host, port}, "250 2.0.0 Ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := peers.Command(t, tt.name, tt.args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %v\n%s\nwant %q", err, out, tt.want)
			}
		})
	}
}

func TestNodemailer(t *testing.T) {
	host, port, _ := strings.Cut(peers.Sink(t), ":")
	out, err := peers.Nodemailer(t, nodemailer, host, port).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "250 2.0.0 Ok") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// TestHAProxy: the server behind sees the header that tells who came, and the rest of the session.
func TestHAProxy(t *testing.T) {
	behind := newScribe(t)
	front := peers.HAProxy(t, `
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen front
  bind LISTEN
  server behind `+behind.addr+` send-proxy
`)
	host, port, _ := strings.Cut(front, ":")
	out, err := peers.Command(t, "swaks", "--server", host, "--port", port, "--helo", "client.example.org",
		"--from", "a@example.org", "--to", "b@example.org").CombinedOutput()
	if err != nil {
		t.Errorf("swaks: %v\n%s", err, out)
	}
	behind.wants(t, "PROXY TCP4 127.0.0.1 127.0.0.1 ", "EHLO client.example.org", "MAIL FROM:<a@example.org>")
}

// TestSwaksSecrets: STARTTLS and AUTH need modules beside swaks itself.
func TestSwaksSecrets(t *testing.T) {
	server := newScribe(t, "STARTTLS", "AUTH PLAIN")
	host, port, _ := strings.Cut(server.addr, ":")
	out, err := peers.Command(t, "swaks", "--server", host, "--port", port, "--helo", "client.example.org", "--tls",
		"--auth", "PLAIN", "--auth-user", "u", "--auth-password", "p", "--from", "a@example.org",
		"--to", "b@example.org").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "TLS started with cipher") {
		t.Errorf("swaks: %v\n%s", err, out)
	}
	server.wants(t, "STARTTLS", "EHLO client.example.org", "AUTH PLAIN AHUAcA==", "MAIL FROM:<a@example.org>")
}

// TestFailureIsRemembered: without a network, a second test does not wait for it again.
func TestFailureIsRemembered(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := peers.Fetch(ended); err == nil {
		t.Fatal("Fetch succeeds though its context has ended")
	}
	if failed, _ := filepath.Glob(filepath.Join(dir, "holub-test/peers/*.failed")); len(failed) != 1 {
		t.Skip("this machine has no apt-get")
	}
	t.Setenv("CI", "")
	skipped := false
	t.Run("skipped with the reason", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		peers.Command(t, "swaks")
	})
	if !skipped {
		t.Error("a test whose peer cannot be had was not skipped")
	}
}
