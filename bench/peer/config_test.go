package peer

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/internal/config"
)

var update = flag.Bool("update", false, "write what the servers are configured with into testdata")

// setups are those whose configurations are kept in testdata.
func setups() map[string]Setup {
	hops := map[string]string{"d1.example": "127.0.0.1:2526", "d2.example": "127.0.0.2:2526", "": "127.0.0.3:2526"}
	return map[string]Setup{
		"relay": {Dir: "/DIR", Addr: "127.0.0.1:2525", Hops: hops, Sessions: 1000, Cores: 1,
			TLS: &TLS{Cert: "cert.pem", Key: "key.pem", CA: "ca.pem"}},
		"keep": {Dir: "/DIR", Addr: "127.0.0.1:2525", Sessions: 20, Cores: 1},
	}
}

// TestConfigs shows each change of a configuration as a change of a file.
func TestConfigs(t *testing.T) {
	for _, s := range All(t.TempDir()) {
		for name, setup := range setups() {
			golden := filepath.Join("testdata", s.Name()+"-"+name+".txt")
			got := s.Config(setup)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s has changed (go test -update writes it):\n%s", golden, got)
			}
		}
	}
}

// TestConfigEveryHop looks for each of many hops in each configuration.
func TestConfigEveryHop(t *testing.T) {
	setup := Setup{Dir: "/DIR", Addr: "127.0.0.1:2525", Hops: map[string]string{}}
	for i := range 100 {
		setup.Hops[fmt.Sprintf("d%d.example", i)] = fmt.Sprintf("127.0.0.%d:2526", i+1)
	}
	for _, s := range All(t.TempDir()) {
		words := strings.FieldsFunc(s.Config(setup), func(r rune) bool { return strings.ContainsRune(" \n\"[]/:,", r) })
		for domain, hop := range setup.Hops {
			host, _, _ := strings.Cut(hop, ":")
			if !slices.Contains(words, domain) || !slices.Contains(words, host) {
				t.Errorf("%s has no way from %s to %s", s.Name(), domain, hop)
			}
		}
	}
}

// TestHolubTakesItsConfig reads what holub is configured with as holub does.
func TestHolubTakesItsConfig(t *testing.T) {
	certFile, keyFile := certtest.New(t, greeting).Write(t, t.TempDir())
	for name, setup := range setups() {
		setup.Dir = t.TempDir()
		if setup.TLS != nil {
			setup.TLS = &TLS{Cert: certFile, Key: keyFile, CA: certFile}
		}
		if err := lay(setup, plan{}); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse("holub.toml", []byte(holubConfig(setup)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		routes := 1 // of mail that is kept
		if !setup.keeps() {
			routes = len(setup.Hops)
		}
		if len(cfg.Route) != routes+1 || cfg.Limits.Sessions < setup.Sessions || len(cfg.Listen) != 1 { // and the built-in one
			t.Errorf("%s: %d routes, %d sessions, %d listeners", name, len(cfg.Route), cfg.Limits.Sessions, len(cfg.Listen))
		}
		if secure := cfg.Listen[0].TLS == config.ListenStartTLS; secure != (setup.TLS != nil) {
			t.Errorf("%s: STARTTLS offered: %t", name, secure)
		}
	}
}

func TestSetupCheck(t *testing.T) {
	good := Setup{Dir: "/DIR", Addr: "127.0.0.1:2525", Hops: map[string]string{"": "127.0.0.1:2526"}}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Setup){
		"no folder":       func(s *Setup) { s.Dir = "" },
		"no port":         func(s *Setup) { s.Addr = "127.0.0.1" },
		"a name":          func(s *Setup) { s.Addr = "localhost:2525" },
		"IPv6":            func(s *Setup) { s.Addr = "[::1]:2525" },
		"a hop's name":    func(s *Setup) { s.Hops = map[string]string{"a.example": "mx.example:25"} },
		"more cores":      func(s *Setup) { s.Cores = 1 << 20 },
		"less than none":  func(s *Setup) { s.Cores = -1 },
		"a hop of nobody": func(s *Setup) { s.Hops = map[string]string{"": ""} },
	} {
		bad := good
		spoil(&bad)
		if bad.check() == nil {
			t.Errorf("%s: %+v is taken", name, bad)
		}
	}
}

func TestByName(t *testing.T) {
	got, err := ByName("", "exim", "holub")
	if err != nil || len(got) != 2 || got[0].Name() != "exim" || got[1].Name() != "holub" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ByName("", "exim", "sendmail"); err == nil || !strings.Contains(err.Error(), `"sendmail"`) ||
		!strings.Contains(err.Error(), "holub, postfix, exim, opensmtpd, haraka") {
		t.Errorf("an unknown name: %v", err)
	}
}
