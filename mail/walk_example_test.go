package mail_test

import (
	"fmt"
	"io"
	"strings"

	"github.com/holub-mail/holub/mail"
)

func ExampleWalker() {
	msg := strings.ReplaceAll(`Content-Type: multipart/mixed; boundary="=_1"

--=_1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe
--=_1
Content-Type: image/png
Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.png

(a picture)
--=_1--
`, "\n", "\r\n")
	w := mail.NewWalker(strings.NewReader(msg), mail.Limits{})
	var decoder *mail.Decoder
	var content []byte
	for {
		p, err := w.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		switch p.Kind {
		case mail.PieceHeader:
			decoder, content = mail.NewDecoder(p.Part.Encoding), nil
		case mail.PieceBody:
			content = decoder.Append(content, p.Data)
		case mail.PieceEnd:
			fmt.Printf("%q %s %q %q\n", p.Part.Path, p.Part.Type, p.Part.Filename, decoder.Close(content))
			content = nil
		}
	}
	// Output:
	// "1" text/plain "" "Grüße"
	// "2" image/png "Grüße.png" "(a picture)"
	// "" multipart/mixed "" ""
}
