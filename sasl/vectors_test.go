package sasl

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// decode64 reads a vector in base64.
func decode64(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestInitialResponses: the examples of the documents.
func TestInitialResponses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client Client
		want   string
	}{
		{"RFC 4616 4, first", Plain("", "tim", "tanstaaftanstaaf"), "\x00tim\x00tanstaaftanstaaf"},
		{"RFC 4616 4, last", Plain("Ursel", "Kurt", "xipj3plmq"), "Ursel\x00Kurt\x00xipj3plmq"},
		{"RFC 4954 4.1", Plain("test", "test", "1234"), decode64(t, "dGVzdAB0ZXN0ADEyMzQ=")},
		{"RFC 4422 A.2", External(""), ""},
		{"RFC 4422 A.3", External("fred@example.com"), "fred@example.com"},
		{"RFC 7628 4.1", OAuthBearer("user@example.com", "server.example.com", 143,
			"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="),
			decode64(t, "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVy"+
				"IHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB")},
		{"OAUTHBEARER, the least", OAuthBearer("", "", 0, "t"), "n,,\x01auth=Bearer t\x01\x01"},
		{"OAUTHBEARER, a name with , and =", OAuthBearer("a,b=c", "", 0, "t"),
			"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01"},
		{"Google's XOAUTH2", XOAuth2("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"),
			decode64(t, "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJo"+
				"ZG1semRHRXVZMjl0Q2cBAQ==")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, has, err := tt.client.Start()
			if err != nil || !has || string(got) != tt.want {
				t.Errorf("Start() = %q, %v, %v, want %q", got, has, err, tt.want)
			}
			if err := tt.client.Finish(); err != nil {
				t.Errorf("Finish() = %v", err)
			}
		})
	}
}

// rfc7677 is the example of RFC 7677 3: user "user", password "pencil".
var rfc7677 = struct{ first, challenge, final, verifier, clientNonce, serverNonce, salt string }{
	first:     "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
	challenge: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
		"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	verifier:    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	clientNonce: "rOprNGfwEbeRWgbNEkqO",
	serverNonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	salt:        "W22ZaJ0SNY7soEsUEjb6gQ==",
}

func TestScramVectorClient(t *testing.T) {
	c := ScramSHA256("", "user", "pencil").(*scramClient)
	c.nonce = func() string { return rfc7677.clientNonce }
	if got, _, err := c.Start(); err != nil || string(got) != rfc7677.first {
		t.Fatalf("Start() = %q, %v, want %q", got, err, rfc7677.first)
	}
	if got, err := c.Next([]byte(rfc7677.challenge)); err != nil || string(got) != rfc7677.final {
		t.Fatalf("Next(challenge) = %q, %v, want %q", got, err, rfc7677.final)
	}
	if err := c.Finish(); !errors.Is(err, ErrServerUnproven) {
		t.Errorf("Finish() before the server's proof = %v, want ErrServerUnproven", err)
	}
	if got, err := c.Next([]byte(rfc7677.verifier)); err != nil || len(got) != 0 {
		t.Fatalf("Next(verifier) = %q, %v, want an empty response", got, err)
	}
	if err := c.Finish(); err != nil {
		t.Errorf("Finish() = %v", err)
	}
}

func TestScramVectorServer(t *testing.T) {
	keys, err := DeriveScram("pencil", []byte(decode64(t, rfc7677.salt)), 4096)
	if err != nil {
		t.Fatal(err)
	}
	a := Authenticators{ScramSecret: make([]byte, 16),
		Scram: func(_ context.Context, user string) (string, ScramKeys, error) { return user, keys, nil }}
	srv, err := a.NewServer("scram-sha-256", Channel{})
	if err != nil {
		t.Fatal(err)
	}
	srv.(*server).nonce = func() string { return rfc7677.serverNonce }
	for _, turn := range []struct{ response, challenge string }{
		{rfc7677.first, rfc7677.challenge}, {rfc7677.final, rfc7677.verifier}, {"", ""},
	} {
		if id := srv.Identity(); id != (Identity{}) {
			t.Errorf("before the end there is an identity: %+v", id)
		}
		challenge, done, err := srv.Next(t.Context(), []byte(turn.response))
		if err != nil || string(challenge) != turn.challenge || done != (turn.response == "") {
			t.Fatalf("Next(%q) = %q, %v, %v, want %q", turn.response, challenge, done, err, turn.challenge)
		}
	}
	if id := srv.Identity(); id != (Identity{"user", "user"}) {
		t.Errorf("Identity() = %+v", id)
	}
}

// TestBearerRefusal: RFC 7628 4.3, where the client's dummy answer ends the exchange.
func TestBearerRefusal(t *testing.T) {
	reason := decode64(t, ""+
		"eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24i"+
		"OiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0=")
	for _, tt := range []struct {
		client Client
		dummy  string
	}{{OAuthBearer("user", "", 0, "t"), "\x01"}, {XOAuth2("user", "t"), ""}} {
		if _, _, err := tt.client.Start(); err != nil {
			t.Fatal(err)
		}
		got, err := tt.client.Next([]byte(reason))
		if err != nil || string(got) != tt.dummy {
			t.Errorf("%s: Next(reason) = %q, %v, want %q", tt.client.Mechanism(), got, err, tt.dummy)
		}
		err = tt.client.Finish()
		if why := `"invalid_token", scope it asks for "example_scope"`; !errors.Is(err, ErrCredentials) ||
			!strings.Contains(err.Error(), why) {
			t.Errorf("%s: Finish() = %v", tt.client.Mechanism(), err)
		}
		if _, err := tt.client.Next([]byte(reason)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: a second reason: %v, want ErrMalformed", tt.client.Mechanism(), err)
		}
	}
}

// TestLoginVector: the draft's exchange, and the prompts that clients look for.
func TestLoginVector(t *testing.T) {
	c := Login("tim", "tanstaaftanstaaf")
	if _, has, err := c.Start(); has || err != nil {
		t.Errorf("Start() = %v, %v, want no initial response", has, err)
	}
	for _, turn := range []struct{ prompt, want string }{
		{"User Name\x00", "tim"}, {"Password\x00", "tanstaaftanstaaf"},
	} {
		if got, err := c.Next([]byte(turn.prompt)); err != nil || string(got) != turn.want {
			t.Errorf("Next(%q) = %q, %v, want %q", turn.prompt, got, err, turn.want)
		}
	}
	if _, err := c.Next(nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("a third prompt: %v, want ErrMalformed", err)
	}
}
