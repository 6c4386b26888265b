package smtptest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
	"github.com/holub-mail/holub/smtptest"
)

func path(t *testing.T, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// send makes one session with one mail and says how it ended: the replies to the recipients, or the error.
func send(t *testing.T, srv *smtptest.Server, to ...string) string {
	t.Helper()
	c, err := sender.Dial(t.Context(), srv.Addr, sender.Options{})
	if err != nil {
		if r, ok := smtp.AsReply(err); ok {
			return r.Text()
		}
		return "broken"
	}
	defer c.Close()
	env := sender.Envelope{From: path(t, "<ann@example.org>")}
	for _, s := range to {
		env.To = append(env.To, path(t, s))
	}
	result, err := c.Send(t.Context(), env, strings.NewReader("Subject: hello\r\n\r\n.hello\r\n"))
	if err != nil {
		return "broken"
	}
	var replies []string
	for _, o := range result.Outcomes {
		replies = append(replies, o.Reply.Text())
	}
	return strings.Join(replies, ", ")
}

func TestTakesMail(t *testing.T) {
	srv := smtptest.Start(t)
	if got := send(t, srv, "<bob@example.net>", "<eve@example.net>"); got != "250 2.0.0 Ok, 250 2.0.0 Ok" {
		t.Fatal(got)
	}
	m := srv.Next(t, 5*time.Second)
	if m.From.From.String() != "<ann@example.org>" || len(m.To) != 2 || m.To[1].To.String() != "<eve@example.net>" ||
		m.Content != "Subject: hello\r\n\r\n.hello\r\n" {
		t.Errorf("%+v", m)
	}
	if n := len(srv.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// TestFaults: each fault strikes where it should, and once.
func TestFaults(t *testing.T) {
	busy := smtp.NewReply(450, smtp.EnhancedCode{4, 2, 0}, "Busy")
	away := smtp.NewReply(421, smtp.EnhancedCode{4, 3, 2}, "Away")
	bob := func(p smtp.Path) bool { return p.Local == "bob" }
	for name, test := range map[string]struct {
		fault smtptest.Fault
		want  string
		taken int
	}{
		"greeting": {smtptest.Fault{On: smtptest.Connect, Reply: away}, "421 Away", 0},
		"dropped":  {smtptest.Fault{On: smtptest.Connect, Drop: true}, "broken", 0},
		"sender":   {smtptest.Fault{On: smtptest.Mail, Reply: busy}, "450 4.2.0 Busy, 450 4.2.0 Busy", 0},
		"one":      {smtptest.Fault{On: smtptest.Rcpt, Match: bob, Reply: busy}, "450 4.2.0 Busy, 250 2.0.0 Ok", 1},
		"content":  {smtptest.Fault{On: smtptest.Content, Reply: busy}, "450 4.2.0 Busy, 450 4.2.0 Busy", 0},
		"late":     {smtptest.Fault{On: smtptest.Content, Delay: time.Millisecond, Reply: busy}, "450 4.2.0 Busy, 450 4.2.0 Busy", 0},
		"in doubt": {smtptest.Fault{On: smtptest.Taken, Drop: true}, "broken", 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.Start(t)
			test.fault.Times = 1
			srv.Fail(test.fault)
			if got := send(t, srv, "<bob@example.net>", "<eve@example.net>"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if n := len(srv.Messages()); n != test.taken {
				t.Errorf("%d messages were taken, want %d", n, test.taken)
			}
			if got := send(t, srv, "<bob@example.net>"); got != "250 2.0.0 Ok" {
				t.Errorf("after the fault: %s", got)
			}
		})
	}
}
