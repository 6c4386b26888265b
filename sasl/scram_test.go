package sasl

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// reference computes proof and verifier by RFC 5802 3 without the library.
func reference(t *testing.T, password string, salt []byte, iterations int, message string) (proof, verifier string) {
	t.Helper()
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	for i, b := range mac(stored[:], message) {
		clientKey[i] ^= b
	}
	return base64.StdEncoding.EncodeToString(clientKey),
		base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), message))
}

// TestPlusByHand: a client made by hand from RFC 5802 logs in at the server with PLUS, and the server's proof is right.
func TestPlusByHand(t *testing.T) {
	s, err := host(t).NewServer(NameScramSHA256Plus, bound())
	if err != nil {
		t.Fatal(err)
	}
	header, bare := "p=tls-server-end-point,a=boss,", "n="+goodUser+",r=abc"
	challenge, _, err := s.Next(t.Context(), []byte(header+bare))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(string(challenge), ",")
	binding := base64.StdEncoding.EncodeToString([]byte(header + "certificate of this server"))
	final := "c=" + binding + "," + fields[0]
	proof, verifier := reference(t, goodPassword, []byte("0123456789abcdef"), 4096,
		bare+","+string(challenge)+","+final)
	challenge, _, err = s.Next(t.Context(), []byte(final+",p="+proof))
	if err != nil || string(challenge) != "v="+verifier {
		t.Fatalf("Next(final) = %q, %v, want v=%s", challenge, err, verifier)
	}
	_, done, err := s.Next(t.Context(), []byte{})
	if err != nil || !done || s.Identity() != (Identity{goodUser, "boss"}) {
		t.Errorf("the end: %v, %v, %+v", done, err, s.Identity())
	}
}

// TestDowngrade: somebody between who hides PLUS from the client, or changes its flag, is found out.
func TestDowngrade(t *testing.T) {
	c, err := Credentials{User: goodUser, Password: goodPassword}.Choose([]string{"SCRAM-SHA-256"}, bound())
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := c.Start()
	if err != nil || !bytes.HasPrefix(first, []byte("y,,")) {
		t.Fatalf("with bindings, and PLUS not offered: %q, %v, want flag y", first, err)
	}
	for _, tt := range []struct {
		name, mechanism, first string
		channel                Channel
		want                   error
	}{
		{"y where PLUS is offered", NameScramSHA256, "y,,n=" + goodUser + ",r=abc", bound(), ErrChannelBinding},
		{"y where it is not", NameScramSHA256, "y,,n=" + goodUser + ",r=abc", Channel{Private: true}, nil},
		{"n where it is", NameScramSHA256, "n,,n=" + goodUser + ",r=abc", bound(), nil},
		{"n in PLUS", NameScramSHA256Plus, "n,,n=" + goodUser + ",r=abc", bound(), ErrChannelBinding},
		{"y in PLUS", NameScramSHA256Plus, "y,,n=" + goodUser + ",r=abc", bound(), ErrChannelBinding},
		{"p without PLUS", NameScramSHA256, "p=tls-exporter,,n=" + goodUser + ",r=abc", bound(), ErrMalformed},
		{"another type", NameScramSHA256Plus, "p=tls-unique,,n=" + goodUser + ",r=abc", bound(), ErrChannelBinding},
	} {
		s, err := host(t).NewServer(tt.mechanism, tt.channel)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Next(t.Context(), []byte(tt.first)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, change := range []string{"n", "y"} { // the server hears another flag than the client sent
		s, err := host(t).NewServer(NameScramSHA256, Channel{Private: true})
		if err != nil {
			t.Fatal(err)
		}
		c := ScramSHA256("", goodUser, goodPassword)
		if change == "n" {
			c = scramUnoffered("", goodUser, goodPassword)
		}
		first, _, err := c.Start()
		if err != nil {
			t.Fatal(err)
		}
		first[0] = change[0]
		if _, err := Run(t.Context(), s, first, c.Next); !errors.Is(err, ErrChannelBinding) {
			t.Errorf("flag changed to %s on the way: %v, want ErrChannelBinding", change, err)
		}
	}
}

// TestUnknownUser: a user who does not exist looks like one who does.
func TestUnknownUser(t *testing.T) {
	ask := func(a Authenticators, user string) (salt, iterations string) {
		t.Helper()
		s, err := a.NewServer(NameScramSHA256, bound())
		if err != nil {
			t.Fatal(err)
		}
		challenge, _, err := s.Next(t.Context(), []byte("n,,n="+user+",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Split(string(challenge), ",")
		return f[1], f[2]
	}
	a := host(t)
	known, knownIterations := ask(a, goodUser)
	ghost, ghostIterations := ask(a, "ghost@example.org")
	again, _ := ask(a, "ghost@example.org")
	another, _ := ask(a, "phantom@example.org")
	_, forbiddenIterations := ask(a, "a\u2028b") // can't be prepared
	if len(ghost) != len(known) || ghostIterations != knownIterations || forbiddenIterations != knownIterations {
		t.Errorf("known %s %s, unknown %s %s", known, knownIterations, ghost, ghostIterations)
	}
	if ghost != again || ghost == another || ghost == known {
		t.Errorf("salts: %s, then %s; of another %s; want one for each user", ghost, again, another)
	}
	b := host(t)
	b.ScramSecret = []byte("another secret of its own")
	if other, _ := ask(b, "ghost@example.org"); other == ghost {
		t.Error("the salt does not depend on the secret")
	}
	a.Scram = func(_ context.Context, user string) (string, ScramKeys, error) {
		return strings.ToLower(user), ScramKeys{}, ErrCredentials
	}
	lower, _ := ask(a, "ghost@example.org")
	if mixed, _ := ask(a, "Ghost@Example.org"); mixed != lower {
		t.Error("two spellings that the host takes for one have two salts")
	}
}

// TestServerImpostor: a server that doesn't know the password can't make the client believe it.
func TestServerImpostor(t *testing.T) {
	start := func() Client {
		c := ScramSHA256("", "user", "pencil").(*scramClient)
		c.nonce = func() string { return rfc7677.clientNonce }
		if _, _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := start().Finish(); !errors.Is(err, ErrServerUnproven) {
		t.Errorf("a yes at once: %v, want ErrServerUnproven", err)
	}
	for _, tt := range []struct {
		last string
		want error
	}{
		{"v=" + base64.StdEncoding.EncodeToString(make([]byte, 32)), ErrServerUnproven},
		{"v=", ErrServerUnproven},
		{"", ErrServerUnproven},
		{"e=invalid-proof", ErrCredentials},
	} {
		c := start()
		if _, err := c.Next([]byte(rfc7677.challenge)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next([]byte(tt.last)); !errors.Is(err, tt.want) {
			t.Errorf("last message %q: %v, want %v", tt.last, err, tt.want)
		}
		if err := c.Finish(); !errors.Is(err, ErrServerUnproven) {
			t.Errorf("a yes after last message %q: %v, want ErrServerUnproven", tt.last, err)
		}
	}
}

// TestHostileServer: what a server may not ask of a client.
func TestHostileServer(t *testing.T) {
	nonce := "r=" + rfc7677.clientNonce + "more"
	for _, tt := range []struct {
		challenge string
		want      error
	}{
		{"", ErrMalformed},
		{nonce, ErrMalformed},
		{nonce + ",s=,i=4096", ErrMalformed},
		{nonce + ",s=!!!!,i=4096", ErrMalformed},
		{nonce + ",s=AAAA,i=4095", ErrMalformed},
		{nonce + ",s=AAAA,i=-1", ErrMalformed},
		{nonce + ",s=AAAA,i=x", ErrMalformed},
		{nonce + ",s=AAAA,i=2000001", ErrTooLong},
		{nonce + ",s=AAAA,i=99999999999999999999", ErrMalformed},
		{"r=other,s=AAAA,i=4096", ErrMalformed},
		{"m=ext," + nonce + ",s=AAAA,i=4096", ErrMalformed},
		{nonce + "\xff,s=AAAA,i=4096", ErrMalformed},
		{nonce + ",s=" + strings.Repeat("A", MaxMessage) + ",i=4096", ErrTooLong},
	} {
		c := ScramSHA256("", "user", "pencil").(*scramClient)
		c.nonce = func() string { return rfc7677.clientNonce }
		if _, _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Next([]byte(tt.challenge)); !errors.Is(err, tt.want) || got != nil {
			t.Errorf("challenge %.60q: %q, %v, want %v", tt.challenge, got, err, tt.want)
		}
		if _, err := c.Next([]byte(rfc7677.challenge)); err == nil {
			t.Errorf("after challenge %.60q the exchange goes on", tt.challenge)
		}
	}
}

func TestScramKeys(t *testing.T) {
	salt := []byte("0123456789abcdef")
	k, err := DeriveScram("pass\u00adword", salt, 4096)
	if err == nil {
		t.Errorf("a soft hyphen is prepared to %+v", k) // RFC 8264: default ignorable, not allowed
	}
	k, err = DeriveScram("p\u00e4ss\u00a0word", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{
		"p\u00e4ss word": true, "pa\u0308ss\u00a0word": true, "P\u00e4ss word": false, "": false, "x": false,
		strings.Repeat("x", 5000): false,
	} {
		if k.Verify(password) != want {
			t.Errorf("Verify(%.20q) = %v", password, !want)
		}
	}
	text, err := k.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back ScramKeys
	if err := back.UnmarshalText(text); err != nil || fmt.Sprint(back) != fmt.Sprint(k) {
		t.Errorf("%s comes back as %v, %v", text, back, err)
	}
	for _, bad := range []string{
		"", "x", "SCRAM-SHA-1" + string(text[13:]), string(text) + "=", string(text[:len(text)-4]),
		strings.Replace(string(text), "4096", "0", 1), strings.Replace(string(text), "4096", "04096", 1),
		strings.Replace(string(text), "$", ":", 1),
	} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("UnmarshalText(%q) gives no error", bad)
		}
	}
	for _, n := range []int{1, 4095, 2_000_001, -1} {
		if _, err := DeriveScram("pencil", salt, n); err == nil {
			t.Errorf("%d iterations are taken", n)
		}
	}
	if _, err := DeriveScram("pencil", nil, 4096); err == nil {
		t.Error("no salt is taken")
	}
	if k, err := DeriveScram("pencil", salt, 0); err != nil || k.Iterations != DefaultIterations {
		t.Errorf("the default: %+v, %v", k, err)
	}
	if FakeScram([]byte("secret"), "ghost", 4096).Verify("") || (ScramKeys{}).Verify("x") {
		t.Error("made-up or empty keys take a password")
	}
}

// TestKeysVector: the keys of RFC 7677's example, computed without the library.
func TestKeysVector(t *testing.T) {
	salt := []byte(decode64(t, rfc7677.salt))
	k, err := DeriveScram("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, "pencil", salt, 4096, 32)
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, salted)
	h.Write([]byte("Client Key"))
	stored := sha256.Sum256(h.Sum(nil))
	h = hmac.New(sha256.New, salted)
	h.Write([]byte("Server Key"))
	if !bytes.Equal(k.StoredKey, stored[:]) || !bytes.Equal(k.ServerKey, h.Sum(nil)) {
		t.Errorf("keys %x, %x", k.StoredKey, k.ServerKey)
	}
}
