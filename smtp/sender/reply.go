package sender

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/holub-mail/holub/smtp"
)

// Limits of what a server may say; beyond them it is not speaking SMTP. They bound what one session can make us hold.
const (
	maxReplyLine   = 4096     // octets with line end; the RFC allows 512 (4.5.3.1.5), some servers say more
	maxAuthLine    = 12288    // octets of a challenge or response (RFC 4954 4)
	maxReplyLines  = 1000     // of one reply
	replyOctets    = 64 << 10 // of all replies in one call
	replyOctetsFor = 2 << 10  // more of them for each recipient
)

// replyReader reads the replies of one call.
type replyReader struct {
	in     *bufio.Reader // its size is maxReplyLine
	octets int           // what the server may still say
	long   bool          // lines may be as long as those of AUTH
	trace  func(Direction, []byte)
}

// atHand tells that a reply of one line has arrived: nobody has to be waited for.
func (r *replyReader) atHand() bool {
	b, _ := r.in.Peek(r.in.Buffered())
	end := bytes.IndexByte(b, '\n')
	return end > 3 && b[3] != '-'
}

// read reads one reply (4.2.1). Its error wraps smtp.ErrReplySyntax, or is that of the connection.
func (r *replyReader) read() (smtp.Reply, error) {
	var reply smtp.Reply
	for range maxReplyLines {
		line, err := r.line()
		if err != nil {
			return smtp.Reply{}, err
		}
		last, err := reply.AddLine(line)
		if err != nil {
			return smtp.Reply{}, err
		}
		if last {
			return reply, nil
		}
	}
	return smtp.Reply{}, fmt.Errorf("%w: a reply of more than %d lines", smtp.ErrReplySyntax, maxReplyLines)
}

// line reads one line and takes its end off. A bare LF ends a line too, against 2.3.8: in a reply it deceives nobody,
// and some servers send it. The line is valid until the next read.
func (r *replyReader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if r.long && errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.longLine(line)
	}
	r.octets -= len(line)
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a line longer than %d octets: %.80q", smtp.ErrReplySyntax, maxReplyLine, line)
	case err == io.EOF && len(line) > 0:
		return nil, fmt.Errorf("%w after %.80q", io.ErrUnexpectedEOF, line)
	case err != nil:
		return nil, err
	case r.octets < 0:
		return nil, fmt.Errorf("%w: the server talks too much", smtp.ErrReplySyntax)
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if r.trace != nil {
		r.trace(Received, line)
	}
	return line, nil
}

// longLine reads the rest of a line that is longer than the buffer.
func (r *replyReader) longLine(start []byte) ([]byte, error) {
	line := bytes.Clone(start)
	for {
		more, err := r.in.ReadSlice('\n')
		line = append(line, more...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxAuthLine+len("334 \r\n") {
			return line, err
		}
	}
}
