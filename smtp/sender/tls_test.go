package sender

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/smtp"
)

// certificate makes a certificate for mx.example.net and 127.0.0.1 that signs itself, and the roots that know it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	cert := certtest.New(t, "mx.example.net", "127.0.0.1")
	return cert.TLS, cert.Roots
}

// protected plays a dialogue in the clear and another one inside TLS.
func protected(server net.Conn, cert tls.Certificate, clear, inside dialogue) error {
	defer server.Close()
	server.SetDeadline(time.Now().Add(20 * time.Second))
	for _, s := range clear.server {
		if s.kind == "S" {
			if _, err := io.WriteString(server, s.text); err != nil {
				return err
			}
		} else if err := expect(server, s.text, false); err != nil {
			return err
		}
	}
	conn := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := conn.Handshake(); err != nil {
		return err
	}
	return inside.serve(conn, false)
}

const (
	startsTLS = `
S: 220 mx.example.net
C: EHLO client.example.org
S: 250-mx.example.net
S: 250-AUTH LOGIN
S: 250 STARTTLS
C: STARTTLS
S: 220 go`
	insideTLS = `
C: EHLO client.example.org
S: 250-mx.example.net
S: 250-PIPELINING
S: 250-REQUIRETLS
S: 250 AUTH PLAIN
C: AUTH PLAIN bWU=
S: 235 welcome
C: MAIL FROM:<a@example.org> REQUIRETLS
C: RCPT TO:<b@example.net>
C: DATA
S: 250 ok
S: 250 ok
S: 354 go on
C: x
C: .
S: 250 taken
C: QUIT
S: 221 bye`
)

// useTLS opens a session, authenticates, sends a message that requires TLS, and quits.
func useTLS(ctx context.Context, t *testing.T, conn net.Conn, opts Options) error {
	t.Helper()
	c, err := NewClient(ctx, conn, opts)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.TLS() == nil || !c.TLS().HandshakeComplete || !c.Extensions().RequireTLS || c.Extensions().StartTLS {
		t.Errorf("TLS is %+v, and %+v is offered", c.TLS(), c.Extensions())
	}
	if err := c.Auth(ctx, &scriptedMechanism{name: "PLAIN", initial: []byte("me"), has: true}); err != nil {
		return err
	}
	env := oneRecipient(t)
	env.RequireTLS = true
	result, err := c.Send(ctx, env, strings.NewReader("x"))
	if err != nil {
		return err
	}
	if reply := result.Outcomes[0].Reply; !reply.Positive() {
		return reply
	}
	return c.Quit(ctx)
}

func TestTLS(t *testing.T) {
	cert, roots := certificate(t)
	const greeting = "S: 220 mx.example.net\n"
	for _, test := range []struct {
		name   string
		mode   TLSMode
		config *tls.Config
		allow  bool
		want   error
	}{
		{"required", TLSRequired, &tls.Config{RootCAs: roots, ServerName: "mx.example.net"}, false, nil},
		{"required, unknown root", TLSRequired, &tls.Config{ServerName: "mx.example.net"}, false, ErrTLS},
		{"required, wrong name", TLSRequired, &tls.Config{RootCAs: roots, ServerName: "other.example"}, false, ErrTLS},
		{"opportunistic", TLSOpportunistic, nil, true, nil},
		{"opportunistic, no secrets", TLSOpportunistic, nil, false, ErrAuth},
		{"implicit", TLSImplicit, &tls.Config{RootCAs: roots, ServerName: "mx.example.net"}, false, nil},
		{"implicit, unknown root", TLSImplicit, &tls.Config{ServerName: "mx.example.net"}, false, ErrTLS},
		{"the caller's", TLSNone, &tls.Config{RootCAs: roots, ServerName: "mx.example.net"}, false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := connections(t, true)
			clear, inside := parseDialogue(t, startsTLS), parseDialogue(t, insideTLS)
			if test.mode == TLSImplicit || test.mode == TLSNone {
				clear, inside = dialogue{}, parseDialogue(t, greeting+insideTLS)
			}
			served := make(chan error, 1)
			go func() { served <- protected(server, cert, clear, inside) }()
			opts := testOptions(t)
			opts.TLS, opts.TLSConfig, opts.AuthInClear = test.mode, test.config, test.allow
			if test.mode == TLSNone {
				client = tls.Client(client, test.config)
			}
			err := useTLS(t.Context(), t, client, opts)
			fromServer := <-served
			if !errors.Is(err, test.want) || test.want == nil && (err != nil || fromServer != nil) {
				t.Fatalf("got %v; want %v; the server: %v", err, test.want, fromServer)
			}
			if broke := (*SessionError)(nil); test.want == ErrTLS && (!errors.As(err, &broke) || !broke.Local ||
				broke.Stage != StageTLS || broke.Reply.Enhanced != smtp.EnhancedCode{4, 7, 5}) {
				t.Errorf("got %#v; want a local 4.7.5", err)
			}
		})
	}
}

// TestTLSHangs has the server fall silent in the handshake.
func TestTLSHangs(t *testing.T) {
	client, server := connections(t, true)
	defer server.Close()
	go func() {
		io.WriteString(server, "220 me\r\n")
		expect(server, "EHLO client.example.org\r\n", false)
		io.WriteString(server, "250-me\r\n250 STARTTLS\r\n")
		expect(server, "STARTTLS\r\n", false)
		io.WriteString(server, "220 go\r\n")
		io.Copy(io.Discard, server)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	opts := testOptions(t)
	opts.TLS = TLSOpportunistic
	_, err := NewClient(ctx, client, opts)
	var broke *SessionError
	if !errors.As(err, &broke) || broke.Stage != StageTLS || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; want the context's end in STARTTLS", err)
	}
}

// TestTLSChunks sends content of many chunks over TLS.
func TestTLSChunks(t *testing.T) {
	cert, roots := certificate(t)
	client, server := connections(t, true)
	s := chunkServer{offers: "PIPELINING"}
	done := make(chan error, 1)
	go func() { done <- s.serve(tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})) }()
	opts := testOptions(t)
	opts.TLS, opts.TLSConfig = TLSImplicit, &tls.Config{RootCAs: roots, ServerName: "mx.example.net"}
	c, err := NewClient(t.Context(), client, opts)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("a line of the message\r\n"), 20_000)
	for range 2 { // the second one listens first whether the server is still there
		if _, err := c.Send(t.Context(), oneRecipient(t), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.content, content) {
			t.Error("the content arrived changed")
		}
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
