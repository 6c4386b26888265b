package receiver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/sasl"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// members takes mail from those who have logged in.
type members struct{}

func (members) Mail(_ context.Context, s *receiver.Session, _ smtp.Mail) smtp.Reply {
	if s.Identity() != "ann" {
		return smtp.NewReply(530, smtp.EnhancedCode{5, 7, 0}, "Log in first")
	}
	return smtp.Reply{}
}
func (members) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply { return smtp.Reply{} }
func (members) Data(_ context.Context, _ *receiver.Session, content io.Reader) smtp.Reply {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "Lost")
	}
	return smtp.Reply{}
}

// startMembers runs a server with STARTTLS and AUTH for ann, whose password is "pigeon" and whose token is "feather".
func startMembers(t *testing.T) (addr string) {
	t.Helper()
	cert := certtest.New(t, "localhost")
	stored, err := sasl.DeriveScram("pigeon", []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	only := func(user, secret, want string) (string, error) {
		if user != "ann" || secret != want {
			return "", sasl.ErrCredentials
		}
		return "ann", nil
	}
	auth := receiver.SASL{Leaf: cert.TLS.Leaf, Authenticators: sasl.Authenticators{
		Password:    func(_ context.Context, user, password string) (string, error) { return only(user, password, "pigeon") },
		Token:       func(_ context.Context, user, token string) (string, error) { return only(user, token, "feather") },
		ScramSecret: []byte("a secret of sixteen octets or more"),
		Scram: func(_ context.Context, user string) (string, sasl.ScramKeys, error) {
			if user == "broken" {
				return "", sasl.ScramKeys{}, errors.New("the user store is away")
			}
			account, err := only(user, "", "")
			return account, stored, err
		},
	}}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: members{}, Auth: auth, TLS: cert.Server()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
	})
	return l.Addr().String()
}

// TestSASL logs in with our own client by each mechanism, and fails to.
func TestSASL(t *testing.T) {
	addr := startMembers(t)
	from, _ := smtp.ParsePath("<ann@example.org>")
	to, _ := smtp.ParsePath("<bob@example.net>")
	for name, test := range map[string]struct {
		choose func([]string, *tls.ConnectionState) (sender.Mechanism, error)
		want   string // of the login
	}{
		"nobody":  {nil, "530 5.7.0 Log in first"},
		"chosen":  {sender.Login(sasl.Credentials{User: "ann", Password: "pigeon"}), ""},
		"token":   {sender.Login(sasl.Credentials{User: "ann", Token: "feather"}), ""},
		"wrong":   {sender.Login(sasl.Credentials{User: "ann", Password: "crow"}), "535 5.7.8 The login is not accepted"},
		"unknown": {sender.Login(sasl.Credentials{User: "eve", Password: "pigeon"}), "535 5.7.8 The login is not accepted"},
		"away":    {sender.Login(sasl.Credentials{User: "broken", Password: "x"}), "454 4.7.0 The login cannot be checked now; try again later"},
		"plain":   {with(sasl.Plain("", "ann", "pigeon")), ""},
		"login":   {with(sasl.Login("ann", "pigeon")), ""},
		"scram":   {with(sasl.ScramSHA256("", "ann", "pigeon")), ""},
		"bearer":  {with(sasl.OAuthBearer("ann", "mx.example.org", 25, "feather")), ""},
		"xoauth2": {with(sasl.XOAuth2("ann", "feather")), ""},
		"stale":   {with(sasl.XOAuth2("ann", "down")), "535 5.7.8 The login is not accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := sender.Dial(t.Context(), addr, sender.Options{TLS: sender.TLSRequired, Auth: test.choose,
				TLSConfig: &tls.Config{InsecureSkipVerify: true}})
			if err == nil {
				defer c.Close()
				var r sender.Result
				r, err = c.Send(t.Context(), sender.Envelope{From: from, To: []smtp.Path{to}}, nothing{})
				if err == nil && !r.Outcomes[0].Reply.Positive() {
					err = r.Outcomes[0].Reply
				}
			}
			got := ""
			if reply, ok := smtp.AsReply(err); ok {
				got = reply.Text()
			} else if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func with(m sasl.Client) func([]string, *tls.ConnectionState) (sender.Mechanism, error) {
	return func([]string, *tls.ConnectionState) (sender.Mechanism, error) { return m, nil }
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// TestSwaksLogsIn: a client of another house, over STARTTLS, and not before it.
func TestSwaksLogsIn(t *testing.T) {
	addr := startMembers(t)
	login := func(args ...string) error {
		args = append([]string{"--server", addr, "--from", "ann@example.org", "--to", "bob@example.net"}, args...)
		out, err := peers.Command(t, "swaks", args...).CombinedOutput()
		t.Logf("%s", out)
		return err
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		if err := login("--tls", "--auth", mechanism, "--auth-user", "ann", "--auth-password", "pigeon"); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		if err := login("--tls", "--auth", mechanism, "--auth-user", "ann", "--auth-password", "crow"); err == nil {
			t.Errorf("%s takes a wrong password", mechanism)
		}
		if err := login("--auth", mechanism, "--auth-user", "ann", "--auth-password", "pigeon"); err == nil {
			t.Errorf("%s is taken without TLS", mechanism)
		}
	}
}

// nodemailerScript sends with a login, over STARTTLS.
const nodemailerScript = `
const nodemailer = require("nodemailer");
const [host, port] = process.argv[1].split(":");
nodemailer.createTransport({host, port, requireTLS: true, tls: {rejectUnauthorized: false},
    auth: {user: "ann", pass: process.argv[2]}}).sendMail({from: "ann@example.org", to: "bob@example.net", subject: "hi", text: "hello"})
    .then(() => process.exit(0), (err) => { console.error(err.message); process.exit(1); });
`

func TestNodemailerLogsIn(t *testing.T) {
	addr := startMembers(t)
	if out, err := peers.Nodemailer(t, nodemailerScript, addr, "pigeon").CombinedOutput(); err != nil {
		t.Errorf("nodemailer: %v\n%s", err, out)
	}
	if out, err := peers.Nodemailer(t, nodemailerScript, addr, "crow").CombinedOutput(); err == nil {
		t.Errorf("nodemailer logs in with a wrong password\n%s", out)
	}
}
