package mail

import (
	"bytes"
	"io"
	"strings"
)

// planner is the first pass: it decides what happens to each part, and how long the message becomes.
type planner struct {
	w  *Walker
	to Target

	steps   []step
	open    []planned // the parts that are open
	size    int64
	changed bool
	signed  bool // the message has a DKIM-Signature
	breaks  Signature
	recount bool // the size is not known

	last    PieceKind // what came last
	head    []byte    // the header of the last part
	leaf    leafMeter
	quoted  quotedEncoder
	scrub   scrubber
	scratch []byte
}

// planned is what is known of a part that is open.
type planned struct {
	delta  int64 // how much longer its header gets if something within it changes
	joined bool  // what comes behind its header does so without an empty line
	bad    bool  // a multipart with a preamble that is not clean
	parts  int   // the parts of a multipart so far
}

func newPlanner(r io.Reader, to Target, o ConvertOptions) *planner {
	return &planner{w: newConvertWalker(r, o.Limits), to: to, scrub: scrubber{to: to}}
}

func (p *planner) run() error {
	for {
		piece, err := p.w.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.piece(piece); err != nil {
			return err
		}
	}
}

// top is what is known of the innermost part.
func (p *planner) top() *planned { return &p.open[len(p.open)-1] }

func (p *planner) piece(piece Piece) error {
	if joins(p.last, piece.Kind) {
		p.top().joined = true
	}
	p.last = piece.Kind
	switch piece.Kind {
	case PieceHeader:
		return p.header(piece)
	case PieceBody:
		p.body(piece)
	case PiecePreamble, PieceEpilogue:
		p.scratch = p.scrub.append(p.scratch[:0], piece.Data)
		p.size += int64(len(p.scratch))
	case PieceDelimiter, PieceClose:
		p.flushScrub(piece.Part)
		if piece.Kind == PieceDelimiter {
			p.top().parts++
		}
		p.size += int64(len(piece.Data))
	case PieceBlank:
		p.size += int64(len(piece.Data))
	case PieceEnd:
		p.flushScrub(piece.Part)
		return p.end(piece.Part)
	}
	return nil
}

// joins tells that two pieces stand for a header without an empty line behind it. Where the part changes it gets one.
func joins(last, next PieceKind) bool {
	return last == PieceHeader && next != PieceBlank && next != PieceEnd
}

func (p *planner) refuse(part *Part, reason Reason, detail string) error {
	return &Unconvertible{p.to, reason, part.Path, detail}
}

// header opens a part.
func (p *planner) header(piece Piece) error {
	part := piece.Part
	p.steps = append(p.steps, 0)
	if part.Parent == nil {
		h, _ := ParseHeader(piece.Data)
		p.signed = h.Has("DKIM-Signature")
	}
	fixed, changed, name, err := fixFields(p.head[:0], piece.Data, p.to)
	p.head = fixed
	if err != nil {
		if name == "" {
			name = "a line that is no field"
		}
		return p.refuse(part, ReasonHeader, "has in its header "+name+", which "+err.Error())
	}
	if changed {
		p.change(part)
	}
	p.size += int64(len(fixed))
	var this planned
	if part.isMultipart() || part.isMessage() {
		this.delta = p.growth(part, part.editBelow(p.to))
	}
	p.open = append(p.open, this)
	p.leaf = leafMeter{}
	p.quoted = quotedEncoder{ends: part.ends()}
	return nil
}

// growth tells how much longer the last header gets by an edit.
func (p *planner) growth(part *Part, e headerEdit) int64 {
	p.scratch = e.apply(p.scratch[:0], p.head, part)
	return int64(len(p.scratch) - len(p.head))
}

// change marks that the octets of a part become others.
func (p *planner) change(part *Part) {
	p.changed = true
	if p.signed {
		p.breaks |= DKIM
	}
	for above := part.Parent; above != nil; above = above.Parent {
		p.steps[above.number] |= stepBelow
	}
}

// body looks at a piece of a leaf.
func (p *planner) body(piece Piece) {
	p.leaf.add(piece.Data)
	if !piece.Part.isEncoded() {
		p.scratch = p.quoted.append(p.scratch[:0], piece.Data)
		p.addQuoted()
	}
}

// addQuoted counts what the leaf is in quoted-printable.
func (p *planner) addQuoted() {
	if n := len(p.scratch); n > 0 {
		p.leaf.quoted += int64(n)
		p.leaf.quotedLine = p.scratch[n-1] == '\n'
	}
}

// flushScrub ends a preamble or an epilogue.
func (p *planner) flushScrub(part *Part) {
	p.scratch = p.scrub.close(p.scratch[:0])
	p.size += int64(len(p.scratch))
	if p.scrub.changed {
		p.change(part)
		p.top().bad = true
		p.scrub.changed = false
	}
}

// end closes a part.
func (p *planner) end(part *Part) error {
	this := *p.top()
	p.open = p.open[:len(p.open)-1]
	if part.isLeaf(p.w) {
		return p.endLeaf(part, this)
	}
	if this.bad && this.parts == 0 {
		return p.refuse(part, ReasonDamaged, "is a multipart in which no part can be found, and its content is not clean")
	}
	if p.steps[part.number]&stepBelow == 0 {
		return nil
	}
	p.size += this.delta + this.blank()
	switch part.Type {
	case "multipart/signed":
		p.breaks |= SignedPart
	case "multipart/encrypted":
		p.breaks |= EncryptedPart
	}
	return nil
}

// blank is the length of the empty line that a changed part gets behind its header.
func (p planned) blank() int64 {
	if p.joined {
		return int64(len("\r\n"))
	}
	return 0
}

// isLeaf tells a part that has content of its own.
func (p *Part) isLeaf(w *Walker) bool {
	return p.Opaque != 0 || !p.isMultipart() && (!p.isMessage() || w.leafGlobal && p.Type == "message/global")
}

// endLeaf decides on a leaf.
func (p *planner) endLeaf(part *Part, this planned) error {
	m := &p.leaf
	m.finish()
	atEnd := p.w.atEnd()
	if !m.needs(part, p.to, atEnd) {
		p.size += m.size
		return nil
	}
	if err := p.encodable(part); err != nil {
		return err
	}
	p.scratch = p.quoted.close(p.scratch[:0])
	p.addQuoted()
	length := m.size
	if p.quoted.ends == lfLines {
		length += m.bareLF
	}
	does, size := stepQuoted, m.quoted
	if n := base64Size(length); n < size && !part.isReport() {
		does, size = stepBase64, n
	}
	if part.isEncoded() {
		p.recount = true
		if does = stepDecode | stepQuoted; part.Encoding == "base64" {
			does = stepDecode | stepBase64
		}
	}
	if m.eightBit {
		does |= stepEightBit
	}
	p.steps[part.number] |= does
	p.size += size + p.growth(part, part.editEncode(does)) + this.blank()
	if atEnd {
		p.size += int64(len(lastLineEnd(does, m.quotedLine)))
	}
	p.change(part)
	return nil
}

// lastLineEnd is what ends an encoded leaf at the end of the message, where no delimiter follows, so that DATA has
// nothing to add: in quoted-printable a soft line break, which stands for nothing, unless there is a line end already.
func lastLineEnd(does step, ended bool) string {
	switch {
	case does&stepBase64 != 0:
		return "\r\n"
	case ended:
		return ""
	}
	return "=\r\n"
}

// encodable tells whether a leaf that needs it can be encoded.
func (p *planner) encodable(part *Part) error {
	switch {
	case part.Opaque == OpaqueNoBoundary:
		return p.refuse(part, ReasonDamaged, "is a multipart without a boundary, and its content is not clean")
	case part.Opaque != 0 && part.Opaque != OpaqueEncoded:
		return p.refuse(part, ReasonLimit, "is not clean, and can't be followed: "+part.Opaque.String())
	case part.Type == "message/partial" || part.Type == "message/external-body":
		return p.refuse(part, ReasonType, "is a "+part.Type+", which must not be encoded, and is not clean")
	case strings.HasPrefix(part.Encoding, "x-"):
		return p.refuse(part, ReasonEncoding, "has the unknown encoding "+part.Encoding+", and is not clean")
	}
	return nil
}

// isReport tells a message/delivery-status and its like: it may not be encoded (RFC 2045 6.4), and is so rather than
// lost; in quoted-printable most of it can be read even by those who don't expect that.
func (p *Part) isReport() bool {
	return strings.HasPrefix(p.Type, "message/") && p.Type != "message/global"
}

// isText tells content that is made of lines. Text in units of more than one octet is not: there LF is half a
// character.
func (p *Part) isText() bool {
	if strings.HasPrefix(p.Charset, "utf-16") || strings.HasPrefix(p.Charset, "utf-32") ||
		strings.HasPrefix(p.Charset, "iso-10646-ucs-") {
		return false
	}
	return strings.HasPrefix(p.Type, "text/") || strings.HasPrefix(p.Type, "message/")
}

// leafMeter measures the content of a leaf.
type leafMeter struct {
	size       int64
	quoted     int64 // the length in quoted-printable
	bareLF     int64
	bareCR     bool
	eightBit   bool
	nul        bool
	cr         bool // the last octet so far was CR
	quotedLine bool // the quoted-printable ends with a line end
	endsCRLF   bool
	lines      lineMeter
}

func (m *leafMeter) add(b []byte) {
	if len(b) == 0 {
		return
	}
	m.size += int64(len(b))
	m.lines.add(b)
	m.eightBit = m.eightBit || hasEightBit(b)
	m.nul = m.nul || bytes.IndexByte(b, 0) >= 0
	lf, cr := bytes.Count(b, []byte{'\n'}), bytes.Count(b, []byte{'\r'})
	crlf := bytes.Count(b, []byte("\r\n"))
	bareCR, bareLF := cr-crlf, lf-crlf
	last := b[len(b)-1]
	if m.cr {
		if b[0] == '\n' {
			bareLF--
		} else {
			m.bareCR = true
		}
	}
	m.endsCRLF = last == '\n' && (len(b) > 1 && b[len(b)-2] == '\r' || len(b) == 1 && m.cr)
	if m.cr = last == '\r'; m.cr {
		bareCR--
	}
	m.bareCR = m.bareCR || bareCR > 0
	m.bareLF += int64(bareLF)
}

// finish ends the content.
func (m *leafMeter) finish() {
	m.bareCR = m.bareCR || m.cr
	m.cr = false
}

// needs tells that the content can't go to the target as it is.
func (m *leafMeter) needs(part *Part, to Target, atEnd bool) bool {
	switch {
	case m.eightBit && to == SevenBit, m.nul, m.lines.tooLong(m.bareLF > 0):
		return true
	case part.Encoding == "base64": // line ends mean nothing there
		return false
	case m.bareCR:
		return true
	case part.Encoding == "quoted-printable":
		return false
	case part.Encoding == "binary" && (m.bareLF > 0 || atEnd && m.size > 0 && !m.endsCRLF):
		return true
	}
	return m.bareLF > 0 && !part.isText() && !part.isMultipart()
}
