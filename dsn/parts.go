package dsn

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"github.com/holub-mail/holub/mail"
)

// leaf is a part that is no multipart, with the first octets of its body.
type leaf struct {
	mediaType string // in lower case; "" where the part names none
	encoding  string // in lower case
	start     int64  // offset of the body in the message
	size      int64  // octets of the body, without the line end that belongs to the boundary
	body      []byte // as it came, up to what is wanted of the type
	limit     int
	cut       bool // the body is longer
}

// decoded gives the body without its transfer encoding, as far as that can be read.
func (l *leaf) decoded() []byte {
	switch l.encoding {
	case "base64":
		alphabet := func(c rune) rune {
			if c > 0x7f || strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", byte(c)) < 0 {
				return -1 // to be passed over (RFC 2045 6.8)
			}
			return c
		}
		b, _ := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(bytes.Map(alphabet, l.body))))
		return b
	case "quoted-printable":
		b, _ := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(l.body)))
		return b
	}
	return l.body
}

// splitter cuts a message into its leaves while it reads it, line by line. A message within the message is a leaf; it
// is not looked into.
type splitter struct {
	r     *bufio.Reader
	visit func(*leaf)
	pos   int64 // octets read
	top   mail.Header
	cut   bool // parts beyond the limits were passed over

	boundaries []string // of the open multiparts, each "--" and the boundary
	parts      int
	header     []byte // while a header is read
	inHeader   bool
	current    *leaf // while its body is read
	lineEnd    int64 // length of the line end that the last line had
}

// bufferSize bounds what is held of a line; longer ones come in pieces.
const bufferSize = 16 << 10

func newSplitter(r io.Reader, visit func(*leaf)) *splitter {
	return &splitter{r: bufio.NewReaderSize(r, bufferSize), visit: visit, inHeader: true}
}

// run reads the message to its end.
func (s *splitter) run() error {
	whole := true // the line before came to its end
	for {
		piece, err := s.r.ReadSlice('\n')
		if len(piece) > 0 {
			s.take(piece, whole)
			s.pos += int64(len(piece))
			whole = piece[len(piece)-1] == '\n'
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if s.inHeader {
				s.open()
			}
			s.lineEnd = 0
			s.close()
			return nil
		default:
			return err
		}
	}
}

// take looks at a line, or at a piece of one.
func (s *splitter) take(piece []byte, start bool) {
	if start && len(s.boundaries) > 0 && bytes.HasPrefix(piece, []byte("--")) && s.delimiter(piece) {
		return
	}
	switch {
	case s.inHeader && start && len(bytes.TrimRight(piece, "\r\n")) == 0:
		s.pos += int64(len(piece)) // the body starts behind this line
		s.open()
		s.pos -= int64(len(piece))
	case s.inHeader:
		if room := maxHeader - len(s.header); room >= len(piece) {
			s.header = append(s.header, piece...)
		} else {
			s.cut = true
		}
	case s.current != nil:
		l := s.current
		l.size += int64(len(piece))
		s.lineEnd = lineEndOf(piece)
		n := min(len(piece), l.limit-len(l.body))
		l.body = append(l.body, piece[:n]...)
		l.cut = l.cut || n < len(piece)
	}
}

// lineEndOf gives the length of the line end of a line.
func lineEndOf(line []byte) int64 {
	switch {
	case bytes.HasSuffix(line, []byte("\r\n")):
		return 2
	case bytes.HasSuffix(line, []byte("\n")):
		return 1
	}
	return 0
}

// delimiter ends and begins parts where the line is a boundary of an open multipart, the innermost first: a part ends
// with any multipart that it is in (RFC 2046 5.1.2).
func (s *splitter) delimiter(line []byte) bool {
	line = bytes.TrimRight(line, " \t\r\n")
	for i := len(s.boundaries) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(line, []byte(s.boundaries[i]))
		if !ok || len(rest) > 0 && string(rest) != "--" {
			continue
		}
		if s.inHeader { // a part without even an empty line
			s.open()
			s.lineEnd = 0
		}
		s.close()
		if len(rest) > 0 {
			s.boundaries = s.boundaries[:i]
			return true
		}
		s.boundaries = s.boundaries[:i+1]
		s.parts++
		s.inHeader, s.header = s.parts <= maxParts, s.header[:0]
		s.cut = s.cut || !s.inHeader
		return true
	}
	return false
}

// open ends a header: what follows is a leaf or a multipart. The first header is that of the message.
func (s *splitter) open() {
	header, _ := mail.ParseHeader(bytes.Clone(s.header))
	if s.parts == 0 {
		s.top = header
	}
	s.inHeader = false
	mediaType, boundary := contentType(header.Get("Content-Type"))
	if strings.HasPrefix(mediaType, "multipart/") && boundary != "" {
		if len(s.boundaries) < maxDepth {
			s.boundaries = append(s.boundaries, "--"+boundary)
		} else {
			s.cut = true
		}
		return
	}
	s.lineEnd = 0
	s.current = &leaf{
		mediaType: mediaType, start: s.pos, limit: wanted(mediaType),
		encoding: strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding"))),
	}
	if s.current.encoding == "" {
		s.current.encoding = "7bit"
	}
}

// close ends a leaf. The line end in front of a boundary belongs to that.
func (s *splitter) close() {
	if l := s.current; l != nil {
		if l.size == int64(len(l.body)) {
			l.body = l.body[:l.size-s.lineEnd]
		}
		l.size -= s.lineEnd
		s.visit(l)
	}
	s.current = nil
}

// contentType reads a Content-Type field, also one that is not well formed.
func contentType(value string) (mediaType, boundary string) {
	value = value[:min(len(value), maxValue)]
	mediaType, params, err := mime.ParseMediaType(value)
	if err == nil {
		return mediaType, params["boundary"]
	}
	mediaType, rest, _ := strings.Cut(value, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	for i := range rest {
		name := rest[i:min(len(rest), i+len("boundary="))]
		if !strings.EqualFold(name, "boundary=") {
			continue
		}
		boundary = rest[i+len(name):]
		if quoted, ok := strings.CutPrefix(boundary, `"`); ok {
			boundary, _, _ = strings.Cut(quoted, `"`)
		} else if end := strings.IndexAny(boundary, "; \t"); end >= 0 {
			boundary = boundary[:end]
		}
		break
	}
	return mediaType, boundary
}
