package load

import (
	"bytes"
	"fmt"
	"strconv"
)

// server is the side of a Sink in one session.
type server struct {
	sink    *Sink
	out     outbox
	replies []byte // to send
	mode    mode
	secure  bool

	greeted bool // EHLO or HELO was said
	open    bool // MAIL was said
	rcpts   int
	octets  int64 // of the message at hand
	number  int64 // of the message at hand; -1: none
	known   bool  // its Message-ID was seen
	begun   bool  // a chunk of it came

	chunk int64 // octets of the chunk at hand that are still to come
	last  bool  // it is the last chunk
	unfit bool  // the chunk belongs to no message
}

// mode is what a session expects.
type mode int

const (
	commands mode = iota
	dataMode
	chunkMode
)

// endOfData ends a message (RFC 5321, section 4.1.1.4). The CRLF of the DATA command counts as the end of the line before.
var endOfData = []byte("\r\n.\r\n")

// idReach is how much of the content is kept for the next look where the Message-ID was not seen yet.
const idReach = 64

func newServer(s *Sink) *server {
	v := &server{sink: s}
	v.say("220 " + v.name() + " ESMTP load sink\r\n")
	v.out.own = v.replies
	return v
}

func (v *server) name() string {
	if v.sink.Hello == "" {
		return "sink.load.invalid"
	}
	return v.sink.Hello
}

func (v *server) outbox() *outbox { return &v.out }

// secured forgets all that was said before TLS (RFC 3207, section 4.2).
func (v *server) secured() {
	*v = server{sink: v.sink, replies: v.replies[:0], secure: true}
}

func (v *server) say(reply string) { v.replies = append(v.replies, reply...) }

// feed takes commands and content. The replies to all of them go in one write.
func (v *server) feed(in []byte) (rest []byte, next action) {
	if v.out.empty() {
		v.replies = v.replies[:0]
	}
	for next == goOn && len(in) > 0 {
		before := len(in)
		switch v.mode {
		case commands:
			in, next = v.takeLine(in)
		case dataMode:
			in, next = v.takeData(in)
		case chunkMode:
			in, next = v.takeChunk(in)
		}
		if len(in) == before {
			break
		}
	}
	v.out.own = v.replies
	return in, next
}

// takeLine takes a command, if it is there as a whole.
func (v *server) takeLine(in []byte) ([]byte, action) {
	i := bytes.IndexByte(in, '\n')
	if i > maxCarry || i < 0 && len(in) > maxCarry {
		v.say("500 5.5.2 Line too long\r\n")
		return nil, hangUp
	}
	if i < 0 {
		return in, goOn
	}
	if i == 0 || in[i-1] != '\r' { // RFC 5321, section 2.3.8
		v.say("500 5.5.2 A line ends with CR LF\r\n")
		return in[i+1:], goOn
	}
	next := v.command(in[:i-1])
	if v.mode == dataMode {
		return in[i-1:], next
	}
	return in[i+1:], next
}

// takeData takes content, and keeps what may be the first part of its end.
func (v *server) takeData(in []byte) ([]byte, action) {
	i := bytes.Index(in, endOfData)
	if i >= 0 {
		v.look(in[:i])
		v.octets += int64(i)
		v.mode = commands
		return in[i+len(endOfData):], v.finish()
	}
	keep := len(endOfData) - 1
	if v.look(in); v.sink.IDs && !v.known {
		keep = idReach
	}
	n := max(len(in)-keep, 0)
	v.octets += int64(n)
	return in[n:], goOn
}

// takeChunk takes content of BDAT.
func (v *server) takeChunk(in []byte) ([]byte, action) {
	n := int(min(v.chunk, int64(len(in))))
	v.look(in[:n])
	if v.sink.IDs && !v.known && int64(n) < v.chunk {
		n = max(n-idReach, 0)
	}
	v.chunk -= int64(n)
	v.octets += int64(n)
	in = in[n:]
	if v.chunk > 0 {
		return in, goOn
	}
	return in, v.endChunk()
}

func (v *server) endChunk() action {
	v.mode = commands
	switch {
	case v.unfit:
		v.say("503 5.5.1 No recipients\r\n")
		v.reset()
	case v.last:
		return v.finish()
	default:
		v.say("250 2.0.0 Chunk taken\r\n")
	}
	return goOn
}

// look searches for the message's number.
func (v *server) look(part []byte) {
	if v.sink.IDs && !v.known {
		v.number, v.known = findNumber(part)
	}
}

// finish replies to a message.
func (v *server) finish() action {
	switch {
	case !v.sink.refuse(true):
		v.sink.took(v.rcpts, v.octets, v.number)
		v.say("250 2.0.0 Taken\r\n")
	case v.sink.Fail.ForGood:
		v.say("554 5.6.0 Refused on purpose\r\n")
	default:
		v.say("451 4.3.0 Refused on purpose\r\n")
	}
	v.reset()
	if v.sink.Delay > 0 {
		return pause
	}
	return goOn
}

func (v *server) reset() {
	v.open, v.begun, v.known = false, false, false
	v.rcpts, v.octets, v.number = 0, 0, -1
}

// verb gives the first four octets of a command in lower case; zeros where its verb has another length. STARTTLS is "star".
func verb(line []byte) [4]byte {
	var w [4]byte
	if len(line) > 4 && line[4] != ' ' && !bytes.EqualFold(line, []byte("STARTTLS")) {
		return w
	}
	copy(w[:], line)
	for i := range w {
		w[i] |= 0x20
	}
	return w
}

// command replies to one command.
func (v *server) command(line []byte) action {
	switch verb(line) {
	case [4]byte{'m', 'a', 'i', 'l'}:
		v.commandMAIL(line)
	case [4]byte{'r', 'c', 'p', 't'}:
		v.commandRCPT(line)
	case [4]byte{'d', 'a', 't', 'a'}:
		v.commandDATA()
	case [4]byte{'b', 'd', 'a', 't'}:
		return v.commandBDAT(line)
	case [4]byte{'e', 'h', 'l', 'o'}:
		v.commandEHLO()
	case [4]byte{'h', 'e', 'l', 'o'}:
		v.reset()
		v.greeted = true
		v.say("250 " + v.name() + "\r\n")
	case [4]byte{'r', 's', 'e', 't'}:
		v.reset()
		v.say("250 2.0.0 Ok\r\n")
	case [4]byte{'n', 'o', 'o', 'p'}:
		v.say("250 2.0.0 Ok\r\n")
	case [4]byte{'v', 'r', 'f', 'y'}:
		v.say("252 2.5.0 Send mail and see\r\n")
	case [4]byte{'q', 'u', 'i', 't'}:
		v.say("221 2.0.0 Bye\r\n")
		return hangUp
	case [4]byte{'s', 't', 'a', 'r'}:
		return v.commandSTARTTLS()
	default:
		v.say("500 5.5.2 Unknown command\r\n")
	}
	return goOn
}

func (v *server) commandEHLO() {
	v.reset()
	v.greeted = true
	v.say("250-" + v.name() + "\r\n")
	if !v.sink.NoPipelining {
		v.say("250-PIPELINING\r\n")
	}
	if v.sink.Chunking {
		v.say("250-CHUNKING\r\n")
	}
	if v.sink.TLS != nil && !v.secure {
		v.say("250-STARTTLS\r\n")
	}
	v.say("250 8BITMIME\r\n")
}

func (v *server) commandMAIL(line []byte) {
	switch {
	case !v.greeted:
		v.say("503 5.5.1 Say EHLO first\r\n")
	case v.open:
		v.say("503 5.5.1 MAIL was said\r\n")
	case !hasArgument(line, " from:<"):
		v.say("501 5.5.4 MAIL FROM:<address>\r\n")
	default:
		v.open = true
		v.say("250 2.1.0 Ok\r\n")
	}
}

func (v *server) commandRCPT(line []byte) {
	switch {
	case !v.open || v.begun:
		v.say("503 5.5.1 Not now\r\n")
	case !hasArgument(line, " to:<"):
		v.say("501 5.5.4 RCPT TO:<address>\r\n")
	case !v.sink.refuse(false):
		v.rcpts++
		v.say("250 2.1.5 Ok\r\n")
	case v.sink.Fail.ForGood:
		v.say("550 5.1.1 Refused on purpose\r\n")
	default:
		v.say("450 4.2.0 Refused on purpose\r\n")
	}
}

// hasArgument tells, without case, how the arguments of a four-letter command begin.
func hasArgument(line []byte, want string) bool {
	return len(line) >= 4+len(want) && bytes.EqualFold(line[4:4+len(want)], []byte(want))
}

func (v *server) commandDATA() {
	switch {
	case !v.open || v.begun:
		v.say("503 5.5.1 Not now\r\n")
	case v.rcpts == 0: // RFC 5321, section 3.3
		v.say("554 5.5.1 No recipients\r\n")
	default:
		v.mode = dataMode
		v.number, v.known = -1, false
		v.say("354 Go on\r\n")
	}
}

// commandBDAT begins a chunk (RFC 3030, section 2). The octets of a chunk that can't be come all the same.
func (v *server) commandBDAT(line []byte) action {
	words := bytes.Fields(line)
	last := len(words) == 3 && bytes.EqualFold(words[2], []byte("LAST"))
	if !v.sink.Chunking || len(words) != 2 && !last {
		v.say("500 5.5.2 Unknown command\r\n")
		return goOn
	}
	size, err := strconv.ParseUint(string(words[1]), 10, 62)
	if err != nil {
		v.say(fmt.Sprintf("501 5.5.4 %.40q is no size\r\n", words[1]))
		return hangUp // where the next command begins is unknown
	}
	v.mode, v.chunk, v.last, v.unfit = chunkMode, int64(size), last, v.rcpts == 0
	if !v.begun {
		v.begun, v.number, v.known = true, -1, false
	}
	if size == 0 {
		return v.endChunk()
	}
	return goOn
}

func (v *server) commandSTARTTLS() action {
	switch {
	case v.sink.TLS == nil || v.secure:
		v.say("503 5.5.1 Not now\r\n")
	default:
		v.say("220 2.0.0 Go on\r\n")
		return startTLS
	}
	return goOn
}
