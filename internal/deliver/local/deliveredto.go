package local

import (
	"bytes"
	"errors"
	"io"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

// maxHeader is how much of a message is searched for Delivered-To fields, in octets. They stand on top.
const maxHeader = 64 << 10

// errBeenHere says that a message goes in a circle.
var errBeenHere = errors.New("a Delivered-To field of the message has this address")

// delivered is the mailbox that a Delivered-To field names for a recipient. The postmaster without a domain (RFC 5321 4.5.1)
// is the one of this host.
func delivered(to smtp.Path, hostname string) smtp.Mailbox {
	m := to.Mailbox
	if m.Domain.IsZero() {
		m.Domain, _ = smtp.ParseDomain(hostname)
	}
	return m
}

// appendDeliveredTo writes the field with its CRLF. An address with UTF-8 stays as it is (RFC 6532 3.2).
func appendDeliveredTo(dst []byte, to smtp.Mailbox) []byte {
	var h mail.Header
	h.AddTop("Delivered-To", to.String())
	return append(dst, h.Bytes()...)
}

// unlessBeenHere looks at the header of a message and gives the message from its start, or errBeenHere where it was delivered
// to this mailbox before: whoever forwarded it from there would do so once more.
func unlessBeenHere(message io.Reader, to smtp.Mailbox) (io.Reader, error) {
	var start bytes.Buffer
	header, _, err := mail.ReadHeader(io.TeeReader(message, &start), maxHeader)
	if err != nil {
		return nil, err
	}
	if h, _ := mail.ParseHeader(header); h.DeliveredTo(to) {
		return nil, errBeenHere
	}
	return io.MultiReader(&start, message), nil
}
