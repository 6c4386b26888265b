package smtp_test

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

// isemailVectors lies beside the checkout, for the vectors have a licence of their own.
const isemailVectors = "../../shared/vectors/address/test/tests.xml"

// isemailTest is one address with what the isemail project says about it: a category, from valid to error, and a
// diagnosis, which names the worst thing found.
type isemailTest struct {
	ID        int    `xml:"id,attr"`
	Address   string `xml:"address"`
	Category  string `xml:"category"`
	Diagnosis string `xml:"diagnosis"`
}

// isMailbox tells whether the address is a Mailbox (4.1.2) by its category. Comments and folding belong to the header
// of a message, and so does all that RFC 5322 alone allows: neither may stand in the envelope.
func (v isemailTest) isMailbox(t *testing.T) bool {
	switch v.Category {
	case "ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321":
		return true
	case "ISEMAIL_CFWS", "ISEMAIL_RFC5322", "ISEMAIL_DEPREC", "ISEMAIL_ERR":
		return false
	}
	t.Fatalf("test %d has the unknown category %q", v.ID, v.Category)
	return false
}

func TestIsemailVectors(t *testing.T) {
	text, err := os.ReadFile(isemailVectors)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the isemail vectors are not beside the checkout: ", isemailVectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests []isemailTest `xml:"test"`
	}
	if err := xml.Unmarshal(text, &suite); err != nil {
		t.Fatal(err)
	}
	decided := 0
	for _, v := range suite.Tests {
		address := strings.Map(func(r rune) rune { // the file writes control characters as their pictures
			if r >= 0x2400 && r <= 0x247f {
				return r - 0x2400
			}
			return r
		}, v.Address)
		m, err := smtp.ParseMailbox(address)
		if safe, want := smtp.CheckMailbox(address), v.isMailbox(t); (safe == nil) != want {
			t.Errorf("%d %q (%s): got %v, want valid %v", v.ID, address, v.Diagnosis, safe, want)
		} else {
			decided++
		}
		if _, err2 := smtp.ParsePath("<" + address + ">"); (err == nil) != (err2 == nil) && address != "" {
			t.Errorf("%d %q: mailbox %v, path %v", v.ID, address, err, err2)
		}
		if again, err2 := smtp.ParseMailbox(m.String()); err == nil && (err2 != nil || again != m) {
			t.Errorf("%d %q is written as %q and comes back as %+v, %v", v.ID, address, m, again, err2)
		}
	}
	t.Logf("%d of %d addresses are judged as they should be", decided, len(suite.Tests))
	if decided < 163 {
		t.Errorf("only %d of %d tests were decided", decided, len(suite.Tests))
	}
}
