package receiver_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/sasl"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// takeAll accepts everything and reads it.
type takeAll struct{}

func (takeAll) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }
func (takeAll) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply { return smtp.Reply{} }
func (takeAll) Data(_ context.Context, _ *receiver.Session, content io.Reader) smtp.Reply {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return smtp.NewReply(451, smtp.EnhancedCode{4, 0, 0}, err.Error())
	}
	return smtp.Reply{}
}

// A line of AUTH longer than a command's comes behind content in one write, into the larger buffer that content had.
func TestLongLineBehindContent(t *testing.T) {
	server := &receiver.Server{Hostname: "mx.example.org", Handler: takeAll{}, Auth: receiver.SASL{Authenticators: sasl.Authenticators{
		ScramSecret: []byte("a secret of sixteen octets or more"),
		Scram: func(context.Context, string) (string, sasl.ScramKeys, error) {
			return "", sasl.ScramKeys{}, sasl.ErrCredentials
		}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	defer server.Shutdown(t.Context())
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	replies := bufio.NewReader(conn)
	want := func(code string) {
		t.Helper()
		for {
			line, err := replies.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, code) {
				t.Fatalf("%q, %v; want %s", line, err, code)
			}
			if line[3] == ' ' {
				return
			}
		}
	}
	say := func(text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	want("220")
	say("EHLO x\r\n")
	want("250")
	for _, size := range []int{6000, 4097, 9000} {
		say("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
		want("250")
		want("250")
		want("354")
		say("x\r\n.\r\nAUTH SCRAM-SHA-256\r\n" + strings.Repeat("A", size))
		want("250")
		want("334")
		say(strings.Repeat("A", 11_000-size) + "\r\n")
		want("5")
	}
	say("NOOP\r\n")
	want("250")
}
