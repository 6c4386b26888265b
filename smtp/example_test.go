package smtp_test

import (
	"fmt"

	"github.com/holub-mail/holub/smtp"
)

// An address is a value: it keeps the case of its local part, compares its domain without, and quotes itself.
func ExampleParsePath() {
	p, err := smtp.ParsePath(`<"Joe Bloggs"@Example.ORG>`)
	if err != nil {
		fmt.Println(err)
		return
	}
	other, _ := smtp.ParseDomain("example.org")
	fmt.Println(p.Local, p.Domain.Equal(other), p)
	_, err = smtp.ParsePath("<joe@bloggs@example.org>")
	fmt.Println(err)
	// Output:
	// Joe Bloggs true <"Joe Bloggs"@Example.ORG>
	// not a path of the form <local-part@domain>: "<joe@bloggs@example.org>"
}

// A reply is a value and an error, and writes itself as many lines as it needs.
func ExampleReply() {
	r := smtp.NewReply(452, smtp.EnhancedCode{4, 2, 2}, "The mailbox is full\nTry again tomorrow")
	fmt.Println(r.Temporary(), r.Permanent(), r)
	fmt.Printf("%q\n", r.Append(nil))
	// Output:
	// true false 452 4.2.2 The mailbox is full Try again tomorrow
	// "452-4.2.2 The mailbox is full\r\n452 4.2.2 Try again tomorrow\r\n"
}
