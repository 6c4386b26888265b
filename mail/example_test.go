package mail_test

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

func ExampleReceived_Append() {
	r := mail.Received{
		Hello: "mail.example.org",
		Addr:  netip.MustParseAddr("2001:db8::25"),
		By:    "mx.example.com",
		With:  "ESMTP",
		ID:    "0d3k8q9zv1x2",
		For:   "joe@example.com",
		Date:  time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC),
	}
	fmt.Print(strings.ReplaceAll(string(r.Append(nil)), "\r\n", "\n"))
	// Output:
	// Received: from mail.example.org ([IPv6:2001:db8::25])
	//  by mx.example.com (holub) with ESMTP id 0d3k8q9zv1x2 for <joe@example.com>;
	//  Mon, 23 Nov 2026 15:00:00 +0000
}

func ExampleAppendReturnPath() {
	from, _ := smtp.ParsePath(`<"joe bloggs"@example.org>`)
	fmt.Printf("%q\n", mail.AppendReturnPath(nil, from))
	// Output: "Return-Path: <\"joe bloggs\"@example.org>\r\n"
}

func ExampleScanner() {
	var scan mail.Scanner
	io.WriteString(&scan, "Received: from a by b; Mon, 23 Nov 2026 15:00:00 +0000\r\nMessage-")
	io.WriteString(&scan, "ID: <1@example.org>\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n")
	fmt.Println(scan.Received(), scan.MessageID(), scan.EightBit(), scan.HeaderSize(), scan.Size())
	// Output: 1 <1@example.org> true 85 96
}

func ExampleReadHeader() {
	msg := strings.NewReader("Subject: lunch\r\nFrom: joe@example.org\r\n\r\nAt noon?\r\n")
	header, truncated, err := mail.ReadHeader(msg, 20)
	fmt.Printf("%q %v %v\n", header, truncated, err)
	// Output: "Subject: lunch\r\n" true <nil>
}
