package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/holub-mail/holub/sasl"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

var _ Mechanism = sasl.Client(nil)

// logins joins package sasl to the server.
type logins struct{ sasl.Authenticators }

func (l logins) Mechanisms(*receiver.Session) []string {
	return l.Authenticators.Mechanisms(sasl.Channel{Private: true})
}

func (l logins) Start(_ context.Context, _ *receiver.Session, mechanism string) (receiver.Exchange, error) {
	s, err := l.NewServer(mechanism, sasl.Channel{Private: true})
	return exchange{s}, err
}

type exchange struct{ sasl.Server }

func (e exchange) Identity() string { return e.Server.Identity().User }

// TestPeerAuth logs in at the real server with each mechanism that has a password.
func TestPeerAuth(t *testing.T) {
	keys, err := sasl.DeriveScram("secret", []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	auth := logins{sasl.Authenticators{
		Password: func(_ context.Context, user, password string) (string, error) {
			if user != "anna" || password != "secret" {
				return "", sasl.ErrCredentials
			}
			return user, nil
		},
		Scram: func(_ context.Context, user string) (string, sasl.ScramKeys, error) {
			if user != "anna" {
				return user, sasl.ScramKeys{}, sasl.ErrCredentials
			}
			return user, keys, nil
		},
		ScramSecret: []byte("0123456789abcdef"),
	}}
	cert, roots := certificate(t)
	for _, mechanism := range []string{sasl.NameScramSHA256, sasl.NamePlain, sasl.NameLogin} {
		for _, password := range []string{"secret", "wrong"} {
			server := &receiver.Server{Hostname: "mx.example.net", Auth: auth,
				TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
			opts := testOptions(t)
			opts.TLS, opts.TLSConfig = TLSRequired, &tls.Config{RootCAs: roots, ServerName: "mx.example.net"}
			var traced strings.Builder
			opts.Trace = func(_ Direction, line []byte) { traced.Write(line) }
			c, _ := withPeer(t, server, opts)
			login := sasl.Credentials{User: "anna", Password: password}
			client, err := login.Choose([]string{mechanism}, sasl.Channel{Private: true})
			if err != nil {
				t.Fatal(err)
			}
			err = c.Auth(t.Context(), client)
			reply, refused := smtp.AsReply(err)
			if password == "secret" && err != nil || password == "wrong" && (!refused || reply.Code != 535) {
				t.Errorf("%s, %s: got %v", mechanism, password, err)
			}
			if c.Broken() {
				t.Errorf("%s, %s: the session ended", mechanism, password)
			}
			if strings.Contains(traced.String(), "AGFubmEA") || strings.Contains(traced.String(), "YW5uYQ==") {
				t.Errorf("%s: the trace was told a secret: %s", mechanism, traced.String())
			}
		}
	}
}

// TestAuthLongChallenge answers a challenge as long as RFC 4954 allows, and ends an exchange that has no end.
func TestAuthLongChallenge(t *testing.T) {
	challenge := strings.Repeat("eHh4", 12280/4)
	endless := strings.Repeat("S: 334 eA==\nC: eA==\n", maxChallenges-1)
	for name, script := range map[string]string{
		"long":     "S: 334 " + challenge + "\nC: eA==\nS: 235 welcome\n",
		"too long": "S: 334 " + challenge + challenge + "\n",
		"endless":  endless + "S: 334 eA==\nC: eA==\nS: 334 eA==\nC: *\nS: 501 cancelled\n",
	} {
		client, server := connections(t, true)
		d := parseDialogue(t, "S: 220 me\nC: EHLO client.example.org\nS: 250-me\nS: 250 AUTH X\nC: AUTH X\n"+script)
		served := make(chan error, 1)
		go func() { served <- d.serve(server, false) }()
		opts := testOptions(t)
		opts.AuthInClear = true
		c, err := NewClient(t.Context(), client, opts)
		if err != nil {
			t.Fatal(err)
		}
		m := &scriptedMechanism{name: "X", answers: strings.Fields(strings.Repeat("x ", 2*maxChallenges))}
		err = c.Auth(t.Context(), m)
		want := map[string]error{"too long": smtp.ErrReplySyntax, "endless": ErrAuth}[name]
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: got %v; want %v", name, err, want)
		}
		c.Close()
		if err := <-served; err != nil && want == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
