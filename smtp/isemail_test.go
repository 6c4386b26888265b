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

// isemailOpen are the tests whose diagnosis does not settle whether the address is a Mailbox here, with the reason.
var isemailOpen = map[string]string{
	"ISEMAIL_RFC5322_LOCAL_TOOLONG":  "local parts of up to 255 octets are taken by intention",
	"ISEMAIL_RFC5322_TOOLONG":        "so the whole may be longer than the path of 256 octets of 4.5.3.1.3",
	"ISEMAIL_RFC5321_IPV6DEPRECATED": "\"::\" for one group is IPv6 (RFC 4291 2.2) and not 4.1.3; taken, never written",
}

// isemailOpenIDs are single tests of that sort, by their id.
var isemailOpenIDs = map[int]string{
	66: "a general address literal by the grammar (4.1.3); that its tag is not registered is no matter of syntax",
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
		if isemailOpen[v.Diagnosis] != "" || isemailOpenIDs[v.ID] != "" {
			continue
		}
		decided++
		address := strings.Map(func(r rune) rune { // the file writes control characters as their pictures
			if r >= 0x2400 && r <= 0x247f {
				return r - 0x2400
			}
			return r
		}, v.Address)
		m, err := smtp.ParseMailbox(address)
		if want := v.isMailbox(t); (err == nil) != want {
			t.Errorf("%d %q (%s): got %v, want valid %v", v.ID, address, v.Diagnosis, err, want)
		}
		if _, err2 := smtp.ParsePath("<" + address + ">"); (err == nil) != (err2 == nil) && address != "" {
			t.Errorf("%d %q: mailbox %v, path %v", v.ID, address, err, err2)
		}
		if again, err2 := smtp.ParseMailbox(m.String()); err == nil && (err2 != nil || again != m) {
			t.Errorf("%d %q is written as %q and comes back as %+v, %v", v.ID, address, m, again, err2)
		}
	}
	if decided < 150 {
		t.Errorf("only %d of %d tests were decided", decided, len(suite.Tests))
	}
}
