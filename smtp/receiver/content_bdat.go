package receiver

import (
	"bytes"
	"errors"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// bdat answers BDAT (RFC 3030 2) that begins a message, or that may not come now. Those that go on with a message are
// taken by chunks.read, for the Handler reads the content while they come.
func (s *Session) bdat(arg string) smtp.Reply {
	chunk, err := smtp.ParseBdat(arg)
	if err != nil {
		return badChunk
	}
	var refusal smtp.Reply
	switch s.phase {
	case phaseDead:
		refusal = onlyQuit
	case phaseStart:
		refusal = s.sendHello()
	case phaseReady: // nothing was begun, or a chunk before this one was refused
		refusal = sendMail
	case phaseMail:
		s.reset() // else a later chunk could pass for a whole message
		refusal = s.noRecipients()
	default:
		return s.receive(&chunks{left: chunk.Size, last: chunk.Last, refusedAtOnce: s.tooLarge(chunk.Size, 0)})
	}
	return s.skip(chunk, refusal)
}

// badChunk answers a BDAT that does not tell how many octets follow it: no command can be found behind them.
var badChunk = smtp.Reply{Code: 501, Enhanced: smtp.EnhancedCode{5, 5, 4}, Close: true,
	Lines: []string{"The syntax is: BDAT octets [LAST]; where the next command begins is lost"}}

// skip takes the octets of a refused chunk (RFC 3030 2) and gives the refusal.
func (s *Session) skip(chunk smtp.Bdat, refusal smtp.Reply) smtp.Reply {
	c := &content{s: s, deadline: time.Now().Add(s.messageTimeout)}
	f := &chunks{left: chunk.Size}
	switch err := f.discard(c); {
	case errors.Is(err, errEndless):
		refusal.Close = true
	case isTimeout(err):
		return replyTimeout
	case err != nil:
		return replyBroken
	}
	return refusal
}

// tooLarge tells that a chunk takes a message of size octets beyond the limit.
func (s *Session) tooLarge(chunk, size int64) bool {
	return s.maxSize > 0 && chunk > s.maxSize-size
}

// chunks is the framing of BDAT: counted octets behind each command. No goroutine stands between the session and the
// Handler: where a chunk is used up, reading answers it and reads the command behind it.
type chunks struct {
	left          int64 // octets of this chunk that were not read
	last          bool  // this chunk ends the message
	refusedAtOnce bool  // by its size
	got           int64 // octets of this chunk that were read
	afterCR       bool
	bare          bool // a CR or LF stands alone
	instead       func() smtp.Reply
}

func (f *chunks) read(c *content, p []byte) (n int, end bool, err error) {
	c.s.phase = phaseChunks
	for f.left == 0 && !f.last && !f.refusedAtOnce {
		if err := f.next(c); err != nil {
			return 0, false, err
		}
	}
	switch {
	case f.refusedAtOnce:
		return 0, false, replyTooLarge
	case f.left == 0:
		f.checkEnd()
		return 0, true, nil
	}
	n, err = f.take(c, p)
	if c.s.mail.Body != smtp.BodyBinaryMIME {
		f.checkLines(p[:n])
	}
	if end = f.left == 0 && f.last; end {
		f.checkEnd()
	}
	return n, end, err
}

// take moves octets of the chunk; large reads go past the buffer.
func (f *chunks) take(c *content, p []byte) (int, error) {
	p = p[:min(int64(len(p)), f.left)]
	w := &c.s.wire
	n := 0
	var err error
	switch arrived := w.buffered(); {
	case len(arrived) > 0:
		n = copy(p, arrived)
		w.start += n
	case len(p) < maxLine:
		if err := c.fill(); err != nil {
			return 0, err
		}
		return f.take(c, p)
	default:
		if err := w.flush(); err != nil {
			return 0, err
		}
		if n, err = w.read(p, c.until(), false); n > 0 {
			err = nil
		}
	}
	f.left -= int64(n)
	f.got += int64(n)
	return n, brokenOff(err)
}

// checkLines looks for a CR or LF that stands alone (2.3.8), over the ends of pieces and chunks, too.
func (f *chunks) checkLines(p []byte) {
	for len(p) > 0 && !f.bare {
		if f.afterCR {
			f.afterCR = false
			f.bare = p[0] != '\n'
			p = p[1:]
			continue
		}
		lf := bytes.IndexByte(p, '\n')
		line := p
		if lf >= 0 {
			line = p[:lf]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case cr >= 0 && cr < len(line)-1, lf >= 0 && cr < 0:
			f.bare = true
		case lf < 0:
			f.afterCR = cr >= 0
			return
		}
		p = p[lf+1:]
	}
}

// checkEnd looks for a CR at the very end. The last line may lack its CRLF: nothing is behind it to be taken for a line.
func (f *chunks) checkEnd() {
	f.bare = f.bare || f.afterCR
}

// next answers the chunk that is used up and reads commands up to the next BDAT. errDropped: another command came that
// drops the message; after answers it.
func (f *chunks) next(c *content) error {
	s := c.s
	s.write("BDAT", smtp.Replyf(250, smtp.EnhancedCode{2, 0, 0}, "%d octets received", f.got))
	for {
		s.verb = ""
		line, err := s.wire.readLine(c.until(), false)
		var row *command
		var arg string
		var r smtp.Reply
		if err == nil {
			row, arg, r = s.parse(line)
		} else if r = lineFlaw(err); r.IsZero() {
			return brokenOff(err)
		}
		switch {
		case !r.IsZero():
			r = s.countErrors(r)
		case row.verb == "BDAT":
			return f.begin(c, arg)
		case row.drops:
			f.instead = func() smtp.Reply { return row.run(s, arg) }
			return errDropped
		default:
			r = s.countErrors(row.run(s, arg))
		}
		if r.Close || r.Code == 421 {
			f.instead = func() smtp.Reply { return r }
			return errDropped
		}
		s.write(s.verb, r)
	}
}

// begin starts on the next chunk.
func (f *chunks) begin(c *content, arg string) error {
	chunk, err := smtp.ParseBdat(arg)
	if err != nil {
		f.instead = func() smtp.Reply { return badChunk }
		return errDropped
	}
	f.left, f.last, f.got = chunk.Size, chunk.Last, 0
	f.refusedAtOnce = c.s.tooLarge(chunk.Size, c.size)
	return nil
}

func (f *chunks) bareLineEnd() bool { return f.bare }

// discard takes the rest of this chunk; one of more than twice the size limit is not waited for.
func (f *chunks) discard(c *content) error {
	if c.s.maxSize > 0 && f.left/2 > c.s.maxSize {
		return errEndless
	}
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	for f.left > 0 {
		if _, err := f.take(c, *p); err != nil {
			return err
		}
	}
	return nil
}

func (f *chunks) after() smtp.Reply { return f.instead() }
func (f *chunks) refusedEach() bool { return f.last }
