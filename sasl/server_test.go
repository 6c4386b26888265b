package sasl

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// TestHostileClients: what is not in the form of its mechanism, and what is over a limit.
func TestHostileClients(t *testing.T) {
	long, name := strings.Repeat("x", MaxMessage+1), strings.Repeat("x", maxName+1)
	nonce := ",n=" + goodUser + ",r=abc"
	for mechanism, cases := range map[string]map[string]error{
		NamePlain: {
			"": ErrMalformed, "a": ErrMalformed, "\x00": ErrMalformed, "a\x00b": ErrMalformed, "\x00\x00": ErrMalformed,
			"\x00u\x00": ErrMalformed, "\x00\x00p": ErrMalformed,
			"\x00u\x00p\x00": ErrMalformed, "\x00u\x00\xff": ErrMalformed,
			"\x00u\np\x00p": ErrCredentials, "\x00u\x00p\x07": ErrCredentials, "\x00\u2028\x00p": ErrCredentials,
			"\x00" + name + "\x00p": ErrTooLong, "\x00u\x00" + name: ErrTooLong,
			name + "\x00u\x00p": ErrTooLong, long: ErrTooLong,
		},
		NameLogin: {"": ErrMalformed, "a\x00": ErrMalformed, "\xff": ErrMalformed, long: ErrTooLong},
		NameExternal: {
			"a\x00b": ErrMalformed, "\xff": ErrMalformed, "a\nb": ErrCredentials, name: ErrTooLong, long: ErrTooLong,
		},
		NameScramSHA256: {
			"": ErrMalformed, "n": ErrMalformed, "n,,": ErrMalformed, "n,,n=u": ErrMalformed,
			"n,,r=abc,n=u": ErrMalformed,
			"x," + nonce:   ErrMalformed, "n,b=x" + nonce: ErrMalformed, "n,a=x=" + nonce: ErrMalformed,
			"n,,n=u=2,r=abc": ErrMalformed, "n,,m=ext" + nonce: ErrMalformed, "n,,n=u\x00,r=abc": ErrMalformed,
			"n,,n=\xff,r=abc": ErrMalformed, "n,,n=" + name + ",r=abc": ErrTooLong,
			"n,,n=u,r=" + long[:maxScram]: ErrTooLong,
			long:                          ErrTooLong,
		},
		NameOAuthBearer: {
			"": ErrMalformed, "n,,": ErrMalformed, "n,,\x01": ErrMalformed, "n,,\x01\x01": ErrMalformed,
			"n,,\x01auth=Bearer x": ErrMalformed, "n,,\x01auth=Bearer x\x01": ErrMalformed,
			"n,a=,\x01auth=Bearer x\x01\x01": ErrMalformed, "n,a=x=,\x01auth=Bearer x\x01\x01": ErrMalformed,
			"p=tls-exporter,,\x01auth=Bearer x\x01\x01":        ErrMalformed,
			"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01":    ErrMalformed,
			"n,,\x01auth=Bearer \xff\x01\x01":                  ErrMalformed,
			"n,,\x01" + strings.Repeat("a=b\x01", 20) + "\x01": ErrMalformed,
			"n,a=" + name + ",\x01auth=Bearer x\x01\x01":       ErrTooLong, long: ErrTooLong,
		},
		NameXOAuth2: {
			"": ErrMalformed, "user=u": ErrMalformed, "user=u\x01\x01": nil, "auth=Bearer x\x01\x01": ErrMalformed,
			"user=\x01auth=Bearer x\x01\x01": ErrMalformed, "user=u\x01user=v\x01auth=Bearer x\x01\x01": ErrMalformed,
			"user=u\x01auth=Basic x\x01\x01": nil, "user=u\x01auth=Bearer x y\x01\x01": nil, long: ErrTooLong,
		},
	} {
		for response, want := range cases {
			s, err := host(t).NewServer(mechanism, bound())
			if err != nil {
				t.Fatal(err)
			}
			_, done, err := s.Next(t.Context(), []byte(response))
			if done || !errors.Is(err, want) {
				t.Errorf("%s, %.60q: done %v, %v, want %v", mechanism, response, done, err, want)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("%s, %.60q: the error has %d octets", mechanism, response, len(err.Error()))
			}
			if want != nil {
				if _, _, err := s.Next(t.Context(), []byte("again")); !errors.Is(err, ErrMalformed) {
					t.Errorf("%s goes on after an error: %v", mechanism, err)
				}
			}
		}
	}
}

// TestHostileFinal: SCRAM's last message.
func TestHostileFinal(t *testing.T) {
	proof := ",p=" + strings.Repeat("A", 43) + "="
	for _, tt := range []struct {
		final string // NONCE stands for the nonce
		want  error
	}{
		{"", ErrMalformed}, {"c=biws,NONCE", ErrMalformed}, {"NONCE,c=biws" + proof, ErrMalformed},
		{"c=biws,NONCE,p=AAAA", ErrMalformed}, {"c=biws,NONCE,p=!", ErrMalformed},
		{"c=biws,r=abc" + proof, ErrMalformed},
		{"c=biws,NONCEx" + proof, ErrMalformed}, {"c=eSws,NONCE" + proof, ErrChannelBinding},
		{"c=,NONCE" + proof, ErrChannelBinding},
		{"c=biws,NONCE" + proof, ErrCredentials}, {"c=biws,NONCE,x=ext" + proof, ErrCredentials},
		{"c=biws,NONCE\n" + proof, ErrMalformed}, {"c=biws,NONCE," + strings.Repeat("x", maxScram), ErrTooLong},
	} {
		for _, user := range []string{goodUser, "nobody"} { // the same for both
			s, err := host(t).NewServer(NameScramSHA256, bound())
			if err != nil {
				t.Fatal(err)
			}
			challenge, _, err := s.Next(t.Context(), []byte("n,,n="+user+",r=abc"))
			if err != nil {
				t.Fatal(err)
			}
			nonce, _, _ := strings.Cut(string(challenge), ",")
			_, _, err = s.Next(t.Context(), []byte(strings.Replace(tt.final, "NONCE", nonce, 1)))
			if !errors.Is(err, tt.want) {
				t.Errorf("%s, %.60q: %v, want %v", user, tt.final, err, tt.want)
			}
		}
	}
}

// TestNoInitialResponse: the server asks for it; LOGIN takes the user name either way.
func TestNoInitialResponse(t *testing.T) {
	for _, name := range host(t).Mechanisms(bound()) {
		s, err := host(t).NewServer(name, bound())
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if name == NameLogin {
			want = "Username:"
		}
		challenge, done, err := s.Next(t.Context(), nil)
		if err != nil || done || challenge == nil || string(challenge) != want {
			t.Errorf("%s: Next(nil) = %q, %v, %v, want %q", name, challenge, done, err, want)
		}
	}
	s, err := host(t).NewServer(NameLogin, bound())
	if err != nil {
		t.Fatal(err)
	}
	if challenge, _, err := s.Next(t.Context(), []byte(goodUser)); err != nil || string(challenge) != "Password:" {
		t.Errorf("LOGIN with the user as initial response: %q, %v", challenge, err)
	}
	if _, done, err := s.Next(t.Context(), []byte(goodPassword)); err != nil || !done || s.Identity().User != goodUser {
		t.Errorf("LOGIN: %v, %v, %+v", done, err, s.Identity())
	}
}

// TestRefusedToken: the challenge that tells why, and the end after it.
func TestRefusedToken(t *testing.T) {
	for mechanism, response := range map[string]string{
		NameOAuthBearer: "n,,\x01auth=Bearer wrong\x01\x01", NameXOAuth2: "user=u\x01auth=Bearer wrong\x01\x01",
	} {
		s, err := host(t).NewServer(mechanism, bound())
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := s.Next(t.Context(), []byte(response))
		if err != nil || done || !strings.HasPrefix(string(challenge), `{"status":"`) {
			t.Errorf("%s: %q, %v, %v, want the reason in JSON", mechanism, challenge, done, err)
		}
		if _, done, err := s.Next(t.Context(), []byte(response)); done || !errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %v, %v, want ErrCredentials", mechanism, done, err)
		}
	}
}

func TestMechanisms(t *testing.T) {
	all := host(t)
	none := Authenticators{}
	short := host(t)
	short.ScramSecret = short.ScramSecret[:15]
	for _, tt := range []struct {
		name    string
		auth    Authenticators
		channel Channel
		want    string
	}{
		{"all", all, bound(), "EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN"},
		{"no binding", all, Channel{Private: true}, "EXTERNAL SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN"},
		{"in the open", all, Channel{}, "EXTERNAL SCRAM-SHA-256"},
		{"no functions", none, bound(), ""},
		{"passwords", Authenticators{Password: all.Password}, bound(), "PLAIN LOGIN"},
		{"a short secret", short, bound(), "EXTERNAL OAUTHBEARER XOAUTH2 PLAIN LOGIN"},
	} {
		got := tt.auth.Mechanisms(tt.channel)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %s", tt.name, got, tt.want)
		}
		for _, m := range mechanisms { // what is offered starts, what is not does not
			_, err := tt.auth.NewServer(m.name, tt.channel)
			if (err == nil) != slices.Contains(got, m.name) {
				t.Errorf("%s: NewServer(%s) = %v", tt.name, m.name, err)
			}
		}
	}
	if _, err := all.NewServer("plain", Channel{}); !errors.Is(err, ErrNotPrivate) {
		t.Errorf("PLAIN in the open: %v, want ErrNotPrivate", err)
	}
	for _, name := range []string{"", "CRAM-MD5", "PLA\u0131N", "SCRAM-SHA-1"} {
		if _, err := all.NewServer(name, bound()); !errors.Is(err, ErrMechanism) {
			t.Errorf("NewServer(%q) = %v, want ErrMechanism", name, err)
		}
	}
}

func TestChoose(t *testing.T) {
	all := []string{"LOGIN", "plain", "XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-256", "Scram-Sha-256-Plus", "EXTERNAL",
		"CRAM-MD5"}
	password := Credentials{User: goodUser, Password: goodPassword}
	token := Credentials{User: goodUser, Token: goodToken}
	private := Channel{Private: true}
	for _, tt := range []struct {
		cred    Credentials
		offered []string
		channel Channel
		want    string // "" for none
	}{
		{password, all, bound(), NameScramSHA256Plus},
		{password, all, private, NameScramSHA256},
		{password, all, Channel{}, NameScramSHA256},
		{password, all[:2], private, NamePlain},
		{password, all[:1], private, NameLogin},
		{password, all[:4], Channel{}, ""},
		{password, all[7:], private, ""},
		{password, nil, private, ""},
		{token, all, bound(), NameOAuthBearer},
		{token, all[:3], bound(), NameXOAuth2},
		{token, all, Channel{}, ""},
		{Credentials{User: goodUser, External: true, Password: "x"}, all, bound(), NameExternal},
		{Credentials{User: goodUser, Authzid: "boss", Password: "x"}, all[:1], bound(), ""},
		{Credentials{Token: goodToken}, all[2:3], bound(), ""},
		{Credentials{User: goodUser}, all, bound(), ""},
	} {
		c, err := tt.cred.Choose(tt.offered, tt.channel)
		switch {
		case tt.want == "":
			if !errors.Is(err, ErrNoMechanism) || c != nil {
				t.Errorf("%v of %q: %v, %v, want ErrNoMechanism", tt.cred, tt.offered, c, err)
			}
		case err != nil || c.Mechanism() != tt.want:
			t.Errorf("%v of %q: %v, want %s", tt.cred, tt.offered, err, tt.want)
		default:
			s, err := host(t).NewServer(tt.want, tt.channel)
			if err != nil {
				t.Fatal(err)
			}
			if id, err, _ := converse(t.Context(), c, s); err != nil || id.User != goodUser {
				t.Errorf("%s: %+v, %v", tt.want, id, err)
			}
		}
	}
}

// TestSecretsStayOut: nothing that is printed or returned as an error holds a password or a token.
func TestSecretsStayOut(t *testing.T) {
	c := Credentials{User: "joe", Password: "hunter2", Token: "hunter2"}
	var text strings.Builder
	slog.New(slog.NewJSONHandler(&text, nil)).Info("login", "credentials", c)
	fmt.Fprintf(&text, "%v %+v %#v %s %q %d %v", c, c, c, c, c, c, &c)
	_, err := c.Choose([]string{"PLAIN"}, Channel{})
	fmt.Fprint(&text, err)
	for _, bad := range []Client{
		Plain("", "joe", "hunter2\x00"), Plain("", "joe\x00hunter2", "x"), Login("joe", "hunter2\n"),
		XOAuth2("joe", "hunter2\x01"), OAuthBearer("joe", "", 0, "hunter2 "), ScramSHA256("", "joe", "hunter2\n"),
		External("hunter2\x00"), OAuthBearer("joe", "a\x01b", 0, "x"), XOAuth2("", "x"),
		Plain("", "", "x"), Plain("", "joe", ""),
		ScramSHA256("", "", "x"), ScramSHA256Plus("", "joe", "x", ChannelBinding{}),
	} {
		_, _, err := bad.Start()
		if err == nil {
			_, err = bad.Next(nil)
		}
		if err == nil {
			_, err = bad.Next(nil)
		}
		if err == nil {
			t.Errorf("%s takes what it can't send", bad.Mechanism())
		}
		fmt.Fprint(&text, err)
	}
	if strings.Contains(text.String(), "hunter2") {
		t.Errorf("a secret is in %s", text.String())
	}
}

func TestClientOutOfTurn(t *testing.T) {
	for _, c := range clients("", goodUser, goodPassword, goodToken) {
		if _, err := c.Next(nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: a challenge before the start: %v, want ErrMalformed", c.Mechanism(), err)
		}
		if err := c.Finish(); err == nil {
			t.Errorf("%s: finished before the start without error", c.Mechanism())
		}
	}
	for _, c := range clients("", goodUser, goodPassword, goodToken) {
		if _, _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Start(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: started twice: %v, want ErrMalformed", c.Mechanism(), err)
		}
	}
	for _, c := range []Client{Plain("", "u", "p"), External("")} {
		if _, _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next([]byte("more?")); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: a challenge after the message: %v, want ErrMalformed", c.Mechanism(), err)
		}
	}
}

// TestPrepare: the examples of RFC 8265 3.5 and 4.3 that differ by preparation.
func TestPrepare(t *testing.T) {
	for _, tt := range []struct{ in, user, password string }{ // "" is refused
		{"juliet@example.com", "juliet@example.com", "juliet@example.com"},
		{"fu\u00dfball", "fu\u00dfball", "fu\u00dfball"},
		{"\u03a3", "\u03a3", "\u03a3"},
		{"\u265a", "", "\u265a"},
		{"henry\u2163", "", "henry\u2163"},
		{"\uff21lice", "Alice", "\uff21lice"}, // wide letters are mapped in names alone
		{"a\u0308", "\u00e4", "\u00e4"},
		{"jack of \u2666s", "", "jack of \u2666s"},
		{"foo\u1680bar", "", "foo bar"},
		{"my cat is a \u0009by", "", ""},
		{"correct horse", "correct horse", "correct horse"},
		{"", "", ""},
		{"a\x00b", "", ""},
		{"\xff", "", ""},
	} {
		user, err := PrepareUser(tt.in)
		if user != tt.user || (err == nil) != (tt.user != "") {
			t.Errorf("PrepareUser(%q) = %q, %v, want %q", tt.in, user, err, tt.user)
		}
		password, err := PreparePassword(tt.in)
		if password != tt.password || (err == nil) != (tt.password != "") {
			t.Errorf("PreparePassword(%q) = %q, %v, want %q", tt.in, password, err, tt.password)
		}
	}
}
