package history

import (
	"bytes"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holub-mail/holub/internal/spool"
)

// errLine is the error for a line that is no event.
var errLine = errors.New("not an event of the history")

const (
	lineHead   = `{"at":"`
	timeLayout = "2006-01-02T15:04:05.000000Z"
	idField    = `,"id":"`
	kindField  = `,"kind":`
	// idAt is where the id stands in every line that has one; the time has a fixed width for this.
	idAt  = len(lineHead) + len(timeLayout) + 1 + len(idField)
	idLen = 20
)

// appendLine appends e as one line. at and to stand for the fields of e.
func appendLine(dst []byte, e *Event, at time.Time, to []string, recipients, part int) []byte {
	dst = append(dst, lineHead...)
	dst = append(appendTime(dst, at), '"')
	dst = appendID(dst, idField, e.ID)
	dst = append(dst, kindField...)
	dst = appendText(dst, string(e.Kind))
	dst = appendField(dst, `,"from":`, e.From)
	if len(to) > 0 {
		dst = append(dst, `,"to":[`...)
		for i, a := range to {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendText(dst, a)
		}
		dst = append(dst, ']')
	}
	dst = appendNumber(dst, `,"recipients":`, int64(recipients))
	dst = appendNumber(dst, `,"part":`, int64(part))
	dst = appendField(dst, `,"message_id":`, e.MessageID)
	dst = appendField(dst, `,"client":`, e.Client)
	dst = appendField(dst, `,"hello":`, e.Hello)
	dst = appendField(dst, `,"tls":`, e.TLS)
	dst = appendNumber(dst, `,"size":`, e.Size)
	dst = appendField(dst, `,"host":`, e.Host)
	dst = appendField(dst, `,"reply":`, e.Reply)
	dst = appendField(dst, `,"reason":`, e.Reason)
	dst = appendNumber(dst, `,"attempt":`, int64(e.Attempt))
	if writable(e.Next) {
		dst = append(dst, `,"next":"`...)
		dst = append(appendTime(dst, e.Next), '"')
	}
	dst = appendField(dst, `,"site":`, e.Site)
	dst = appendID(dst, causeField, e.Cause)
	dst = appendID(dst, reportField, e.Report)
	dst = appendField(dst, `,"note":`, e.Note)
	return append(dst, "}\n"...)
}

const (
	causeField  = `,"cause":"`
	reportField = `,"report":"`
)

// writable tells a time that is set and has a year of four digits.
func writable(t time.Time) bool {
	y := t.UTC().Year()
	return !t.IsZero() && y > 0 && y < 10000
}

// appendTime appends t in timeLayout, in a third of the time that AppendFormat takes.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	micro := t.Nanosecond() / 1000
	d2 := func(n int) (byte, byte) { return '0' + byte(n/10), '0' + byte(n%10) }
	y1, y2 := d2(year / 100)
	y3, y4 := d2(year % 100)
	mo1, mo2 := d2(int(month))
	d1, dd2 := d2(day)
	h1, h2 := d2(hour)
	mi1, mi2 := d2(minute)
	s1, s2 := d2(second)
	u1, u2 := d2(micro / 10000)
	u3, u4 := d2(micro / 100 % 100)
	u5, u6 := d2(micro % 100)
	return append(dst, y1, y2, y3, y4, '-', mo1, mo2, '-', d1, dd2, 'T', h1, h2, ':', mi1, mi2, ':', s1, s2, '.',
		u1, u2, u3, u4, u5, u6, 'Z')
}

// idText writes an id as its String does, without an allocation.
var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func appendID(dst []byte, field string, id spool.ID) []byte {
	if id.IsZero() {
		return dst
	}
	return append(idText.AppendEncode(append(dst, field...), id[:]), '"')
}

func appendNumber(dst []byte, field string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, field...), n, 10)
}

func appendField(dst []byte, field, s string) []byte {
	if s == "" {
		return dst
	}
	return appendText(append(dst, field...), s)
}

// appendText appends s, clipped, as a JSON string that readText gives back octet for octet.
func appendText(dst []byte, s string) []byte {
	return append(appendEscaped(append(dst, '"'), clip(s)), '"')
}

func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); size > 1 && r > 0x9f {
				i += size
				continue
			} else if size > 1 { // C1 control characters
				c = byte(r)
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == 0, c >= utf8.RuneSelf && size == 1:
			dst = append(dst, `\u0000`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		}
		i += size
		start = i
	}
	return append(dst, s[start:]...)
}

// line is an event as JSON.
type line struct {
	At         string   `json:"at"`
	ID         string   `json:"id"`
	Kind       string   `json:"kind"`
	From       string   `json:"from"`
	To         []string `json:"to"`
	Recipients int      `json:"recipients"`
	Part       int      `json:"part"`
	MessageID  string   `json:"message_id"`
	Client     string   `json:"client"`
	Hello      string   `json:"hello"`
	TLS        string   `json:"tls"`
	Size       int64    `json:"size"`
	Host       string   `json:"host"`
	Reply      string   `json:"reply"`
	Reason     string   `json:"reason"`
	Attempt    int      `json:"attempt"`
	Next       string   `json:"next"`
	Site       string   `json:"site"`
	Cause      string   `json:"cause"`
	Report     string   `json:"report"`
	Note       string   `json:"note"`
}

// decodeLine reads one line, with or without its line end. Errors wrap errLine.
func decodeLine(b []byte) (Event, error) {
	if !bytes.HasPrefix(b, []byte(lineHead)) {
		return Event{}, errLine // cheaper than asking the JSON decoder
	}
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return Event{}, fmt.Errorf("%w: %w", errLine, err)
	}
	r := lineReader{}
	e := Event{
		At: r.time(l.At), ID: r.id(l.ID), Kind: Kind(r.text(l.Kind)), From: r.text(l.From), To: l.To,
		MessageID: r.text(l.MessageID), Client: r.text(l.Client), Hello: r.text(l.Hello), TLS: r.text(l.TLS),
		Size: l.Size, Host: r.text(l.Host), Reply: r.text(l.Reply), Reason: r.text(l.Reason), Attempt: l.Attempt,
		Next: r.time(l.Next), Site: r.text(l.Site), Cause: r.id(l.Cause), Report: r.id(l.Report), Note: r.text(l.Note),
		Recipients: l.Recipients, Part: l.Part,
	}
	for i := range e.To {
		e.To[i] = r.text(e.To[i])
	}
	if r.err == nil && !writable(e.At) {
		r.err = errors.New("no time")
	}
	if r.err != nil {
		return Event{}, fmt.Errorf("%w: %w", errLine, r.err)
	}
	return e, nil
}

// lineReader turns the strings of a line into values and keeps the first error.
type lineReader struct{ err error }

func (r *lineReader) note(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *lineReader) time(s string) (t time.Time) {
	if s == "" {
		return t
	}
	t, err := time.Parse(time.RFC3339, s)
	r.note(err)
	return t.UTC().Truncate(time.Microsecond)
}

func (r *lineReader) id(s string) (id spool.ID) {
	if s == "" {
		return id
	}
	id, err := spool.ParseID(s)
	r.note(err)
	return id
}

// text takes back the escape of octets that are no UTF-8.
func (r *lineReader) text(s string) string {
	i := strings.IndexByte(s, 0)
	if i < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for ; i >= 0; i = strings.IndexByte(s, 0) {
		var octet [1]byte
		if len(s) < i+3 {
			r.note(errors.New("an escaped octet is cut"))
			return ""
		}
		if _, err := hex.Decode(octet[:], []byte(s[i+1:i+3])); err != nil {
			r.note(err)
			return ""
		}
		out = append(append(out, s[:i]...), octet[0])
		s = s[i+3:]
	}
	return string(append(out, s...))
}
