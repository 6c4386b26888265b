package mail

import (
	"bytes"
	"encoding/binary"
)

// maxMessageID is how much of a Message-ID is kept, in octets.
const maxMessageID = 250

// scanState is where the Scanner stands between two octets of the header.
type scanState uint8

const (
	scanLineStart scanState = iota
	scanLineCR              // behind a CR at the start of a line
	scanName                // in what may be a field name
	scanNameEnd             // in white space behind a field name (RFC 5322 4.5)
	scanValue               // in the rest of a line
	scanBody                // behind the empty line
)

// maxName is the length of the longest field name the Scanner looks for.
const maxName = len("message-id")

// Scanner looks at a message that is written to it in pieces of any size: where its header ends, how many Received
// fields that holds, the Message-ID, 8-bit octets, the longest line. It keeps a fixed few hundred octets whatever
// comes, and how the content is cut into pieces makes no difference. The zero value is ready; one Scanner serves one
// message.
type Scanner struct {
	size       int64
	headerSize int64 // to the start of the current line while in the header
	received   int
	eightBit   bool
	headerHigh bool // an octet above 127 is in the header
	lines      lineMeter

	state     scanState
	name      [maxName + 1]byte // of the current field, lower case; one octet more tells a longer name
	nameLen   int
	inID      bool // the current field is the first Message-ID
	foundID   bool
	messageID [maxMessageID]byte
	idLen     int
}

// Received counts the Received fields of the header.
func (s *Scanner) Received() int { return s.received }

// EightBit tells that some octet, in header or body, is above 127.
func (s *Scanner) EightBit() bool { return s.eightBit }

// EightBitHeader tells that some octet of the header is above 127: without SMTPUTF8 no next host may have it (RFC 6532).
func (s *Scanner) EightBitHeader() bool { return s.headerHigh }

// MessageID gives the body of the first Message-ID field without white space, cut after 250 octets; what is not
// printable ASCII in it is "?". It is "" where there is no such field.
func (s *Scanner) MessageID() string { return string(s.messageID[:s.idLen]) }

// HeaderSize is the length of the header fields in octets, without the empty line behind them. Where no empty line
// came, all is header.
func (s *Scanner) HeaderSize() int64 {
	if s.state == scanBody {
		return s.headerSize
	}
	return s.size
}

// Size counts the octets written.
func (s *Scanner) Size() int64 { return s.size }

// LongestLine is the length of the longest line in octets, its line end included: at most 1000 in a message that keeps
// RFC 5322 2.1.1.
func (s *Scanner) LongestLine() int64 { return max(s.lines.longest, s.lines.open) }

// Write looks at the next piece. It takes all of p and never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	if s.state != scanBody {
		s.header(p)
		end := len(p)
		if s.state == scanBody {
			end = int(max(s.headerSize-s.size, 0))
		}
		s.headerHigh = s.headerHigh || hasEightBit(p[:end])
	}
	s.eightBit = s.eightBit || hasEightBit(p)
	s.lines.add(p)
	s.size += int64(len(p))
	return len(p), nil
}

// header walks through p until the header or p ends.
func (s *Scanner) header(p []byte) {
	for i := 0; i < len(p) && s.state != scanBody; {
		c := p[i]
		switch s.state {
		case scanLineStart:
			s.headerSize = s.size + int64(i)
			s.startLine(c)
			if s.state == scanLineCR {
				i++
			}
		case scanLineCR:
			s.inID = false
			s.state = scanValue
			if c == '\n' {
				s.state = scanBody
			}
		case scanName:
			i += s.fieldName(c)
		case scanNameEnd:
			s.state = scanValue
			if c == ' ' || c == '\t' {
				s.state = scanNameEnd
				i++
			} else if c == ':' {
				s.startField()
				i++
			}
		case scanValue:
			i += s.value(p[i:])
		}
	}
}

// startLine chooses the state for a line by its first octet, which stays to be read unless it is CR.
func (s *Scanner) startLine(c byte) {
	switch c {
	case '\r':
		s.state = scanLineCR
	case '\n':
		s.state = scanBody
	case ' ', '\t': // it goes on with the field above
		s.state = scanValue
	default:
		s.inID = false
		s.nameLen = 0
		s.state = scanName
	}
}

// fieldName takes one octet of a field name; it returns 0 where the octet is none.
func (s *Scanner) fieldName(c byte) int {
	switch {
	case c == ':':
		s.startField()
	case c == ' ' || c == '\t':
		s.state = scanNameEnd
	case c < '!' || c > '~': // no field name (RFC 5322 2.2)
		s.state = scanValue
		return 0
	case s.nameLen == maxName: // a longer one than those that are looked for
		s.state = scanValue
	default:
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		s.name[s.nameLen] = c
		s.nameLen++
	}
	return 1
}

// startField acts on the name in front of a colon.
func (s *Scanner) startField() {
	s.state = scanValue
	switch string(s.name[:s.nameLen]) {
	case "received":
		s.received++
	case "message-id":
		s.inID = !s.foundID
		s.foundID = true
	}
}

// value takes the rest of a line, or of p, and returns how much that was.
func (s *Scanner) value(p []byte) int {
	n := bytes.IndexByte(p, '\n') + 1
	if n > 0 {
		s.state = scanLineStart
	} else {
		n = len(p)
	}
	if !s.inID {
		return n
	}
	for _, c := range p[:n] {
		if s.idLen == maxMessageID {
			s.inID = false
			break
		}
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			continue
		}
		if c < ' ' || c > '~' {
			c = '?'
		}
		s.messageID[s.idLen] = c
		s.idLen++
	}
	return n
}

// hasEightBit looks for an octet above 127, 32 octets at a time.
func hasEightBit(p []byte) bool {
	const high = 0x8080808080808080
	for ; len(p) >= 32; p = p[32:] {
		q := p[:32]
		w := binary.LittleEndian.Uint64(q) | binary.LittleEndian.Uint64(q[8:]) |
			binary.LittleEndian.Uint64(q[16:]) | binary.LittleEndian.Uint64(q[24:])
		if w&high != 0 {
			return true
		}
	}
	var or byte
	for _, c := range p {
		or |= c
	}
	return or&0x80 != 0
}

// lineMeter finds the longest line.
type lineMeter struct {
	longest int64 // of the lines that have ended, with their LF
	open    int64 // of the line that has not
}

// add looks at the next piece. A line counts only where it is longer than the longest so far: so LF is looked for from
// the end of the window that a line of that length would fill, and all lines that end within it are stepped over at
// once.
func (m *lineMeter) add(p []byte) {
	for len(p) > 0 {
		room := m.longest - m.open
		if room <= 0 { // the open line is as long as the longest: only its own end matters
			n := bytes.IndexByte(p, '\n') + 1
			if n == 0 {
				m.open += int64(len(p))
				return
			}
			m.longest, m.open = m.open+int64(n), 0
			p = p[n:]
			continue
		}
		window := p[:min(room, int64(len(p)))]
		if n := bytes.LastIndexByte(window, '\n') + 1; n > 0 {
			m.open = 0
			p = p[n:]
			continue
		}
		m.open += int64(len(window))
		p = p[len(window):]
	}
}
