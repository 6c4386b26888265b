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
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := peers.Command(t, tt.name, tt.args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %v\n%s\nwant %q", err, out, tt.want)
			}
		})
	}
}

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
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := peers.Command(t, tt.name, tt.args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %v\n%s\nwant %q", err, out, tt.want)
			}
		})
	}
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
