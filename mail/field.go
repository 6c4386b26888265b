package mail

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Field is one field of a header as it came: its lines with their folds and line ends. A line that is no field, such as
// one without a colon, is a Field without a name. The zero value is an empty Field.
type Field struct {
	raw     []byte
	nameLen int // 0 for a line that is no field
}

// Raw gives the octets of the field with its line ends. The caller must not change them.
func (f Field) Raw() []byte { return f.raw }

// Name gives the name as it is written, without the colon. It is "" for what is no field.
func (f Field) Name() string { return string(f.raw[:f.nameLen]) }

// Body gives what stands behind the colon on one line: line ends taken out (RFC 5322 2.2.3), spaces and tabs at both
// ends taken off. All other octets are as they came, be they NUL, a bare CR or no UTF-8. Of what is no field it gives
// the whole.
func (f Field) Body() string {
	b := f.raw
	if f.nameLen > 0 {
		b = b[bytes.IndexByte(b, ':')+1:]
	}
	return string(unfolded(b))
}

// Is tells whether the field has this name, without regard to case.
func (f Field) Is(name string) bool {
	return f.nameLen > 0 && f.nameLen == len(name) && equalFold(f.raw[:f.nameLen], name)
}

// unfolded takes out line ends and trims spaces and tabs. It may return a part of b.
func unfolded(b []byte) []byte {
	b = bytes.Trim(trimLineEnd(b), " \t")
	if bytes.IndexByte(b, '\n') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for line := range bytes.SplitAfterSeq(b, []byte("\n")) {
		out = append(out, trimLineEnd(line)...)
	}
	return bytes.Trim(out, " \t")
}

// trimLineEnd takes one CRLF or LF off the end of b.
func trimLineEnd(b []byte) []byte {
	if b, ended := bytes.CutSuffix(b, []byte("\n")); ended {
		return bytes.TrimSuffix(b, []byte("\r"))
	}
	return b
}

// equalFold compares octets without the case of ASCII letters.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// parseField finds the name: printable ASCII but for the colon (RFC 5322 2.2), perhaps with space behind it (4.5).
func parseField(raw []byte) Field {
	n := 0
	for n < len(raw) && isNameOctet(raw[n]) {
		n++
	}
	colon := n
	for colon < len(raw) && isSpace(raw[colon]) {
		colon++
	}
	if colon == len(raw) || raw[colon] != ':' {
		n = 0
	}
	return Field{raw: raw, nameLen: n}
}

// newField writes a field. An octet that can't stand in a name becomes "?".
func newField(name, body string) Field {
	b := []byte(name)
	for i, c := range b {
		if !isNameOctet(c) {
			b[i] = '?'
		}
	}
	if len(b) == 0 {
		b = []byte("?")
	}
	return Field{raw: appendField(nil, string(b), printableUTF8, []string{body}), nameLen: len(b)}
}

func isSpace(c byte) bool     { return c == ' ' || c == '\t' }
func isNameOctet(c byte) bool { return '!' <= c && c <= '~' && c != ':' }

// Limits of a line without its CRLF (RFC 5322 2.1.1): what should be kept, and what must be.
const (
	softLine = 78
	hardLine = 998
	wordLine = 76 // of a line with an encoded word (RFC 2047 2)
)

// AppendField writes one header field: name, colon, and the parts of the body, one space between two of them. It folds
// in front of a part, and within a part at its spaces where the part is too long for a line (RFC 5322 2.2.3), so that
// unfolding gives back the text. Lines stay within 78 octets where the text has spaces enough, and within 998 always.
// An octet that is not printable ASCII becomes "?", so no text from elsewhere can end the field; empty parts are left
// out.
func AppendField(dst []byte, name string, parts ...string) []byte {
	return appendField(dst, name, printable, parts)
}

// appendField writes a field of parts that clean has made fit to stand in it.
func appendField(dst []byte, name string, clean func(string) string, parts []string) []byte {
	f := folder{dst: append(append(dst, name...), ':'), col: len(name) + 1, bare: true, soft: softLine}
	if slices.ContainsFunc(parts, func(s string) bool { return strings.Contains(s, "=?") }) {
		f.soft = wordLine
	}
	for _, part := range parts {
		if part = clean(part); part != "" {
			f.part(part)
		}
	}
	return append(f.dst, '\r', '\n')
}

// folder appends words and knows the column.
type folder struct {
	dst  []byte
	col  int
	bare bool // the field has its name only
	soft int  // the length of a line that should be kept
}

func (f *folder) part(s string) {
	if 1+len(s) <= f.soft {
		f.word(s)
		return
	}
	if 1+len(s) > hardLine { // runs of spaces could become lines of nothing but space, which must not be (RFC 5322 3.2.2)
		s = strings.Join(strings.Fields(s), " ")
	}
	if strings.Contains(s, "  ") && f.col+1+len(s) > hardLine {
		f.fold()
	}
	run := false // behind a run of spaces: a fold would leave it at the end of the line, where it can get lost
	for w := range strings.SplitSeq(s, " ") {
		if w == "" || run {
			f.put(w)
		} else {
			f.word(w)
		}
		run = w == ""
	}
}

// word appends a space and the word, on a new line where that keeps a line within its limit.
func (f *folder) word(w string) {
	for 1+len(w) > hardLine { // no space to fold at: it must be cut
		f.fold()
		cut := hardLine - 1
		for cut > hardLine-utf8.UTFMax && !utf8.RuneStart(w[cut]) { // not within a character
			cut--
		}
		f.put(w[:cut])
		w = w[cut:]
	}
	need := f.col + 1 + len(w)
	helps := !f.bare || 1+len(w) <= f.soft // the name alone on a line is worth it only where it makes the word fit
	if need > f.soft && helps || need > hardLine {
		f.fold()
	}
	f.put(w)
}

func (f *folder) put(w string) {
	f.dst = append(append(f.dst, ' '), w...)
	f.col += 1 + len(w)
	f.bare = false
}

func (f *folder) fold() {
	if f.col > 0 {
		f.dst = append(f.dst, '\r', '\n')
		f.col = 0
	}
}

// printable trims s and replaces what is not printable ASCII.
func printable(s string) string {
	ok := true
	for i := range len(s) {
		ok = ok && ' ' <= s[i] && s[i] <= '~'
	}
	if !ok {
		b := []byte(s)
		for i, c := range b {
			if c == '\t' {
				b[i] = ' '
			} else if c < ' ' || c > '~' {
				b[i] = '?'
			}
		}
		s = string(b)
	}
	return strings.Trim(s, " ")
}

// printableUTF8 is printable that lets UTF-8 stand (RFC 6532 3.2): octets that are no part of a character, and control
// characters, become "?".
func printableUTF8(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Trim(s, " ")
}
