package mail

import (
	"bytes"
	"fmt"
	"io"
)

// outSize is how much a converter puts together, at least, for one Read.
const outSize = 4 << 10

// converter is the second pass: it reads the message again and does what was planned.
type converter struct {
	source io.ReadCloser
	w      *Walker
	plan   *Conversion
	n      int64 // octets given out so far, and in out
	out    []byte
	off    int // what of out was given out
	err    error

	scrub   scrubber
	fixed   []byte
	decoded []byte

	kind PieceKind // of the last piece
	end  byte      // the last octet in front of out

	// Of the part whose header came last:
	does   step
	decode *Decoder
	encode encoder
}

func newConverter(source io.ReadCloser, plan *Conversion) *converter {
	return &converter{source: source, w: newConvertWalker(source, plan.limits), plan: plan, scrub: scrubber{to: plan.to}}
}

// Close closes the original.
func (c *converter) Close() error { return c.source.Close() }

// Read gives the converted message.
func (c *converter) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for c.off == len(c.out) {
		if c.err != nil {
			return 0, c.err
		}
		c.advance()
	}
	n := copy(b, c.out[c.off:])
	c.off += n
	return n, nil
}

// WriteTo writes the converted message without a copy in between.
func (c *converter) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if c.off < len(c.out) {
			n, err := w.Write(c.out[c.off:])
			c.off += n
			total += int64(n)
			if err != nil {
				return total, err
			}
			continue
		}
		if c.err == io.EOF {
			return total, nil
		}
		if c.err != nil {
			return total, c.err
		}
		c.advance()
	}
}

// advance fills out with the next pieces.
func (c *converter) advance() {
	c.end = c.lastOctet()
	c.out, c.off = c.out[:0], 0
	for len(c.out) < outSize && c.err == nil {
		piece, err := c.w.Next()
		switch {
		case err == io.EOF && c.plan.Size >= 0 && c.n+int64(len(c.out)) != c.plan.Size:
			c.err = errContentChanged
		case err != nil:
			c.err = err
		default:
			c.err = c.piece(piece)
		}
	}
	c.n += int64(len(c.out))
}

// lastOctet is the last one of the converted message so far.
func (c *converter) lastOctet() byte {
	if len(c.out) > 0 {
		return c.out[len(c.out)-1]
	}
	return c.end
}

func (c *converter) piece(piece Piece) error {
	if c.does != 0 && joins(c.kind, piece.Kind) {
		c.out = append(c.out, '\r', '\n')
	}
	c.kind = piece.Kind
	switch piece.Kind {
	case PieceHeader:
		return c.header(piece)
	case PieceBlank:
		c.out = append(c.out, piece.Data...)
	case PieceBody:
		c.body(piece.Data)
	case PiecePreamble, PieceEpilogue:
		c.out = c.scrub.append(c.out, piece.Data)
	case PieceDelimiter, PieceClose:
		c.out = append(c.scrub.close(c.out), piece.Data...)
	case PieceEnd:
		c.out = c.scrub.close(c.out)
		c.endLeaf()
	}
	return nil
}

// header writes the header of a part.
func (c *converter) header(piece Piece) error {
	part := piece.Part
	if part.number >= len(c.plan.steps) {
		return errContentChanged
	}
	var name string
	var err error
	c.fixed, _, name, err = fixFields(c.fixed[:0], piece.Data, c.plan.to)
	if err != nil {
		return fmt.Errorf("%w: header field %s %w", errContentChanged, name, err)
	}
	c.does = c.plan.steps[part.number]
	c.decode, c.encode = nil, nil
	var edit headerEdit
	switch {
	case c.does&stepQuoted != 0:
		c.encode = &quotedEncoder{ends: part.ends()}
		edit = part.editEncode(c.does)
	case c.does&stepBase64 != 0:
		c.encode = &base64Encoder{ends: part.ends()}
		edit = part.editEncode(c.does)
	case c.does&stepBelow != 0:
		edit = part.editBelow(c.plan.to)
	}
	if c.does&stepDecode != 0 {
		c.decode = NewDecoder(part.Encoding)
	}
	c.out = edit.apply(c.out, c.fixed, part)
	return nil
}

// body writes a piece of a leaf.
func (c *converter) body(data []byte) {
	if c.encode == nil {
		c.out = append(c.out, data...)
		return
	}
	if c.decode != nil {
		c.decoded = c.decode.Append(c.decoded[:0], data)
		data = c.decoded
	}
	c.out = c.encode.append(c.out, data)
}

// endLeaf closes a leaf.
func (c *converter) endLeaf() {
	if c.encode == nil {
		return
	}
	if c.decode != nil {
		c.decoded = c.decode.Close(c.decoded[:0])
		c.out = c.encode.append(c.out, c.decoded)
	}
	c.out = c.encode.close(c.out)
	if c.w.atEnd() {
		c.out = append(c.out, lastLineEnd(c.does, c.lastOctet() == '\n')...)
	}
	c.encode, c.decode = nil, nil
}

// headerEdit says what a header needs for its part to be encoded. The zero value changes nothing.
type headerEdit struct {
	encoding string // the new Content-Transfer-Encoding
	charset  bool   // the text has a charset that nobody knows
	mime     bool   // there must be a MIME-Version
}

// editEncode is for a leaf that is encoded.
func (p *Part) editEncode(does step) headerEdit {
	e := headerEdit{encoding: "base64", mime: p.isEntity()}
	if does&stepQuoted != 0 {
		e.encoding = "quoted-printable"
	}
	if does&stepDecode != 0 {
		e.encoding = "" // it is so labelled already
		return e
	}
	e.charset = does&stepEightBit != 0 && p.Type == "text/plain" && p.Charset == ""
	return e
}

// editBelow is for a multipart or an enclosed message in which something changes: if it may hold binary content, it
// does no longer (RFC 2045 6.4).
func (p *Part) editBelow(to Target) headerEdit {
	e := headerEdit{mime: p.isEntity()}
	if p.Encoding == "binary" || p.Encoding == "8bit" && to == SevenBit {
		e.encoding = to.String()
	}
	return e
}

// apply appends the header as edited.
func (e headerEdit) apply(dst, header []byte, part *Part) []byte {
	if e == (headerEdit{}) {
		return append(dst, header...)
	}
	h, _ := ParseHeader(header)
	encoded, typed := false, false
	for f := range h.Fields() {
		switch {
		case e.encoding != "" && f.Is("Content-Transfer-Encoding"):
			if !encoded {
				dst = appendFolded(dst, f.Name(), e.encoding)
			}
			encoded = true
		case e.charset && !typed && f.Is("Content-Type"):
			typed = true
			dst = appendCharset(dst, f, part)
		default:
			dst = append(dst, f.Raw()...)
		}
	}
	if e.mime && !h.Has("MIME-Version") {
		dst = append(dst, "MIME-Version: 1.0\r\n"...)
	}
	if e.charset && !typed {
		dst = append(dst, "Content-Type: text/plain; charset="+unknownCharset+"\r\n"...)
	}
	if e.encoding != "" && !encoded {
		dst = append(dst, "Content-Transfer-Encoding: "+e.encoding+"\r\n"...)
	}
	return dst
}

// appendCharset appends a Content-Type with a charset, if it has a form to which one can be added.
func appendCharset(dst []byte, f Field, part *Part) []byte {
	if !part.typed {
		return append(dst, f.Raw()...)
	}
	raw := bytes.TrimRight(trimLineEnd(f.Raw()), " \t;")
	return append(append(dst, raw...), ";\r\n charset="+unknownCharset+"\r\n"...)
}

// scrubber makes text clean that means nothing: the preamble and the epilogue of a multipart.
type scrubber struct {
	to      Target
	changed bool
	col     int
	cr      bool // a CR is held
}

func (s *scrubber) append(dst, src []byte) []byte {
	for _, c := range src {
		if s.cr {
			s.cr = false
			if c == '\n' {
				dst = append(dst, '\r', '\n')
				s.col = 0
				continue
			}
			dst = s.put(dst, '?')
			s.changed = true
		}
		switch {
		case c == '\r':
			s.cr = true
		case c == '\n':
			dst = append(dst, c)
			s.col = 0
		case c == 0 || c >= 0x80 && s.to == SevenBit:
			dst = s.put(dst, '?')
			s.changed = true
		default:
			dst = s.put(dst, c)
		}
	}
	return dst
}

func (s *scrubber) put(dst []byte, c byte) []byte {
	if s.col == hardLine {
		dst = append(dst, '\r', '\n')
		s.col = 0
		s.changed = true
	}
	s.col++
	return append(dst, c)
}

func (s *scrubber) close(dst []byte) []byte {
	if s.cr {
		dst = s.put(dst, '?')
		s.changed = true
	}
	s.cr, s.col = false, 0
	return dst
}
