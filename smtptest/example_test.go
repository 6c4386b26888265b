package smtptest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtptest"
)

// notify stands for the program under test: it sends a mail and tries once more when the server is away.
func notify(t *testing.T, srv *smtptest.Server) {
	for range 2 {
		if got := send(t, srv, "<bob@example.net>"); strings.HasPrefix(got, "250") {
			return
		}
	}
}

// TestNotify waits for a mail and injects a 421: a model of a test to copy.
func TestNotify(t *testing.T) {
	srv := smtptest.Start(t)
	srv.Fail(smtptest.Fault{On: smtptest.Mail, Times: 1, Reply: smtp.NewReply(421, smtp.EnhancedCode{4, 3, 2}, "Come back later")})

	notify(t, srv)

	m := srv.Next(t, 5*time.Second)
	if !strings.Contains(m.Content, "Subject: hello") {
		t.Errorf("the mail is %q", m.Content)
	}
}

// In a test: a server that takes mail, and is away when the program first tries.
func Example() {
	test := func(t *testing.T) {
		srv := smtptest.Start(t)
		srv.Fail(smtptest.Fault{On: smtptest.Mail, Times: 1, Reply: smtp.NewReply(421, smtp.EnhancedCode{4, 3, 2}, "Come back later")})
		// ... the program under test sends to srv.Addr ...
		m := srv.Next(t, 5*time.Second)
		t.Log(m.From.From, m.To[0].To, m.Content)
	}
	_ = test
}
