package sasl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/certtest"
)

const (
	goodUser     = "joe@example.org"
	goodPassword = "correct, horse=battery"
	goodToken    = "eyJhbGciOi.J9-_~+/=="
)

// host is a program with one user, and one more ("boss") as whom that user may act.
func host(t testing.TB) Authenticators {
	keys, err := DeriveScram(goodPassword, []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	refuse := fmt.Errorf("the host says no: %w", ErrCredentials)
	return Authenticators{
		Password: func(_ context.Context, user, password string) (string, error) {
			if user != goodUser || password != goodPassword {
				return "", refuse
			}
			return user, nil
		},
		Scram: func(_ context.Context, user string) (string, ScramKeys, error) {
			if user != goodUser {
				return "", ScramKeys{}, refuse
			}
			return user, keys, nil
		},
		ScramSecret:     []byte("sixteen octets!!"),
		ScramIterations: 4096,
		Token: func(_ context.Context, _, token string) (string, error) {
			if token != goodToken {
				return "", refuse
			}
			return goodUser, nil
		},
		External: func(context.Context, string) (string, error) { return goodUser, nil },
		Authorize: func(_ context.Context, account, authzid string) error {
			if account != goodUser || authzid != "boss" {
				return refuse
			}
			return nil
		},
	}
}

// bound is a private channel with both bindings, of made-up data.
func bound() Channel {
	return Channel{Private: true, Bindings: []ChannelBinding{
		{BindingExporter, []byte("exporter of this channel")}, {BindingEndPoint, []byte("certificate of this server")},
	}}
}

// converse runs both sides against each other, as a session would, and gives both outcomes.
func converse(ctx context.Context, c Client, s Server) (id Identity, serverErr, clientErr error) {
	initial, has, err := c.Start()
	if err != nil {
		return Identity{}, nil, err
	}
	if !has {
		initial = nil
	} else if initial == nil {
		initial = []byte{}
	}
	id, serverErr = Run(ctx, s, initial, func(challenge []byte) ([]byte, error) {
		response, err := c.Next(challenge)
		if err != nil {
			clientErr = err
			return nil, ErrCanceled
		}
		return response, nil
	})
	if clientErr == nil {
		clientErr = c.Finish()
	}
	return id, serverErr, clientErr
}

// clients gives a client of each mechanism.
func clients(authzid, user, password, token string) []Client {
	actsAs := user
	if authzid != "" {
		actsAs = authzid
	}
	all := []Client{
		External(authzid),
		ScramSHA256Plus(authzid, user, password, bound().Bindings[0]),
		ScramSHA256Plus(authzid, user, password, bound().Bindings[1]),
		ScramSHA256(authzid, user, password),
		OAuthBearer(actsAs, "mx.example.org", 587, token),
		XOAuth2(actsAs, token),
		Plain(authzid, user, password),
	}
	if authzid == "" {
		all = append(all, Login(user, password))
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	for _, authzid := range []string{"", goodUser, "boss"} {
		for i, c := range clients(authzid, goodUser, goodPassword, goodToken) {
			t.Run(fmt.Sprintf("%s %s %d", authzid, c.Mechanism(), i), func(t *testing.T) {
				s, err := host(t).NewServer(strings.ToLower(c.Mechanism()), bound())
				if err != nil {
					t.Fatal(err)
				}
				want := Identity{goodUser, goodUser}
				if authzid != "" {
					want.Authzid = authzid
				}
				id, serverErr, clientErr := converse(t.Context(), c, s)
				if id != want || serverErr != nil || clientErr != nil {
					t.Errorf("%+v, server %v, client %v; want %+v", id, serverErr, clientErr, want)
				}
				if _, _, err := s.Next(t.Context(), []byte("more")); !errors.Is(err, ErrMalformed) {
					t.Errorf("a response after the end: %v, want ErrMalformed", err)
				}
			})
		}
	}
}

// TestWrong: whatever is wrong with the credentials, the server says the same, and nobody is let in.
func TestWrong(t *testing.T) {
	for _, tt := range []struct {
		name                           string
		authzid, user, password, token string
		externalToo                    bool
	}{
		{"password and token", "", goodUser, "wrong", "wrong", false},
		{"user", "", "nobody@example.org", goodPassword, "wrong", false},
		{"case of the user", "", "Joe@example.org", goodPassword, "wrong", false},
		{"not allowed to act as", "ceo", goodUser, goodPassword, goodToken, true},
	} {
		for i, c := range clients(tt.authzid, tt.user, tt.password, tt.token) {
			if c.Mechanism() == NameExternal && !tt.externalToo {
				continue
			}
			t.Run(fmt.Sprintf("%s %s %d", tt.name, c.Mechanism(), i), func(t *testing.T) {
				s, err := host(t).NewServer(c.Mechanism(), bound())
				if err != nil {
					t.Fatal(err)
				}
				id, serverErr, _ := converse(t.Context(), c, s)
				if id != (Identity{}) || s.Identity() != (Identity{}) || !errors.Is(serverErr, ErrCredentials) {
					t.Errorf("%+v, %v, want ErrCredentials", id, serverErr)
				}
				for _, other := range []error{ErrMalformed, ErrTemporary, ErrTooLong, ErrChannelBinding} {
					if errors.Is(serverErr, other) {
						t.Errorf("%v is %v too", serverErr, other)
					}
				}
			})
		}
	}
}

func TestNobodyActsAsAnotherByDefault(t *testing.T) {
	a := host(t)
	a.Authorize = nil
	for _, c := range clients("boss", goodUser, goodPassword, goodToken) {
		s, err := a.NewServer(c.Mechanism(), bound())
		if err != nil {
			t.Fatal(err)
		}
		if id, err, _ := converse(t.Context(), c, s); id != (Identity{}) || !errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %+v, %v, want ErrCredentials", c.Mechanism(), id, err)
		}
	}
}

// TestHostFails: a host that can't tell lets nobody in, and the reason stays in the error.
func TestHostFails(t *testing.T) {
	down := errors.New("database is down")
	a := host(t)
	a.Password = func(context.Context, string, string) (string, error) { return goodUser, down }
	a.Scram = func(context.Context, string) (string, ScramKeys, error) { return goodUser, ScramKeys{}, down }
	a.Token = func(context.Context, string, string) (string, error) { return goodUser, down }
	a.External = func(context.Context, string) (string, error) { return goodUser, down }
	nameless := host(t)
	nameless.Password = func(context.Context, string, string) (string, error) { return "", nil }
	nameless.Scram = func(context.Context, string) (string, ScramKeys, error) { return goodUser, ScramKeys{}, nil }
	nameless.Token = func(context.Context, string, string) (string, error) { return "", nil }
	nameless.External = func(context.Context, string) (string, error) { return "", nil }
	for _, c := range clients("", goodUser, goodPassword, goodToken) {
		s, err := a.NewServer(c.Mechanism(), bound())
		if err != nil {
			t.Fatal(err)
		}
		id, err, _ := converse(t.Context(), c, s)
		if id != (Identity{}) || !errors.Is(err, ErrTemporary) || !errors.Is(err, down) ||
			errors.Is(err, ErrCredentials) {
			t.Errorf("%s: %+v, %v, want ErrTemporary with the reason", c.Mechanism(), id, err)
		}
	}
	for _, c := range clients("", goodUser, goodPassword, goodToken) {
		s, err := nameless.NewServer(c.Mechanism(), bound())
		if err != nil {
			t.Fatal(err)
		}
		if id, err, _ := converse(t.Context(), c, s); id != (Identity{}) || !errors.Is(err, ErrTemporary) {
			t.Errorf("%s: an account without a name: %+v, %v, want ErrTemporary", c.Mechanism(), id, err)
		}
	}
}

// TestContext: the host's functions get the context of the call.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := host(t)
	a.Password = func(ctx context.Context, _, _ string) (string, error) { return "", ctx.Err() }
	s, err := a.NewServer(NamePlain, bound())
	if err != nil {
		t.Fatal(err)
	}
	_, err, _ = converse(ctx, Plain("", "a", "b"), s)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrTemporary) {
		t.Errorf("%v, want context.Canceled within ErrTemporary", err)
	}
}

func TestCanceled(t *testing.T) {
	for _, name := range host(t).Mechanisms(bound()) {
		s, err := host(t).NewServer(name, bound())
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		id, err := Run(t.Context(), s, nil, func([]byte) ([]byte, error) { asked++; return nil, ErrCanceled })
		if asked != 1 || id != (Identity{}) || !errors.Is(err, ErrCanceled) {
			t.Errorf("%s: asked %d times, %+v, %v, want ErrCanceled", name, asked, id, err)
		}
	}
	s, err := host(t).NewServer(NameScramSHA256, bound()) // at the very end: proved, but not finished
	if err != nil {
		t.Fatal(err)
	}
	c := ScramSHA256("", goodUser, goodPassword)
	initial, _, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), s, initial, func(challenge []byte) ([]byte, error) {
		if strings.HasPrefix(string(challenge), "v=") {
			return nil, ErrCanceled
		}
		return c.Next(challenge)
	})
	if !errors.Is(err, ErrCanceled) || s.Identity() != (Identity{}) {
		t.Errorf("canceled at the end: %v, %+v", err, s.Identity())
	}
}

// tlsPair makes a TLS connection in memory and gives both ends' states and the server's certificate.
func tlsPair(t *testing.T, version uint16) (client, server tls.ConnectionState, leaf *x509.Certificate) {
	t.Helper()
	cert := certtest.New(t, "mx.example.org")
	leaf = cert.TLS.Leaf
	a, b := net.Pipe()
	c := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	s := tls.Server(b, cert.Server())
	t.Cleanup(func() { a.Close(); b.Close() })
	errs := make(chan error, 2)
	go func() { // reads what TLS 1.3 sends after the handshake, for a pipe holds nothing
		err := c.Handshake()
		errs <- err
		if err == nil {
			c.Read(make([]byte, 1))
		}
	}()
	go func() { errs <- s.Handshake() }()
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	return c.ConnectionState(), s.ConnectionState(), leaf
}

// TestPlusOverTLS: bound to the connection it runs over PLUS succeeds, and to another it fails.
func TestPlusOverTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		clientState, serverState, leaf := tlsPair(t, version)
		otherState, _, _ := tlsPair(t, version)
		clientSide, serverSide := ClientChannel(clientState), ServerChannel(serverState, leaf)
		other := ClientChannel(otherState)
		preferred := map[uint16]string{tls.VersionTLS12: BindingEndPoint, tls.VersionTLS13: BindingExporter}[version]
		if len(clientSide.Bindings) != 2 || len(serverSide.Bindings) != 2 || clientSide.Bindings[0].Type != preferred {
			t.Fatalf("TLS %x: bindings %+v and %+v, want both, %s first", version, clientSide, serverSide, preferred)
		}
		for i := range 2 {
			for _, tt := range []struct {
				channel Channel
				want    error
			}{{clientSide, nil}, {other, ErrChannelBinding}} {
				s, err := host(t).NewServer(NameScramSHA256Plus, serverSide)
				if err != nil {
					t.Fatal(err)
				}
				b := tt.channel.Bindings[i]
				id, err, _ := converse(t.Context(), ScramSHA256Plus("", goodUser, goodPassword, b), s)
				if !errors.Is(err, tt.want) || (id.User == goodUser) != (tt.want == nil) {
					t.Errorf("TLS %x, %s: %+v, %v, want %v", version, b.Type, id, err, tt.want)
				}
			}
		}
		if got := ServerChannel(serverState, nil).Bindings; len(got) != 1 || got[0].Type != BindingExporter {
			t.Errorf("TLS %x without the certificate: %+v, want the exporter alone", version, got)
		}
	}
	if got := ClientChannel(tls.ConnectionState{}); got.Private || got.Bindings != nil {
		t.Errorf("before the handshake: %+v", got)
	}
	if _, err := EndPointBinding(&x509.Certificate{SignatureAlgorithm: x509.PureEd25519}); err == nil {
		t.Error("Ed25519 has no tls-server-end-point, and no error came")
	}
}
