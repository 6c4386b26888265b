package mail

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxWord is the length of the longest encoded word that is written; longer ones are read (RFC 2047 2).
const maxWord = 75

// What stands around the text of the encoded words that are written.
const (
	wordOpenQ = "=?utf-8?q?"
	wordOpenB = "=?utf-8?b?"
	wordClose = "?="
	wordRoom  = maxWord - len(wordOpenQ) - len(wordClose) // for the encoded text of a word
)

// WordDecoder reads encoded words (RFC 2047). The zero value knows utf-8, us-ascii and iso-8859-1.
type WordDecoder struct {
	// Charset gives the text of octets in another character set, whose name comes in lower case. Where it is nil or
	// returns false the words stay as they are.
	Charset func(charset string, octets []byte) (text string, ok bool)
}

// DecodeWords reads the encoded words in the body of a field with the zero WordDecoder.
func DecodeWords(s string) string { return WordDecoder{}.Decode(s) }

// EncodeWords writes the text of a Subject or another unstructured field with ASCII alone: from the first to the last
// word (in the sense of text between spaces) that is not ASCII, all becomes encoded words in UTF-8 (RFC 2047), each of
// at most 75 octets and with a space between two of them, where Header.AddTop folds. ASCII that could be taken for an
// encoded word is encoded too, so that DecodeWords gives back the text. Line ends and tabs become spaces; octets that
// are not UTF-8, and control characters, become U+FFFD.
func EncodeWords(s string) string {
	s = plainText(s)
	first, last := -1, 0
	pos := 0
	for token := range strings.SplitSeq(s, " ") {
		if !isASCII(token) || strings.Contains(token, "=?") {
			if first < 0 {
				first = pos
			}
			last = pos + len(token)
		}
		pos += len(token) + 1
	}
	if first < 0 {
		return s
	}
	for first > 1 && s[first-2:first] == "  " { // all but one space of a run: where one stands, AddTop can fold
		first--
	}
	for strings.HasPrefix(s[last:], "  ") {
		last++
	}
	return s[:first] + encodeText(s[first:last]) + s[last:]
}

// Decode gives s with the text of its encoded words in their place. White space between two of them is none (6.2), and
// a character may be cut between them, as many programs do against section 5. Words within other text and of more than
// 75 octets are read too. In decoded text, line ends and tabs become spaces; what is not a character of the set, and
// control characters, become U+FFFD. All that is no encoded word stays as it is, octet for octet.
func (d WordDecoder) Decode(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	out := wordWriter{d: d, s: s}
	var run wordRun
	for i := 0; ; {
		n := strings.Index(s[i:], "=?")
		if n < 0 {
			break
		}
		i += n
		w, ok := cutWord(s[i:])
		octets, valid := w.octets()
		if !ok || !valid {
			i += len("=?")
			continue
		}
		end := i + w.size
		beside := run.end > 0 && strings.Trim(s[run.end:i], " \t\r\n") == ""
		if beside && run.charset == w.charset {
			run.octets, run.end = append(run.octets, octets...), end
		} else {
			out.write(run)
			run = wordRun{charset: w.charset, octets: octets, start: i, end: end, beside: beside}
		}
		i = end
	}
	out.write(run)
	return out.b.String() + s[run.end:]
}

// wordRun is a row of encoded words of one character set that stand side by side in a text.
type wordRun struct {
	charset    string
	octets     []byte
	start, end int  // where the row stands; end is 0 for no row
	beside     bool // between it and the row in front there is white space alone
}

// wordWriter writes a text with its rows decoded.
type wordWriter struct {
	d       WordDecoder
	s       string
	b       strings.Builder
	end     int  // up to here s is written
	decoded bool // the last row was
}

// write writes the row and what stands in front of it. A row of a character set that is not known stays as it is, and
// so does the white space beside it.
func (o *wordWriter) write(run wordRun) {
	if run.end == 0 {
		return
	}
	text, ok := o.d.text(run.charset, run.octets)
	if !run.beside || !ok || !o.decoded {
		o.b.WriteString(o.s[o.end:run.start])
	}
	if ok {
		o.b.WriteString(plainText(text))
	} else {
		o.b.WriteString(o.s[run.start:run.end])
	}
	o.end, o.decoded = run.end, ok
}

func (d WordDecoder) text(charset string, octets []byte) (string, bool) {
	switch charset {
	case "utf-8", "utf8":
		return string(octets), true
	case "us-ascii", "ascii":
		return strings.Map(func(r rune) rune {
			if r >= utf8.RuneSelf {
				return utf8.RuneError
			}
			return r
		}, latin1(octets)), true
	case "iso-8859-1", "latin1":
		return latin1(octets), true
	}
	if d.Charset == nil {
		return "", false
	}
	return d.Charset(charset, octets)
}

func latin1(octets []byte) string {
	var b strings.Builder
	for _, c := range octets {
		b.WriteRune(rune(c))
	}
	return b.String()
}

// plainText makes valid UTF-8 on one line of s: what can't be shown becomes U+FFFD.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\r' || r == '\n':
			return ' '
		case unicode.IsControl(r):
			return utf8.RuneError
		}
		return r
	}, s) // Map gives U+FFFD for octets that are not UTF-8
}

// encodedWord is one encoded word, its text not decoded yet.
type encodedWord struct {
	charset  string // lower case
	encoding byte   // 'q' or 'b'
	text     string
	size     int // of the whole word in octets
}

// cutWord reads an encoded word from the start of s, which starts with "=?". Its time is linear in the place of the
// fourth question mark, so that a look at each "=?" of a text is linear in its length.
func cutWord(s string) (encodedWord, bool) {
	charset, rest, ok := strings.Cut(s[len("=?"):], "?")
	if !ok || len(rest) < 2 || rest[1] != '?' {
		return encodedWord{}, false
	}
	w := encodedWord{encoding: rest[0] | 0x20}
	w.text, rest, ok = strings.Cut(rest[2:], "?")
	if !ok || !strings.HasPrefix(rest, "=") || w.encoding != 'q' && w.encoding != 'b' {
		return encodedWord{}, false
	}
	charset, _, _ = strings.Cut(charset, "*") // a language (RFC 2231 5)
	if charset == "" || !isGraphic(charset) || !isGraphic(w.text) {
		return encodedWord{}, false
	}
	w.charset = strings.ToLower(charset)
	w.size = len(s) - len(rest) + len("=")
	return w, true
}

// octets decodes the text. It fails for what is no base64.
func (w encodedWord) octets() ([]byte, bool) {
	if w.encoding == 'b' {
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(w.text, "="))
		return b, err == nil
	}
	b := make([]byte, 0, len(w.text))
	for i := 0; i < len(w.text); i++ {
		c := w.text[i]
		switch {
		case c == '_':
			c = ' '
		case c == '=' && i+2 < len(w.text) && unhex(w.text[i+1]) < 16 && unhex(w.text[i+2]) < 16:
			c = unhex(w.text[i+1])<<4 | unhex(w.text[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return b, true
}

// unhex gives the value of a hexadecimal digit of either case, 16 for anything else.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// encodeText writes all of s as encoded words, by the encoding that makes it shorter.
func encodeText(s string) string {
	sizeQ := 0
	for i := range len(s) {
		sizeQ += sizeInQ(s[i])
	}
	useB := base64.StdEncoding.EncodedLen(len(s)) < sizeQ
	var words []string
	for s != "" {
		n := wordPrefix(s, useB)
		if useB {
			words = append(words, wordOpenB+base64.StdEncoding.EncodeToString([]byte(s[:n]))+wordClose)
		} else {
			words = append(words, wordOpenQ+encodeQ(s[:n])+wordClose)
		}
		s = s[n:]
	}
	return strings.Join(words, " ")
}

// wordPrefix tells how many octets of s fit in one word; no character is cut (RFC 2047 5).
func wordPrefix(s string, useB bool) int {
	end, used := 0, 0
	for i, r := range s {
		n := utf8.RuneLen(r)
		if useB {
			used = base64.StdEncoding.EncodedLen(i + n)
		} else {
			for _, c := range []byte(s[i : i+n]) {
				used += sizeInQ(c)
			}
		}
		if used > wordRoom {
			break
		}
		end = i + n
	}
	return end
}

func sizeInQ(c byte) int {
	if c == ' ' || isWordLiteral(c) {
		return 1
	}
	return len("=XX")
}

func encodeQ(s string) string {
	const digits = "0123456789ABCDEF"
	var b []byte
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b = append(b, '_')
		case isWordLiteral(c):
			b = append(b, c)
		default:
			b = append(b, '=', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// isWordLiteral tells the octets that stand for themselves in an encoded word wherever that stands (5, rule 3).
func isWordLiteral(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!*+-/", c) >= 0
}

// isGraphic tells printable ASCII without space.
func isGraphic(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c <= ' ' || c > '~' })
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
