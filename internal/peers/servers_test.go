package peers_test

import (
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/peers"
)

// talk sends each text to a server and fails where its reply does not have the code.
func talk(t *testing.T, addr string, steps ...struct{ send, code string }) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	in := textproto.NewConn(c)
	for _, s := range steps {
		io.WriteString(c, s.send)
		code, text, err := in.ReadResponse(0)
		if err != nil || fmt.Sprint(code) != s.code {
			t.Fatalf("after %q: %d %s %v, want %s", s.send, code, text, err, s.code)
		}
	}
}

type step = struct{ send, code string }

// mailByBDAT is a mail that needs SMTPUTF8 and comes in two chunks.
var mailByBDAT = []step{
	{"", "220"},
	{"EHLO client.example.org\r\n", "250"},
	{"MAIL FROM:<голуб@example.org> SMTPUTF8 BODY=8BITMIME\r\n", "250"},
	{"RCPT TO:<пошта@example.net>\r\n", "250"},
	{"BDAT 19\r\nSubject: здрав", "250"},
	{"BDAT 11 LAST\r\n\r\n\r\n..\r\n.\r\n", "250"}, // dots mean nothing here: RFC 3030 2
	{"QUIT\r\n", "221"},
}

func TestPostfixKeeps(t *testing.T) {
	s := peers.Postfix(t, peers.PostfixOptions{})
	talk(t, s.Addr, mailByBDAT...)
	mail := strings.Join(s.Mail(t, 1), "")
	for _, want := range []string{"Return-Path: <голуб@example.org>\n", "Delivered-To: пошта@example.net\n",
		"with UTF8SMTP id", "\nSubject: здрав\n", "\n\n..\n.\n"} {
		if !strings.Contains(mail, want) {
			t.Errorf("no %q in\n%s\n%s", want, mail, s.Log())
		}
	}
}

// TestPostfixSends: its client uses SMTPUTF8, DSN and TLS where they are offered, and DATA though CHUNKING is.
func TestPostfixSends(t *testing.T) {
	next := newScribe(t, "PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "STARTTLS")
	s := peers.Postfix(t, peers.PostfixOptions{
		Transport: "smtp:[127.0.0.1]:" + next.addr[strings.LastIndex(next.addr, ":")+1:],
		Main:      map[string]string{"smtp_helo_name": "changed.example.test"},
	})
	talk(t, s.Addr, mailByBDAT...)
	select {
	case <-next.mails:
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing was sent:\n%s", s.Log())
	}
	next.wants(t, "EHLO changed.example.test", "STARTTLS", "EHLO changed.example.test",
		"MAIL FROM:<голуб@example.org> SIZE=", "RCPT TO:<пошта@example.net> ORCPT=", "DATA", "Subject: здрав", "...",
		"..", "QUIT")
}

func TestDovecotLMTP(t *testing.T) {
	d := peers.DovecotLMTP(t)
	for _, at := range [][]string{{d.Socket, "0"}, strings.Split(d.Addr, ":")} {
		out, err := peers.Command(t, "python3", append([]string{"-c", `
import smtplib, sys
with smtplib.LMTP(sys.argv[1], int(sys.argv[2])) as s:
    print("refused:", s.sendmail("a@example.org", ["b@example.org", "c@example.net"], "Subject: x\r\n\r\ny\r\n"))
    s.getreply() # of the second recipient, which smtplib leaves
`}, at...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "refused: {}") {
			t.Errorf("%v: %v\n%s\n%s", at, err, out, d.Log())
		}
	}
	for _, user := range []string{"b", "c"} {
		if mails := d.Mail(t, user, 2); len(mails) != 2 || !strings.HasSuffix(mails[0], "Subject: x\n\ny\n") {
			t.Errorf("%s has %q", user, mails)
		}
	}
}

func TestPostfixToDovecot(t *testing.T) {
	d := peers.DovecotLMTP(t, "lmtp_save_to_detail_mailbox = yes")
	s := peers.Postfix(t, peers.PostfixOptions{Transport: "lmtp:unix:" + d.Socket})
	host, port, _ := strings.Cut(s.Addr, ":")
	out, err := peers.Command(t, "swaks", "--server", host, "--port", port, "--helo", "client.example.org",
		"--from", "a@example.org", "--to", "b@example.org").CombinedOutput()
	if err != nil {
		t.Errorf("swaks: %v\n%s", err, out)
	}
	if mail := d.Mail(t, "b", 1)[0]; !strings.Contains(mail, "Return-Path: <a@example.org>") ||
		!strings.Contains(mail, "This is a test mailing") {
		t.Errorf("got\n%s\n%s", mail, s.Log())
	}
}
