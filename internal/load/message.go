package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Shape of a message.
const (
	numberDigits = 10       // of a message's number
	ownContent   = 32 << 10 // so many octets of the content a session has for itself, the rest is shared
	maxTextLine  = 76       // of the text, without CRLF
	maxMessages  = 1e9      // what fits in the digits
)

// idMark stands before the number of a message in its header.
var idMark = []byte("\r\nMessage-ID: <")

// letter holds all octets of a run's messages and envelopes.
type letter struct {
	head     []byte // the first part of the content; each session puts its numbers into a copy
	numberAt int    // where in head the digits are
	tail     []byte // the rest of the content, shared, with the final dot; empty where head has all
	mail     []byte // the MAIL command
	rcpts    []byte // RCPT commands one after the other
	ends     []int  // where each of them ends
	count    int    // recipients of a message
	ring     int    // lines after which the first recipient starts anew; 0: every message has the same recipients
}

// newLetter writes the octets of a run that starts now. Its Message-IDs differ from those of other runs.
func newLetter(s *Source, now time.Time) (*letter, error) {
	l := &letter{mail: []byte("MAIL FROM:<" + s.From + ">\r\n"), count: s.Recipients}
	l.address(s.Domains)
	header := "From: <" + s.From + ">\r\nTo: undisclosed-recipients:;\r\nSubject: load\r\nDate: " +
		now.Format("Mon, 02 Jan 2006 15:04:05 -0700") + string(idMark)
	l.numberAt = len(header)
	header += strings.Repeat("0", numberDigits) + "." + strconv.FormatInt(now.UnixNano(), 36) + "@load.invalid>\r\n\r\n"
	if least := len(header) + 3; s.Size < least {
		return nil, fmt.Errorf("a message of %d octets is too small: its header needs %d", s.Size, least)
	}
	content := appendText([]byte(header), s.Size)
	content = append(content, ".\r\n"...)
	l.head = content
	if len(content) > ownContent {
		l.head, l.tail = content[:ownContent:ownContent], content[ownContent:]
	}
	return l, nil
}

// address writes the RCPT commands. With more recipients than domains each message has the same ones; else the messages
// take turns, so that all domains get mail.
func (l *letter) address(domains []string) {
	lines := l.count
	if l.count < len(domains) {
		l.ring = len(domains)
		lines = l.ring + l.count // a message that begins at the last domain goes on with the first ones
	}
	for i := range lines {
		user := 1
		if l.ring == 0 {
			user += i / len(domains)
		}
		l.rcpts = fmt.Appendf(l.rcpts, "RCPT TO:<user%d@%s>\r\n", user, domains[i%len(domains)])
		l.ends = append(l.ends, len(l.rcpts))
	}
}

// recipients gives the RCPT commands from..to of a message, counted from 0.
func (l *letter) recipients(number int64, from, to int) []byte {
	first := 0
	if l.ring > 0 {
		first = int(number % int64(l.ring) * int64(l.count) % int64(l.ring))
	}
	start := 0
	if first+from > 0 {
		start = l.ends[first+from-1]
	}
	return l.rcpts[start:l.ends[first+to-1]]
}

// appendText fills up to size octets with lines of words. They are no real language, but they pack about as well; no
// line begins with a dot.
func appendText(content []byte, size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	for {
		left := size - len(content)
		n := min(left-2, maxTextLine)
		if rest := left - 2 - n; rest > 0 && rest < 3 {
			n -= 3 // the last line needs an octet and CRLF
		}
		if n <= 0 {
			return content
		}
		line := len(content)
		for len(content) < line+n {
			for range 2 + random.IntN(8) {
				content = append(content, "etaoinshrdlucmfwypvbgkjqxz"[min(random.IntN(26), random.IntN(26))])
			}
			content = append(content, ' ')
		}
		content = append(content[:line+n], "\r\n"...)
	}
}

// putNumber writes a message's number into a head.
func (l *letter) putNumber(head []byte, number int64) {
	for i := l.numberAt + numberDigits - 1; i >= l.numberAt; i-- {
		head[i] = byte('0' + number%10)
		number /= 10
	}
}

// findNumber looks for the number of a message in a part of its content. Found is false where no Message-ID is in sight
// or it is not whole; the number is -1 where it is not one of a Source.
func findNumber(part []byte) (number int64, found bool) {
	i := bytes.Index(part, idMark)
	if i < 0 || len(part) < i+len(idMark)+numberDigits+1 {
		return -1, false
	}
	digits := part[i+len(idMark):]
	for _, c := range digits[:numberDigits] {
		if c < '0' || c > '9' {
			return -1, true
		}
		number = max(number, 0)*10 + int64(c-'0')
	}
	if digits[numberDigits] != '.' {
		return -1, true
	}
	return number, true
}
