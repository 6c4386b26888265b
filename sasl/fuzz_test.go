package sasl

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzServer puts three responses to the server side of a mechanism. Nobody gets in who did not show the one password
// or token, and every error is one of those that a session knows how to answer.
func FuzzServer(f *testing.F) {
	auth, ch := host(f), bound()
	auth.External = nil // it believes anybody
	names := auth.Mechanisms(ch)
	f.Add(0, true, []byte("p=tls-exporter,,n="+goodUser+",r=abc"),
		[]byte("c=cD10bHMtZXhwb3J0ZXIsLA==,r=abc,p=AAAA"), []byte(""))
	f.Add(1, true, []byte("n,a=boss,n="+goodUser+",r=abc"), []byte("c=biws,r=abc,p=AAAA"), []byte(""))
	f.Add(1, true, []byte("n,,n=a=2Cb=3D,r=abc"), []byte(",,,"), []byte("x"))
	f.Add(2, true, []byte("n,a=a=2Cb,\x01host=h\x01port=1\x01auth=Bearer "+goodToken+"\x01\x01"),
		[]byte("\x01"), []byte(""))
	f.Add(3, true, []byte("user=u\x01auth=Bearer x\x01\x01"), []byte(""), []byte(""))
	f.Add(4, true, []byte("boss\x00"+goodUser+"\x00"+goodPassword), []byte(""), []byte(""))
	f.Add(4, false, []byte("\x00\u00e4\x00\u2028"), []byte(""), []byte(""))
	f.Add(5, false, []byte(goodUser), []byte(goodPassword), []byte(""))
	f.Fuzz(func(t *testing.T, which int, initial bool, a, b, c []byte) {
		s, err := auth.NewServer(names[uint(which)%uint(len(names))], ch)
		if err != nil {
			t.Fatal(err)
		}
		responses := [][]byte{a, b, c}
		if !initial {
			responses = append([][]byte{nil}, responses...)
		}
		for _, r := range responses {
			challenge, done, err := s.Next(t.Context(), r)
			switch {
			case err != nil:
				if !knownError(err) || done || challenge != nil || s.Identity() != (Identity{}) {
					t.Fatalf("%q: %q, %v, %v, %+v", r, challenge, done, err, s.Identity())
				}
				return
			case len(challenge) > MaxMessage:
				t.Fatalf("a challenge of %d octets", len(challenge))
			case done:
				all := string(a) + "\n" + string(b) + "\n" + string(c)
				if !strings.Contains(all, goodPassword) && !strings.Contains(all, goodToken) && utf8.ValidString(all) {
					t.Fatalf("%q let %+v in", all, s.Identity())
				}
				if id := s.Identity(); id.User != goodUser || (id.Authzid != goodUser && id.Authzid != "boss") {
					t.Fatalf("%q let %+v in", all, id)
				}
				return
			case s.Identity() != (Identity{}):
				t.Fatalf("an identity before the end: %+v", s.Identity())
			}
		}
	})
}

// knownError tells that exactly one of the errors of a server is in err.
func knownError(err error) bool {
	n := 0
	for _, known := range []error{ErrCredentials, ErrMalformed, ErrTooLong, ErrTemporary, ErrChannelBinding} {
		if errors.Is(err, known) {
			n++
		}
	}
	return n == 1
}

// FuzzClient puts two challenges to a client. It never takes a server's word for its proof.
func FuzzClient(f *testing.F) {
	f.Add(0, []byte(rfc7677.challenge), []byte(rfc7677.verifier))
	f.Add(0, []byte("r="+rfc7677.clientNonce+",s=AAAA,i=5000"), []byte("e=other-error"))
	f.Add(1, []byte(`{"status":"401"}`), []byte(""))
	f.Add(2, []byte(`{"status":"invalid_token","scope":"x"}`), []byte("{"))
	f.Fuzz(func(t *testing.T, which int, a, b []byte) {
		scram := ScramSHA256("", "user", "pencil").(*scramClient)
		scram.nonce = func() string { return rfc7677.clientNonce }
		all := []Client{scram, OAuthBearer("u", "h", 1, "t"), XOAuth2("u", "t"), Login("u", "p"), Plain("", "u", "p")}
		c := all[uint(which)%uint(len(all))]
		if _, _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for _, challenge := range [][]byte{a, b} {
			if response, err := c.Next(challenge); err != nil && response != nil {
				t.Fatalf("%q with %v", response, err)
			}
		}
		last, _, _ := strings.Cut(string(b), ",")
		if err := c.Finish(); err == nil && c == Client(scram) && last != rfc7677.verifier {
			t.Fatalf("%q and %q prove the server", a, b)
		}
	})
}

// FuzzPrepare: preparing twice is preparing once, and what comes out holds no control characters.
func FuzzPrepare(f *testing.F) {
	for _, s := range []string{"juliet", "a\u0308", "\uff21", "\u1680", "\u05d0a", "\u0301", "\xff", "\u200d\u094d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, prepare := range map[string]func(string) (string, error){
			"user": PrepareUser, "password": PreparePassword,
		} {
			once, err := prepare(s)
			if err != nil {
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLong) {
					t.Errorf("%s %q: %v", name, s, err)
				}
				continue
			}
			if !printableFields(once) {
				t.Errorf("%s %q is prepared to %q", name, s, once)
			}
			if twice, err := prepare(once); len(once) <= maxName && (err != nil || twice != once) {
				t.Errorf("%s %q is prepared to %q, and that to %q, %v", name, s, once, twice, err)
			}
		}
	})
}

// FuzzKeys: what is read is written the same.
func FuzzKeys(f *testing.F) {
	text, err := FakeScram([]byte("secret"), "user", 4096).MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("SCRAM-SHA-256$4096:AA==$AA==:AA=="))
	f.Fuzz(func(t *testing.T, text []byte) {
		var k ScramKeys
		if k.UnmarshalText(text) != nil {
			return
		}
		if again, err := k.MarshalText(); err != nil || string(again) != string(text) {
			t.Errorf("%q comes back as %q, %v", text, again, err)
		}
	})
}
