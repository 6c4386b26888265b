package mail_test

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

func ExampleParseHeader() {
	h, rest := mail.ParseHeader([]byte("Subject: lunch\r\nto: ann@example.org,\r\n\tjoe@example.org\r\n\r\nAt noon?\r\n"))
	fmt.Println(h.Get("To"))
	h.AddTop("X-Seen", "yes")
	h.Remove("subject")
	fmt.Printf("%q\n", append(h.Bytes(), rest...))
	// Output:
	// ann@example.org,	joe@example.org
	// "X-Seen: yes\r\nto: ann@example.org,\r\n\tjoe@example.org\r\n\r\nAt noon?\r\n"
}

func ExampleHeader_Fields() {
	h, _ := mail.ParseHeader([]byte("Received: from a\r\n\tby b\r\nnot a field\r\nSubject: lunch\r\n"))
	for f := range h.Fields() {
		fmt.Printf("%q %q\n", f.Name(), f.Body())
	}
	// Output:
	// "Received" "from a\tby b"
	// "" "not a field"
	// "Subject" "lunch"
}

func ExampleParseAddressList() {
	list, err := mail.ParseAddressList(`=?utf-8?q?Jos=C3=A9?= <jose@example.org>, Team: "a b"@example.com, root;`)
	for _, a := range list {
		fmt.Printf("%q %q %q %q\n", a.Name, a.Mailbox, a.Spec, a.Group)
	}
	fmt.Println(err)
	// Output:
	// "José" "jose@example.org" "" ""
	// "" "\"a b\"@example.com" "" "Team"
	// "" "\"\"" "root" "Team"
	// <nil>
}

func ExampleFormatAddressList() {
	jose, _ := smtp.ParseMailbox("jose@example.org")
	ann, _ := smtp.ParseMailbox("ann@example.org")
	fmt.Println(mail.FormatAddressList([]mail.Address{
		{Name: "José Ruiz", Mailbox: jose}, {Name: "Bloggs, Ann", Mailbox: ann, Group: "Friends"},
	}))
	// Output: =?utf-8?q?Jos=C3=A9_Ruiz?= <jose@example.org>, Friends: "Bloggs, Ann" <ann@example.org>;
}

func ExampleDecodeWords() {
	fmt.Println(mail.DecodeWords("Re: =?iso-8859-1?q?Gr=FC=DFe?= =?utf-8?b?IGF1cyBLecOvdg==?="))
	// Output: Re: Grüße aus Kyïv
}

func ExampleEncodeWords() {
	var h mail.Header
	h.AddTop("Subject", mail.EncodeWords("Re: Grüße aus Київ"))
	fmt.Printf("%q\n", h.Bytes())
	// Output: "Subject: Re: =?utf-8?b?R3LDvMOfZSBhdXMg0JrQuNGX0LI=?=\r\n"
}

func ExampleNewRepairReader() {
	joe, _ := smtp.ParseMailbox("joe@example.org")
	in := strings.NewReader("Subject: lunch\r\nBcc: ann@example.org\r\n\r\nAt noon?\r\n")
	r := mail.NewRepairReader(in, mail.Repairs{
		Now:       time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC),
		MessageID: func() string { return "<0d3k8q9zv1x2@mx.example.com>" },
		Sender:    joe,
	}, 256<<10)
	msg, _ := io.ReadAll(r)
	fmt.Print(strings.ReplaceAll(string(msg), "\r\n", "\n"))
	fmt.Println(r.Changed())
	// Output:
	// Date: Mon, 23 Nov 2026 15:00:00 +0000
	// From: joe@example.org
	// Message-ID: <0d3k8q9zv1x2@mx.example.com>
	// Subject: lunch
	//
	// At noon?
	// [Date From Message-ID Bcc]
}
