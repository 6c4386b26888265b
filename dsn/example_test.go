package dsn_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/holub-mail/holub/dsn"
	"github.com/holub-mail/holub/smtp"
)

func ExampleReport_Write() {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	ann, _ := smtp.ParsePath("<ann@example.com>")
	joe, _ := smtp.ParsePath("<joe@example.org>")
	report := dsn.Report{
		Kind:      dsn.Failure,
		MessageID: "<2@mx.example.com>",
		Date:      now,
		From:      "mx.example.com",
		To:        ann,
		Sender:    ann,
		QueueID:   "1",
		Recipients: []dsn.Recipient{{
			Final: joe,
			Reply: smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "no such user"),
			Host:  "mail.example.org",
		}},
	}
	var out strings.Builder
	err := report.Write(&out, strings.NewReader("Subject: lunch\r\n\r\nAt noon?\r\n"))
	if err != nil {
		fmt.Println(err)
	}
	parts := strings.Split(strings.ReplaceAll(out.String(), "\r\n", "\n"), "\n--=_")
	for _, part := range parts[1:3] {
		_, body, _ := strings.Cut(part, "\n\n")
		fmt.Println(body)
	}
	// Output:
	// Your message could not be delivered to the address below. It will not be
	// tried again there.
	//
	// joe@example.org
	//   There is no mailbox of this name at example.org.
	//   What you can do: Check the address, letter by letter, and send the
	//   message again to the right one. If it is right, ask the person in
	//   another way.
	//
	//   The server mail.example.org answered:
	//     550 5.1.1 no such user
	//
	// Other recipients of the message, if it has any, are not affected by this
	// report.
	//
	// --------
	// This report was written by the mail server mx.example.com. Its number
	// there is 1; name it if you ask postmaster@mx.example.com for help. Below
	// this text follow a report for programs and the header of the message.
	//
	// Reporting-MTA: dns; mx.example.com
	// X-Holub-Queue-ID: 1
	// X-Holub-Sender: <ann@example.com>
	//
	// Final-Recipient: rfc822; joe@example.org
	// Action: failed
	// Status: 5.1.1
	// Remote-MTA: dns; mail.example.org
	// Diagnostic-Code: smtp; 550 5.1.1 no such user
}

func ExampleParse() {
	report := strings.NewReader("From: MAILER-DAEMON@mail.example.net\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n" +
		"\r\n" +
		"--b\r\n" +
		"Content-Type: message/delivery-status\r\n" +
		"\r\n" +
		"Reporting-MTA: dns; mail.example.net\r\n" +
		"Original-Envelope-Id: newsletter-17\r\n" +
		"\r\n" +
		"Final-Recipient: rfc822; joe@example.org\r\n" +
		"Action: failed\r\n" +
		"Status: 5.2.2\r\n" +
		"Remote-MTA: dns; mx.example.org\r\n" +
		"Diagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n" +
		"--b--\r\n")
	parsed, err := dsn.Parse(report)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(parsed.Kind, "of", parsed.EnvelopeID)
	for _, rcpt := range parsed.Recipients {
		fmt.Println(rcpt.Final.Text, rcpt.Status, "by", rcpt.Remote.Name, "with", rcpt.Diagnostic.Code)
	}
	// Output:
	// failure of newsletter-17
	// joe@example.org 5.2.2 by mx.example.org with 552
}
