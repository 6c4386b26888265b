package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/transport"
)

// writePair makes a certificate with its key in dir, as cert.pem and key.pem.
func writePair(t *testing.T, dir string) {
	t.Helper()
	certtest.New(t, "mx.example.org").Write(t, dir)
}

// TestWireExample reads the second example of the documentation, with a certificate in place.
func TestWireExample(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir)
	text, err := os.ReadFile("testdata/wire.toml")
	if err != nil {
		t.Fatal(err)
	}
	here := filepath.ToSlash(dir) + "/"
	c, err := parse("holub.toml", bytes.ReplaceAll(text, []byte("/etc/holub/"), []byte(here)), "box.example.net")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := c.Listen[0].LoadCertificate()
	if err != nil || len(pair.Certificate) != 1 || pair.PrivateKey == nil {
		t.Errorf("LoadCertificate: %v, %v", pair, err)
	}
	var out strings.Builder // without the padding, which depends on the length of dir
	for _, s := range c.Settings() {
		line := s.Key + " = " + strings.ReplaceAll(s.Value, here, "/etc/holub/") + " # " + s.Source
		if s.Default != "" && s.Default != s.Value {
			line += ", default " + s.Default
		}
		out.WriteString(line + "\n")
	}
	golden(t, "testdata/wire.show", out.String())
}

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]transport.Endpoint{
		":25":                   {Kind: transport.TCP, Port: 25},
		"0.0.0.0:25":            {Kind: transport.TCP, Port: 25},
		"[::]:025":              {Kind: transport.TCP, Port: 25},
		"[::ffff:192.0.2.1]:25": {Kind: transport.TCP, Host: "192.0.2.1", Port: 25},
		"[2001:DB8::0:1]:25":    {Kind: transport.TCP, Host: "2001:db8::1", Port: 25},
		"unix:a.sock":           {Kind: transport.Unix, Path: "a.sock"},
		"unix:/a%3Fb?mode=600":  {Kind: transport.Unix, Path: "/a?b", Mode: 0o600},
		"unix:@holub":           {Kind: transport.Unix, Path: "@holub"},
		"systemd:":              {Kind: transport.Systemd},
		"systemd:smtp":          {Kind: transport.Systemd, Name: "smtp"},
	} {
		got, err := Listen{Address: in}.Endpoint()
		if err != nil || got.String() != want.String() || got.CanListen() != nil {
			t.Errorf("%q is %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "unix", "unix:", "unix:?mode=0600", "unix:/a?mode=", "unix:/a?x=1", "unix:@a?mode=0600",
		"unix:a\nb", "systemd", "systemd:a:b", "stdio:", "exec:a", "exec:25", "localhost:25", "[::1%a b]:25"} {
		if got, err := (Listen{Address: in}).Endpoint(); err == nil {
			t.Errorf("%q is %+v, want an error", in, got)
		}
	}
}

// TestCertificateFiles reads pairs that can't be used; each must be refused with the reason, and none may hang.
func TestCertificateFiles(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	writePair(t, dir)
	writePair(t, other)
	huge := filepath.Join(dir, "huge.pem")
	if err := os.WriteFile(huge, make([]byte, maxPEM+1), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, c := range map[string]struct{ cert, key, want string }{
		"swapped":         {key, cert, "failed to find"},
		"key of another":  {cert, filepath.Join(other, "key.pem"), "does not match"},
		"huge":            {cert, huge, "larger than 1MiB"},
		"no certificate":  {filepath.Join(dir, "none"), key, "there is no file"},
		"folder":          {cert, dir, "plain file"},
		"nothing written": {"", "", "there is no file"},
	} {
		if _, err := (Listen{Certificate: c.cert, Key: c.key}).LoadCertificate(); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := (Listen{Certificate: dir + "/none", Key: key}).LoadCertificate(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v, want fs.ErrNotExist", err)
	}
	if runtime.GOOS != "windows" {
		if _, err := (Listen{Certificate: "/dev/zero", Key: key}).LoadCertificate(); err == nil {
			t.Error("/dev/zero is a certificate")
		}
	}
}

// TestRouteTLS says the TLS of a route that leaves it out, under each setting of [delivery].
func TestRouteTLS(t *testing.T) {
	for _, of := range []TLS{TLSNone, TLSOpportunistic, TLSRequired} {
		for to, want := range map[string]TLS{
			"mx": of, "smtps://relay": TLSRequired, "smtp://relay": TLSOpportunistic, "lmtp://unix:/run/lmtp": TLSOpportunistic,
			"smtp+exec:ssh relay": TLSOpportunistic, "discard": TLSNone,
		} {
			text := "delivery.tls = " + quote(string(of)) + "\n[[route]]\nto = " + quote(to)
			c, err := Parse("holub.toml", []byte(text))
			if err != nil || c.Route[0].TLS != want {
				t.Errorf("%s with delivery.tls %q: %+v, %v; want %q", to, of, c, err, want)
			}
			if c, err = Parse("holub.toml", []byte(text+"\ntls = \"opportunistic\"")); to == "discard" {
				if err == nil {
					t.Error("discard takes tls")
				}
			} else if err != nil || c.Route[0].TLS != TLSOpportunistic {
				t.Errorf("%s with its own tls: %+v, %v", to, c, err)
			}
		}
	}
}
