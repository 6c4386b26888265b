package mail

import (
	"strconv"
	"strings"
)

// Opaque is the reason for which a Walker hands out a multipart, an enclosed message, or what remains of a message, as
// one leaf.
type Opaque uint8

const (
	// OpaqueDepth says that Limits.Depth parts are open.
	OpaqueDepth Opaque = iota + 1
	// OpaqueParts says that there were Limits.Parts parts: all the rest of the message is this leaf.
	OpaqueParts
	// OpaqueHeader says that the header is longer than Limits.Header: what is beyond belongs to the content of the leaf.
	OpaqueHeader
	// OpaqueBoundary says that the boundary is longer than Limits.Boundary.
	OpaqueBoundary
	// OpaqueNoBoundary says that a multipart tells no boundary.
	OpaqueNoBoundary
	// OpaqueEncoded says that an enclosed message is in quoted-printable or base64, which RFC 2046 5.2.1 forbids and RFC
	// 6532 3.7 allows for message/global.
	OpaqueEncoded
)

// String says the reason in a few words.
func (o Opaque) String() string {
	switch o {
	case 0:
		return "it is not opaque"
	case OpaqueDepth:
		return "it is nested too deep"
	case OpaqueParts:
		return "there are too many parts"
	case OpaqueHeader:
		return "its header is too long"
	case OpaqueBoundary:
		return "its boundary is too long"
	case OpaqueNoBoundary:
		return "it is a multipart without a boundary"
	case OpaqueEncoded:
		return "it is an enclosed message that is encoded"
	}
	return "opaque for reason " + strconv.Itoa(int(o))
}

// Part is one node of a message: the message itself, a part of a multipart, or the message within a message/rfc822
// part. All but Closed is known with its PieceHeader.
type Part struct {
	// Path is "" for the message, "2" for its second part, "2.1" for the first part of that. The message within a
	// message/rfc822 part is that part's first and only one.
	Path   string
	Parent *Part // nil for the message

	Type        string // of Content-Type, in lower case; what holds without one: text/plain, message/rfc822 in a digest
	Charset     string // in lower case; "" where none is told
	Boundary    string
	Encoding    string // the Content-Transfer-Encoding in lower case; "7bit" where there is none (RFC 2045 6.1)
	Disposition string // in lower case: "inline", "attachment"; "" where there is none
	Filename    string // in UTF-8, of Content-Disposition, or else the name of Content-Type

	Opaque Opaque // why it is handed out as a leaf, 0 for what is one anyway
	Closed bool   // its closing delimiter came; known with its PieceEnd

	typed    bool // it has a Content-Type that can be read
	number   int  // counts the parts of the message from 0
	children int
}

func newPart(parent *Part, number int) *Part {
	p := &Part{Parent: parent, number: number}
	if parent != nil {
		parent.children++
		p.Path = strconv.Itoa(parent.children)
		if parent.Path != "" {
			p.Path = parent.Path + "." + p.Path
		}
	}
	return p
}

func (p *Part) isMultipart() bool { return strings.HasPrefix(p.Type, "multipart/") }

// isMessage tells the types whose content is a message.
func (p *Part) isMessage() bool {
	return p.Type == "message/rfc822" || p.Type == "message/global" || p.Type == "message/news"
}

// isEncoded tells that the content is not what it stands for.
func (p *Part) isEncoded() bool { return p.Encoding == "quoted-printable" || p.Encoding == "base64" }

// isEntity tells what has a header of its own kind, with MIME-Version: a message, not a part of a multipart.
func (p *Part) isEntity() bool { return p.Parent == nil || !p.Parent.isMultipart() }

// read takes from the header what describes the part.
func (p *Part) read(header []byte) {
	h, _ := ParseHeader(header)
	p.Type = "text/plain" // RFC 2045 5.2
	if p.Parent != nil && p.Parent.Type == "multipart/digest" {
		p.Type = "message/rfc822" // RFC 2046 5.1.5
	}
	if p.Opaque == OpaqueParts {
		p.Type = "application/octet-stream"
	}
	value, params := parseParams(h.Get("Content-Type"))
	if major, minor, ok := strings.Cut(value, "/"); ok && isToken(major) && isToken(minor) {
		p.Type = value
		p.typed = true
		p.Charset = strings.ToLower(params.get("charset"))
		p.Boundary = strings.TrimRight(params.get("boundary"), " \t") // RFC 2046 5.1.1: it does not end with space
	}
	p.Encoding, _ = parseParams(h.Get("Content-Transfer-Encoding"))
	if p.Encoding == "" {
		p.Encoding = "7bit"
	}
	var disposition paramList
	p.Disposition, disposition = parseParams(h.Get("Content-Disposition"))
	if p.Filename = disposition.text("filename"); p.Filename == "" {
		p.Filename = params.text("name")
	}
}

func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`()<>@,;:\"/[]?=`, s[i]) >= 0 { // RFC 2045 5.1
			return false
		}
	}
	return s != ""
}
