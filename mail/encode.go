package mail

import (
	"bytes"
	"encoding/base64"
)

// maxEncoded is the length of the longest line in an encoded part, without its line end (RFC 2045 6.7 and 6.8).
const maxEncoded = 76

// lineEnds says which octets of a content are line ends.
type lineEnds uint8

const (
	noLines   lineEnds = iota // none: CR and LF are octets like others
	crlfLines                 // CRLF
	lfLines                   // CRLF and LF, which becomes CRLF, the only line end of text (RFC 2046 4.1.1)
)

// An encoder puts the content of a part into an encoding, in pieces of any size. How the content is cut into pieces
// makes no difference to what comes out. It holds less than a line. After close it is ready for another content.
type encoder interface {
	append(dst, src []byte) []byte
	close(dst []byte) []byte
}

// Lengths of an octet in quoted-printable.
const (
	unitLiteral = 1
	unitCode    = 3
	unitSlow    = 100 // of CR: quotedEncoder.lines leaves lines with more than their line end to octets
)

// quotedUnit is the length of each octet outside of a line end.
var quotedUnit = func() (t [256]uint8) {
	for i := range t {
		t[i] = unitCode
		if ' ' <= i && i <= '~' && i != '=' || i == '\t' {
			t[i] = unitLiteral
		}
	}
	t['\r'] = unitSlow
	return t
}()

// quotedEncoder writes quoted-printable (RFC 2045 6.7).
type quotedEncoder struct {
	ends lineEnds
	line [maxEncoded]byte // the line that is open
	n    int              // its length
	last int              // the length of the last unit in it
	held byte             // a space, tab or CR whose form depends on the next octet; 0 for none
}

func (e *quotedEncoder) append(dst, src []byte) []byte {
	for len(src) > 0 {
		if e.ends != noLines {
			if e.n == 0 && e.held == 0 {
				if dst, src = e.lines(dst, src); len(src) == 0 {
					return dst
				}
			}
			end := bytes.IndexByte(src, '\n') + 1
			if end == 0 {
				end = len(src)
			}
			dst = e.octets(dst, src[:end])
			src = src[end:]
			continue
		}
		dst = e.octets(dst, src)
		break
	}
	return dst
}

// lines takes whole lines that need no soft line break, from the start of a line on, and leaves the others.
func (e *quotedEncoder) lines(dst, src []byte) (_, rest []byte) {
	for len(src) > 0 {
		n := bytes.IndexByte(src, '\n')
		if n < 0 || n > maxEncoded+1 {
			break
		}
		text := src[:n]
		if n > 0 && text[n-1] == '\r' {
			text = text[:n-1]
		} else if e.ends != lfLines {
			break
		}
		if len(text) > 0 && isSpace(text[len(text)-1]) {
			break
		}
		size := 0
		for _, c := range text {
			size += int(quotedUnit[c])
		}
		if size > maxEncoded {
			break
		}
		if size == len(text) {
			dst = append(dst, text...)
		} else {
			for _, c := range text {
				if quotedUnit[c] == unitLiteral {
					dst = append(dst, c)
				} else {
					dst = append(dst, '=', hexDigits[c>>4], hexDigits[c&15])
				}
			}
		}
		dst = append(dst, '\r', '\n')
		src = src[n+1:]
	}
	return dst, src
}

const hexDigits = "0123456789ABCDEF"

// octets takes what may need soft line breaks.
func (e *quotedEncoder) octets(dst, src []byte) []byte {
	for len(src) > 0 {
		if e.held == 0 {
			if dst, src = e.plain(dst, src); len(src) == 0 {
				break
			}
		}
		dst = e.octet(dst, src[0])
		src = src[1:]
	}
	return dst
}

// plain takes octets whose form is known without a look at what follows, and leaves the others: CR, LF, and white space
// that could end a line.
func (e *quotedEncoder) plain(dst, src []byte) (_, rest []byte) {
	n, last := e.n, e.last
	for i, c := range src {
		if c <= ' ' && (c == '\r' || c == '\n' ||
			isSpace(c) && (i+1 == len(src) || src[i+1] == '\r' || src[i+1] == '\n')) {
			src = src[i:]
			e.n, e.last = n, last
			return dst, src
		}
		unit := int(quotedUnit[c])
		if n+unit > maxEncoded {
			e.n, e.last = n, last
			dst = e.soft(dst)
			n = e.n
		}
		if unit == unitLiteral {
			e.line[n] = c
		} else {
			line := e.line[n : n+unitCode : n+unitCode]
			line[0], line[1], line[2] = '=', hexDigits[c>>4], hexDigits[c&15]
		}
		n, last = n+unit, unit
	}
	e.n, e.last = n, last
	return dst, nil
}

// octet takes one octet.
func (e *quotedEncoder) octet(dst []byte, c byte) []byte {
	if e.held != 0 {
		held := e.held
		e.held = 0
		switch {
		case held == '\r' && c == '\n':
			return e.end(dst)
		case held == '\r', c == '\r', c == '\n' && e.ends == lfLines:
			dst = e.code(dst, held) // space at the end of a line must not stand as it is (rule 3)
		default:
			dst = e.literal(dst, held)
		}
	}
	switch {
	case c == '\r' && e.ends != noLines, isSpace(c):
		e.held = c
	case c == '\n' && e.ends == lfLines:
		return e.end(dst)
	case quotedUnit[c] == unitLiteral:
		return e.literal(dst, c)
	default:
		return e.code(dst, c)
	}
	return dst
}

func (e *quotedEncoder) literal(dst []byte, c byte) []byte {
	if e.n == maxEncoded {
		dst = e.soft(dst)
	}
	e.line[e.n] = c
	e.n++
	e.last = unitLiteral
	return dst
}

func (e *quotedEncoder) code(dst []byte, c byte) []byte {
	if e.n > maxEncoded-unitCode {
		dst = e.soft(dst)
	}
	line := e.line[e.n : e.n+unitCode]
	line[0], line[1], line[2] = '=', hexDigits[c>>4], hexDigits[c&15]
	e.n += unitCode
	e.last = unitCode
	return dst
}

// end writes the open line with its line end.
func (e *quotedEncoder) end(dst []byte) []byte {
	dst = append(dst, e.line[:e.n]...)
	e.n = 0
	return append(dst, '\r', '\n')
}

// soft writes a soft line break (rule 5). In a line that is full, the last unit makes room for its "=".
func (e *quotedEncoder) soft(dst []byte) []byte {
	keep := 0
	if e.n == maxEncoded {
		keep = e.last
	}
	dst = append(dst, e.line[:e.n-keep]...)
	copy(e.line[:], e.line[e.n-keep:e.n])
	e.n = keep
	return append(dst, '=', '\r', '\n')
}

func (e *quotedEncoder) close(dst []byte) []byte {
	if e.held != 0 {
		dst = e.code(dst, e.held)
	}
	dst = append(dst, e.line[:e.n]...)
	e.n, e.held = 0, 0
	return dst
}

// groupLine is how many octets make a line of base64.
const groupLine = maxEncoded / 4 * 3

// base64Encoder writes base64 (RFC 2045 6.8) in lines with CRLF between two of them.
type base64Encoder struct {
	ends  lineEnds
	group [groupLine]byte // what does not fill a line yet
	n     int
	begun bool // there is a line
	cr    bool // the last octet was CR
}

func (e *base64Encoder) append(dst, src []byte) []byte {
	if e.ends != lfLines {
		return e.add(dst, src)
	}
	for len(src) > 0 {
		n := bytes.IndexByte(src, '\n')
		if n < 0 {
			e.cr = src[len(src)-1] == '\r'
			return e.add(dst, src)
		}
		cr := n == 0 && e.cr || n > 0 && src[n-1] == '\r'
		dst = e.add(dst, src[:n])
		if !cr {
			dst = e.add(dst, []byte{'\r'})
		}
		dst = e.add(dst, src[n:n+1])
		e.cr = false
		src = src[n+1:]
	}
	return dst
}

func (e *base64Encoder) add(dst, src []byte) []byte {
	if e.n > 0 {
		n := copy(e.group[e.n:], src)
		e.n += n
		src = src[n:]
		if e.n < groupLine {
			return dst
		}
		dst = e.putLine(dst, e.group[:])
	}
	for len(src) >= groupLine {
		dst = e.putLine(dst, src[:groupLine])
		src = src[groupLine:]
	}
	e.n = copy(e.group[:], src)
	return dst
}

func (e *base64Encoder) putLine(dst, octets []byte) []byte {
	if e.begun {
		dst = append(dst, '\r', '\n')
	}
	e.begun = true
	return base64.StdEncoding.AppendEncode(dst, octets)
}

func (e *base64Encoder) close(dst []byte) []byte {
	if e.n > 0 {
		dst = e.putLine(dst, e.group[:e.n])
	}
	*e = base64Encoder{ends: e.ends}
	return dst
}

// base64Size is how long n octets are in base64, with CRLF between the lines.
func base64Size(n int64) int64 {
	digits := (n + 2) / 3 * 4
	return digits + max(0, (digits-1)/maxEncoded*2)
}
