package sender

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/holub-mail/holub/smtp"
)

// A write buffer is parted into what is read of the content, the BDAT command, and the octets of its chunk. Line ends
// at most double a piece; chunkSlack has room for an owed LF and the end of the last line.
const (
	chunkPiece   = 8 << 10
	chunkCommand = 32
	chunkStart   = chunkPiece + chunkCommand
	chunkSlack   = 4
)

// chunks parts content into the chunks of BDAT (RFC 3030 2).
type chunks struct {
	r     io.Reader
	buf   *writeBuffer
	text  bool // lines must end with CRLF
	lines lineEnds
	held  int  // octets read that are not in a chunk yet
	ended bool // nothing more is to be read
	begin int  // where the command of the chunk starts in buf
	end   int  // where its octets end
	last  bool // it is the last one
}

func newChunks(r io.Reader, asItIs bool) *chunks {
	return &chunks{r: r, buf: writers.Get().(*writeBuffer), text: !asItIs}
}

func (c *chunks) free() { writers.Put(c.buf) }

// wire gives the chunk with its command in front.
func (c *chunks) wire() []byte { return c.buf[c.begin:c.end] }

// size gives the octets of the chunk.
func (c *chunks) size() int { return c.end - chunkStart }

// next fills the next chunk. It reads one piece ahead, so that the last chunk is known for what it is.
func (c *chunks) next() error {
	out := c.buf[chunkStart:chunkStart]
	for {
		in := c.buf[:c.held]
		c.held = 0
		if c.text {
			out = c.lines.append(out, in)
		} else {
			out = append(out, in...)
		}
		if c.ended {
			break
		}
		n, err := readSome(c.r, c.buf[:chunkPiece])
		if err != nil && err != io.EOF {
			return fmt.Errorf("%w: %w", ErrContent, err)
		}
		c.held, c.ended = n, err == io.EOF
		if n > 0 && cap(out)-len(out) < 2*chunkPiece+chunkSlack {
			break
		}
	}
	c.last = c.ended && c.held == 0
	if c.last && c.text {
		out = c.lines.close(out)
	}
	c.end = chunkStart + len(out)
	var line [chunkCommand]byte
	command := smtp.Bdat{Size: int64(len(out)), Last: c.last}.Append(line[:0])
	c.begin = chunkStart - len(command)
	copy(c.buf[c.begin:], command)
	return nil
}

// lineEnds makes CRLF of a bare CR or LF, which text must not have (RFC 5321 2.3.8): a next host could read it as the
// end of the message.
type lineEnds struct {
	cr   bool // a CR still waits for its LF
	open bool // the last line has no end yet
}

// append adds src to dst, at most doubled and one octet.
func (l *lineEnds) append(dst, src []byte) []byte {
	for len(src) > 0 {
		if l.cr {
			l.cr, l.open = false, false
			dst = append(dst, '\n')
			if src[0] == '\n' {
				src = src[1:]
			}
			continue
		}
		l.open = true
		lf := bytes.IndexByte(src, '\n')
		line := src
		if lf >= 0 {
			line = src[:lf]
		}
		switch cr := bytes.IndexByte(line, '\r'); {
		case cr >= 0 && cr == lf-1:
			dst = append(dst, src[:lf+1]...)
			src = src[lf+1:]
			l.open = false
		case cr >= 0:
			dst = append(dst, line[:cr+1]...)
			src = src[cr+1:]
			l.cr = true
		case lf >= 0:
			dst = append(append(dst, line...), '\r', '\n')
			src = src[lf+1:]
			l.open = false
		default:
			dst = append(dst, src...)
			src = nil
		}
	}
	return dst
}

// close ends the last line where it lacks its end.
func (l *lineEnds) close(dst []byte) []byte {
	switch {
	case l.cr:
		return append(dst, '\n')
	case l.open:
		return append(dst, '\r', '\n')
	}
	return dst
}

// errHighOctet says why content can't go over a 7-bit channel.
var errHighOctet = errors.New("it has octets above 127, and the channel carries 7 bits")

// sevenBitReader fails at an octet above 127 in content that was not declared to have any.
type sevenBitReader struct{ r io.Reader }

func (s sevenBitReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	for _, c := range b[:n] {
		if c > 127 {
			return 0, errHighOctet
		}
	}
	return n, err
}
