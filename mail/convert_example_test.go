package mail_test

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holub-mail/holub/mail"
)

func ExampleConvert() {
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("Subject: lunch\r\n\r\nLunch in the Caf\xc3\xa9 at the park?\r\n")), nil
	}
	c, err := mail.Convert(open, mail.SevenBit, mail.ConvertOptions{Refuse: mail.SignedPart})
	if refused := new(mail.Unconvertible); errors.As(err, &refused) {
		fmt.Println("back to the sender, 5.6.3:", err)
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Unchanged, c.Size) // MAIL FROM:<...> SIZE=...
	r, err := c.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	fmt.Print(strings.ReplaceAll(string(out), "\r\n", "\n"), err)
	// Output:
	// false 167
	// Subject: lunch
	// MIME-Version: 1.0
	// Content-Type: text/plain; charset=unknown-8bit
	// Content-Transfer-Encoding: quoted-printable
	//
	// Lunch in the Caf=C3=A9 at the park?
	// <nil>
}
