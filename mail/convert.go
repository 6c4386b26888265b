package mail

import (
	"errors"
	"fmt"
	"io"
)

// Target is what the next hop takes.
type Target uint8

const (
	// SevenBit is a hop without 8BITMIME: octets up to 127, no NUL, lines of at most 998 octets that end with CRLF.
	SevenBit Target = iota
	// EightBit is a hop with 8BITMIME and without BINARYMIME: as SevenBit, with octets above 127 (RFC 6152 3).
	EightBit
)

// String gives the word that RFC 2045 6.2 has for such content.
func (t Target) String() string {
	if t == EightBit {
		return "8bit"
	}
	return "7bit"
}

// Signature says what a conversion makes invalid, as a set of bits.
type Signature uint8

const (
	// DKIM is a DKIM-Signature in the header of the message (RFC 6376).
	DKIM Signature = 1 << iota
	// SignedPart is a multipart/signed, which RFC 1847 2.1 wants to pass unchanged and wants to be 7bit.
	SignedPart
	// EncryptedPart is a multipart/encrypted.
	EncryptedPart
)

// ConvertOptions are the choices of Convert. Their zero value works.
type ConvertOptions struct {
	// Refuse names what must not be made invalid: such mail is an Unconvertible, for ReasonSigned. The default is to
	// convert all: a mail that comes with a broken signature is better than none.
	Refuse Signature
	// Limits say how far the structure of the message is followed. What is beyond must need no conversion.
	Limits Limits
}

// Reason is a class of mail that can't be converted.
type Reason uint8

const (
	// ReasonHeader is a header field with octets that have no other form, such as an address that is not ASCII.
	ReasonHeader Reason = iota + 1
	// ReasonSigned is what ConvertOptions.Refuse names.
	ReasonSigned
	// ReasonType is a message/partial or message/external-body, which may only be 7bit (RFC 2046 5.2.2, 5.2.3).
	ReasonType
	// ReasonEncoding is a Content-Transfer-Encoding that is not known and not clean.
	ReasonEncoding
	// ReasonDamaged is a multipart in which no part can be found.
	ReasonDamaged
	// ReasonLimit is structure beyond ConvertOptions.Limits.
	ReasonLimit
)

// Unconvertible is the error for mail that has no form that the target takes. It goes back to the sender with the
// enhanced code 5.6.3.
type Unconvertible struct {
	Target Target
	Reason Reason
	Part   string // the Path of the part it is about
	Detail string // what is wrong with that part, in words
}

func (u *Unconvertible) Error() string {
	where := "the message"
	if u.Part != "" {
		where = "part " + u.Part
	}
	return fmt.Sprintf("the mail cannot be converted to %s: %s %s", u.Target, where, u.Detail)
}

// errContentChanged says that the second reading was not of what the first one planned.
var errContentChanged = errors.New("the content is not what it was when its conversion was planned; convert it anew")

// Conversion is a plan that was found to work.
type Conversion struct {
	// Unchanged tells that the target takes the message as it is. Open gives the original then.
	Unchanged bool
	// Size is the length of what Open gives, in octets, for the SIZE of MAIL (RFC 1870).
	Size int64
	// Breaks are the signatures that are valid no more.
	Breaks Signature

	open   func() (io.ReadCloser, error)
	to     Target
	limits Limits
	steps  []step
}

// step is what happens to a part, as a set of bits.
type step uint8

const (
	stepQuoted   step = 1 << iota // a leaf becomes quoted-printable
	stepBase64                    // a leaf becomes base64
	stepDecode                    // it was so already, and not clean: it is decoded first
	stepEightBit                  // it has octets above 127, of which a charset must tell
	stepBelow                     // something within a multipart or an enclosed message changes
)

// Convert reads a message once and plans how to put it in a form that the target takes (RFC 6152 3, RFC 3030 3).
// Content is streamed, in pieces; one octet a part is kept. open gives the same content whenever it is called.
//
//   - What needs no change stays as it is, octet for octet. Where nothing does, the Conversion is Unchanged.
//   - A leaf becomes quoted-printable or base64, whichever is shorter. What counts is its octets, not its label: 8-bit
//     octets, NUL, lines over 998 octets, a bare CR; a bare LF where it is no line end of text. Lines stay lines in
//     text and in message/*; a bare LF is a line end there and becomes CRLF, unless the part is labelled binary.
//   - A leaf that is labelled quoted-printable or base64 and not clean is decoded and encoded anew.
//   - Content-Transfer-Encoding is rewritten in its place, or added below the header of that part; a second one goes.
//     That of a multipart or message/rfc822 in which something changed becomes 7bit, or 8bit for EightBit, if it said
//     more.
//   - MIME-Version is added where it lacks, and "charset=unknown-8bit" to text/plain with octets above 127 (RFC 1428
//     3).
//   - message/rfc822 is converted within. message/global, which may be encoded (RFC 6532 3.7), is encoded whole.
//     Another message type, such as message/delivery-status, becomes quoted-printable against RFC 2045 6.4, for the
//     other choice is to lose it.
//   - In header fields, the text of unstructured fields, comments and display names becomes encoded words (RFC 2047),
//     and a file name in Content-Type or Content-Disposition an encoded parameter (RFC 2231): in UTF-8 if the octets
//     are that, otherwise in unknown-8bit. Long lines are folded.
//   - In what stands before and behind the parts of a multipart, and means nothing (RFC 2046 5.1.1), bad octets become
//     "?" and long lines are cut.
//
// A binary leaf at the end of the message that ends without CRLF is encoded too, for DATA would give it one. Labels
// that promise less than the content keeps, such as "8bit" over ASCII, stay.
//
// The error is an *Unconvertible where no such form exists; any other is one of reading, or of open.
func Convert(open func() (io.ReadCloser, error), to Target, o ConvertOptions) (*Conversion, error) {
	content, err := open()
	if err != nil {
		return nil, fmt.Errorf("opening a message to convert it: %w", err)
	}
	defer content.Close()
	p := newPlanner(content, to, o)
	if err := p.run(); err != nil {
		return nil, err
	}
	c := &Conversion{Unchanged: !p.changed, Size: p.size, Breaks: p.breaks, open: open, to: to, limits: o.Limits}
	if c.Unchanged {
		return c, nil
	}
	if c.Breaks&o.Refuse != 0 {
		return nil, &Unconvertible{to, ReasonSigned, "", "has a signature that would be valid no more"}
	}
	c.steps = p.steps
	if p.recount { // the length of what is decoded and encoded anew shows when it is done
		c.Size = -1
		if c.Size, err = c.count(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// count converts for the length alone.
func (c *Conversion) count() (int64, error) {
	r, err := c.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}

// Open reads the converted message from its start, any number of times, also at once. Read fails where the content is
// no longer what Convert read.
func (c *Conversion) Open() (io.ReadCloser, error) {
	content, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("opening a message to read its converted form: %w", err)
	}
	if c.Unchanged {
		return content, nil
	}
	return newConverter(content, c), nil
}

// newConvertWalker walks as both passes must: in the same way.
func newConvertWalker(r io.Reader, limits Limits) *Walker {
	w := NewWalker(r, limits)
	w.leafGlobal = true
	return w
}

// ends tells which octets are line ends in a leaf when it is encoded.
func (p *Part) ends() lineEnds {
	switch {
	case !p.isText():
		return noLines
	case p.Encoding == "binary":
		return crlfLines
	}
	return lfLines
}
