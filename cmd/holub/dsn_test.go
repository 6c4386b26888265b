package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/dsn"
	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/smtp"
)

// TestPostfixReports makes a real Postfix report a failure, a delay and a success, in ASCII and in UTF-8, and reads
// what it writes.
func TestPostfixReports(t *testing.T) {
	next := startSink(t, "127.0.0.1:0", nil)
	relaying := peers.Postfix(t, peers.PostfixOptions{
		Transport: "smtp:[127.0.0.1]:" + next.port(),
		Main: map[string]string{
			"transport_maps": "inline:{slow.example.net=smtp:[127.0.0.1]:" + closedPort(t) + "}", "delay_warning_time": "1s",
		},
	})
	keeping := peers.Postfix(t, peers.PostfixOptions{Main: map[string]string{
		"transport_maps": "inline:{ascii.example.net=smtp:[127.0.0.1]:" + next.port() + "}",
	}})
	for _, tt := range []struct {
		name, from, to, orcpt string
		postfix               *peers.PostfixServer
		kind                  dsn.Kind
		want                  dsn.RecipientStatus
	}{
		{"failure", "ann@example.org", "refuse@example.net", "rfc822;Alias@example.net", relaying, dsn.Failure, dsn.RecipientStatus{
			Action: dsn.Failed, Status: smtp.EnhancedCode{5, 1, 1}, Original: dsn.Address{Type: "rfc822", Text: "Alias@example.net"}}},
		{"failure in UTF-8", "j\u00e1n@example.org", "ji\u0159i@ascii.example.net", "utf-8;\\x{159}@example.net", keeping, dsn.Failure,
			dsn.RecipientStatus{Action: dsn.Failed, Status: smtp.EnhancedCode{5, 6, 7}, Original: dsn.Address{Type: "utf-8", Text: "\u0159@example.net"}}},
		{"delay", "ann@example.org", "bob@slow.example.net", "rfc822;bob@slow.example.net", relaying, dsn.Delay, dsn.RecipientStatus{
			Action: dsn.Delayed, Status: smtp.EnhancedCode{4, 4, 1}, Original: dsn.Address{Type: "rfc822", Text: "bob@slow.example.net"}}},
		{"success", "ann@example.org", "bob@example.net", "rfc822;bob@example.net", keeping, dsn.Success, dsn.RecipientStatus{
			Action: dsn.Delivered, Status: smtp.EnhancedCode{2, 0, 0}, Original: dsn.Address{Type: "rfc822", Text: "bob@example.net"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			envid := fmt.Sprintf("id-%d", time.Now().UnixNano())
			sendAsking(t, tt.postfix, tt.from, tt.to, tt.orcpt, envid)
			report := ""
			eventually(t, "the report comes", 60*time.Second, func() bool {
				var all []string
				if tt.postfix == keeping {
					all = keeping.Mail(t, 1)
				}
				for _, m := range next.messages() {
					all = append(all, m.content)
				}
				for _, m := range all {
					if strings.Contains(m, "Original-Envelope-Id: "+envid) {
						report = m
					}
				}
				return report != ""
			})
			p, err := dsn.Parse(strings.NewReader(report))
			if err != nil {
				t.Fatalf("%v\n%s", err, report)
			}
			if p.Kind != tt.kind || p.Software != "Postfix" || p.Dialect != dsn.DialectStatus || p.EnvelopeID != envid || p.QueueID == "" ||
				p.Reporter.Name != "postfix.example.test" || p.Sender != tt.from || p.Arrived.IsZero() || p.Truncated {
				t.Errorf("%+v\n%s", p, report)
			}
			if len(p.Recipients) != 1 || p.Original == nil || p.Original.Subject != "lunch" || p.Original.Date.IsZero() {
				t.Fatalf("%+v, %+v\n%s", p.Recipients, p.Original, report)
			}
			got := p.Recipients[0]
			if got.Final.Text != tt.to || got.Action != tt.want.Action || got.Status != tt.want.Status || got.Original != tt.want.Original {
				t.Errorf("%+v\n%s", got, report)
			}
			if tt.want.Status[1] == 1 && (got.Diagnostic.Code != 550 || !strings.HasPrefix(got.Diagnostic.Text, "550 5.1.1 No such mailbox here")) {
				t.Errorf("%+v\n%s", got.Diagnostic, report)
			}
			if tt.kind == dsn.Delay && got.RetryUntil.IsZero() {
				t.Errorf("%+v\n%s", got, report)
			}
		})
	}
}

// sendAsking sends a mail with all that RFC 3461 lets a sender ask for.
func sendAsking(t *testing.T, to *peers.PostfixServer, from, rcpt, orcpt, envid string) {
	t.Helper()
	out, err := peers.Command(t, "python3", "-c", `
import smtplib, sys
addr, sender, rcpt, orcpt, envid = sys.argv[1:]
host, port = addr.rsplit(":", 1)
with smtplib.SMTP(host, int(port)) as s:
    s.ehlo("client.example.org")
    utf8 = [] if (sender + rcpt).isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
    s.sendmail(sender, [rcpt], b"Subject: lunch\r\nDate: Mon, 23 Nov 2026 14:00:00 +0000\r\n\r\nAt noon?\r\n",
        mail_options=utf8 + ["RET=HDRS", "ENVID=" + envid], rcpt_options=["NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=" + orcpt])
`, to.Addr, from, rcpt, orcpt, envid).CombinedOutput()
	if err != nil {
		t.Fatalf("smtplib: %v\n%s\n%s", err, out, to.Log())
	}
}

// closedPort gives a port of the loopback at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
