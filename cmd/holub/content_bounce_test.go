package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// refusing is a host at which nobody is known.
type refusing struct{ *catcher }

func (refusing) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply {
	return smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "no such user")
}

func startRefusing(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &receiver.Server{Hostname: "no.example", Handler: refusing{&catcher{}}, Offer: smtp.Extensions{UTF8: true, BinaryMIME: true}}
	go srv.Serve(l)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// TestReportOfAnything: whatever a mail was made of, and whatever the host of its sender takes, its report gets there, with the
// mail in it.
func TestReportOfAnything(t *testing.T) {
	binary, _, _ := binaryMail()
	signed := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nk\xc5\xaf\r\n" +
		"--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
	for name, test := range map[string]struct {
		config, content, from string
		env                   sender.Envelope
		sevenBit              bool
	}{
		"8-bit where no form is 7-bit": {"", "From: j\xc3\xb6rg@example.org\r\nSubject: x\r\n\r\nbody\r\n", "back@there.example", sender.Envelope{}, true},
		"signed and to stay whole":     {"[delivery]\nsigned = \"return\"\n", signed, "back@there.example", sender.Envelope{}, true},
		"binary":                       {"", binary, "back@there.example", sender.Envelope{Binary: true}, false},
		"binary, to 7 bits":            {"", binary, "back@there.example", sender.Envelope{Binary: true}, true},
		"binary of a UTF-8 sender":     {"", binary, "k\u016f\u0148@there.example", sender.Envelope{Binary: true, UTF8: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			there := startCatcher(t, &receiver.Server{SevenBit: test.sevenBit, Offer: smtp.Extensions{UTF8: !test.sevenBit}})
			s := serving(t, withRoutes(routeTo("there.example", "smtp://"+there.addr), routeTo("no.example", "smtp://"+startRefusing(t)))+test.config)
			c := dial(t, s, sender.Options{})
			c.send(test.env, test.content, test.from, "joe@no.example")
			eventually(t, "the sender has the report", 20*time.Second, func() bool { return len(there.parcels()) == 1 })
			p := there.parcels()[0]
			if strings.Contains(p.content, "\x00") || strings.Contains(strings.ReplaceAll(p.content, "\r\n", ""), "\n") {
				t.Errorf("it has NUL or a bare LF in it:\n%q", p.content)
			}
			if test.sevenBit {
				checkSevenBit(t, name, p.content)
			}
			if r := readReport(t, name, p.content); r.Original == nil || r.Recipients[0].Status != (smtp.EnhancedCode{5, 1, 1}) {
				t.Errorf("it says %+v", r)
			}
			c.hangUp()
			s.stop()
		})
	}
}
