package mail

import "strings"

// Limits of a line without its CRLF (RFC 5322 2.1.1): what should be kept, and what must be.
const (
	softLine = 78
	hardLine = 998
)

// AppendField writes one header field: name, colon, and the parts of the body, one space between two of them. It folds
// in front of a part, and within a part at its spaces where the part is too long for a line (RFC 5322 2.2.3), so that
// unfolding gives back the text. Lines stay within 78 octets where the text has spaces enough, and within 998 always.
// An octet that is not printable ASCII becomes "?", so no text from elsewhere can end the field; empty parts are left
// out.
func AppendField(dst []byte, name string, parts ...string) []byte {
	f := folder{dst: append(append(dst, name...), ':'), col: len(name) + 1, bare: true}
	for _, part := range parts {
		if part = printable(part); part != "" {
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
}

func (f *folder) part(s string) {
	if 1+len(s) <= softLine {
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
		f.put(w[:hardLine-1])
		w = w[hardLine-1:]
	}
	need := f.col + 1 + len(w)
	helps := !f.bare || 1+len(w) <= softLine // the name alone on a line is worth it only where it makes the word fit
	if need > softLine && helps || need > hardLine {
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
