package mail

import (
	"bytes"
	"fmt"
	"io"
)

// PieceKind tells what the octets of a Piece are.
type PieceKind uint8

const (
	// PieceHeader is the header of a part, all its fields at once. It comes once for each part and first of all; it is
	// empty where the part has no field.
	PieceHeader PieceKind = iota + 1
	// PieceBlank is the empty line behind the header. It is missing where something else ended the header.
	PieceBlank
	// PiecePreamble is some of what stands in front of the first delimiter of a multipart.
	PiecePreamble
	// PieceDelimiter is the line in front of a part, with the line end before it, which belongs to it (RFC 2046 5.1.1).
	PieceDelimiter
	// PieceBody is some of the content of a leaf, not decoded.
	PieceBody
	// PieceClose is the closing delimiter of a multipart, with the line end before it.
	PieceClose
	// PieceEpilogue is some of what stands behind the closing delimiter.
	PieceEpilogue
	// PieceEnd has no octets. It comes once for each part and last of all.
	PieceEnd
)

// Piece is what a Walker finds next.
type Piece struct {
	Kind PieceKind
	Part *Part  // whose octets these are; of a delimiter, the multipart
	Data []byte // the octets as they came; the next call of Next overwrites them
}

// Limits say how far a Walker looks into a message. Zero stands for the default.
type Limits struct {
	Depth    int // parts that are open within each other, the message being the first; default 32
	Parts    int // parts in all, the message being the first; default 10000
	Header   int // octets of the header of one part; default 256 KiB
	Boundary int // octets of a boundary, which should have at most 70 (RFC 2046 5.1.1); default 256, at most 900
}

// Of a line, this much is looked at to tell what it is. A longer line is no delimiter.
const lineHead = 1000

const (
	windowSize = 32 << 10 // octets of the message that a Walker holds, unless a header is longer
	emptyReads = 100      // of a reader that gives neither octets nor an error
)

type walkState uint8

const (
	walkHeader walkState = iota
	walkBlank
	walkContent   // in a preamble, a leaf or an epilogue
	walkDelimiter // a delimiter is at the start of the window
	walkDone
)

// Walker reads a message once, from its start to its end, and hands out its MIME structure piece by piece. The octets
// of all pieces, one behind the other, are the message. It holds the header of one part or 32 KiB, whichever is more,
// beside some hundred octets for each part that is open, whatever comes.
//
// How damage is read:
//
//   - A line ends with LF, and a CR in front of it belongs to that line end.
//   - A header ends at the first empty line, at a delimiter, or at a line that is neither a field nor the continuation
//     of one; with that line the content starts. A line "From " (of an mbox file, with or without ">" before it)
//     belongs to the header of a message, also below the fields that servers put on top of it.
//   - Of a field that comes twice the first counts. A Content-Type that can't be read counts as text/plain (RFC 2045
//     5.2), an unknown Content-Transfer-Encoding is handed on as it is.
//   - A delimiter is a line of the boundary and nothing but white space behind it. RFC 2046 5.1.2 would also take a
//     line that only starts with the boundary; then one boundary that starts with another could not be told from it.
//   - A delimiter of an outer multipart ends all parts within it. Where the closing delimiter is missing, so does the
//     end of the message; Part.Closed tells.
//   - Behind its closing delimiter a multipart has an epilogue alone, even if its delimiter comes again.
//   - Part.Opaque tells why a multipart or an enclosed message was not looked into: it is handed out as one leaf.
type Walker struct {
	r      io.Reader
	err    error // what r returned with its last octets
	limits Limits

	buf      []byte
	pos, end int // the window

	state walkState
	open  []openPart
	keep  int // parts from this place on have ended
	parts int
	blind bool // there are too many parts: delimiters no longer count

	scan, line int  // in a header: what was looked at, and where that line starts; from pos
	inLine     bool // scan stands within a line, whose start was found good

	blank   int // the length of the empty line behind the header
	content PieceKind
	fresh   bool // the content starts a line here
	marker  int  // the length of the delimiter at pos
	closing bool // it is a closing one

	leafGlobal bool // message/global is handed out as a leaf
}

// openPart is a part whose end has not come.
type openPart struct {
	*Part
	boundary []byte // with its two dashes; nil for what has no delimiters, or none any longer
}

// NewWalker starts to walk through the message that r gives.
func NewWalker(r io.Reader, limits Limits) *Walker {
	w := &Walker{r: r, limits: limits.orDefault()}
	w.push(nil)
	return w
}

func (l Limits) orDefault() Limits {
	def := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	def(&l.Depth, 32)
	def(&l.Parts, 10000)
	def(&l.Header, 256<<10)
	def(&l.Boundary, 256)
	l.Boundary = min(l.Boundary, 900) // a delimiter must fit in lineHead
	return l
}

// Next gives the next piece. Behind the last one it returns io.EOF; any other error is one of the reader.
func (w *Walker) Next() (Piece, error) {
	for {
		if n := len(w.open); n > w.keep {
			p := w.open[n-1].Part
			w.open = w.open[:n-1]
			return Piece{Kind: PieceEnd, Part: p}, nil
		}
		var p Piece
		var err error
		switch w.state {
		case walkHeader:
			p, err = w.header()
		case walkBlank:
			p = w.take(PieceBlank, w.blank)
			w.enter()
			if w.blank == 0 {
				continue
			}
		case walkContent:
			p, err = w.inContent()
		case walkDelimiter:
			p = w.delimiter()
		case walkDone:
			return Piece{}, io.EOF
		}
		if err != nil || p.Kind != 0 {
			return p, err
		}
	}
}

// top is the innermost open part.
func (w *Walker) top() *openPart { return &w.open[len(w.open)-1] }

// push opens a part, whose header comes next.
func (w *Walker) push(parent *Part) {
	w.open = append(w.open, openPart{Part: newPart(parent, w.parts)})
	w.parts++
	w.keep = len(w.open)
	w.state = walkHeader
	w.scan, w.line, w.inLine = 0, 0, false
}

// take gives the next n octets as a piece.
func (w *Walker) take(kind PieceKind, n int) Piece {
	p := Piece{Kind: kind, Part: w.top().Part, Data: w.buf[w.pos : w.pos+n : w.pos+n]}
	w.pos += n
	w.fresh = false
	return p
}

// more reads on behind the window. It returns false at the end of the message.
func (w *Walker) more() (bool, error) {
	if w.err != nil {
		return false, w.failure()
	}
	if w.pos > 0 {
		w.end = copy(w.buf, w.buf[w.pos:w.end])
		w.pos = 0
	}
	if w.end == len(w.buf) {
		w.buf = append(make([]byte, 0, max(windowSize, 2*len(w.buf))), w.buf...)
		w.buf = w.buf[:cap(w.buf)]
	}
	for range emptyReads {
		n, err := w.r.Read(w.buf[w.end:])
		w.end += n
		w.err = err
		if n > 0 {
			return true, nil
		}
		if err != nil {
			return false, w.failure()
		}
	}
	w.err = io.ErrNoProgress
	return false, w.failure()
}

// failure is the error of the reader, if it is one.
func (w *Walker) failure() error {
	if w.err == nil || w.err == io.EOF {
		return nil
	}
	return fmt.Errorf("reading a message to walk through it: %w", w.err)
}

// finish ends all parts.
func (w *Walker) finish() {
	w.keep = 0
	w.state = walkDone
}

// atEnd tells that nothing comes any more but the ends of parts.
func (w *Walker) atEnd() bool { return w.state == walkDone }

// head gives the line at the start of b, or its first octets; whole is false where more must be read to tell.
func head(b []byte) (line []byte, whole bool) {
	b = b[:min(lineHead, len(b))]
	if n := bytes.IndexByte(b, '\n'); n >= 0 {
		return b[:n+1], true
	}
	return b, len(b) == lineHead
}

// match finds the open multipart whose delimiter the line is.
func (w *Walker) match(line []byte) (level int, closing, ok bool) {
	if w.blind || len(line) < 3 || line[0] != '-' || line[1] != '-' || len(line) == lineHead && line[lineHead-1] != '\n' {
		return 0, false, false
	}
	text := bytes.TrimRight(trimLineEnd(line), " \t")
	for level := len(w.open) - 1; level >= 0; level-- {
		b := w.open[level].boundary
		if b == nil || !bytes.HasPrefix(text, b) {
			continue
		}
		switch rest := text[len(b):]; {
		case len(rest) == 0:
			return level, false, true
		case string(rest) == "--":
			return level, true, true
		}
	}
	return 0, false, false
}

// header collects the header of the innermost part.
func (w *Walker) header() (Piece, error) {
	for {
		if w.blind {
			return w.endHeader(0, 0), nil
		}
		data := w.buf[w.pos:w.end]
		if w.inLine {
			n := bytes.IndexByte(data[w.scan:], '\n')
			w.inLine = n < 0
			if n < 0 {
				w.scan = len(data)
			} else {
				w.scan += n + 1
			}
		}
		if w.scan > w.limits.Header {
			w.top().Opaque = OpaqueHeader
			return w.endHeader(w.line, 0), nil
		}
		line, whole := head(data[w.scan:])
		if w.inLine || !whole {
			if more, err := w.more(); err != nil {
				return Piece{}, err
			} else if more {
				continue
			}
		}
		if len(line) == 0 {
			return w.endHeader(w.scan, 0), nil
		}
		w.line = w.scan
		if isEmptyLine(line) {
			return w.endHeader(w.scan, len(line)), nil
		}
		if _, _, found := w.match(line); found || !w.isHeaderLine(line) {
			return w.endHeader(w.scan, 0), nil
		}
		w.scan += len(line)
		w.inLine = line[len(line)-1] != '\n'
	}
}

// isHeaderLine tells a line that starts or continues a field.
func (w *Walker) isHeaderLine(line []byte) bool {
	if isSpace(line[0]) {
		return true
	}
	ofMessage := w.top().Parent == nil || !w.top().Parent.isMultipart()
	if ofMessage && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))) {
		return true
	}
	n := 0
	for n < len(line) && isNameOctet(line[n]) {
		n++
	}
	colon := n
	for colon < len(line) && isSpace(line[colon]) { // RFC 5322 4.5
		colon++
	}
	return n > 0 && colon < len(line) && line[colon] == ':'
}

// endHeader gives the header, n octets.
func (w *Walker) endHeader(n, blank int) Piece {
	p := w.take(PieceHeader, n)
	p.Part.read(p.Data)
	w.blank = blank
	w.state = walkBlank
	return p
}

// enter chooses what comes behind the header of the innermost part.
func (w *Walker) enter() {
	part := w.top()
	w.state = walkContent
	w.fresh = true
	w.content = PieceBody
	full := len(w.open) >= w.limits.Depth
	switch {
	case part.Opaque != 0:
	case part.isMultipart():
		switch n := len(part.Boundary); {
		case n == 0:
			part.Opaque = OpaqueNoBoundary
		case n > w.limits.Boundary:
			part.Opaque = OpaqueBoundary
		case full:
			part.Opaque = OpaqueDepth
		default:
			part.boundary = []byte("--" + part.Boundary)
			w.content = PiecePreamble
		}
	case part.isMessage() && !(w.leafGlobal && part.Type == "message/global"):
		switch {
		case part.isEncoded():
			part.Opaque = OpaqueEncoded
		case full:
			part.Opaque = OpaqueDepth
		case w.parts >= w.limits.Parts:
			part.Opaque = OpaqueParts
		default:
			w.push(part.Part)
		}
	}
}

// inContent gives what comes up to the next delimiter, or as much of it as there is.
func (w *Walker) inContent() (Piece, error) {
	for from := 0; ; {
		data := w.buf[w.pos:w.end]
		start, found := w.candidate(data, from)
		if !found {
			if n := w.certain(data); n > 0 {
				return w.take(w.content, n), nil
			}
			if more, err := w.more(); err != nil || !more {
				return w.rest(), err
			}
			from = 0
			continue
		}
		line, whole := head(data[start:])
		before := lineEndBefore(data, start)
		if !whole && w.err == nil {
			if before > 0 {
				return w.take(w.content, before), nil
			}
			if _, err := w.more(); err != nil {
				return Piece{}, err
			}
			from = 0
			continue
		}
		if err := w.failure(); err != nil && !whole {
			return Piece{}, err
		}
		level, closing, ok := w.match(line)
		if !ok {
			from = start + 2
			continue
		}
		if before > 0 {
			return w.take(w.content, before), nil
		}
		w.keep, w.closing, w.marker = level+1, closing, start+len(line)
		w.state = walkDelimiter
		return Piece{}, nil
	}
}

// rest gives the last octets of the message.
func (w *Walker) rest() Piece {
	if w.failure() != nil {
		return Piece{}
	}
	if w.pos < w.end {
		return w.take(w.content, w.end-w.pos)
	}
	w.finish()
	return Piece{}
}

// candidate looks from a place on for the start of a line that could be a delimiter.
func (w *Walker) candidate(data []byte, from int) (start int, found bool) {
	if w.blind {
		return 0, false
	}
	if from == 0 && w.fresh && bytes.HasPrefix(data, []byte("--")) {
		return 0, true
	}
	if n := bytes.Index(data[from:], []byte("\n--")); n >= 0 {
		return from + n + 1, true
	}
	return 0, false
}

// certain counts the octets that belong to the content whatever comes: not to the start of a delimiter, "CR LF - -".
func (w *Walker) certain(data []byte) int {
	n := len(data)
	if n == 0 || w.blind {
		return n
	}
	if data[n-1] == '\r' {
		return n - 1
	}
	if data[n-1] == '-' {
		if n > 1 && data[n-2] != '\n' || n == 1 && !w.fresh {
			return n
		}
		n--
	}
	return lineEndBefore(data, n)
}

// lineEndBefore gives the place of the line end that ends at n, or n.
func lineEndBefore(data []byte, n int) int {
	if n > 0 && data[n-1] == '\n' {
		n--
		if n > 0 && data[n-1] == '\r' {
			n--
		}
	}
	return n
}

// delimiter gives the delimiter at the start of the window, and opens the part behind it.
func (w *Walker) delimiter() Piece {
	kind := PieceDelimiter
	if w.closing {
		kind = PieceClose
	}
	p := w.take(kind, w.marker)
	if w.closing {
		w.top().Closed = true
		w.top().boundary = nil
		w.state, w.content, w.fresh = walkContent, PieceEpilogue, true
		return p
	}
	tooMany := w.parts >= w.limits.Parts
	w.push(p.Part)
	if tooMany {
		w.blind = true
		w.top().Opaque = OpaqueParts
	}
	return p
}
