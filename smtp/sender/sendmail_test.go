package sender

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

// listen serves one connection with a dialogue and gives its address.
func listen(t *testing.T, serve func(net.Conn) error) (addr string, served <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = serve(conn)
		}
		done <- err
	}()
	return l.Addr().String(), done
}

// TestSendMail sends to three, of whom the server refuses one. A message that can be read twice is declared for what it
// is, another one for what it may be.
func TestSendMail(t *testing.T) {
	const text = "Subject: hi\n\nGr\u00fc\u00dfe\n"
	for name, msg := range map[string]io.Reader{
		"BODY=8BITMIME SIZE=24": strings.NewReader(text),
		"BODY=8BITMIME":         io.MultiReader(strings.NewReader(text)),
	} {
		params := strings.Fields(name)
		slices.Reverse(params)
		addr, served := listen(t, func(conn net.Conn) error {
			return parseDialogue(t, `
S: 220 me
C: EHLO client.example.org
S: 250-me
S: 250-PIPELINING
S: 250-8BITMIME
S: 250-SMTPUTF8
S: 250 SIZE
C: MAIL FROM:<a@example.org> `+strings.Join(params, " ")+`
C: RCPT TO:<b@example.net>
C: RCPT TO:<c@example.net>
C: RCPT TO:<d@example.net>
C: DATA
S: 250 ok
S: 250 ok
S: 550 5.1.1 c?
S: 250 ok
S: 354 go on
C: Subject: hi
C:
C: Gr`+"\u00fc\u00df"+`e
C: .
S: 250 taken
C: QUIT
S: 221 bye`).serve(conn, false)
		})
		err := SendMail(t.Context(), addr, "a@example.org", []string{"b@example.net", "<c@example.net>", "d@example.net"},
			msg, testOptions(t))
		var refused *RefusedError
		if !errors.As(err, &refused) || len(refused.Recipients) != 1 {
			t.Errorf("%s: got %v; want c refused", name, err)
		}
		if r, ok := smtp.AsReply(err); !ok || r.Code != 550 || !strings.Contains(err.Error(), "<c@example.net>: 550 5.1.1 c?") {
			t.Errorf("%s: %v carries no 550 of c's", name, err)
		}
		if err := <-served; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSendMailTLS starts TLS where it is offered, and then only with a host whose certificate is good.
func TestSendMailTLS(t *testing.T) {
	cert, roots := certificate(t)
	for _, known := range []bool{true, false} {
		inside := strings.NewReplacer("S: 250-REQUIRETLS\n", "", " REQUIRETLS", "",
			"C: AUTH PLAIN bWU=\nS: 235 welcome\n", "").Replace(insideTLS)
		addr, served := listen(t, func(conn net.Conn) error {
			return protected(conn, cert, parseDialogue(t, startsTLS), parseDialogue(t, inside))
		})
		opts := testOptions(t)
		if known {
			opts.TLSConfig = &tls.Config{RootCAs: roots}
		}
		err := SendMail(t.Context(), addr, "a@example.org", []string{"b@example.net"}, strings.NewReader("x"), opts)
		fromServer := <-served
		if known && (err != nil || fromServer != nil) || !known && !errors.Is(err, ErrTLS) {
			t.Errorf("known root %v: got %v; the server: %v", known, err, fromServer)
		}
	}
}

// TestSendMailFails has each way in which nothing is sent.
func TestSendMailFails(t *testing.T) {
	for _, test := range []struct {
		name, from string
		to         []string
		msg        string
		offers     string
		want       error
	}{
		{"sender", "a b@example.org", []string{"b@example.net"}, "x", "", smtp.ErrMailbox},
		{"recipient", "a@example.org", []string{"b@example.net>\r\nRCPT TO:<c@example.net"}, "x", "", smtp.ErrPath},
		{"null recipient", "", []string{""}, "x", "", smtp.ErrMailbox},
		{"8-bit", "", []string{"b@example.net"}, "x\r\n\r\n\xff", "HELP", no8Bit},
		{"UTF-8 headers", "", []string{"b@example.net"}, "S: \u00fc\r\n\r\n", "8BITMIME", noUTF8},
	} {
		addr, served := "127.0.0.1:1", (<-chan error)(nil)
		if test.offers != "" {
			addr, served = listen(t, func(conn net.Conn) error {
				return parseDialogue(t, "S: 220 me\nC: EHLO client.example.org\nS: 250-me\nS: 250 "+test.offers+
					"\nC: QUIT\nS: 221 bye").serve(conn, false)
			})
		}
		err := SendMail(t.Context(), addr, test.from, test.to, strings.NewReader(test.msg), testOptions(t))
		if want, ok := test.want.(smtp.Reply); ok {
			if got, _ := smtp.AsReply(err); got.Text() != want.Text() {
				t.Errorf("%s: got %v; want %v", test.name, err, want)
			}
		} else if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v; want %v", test.name, err, test.want)
		}
		if served != nil {
			if err := <-served; err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
	if err := SendMail(t.Context(), "127.0.0.1:1", "", nil, strings.NewReader("x"), Options{}, Options{}); err == nil {
		t.Error("two Options were taken")
	}
}
