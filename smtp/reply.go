package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// EnhancedCode is an enhanced status code (RFC 3463): class, subject, detail. The zero value means that there is none.
type EnhancedCode [3]int

// String gives "5.1.1", or "" for the zero value.
func (e EnhancedCode) String() string {
	if e == (EnhancedCode{}) {
		return ""
	}
	return string(e.append(nil))
}

func (e EnhancedCode) append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(e[0]), 10)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, int64(e[1]), 10)
	dst = append(dst, '.')
	return strconv.AppendInt(dst, int64(e[2]), 10)
}

// ParseEnhancedCode reads a code such as "4.4.1" from the start of s and returns what follows it. The class must be
// 2, 4 or 5; subject and detail have one to three digits (RFC 3463 2).
func ParseEnhancedCode(s string) (code EnhancedCode, rest string, ok bool) {
	rest = s
	for i := range code {
		if i > 0 {
			if !strings.HasPrefix(rest, ".") {
				return EnhancedCode{}, s, false
			}
			rest = rest[1:]
		}
		n := 0
		for n < len(rest) && n < 3 && isDigit(rest[n]) {
			code[i] = code[i]*10 + int(rest[n]-'0')
			n++
		}
		if n == 0 || n > 1 && rest[0] == '0' {
			return EnhancedCode{}, s, false
		}
		rest = rest[n:]
	}
	if c := code[0]; c != 2 && c != 4 && c != 5 || rest != "" && rest[0] != ' ' {
		return EnhancedCode{}, s, false
	}
	return code, strings.TrimPrefix(rest, " "), true
}

// Reply is what a server says to a command (4.2). The zero value means "no reply"; servers read it as their default.
//
// A Reply is also an error, so that a refusal can travel as one; Temporary and Permanent tell how it may be treated.
type Reply struct {
	Code     int          // three digits, 200 to 599
	Enhanced EnhancedCode // zero where none belongs: the greeting, EHLO, HELO, 3yz
	Lines    []string     // text without code; none is the same as one empty line
	Close    bool         // the server hangs up after it; not a part of the wire
}

// NewReply makes a reply; each line of the text becomes a line of the reply. What is said often is best made once: nothing
// in this package changes the lines of a Reply that it is given.
func NewReply(code int, enhanced EnhancedCode, text string) Reply {
	return Reply{Code: code, Enhanced: enhanced, Lines: strings.Split(text, "\n")}
}

// Replyf makes a reply of one formatted text.
func Replyf(code int, enhanced EnhancedCode, format string, args ...any) Reply {
	return NewReply(code, enhanced, fmt.Sprintf(format, args...))
}

// AsReply finds the Reply that err carries.
func AsReply(err error) (Reply, bool) {
	var r Reply
	ok := errors.As(err, &r)
	return r, ok
}

// IsZero tells a reply that was never given.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Positive tells a 2yz or 3yz reply.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Temporary tells a 4yz reply: the same may succeed later.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent tells a 5yz reply: the same must not be tried again.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// Error gives the reply as one line, as Text does.
func (r Reply) Error() string { return r.Text() }

// Text gives the reply as one line: code, enhanced code, and the lines joined by spaces.
func (r Reply) Text() string {
	var room [128]byte // few replies are longer
	b := strconv.AppendInt(room[:0], int64(r.Code), 10)
	if r.Enhanced != (EnhancedCode{}) {
		b = r.Enhanced.append(append(b, ' '))
	}
	for _, l := range r.Lines {
		b = append(append(b, ' '), l...)
	}
	return string(b)
}

// maxReplyText keeps a reply line with its code and CRLF within the 512 octets of 4.5.3.1.5.
const maxReplyText = 512 - len("250 ") - len("\r\n")

// Append writes the reply as it goes over the wire, each line with its code and, where there is one, its enhanced code
// (RFC 2034 4). Long lines are folded into several; octets that may not stand in a reply line become "?" (4.2: only
// HT and printable ASCII), so text from elsewhere can never end a line early.
func (r Reply) Append(dst []byte) []byte {
	lines := r.Lines
	if len(lines) == 0 {
		lines = []string{""}
	}
	prefix := 0
	if r.Enhanced != (EnhancedCode{}) {
		var room [16]byte
		prefix = len(r.Enhanced.append(room[:0])) + 1
	}
	for i, line := range lines {
		for {
			part := line
			if len(part) > maxReplyText-prefix {
				part = part[:maxReplyText-prefix]
			}
			line = line[len(part):]
			last := i == len(lines)-1 && line == ""
			dst = r.appendLine(dst, part, last)
			if line == "" {
				break
			}
		}
	}
	return dst
}

func (r Reply) appendLine(dst []byte, text string, last bool) []byte {
	dst = strconv.AppendInt(dst, int64(r.Code), 10)
	if last {
		dst = append(dst, ' ')
	} else {
		dst = append(dst, '-')
	}
	if r.Enhanced != (EnhancedCode{}) {
		dst = append(r.Enhanced.append(dst), ' ')
	}
	start := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[start:] {
		if c < ' ' && c != '\t' || c >= 0x7f {
			dst[start+i] = '?'
		}
	}
	return append(dst, '\r', '\n')
}

// ErrReplySyntax is the error for a line that is no reply line of SMTP.
var ErrReplySyntax = errors.New("not an SMTP reply line")

// AddLine reads one line of a reply, without its line end, into r and tells whether it was the last (4.2.1). The enhanced
// code is taken off where a line starts with one of the reply's class; the text is otherwise kept as it came.
func (r *Reply) AddLine(line []byte) (last bool, err error) {
	if len(line) < 3 || !isDigit(line[0]) || !isDigit(line[1]) || !isDigit(line[2]) || line[0] < '2' || line[0] > '5' {
		return false, fmt.Errorf("%w: %.80q", ErrReplySyntax, line)
	}
	code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if r.Code != 0 && r.Code != code {
		return false, fmt.Errorf("%w: the code changes from %d within a reply: %.80q", ErrReplySyntax, r.Code, line)
	}
	last = true
	text := ""
	if len(line) > 3 {
		if line[3] != ' ' && line[3] != '-' {
			return false, fmt.Errorf("%w: %.80q", ErrReplySyntax, line)
		}
		last = line[3] == ' '
		text = string(line[4:])
	}
	r.Code = code
	if enhanced, rest, ok := ParseEnhancedCode(text); ok && enhanced[0] == code/100 {
		if len(r.Lines) == 0 {
			r.Enhanced = enhanced
		}
		if enhanced == r.Enhanced {
			text = rest
		}
	}
	r.Lines = append(r.Lines, text)
	return last, nil
}
