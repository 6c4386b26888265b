package mail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// What can't be done to a header field; it becomes the Detail of an Unconvertible.
var (
	errFieldOctets = errors.New("has octets that are not ASCII where no encoding is allowed")
	errFieldLine   = errors.New("has a line of more than 998 octets and no space to fold it at")
)

// structured are the fields whose octets have a meaning: of text that is not ASCII only comments can be encoded in
// them. All others are text, or of a kind that is not known, and are treated as text (RFC 5322 3.6.8).
var structured = map[string]bool{
	"date": true, "message-id": true, "in-reply-to": true, "references": true, "received": true, "return-path": true,
	"mime-version": true, "content-transfer-encoding": true, "content-id": true, "content-md5": true,
	"content-location": true, "content-language": true, "dkim-signature": true, "domainkey-signature": true,
	"authentication-results": true, "arc-authentication-results": true, "arc-message-signature": true, "arc-seal": true,
	"received-spf": true, "list-help": true, "list-id": true, "list-unsubscribe": true, "list-unsubscribe-post": true,
	"list-subscribe": true, "list-post": true, "list-owner": true, "list-archive": true, "auto-submitted": true,
	"delivered-to": true, "disposition-notification-to": true, "original-recipient": true, "autocrypt": true,
	"resent-date": true, "resent-message-id": true,
}

// addressed are the fields with lists of addresses, whose display names can be encoded.
var addressed = map[string]bool{
	"from": true, "sender": true, "reply-to": true, "to": true, "cc": true, "bcc": true, "resent-from": true,
	"resent-sender": true, "resent-to": true, "resent-cc": true, "resent-bcc": true, "resent-reply-to": true,
}

// fixFields appends a header with what may not go to the target put right, and all else as it is: text that is not
// ASCII becomes encoded words (RFC 2047) or an encoded parameter (RFC 2231), lines that are too long are folded.
// changed tells whether there was any. The error is about the field named.
func fixFields(dst, header []byte, to Target) (_ []byte, changed bool, name string, err error) {
	if to.allowsHeader(header) {
		return append(dst, header...), false, "", nil
	}
	h, _ := ParseHeader(header)
	for f := range h.Fields() {
		if to.allowsHeader(f.Raw()) {
			dst = append(dst, f.Raw()...)
			continue
		}
		changed = true
		if dst, err = fixField(dst, f, to); err != nil {
			return dst, true, f.Name(), err
		}
	}
	return dst, changed, "", nil
}

// allowsHeader tells that b, whole lines, can go to the target as a header.
func (to Target) allowsHeader(b []byte) bool {
	if to == SevenBit && hasEightBit(b) || bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	if bytes.IndexByte(b, '\r') >= 0 && bytes.Count(b, []byte("\r")) != bytes.Count(b, []byte("\r\n")) {
		return false
	}
	var lines lineMeter
	lines.add(b)
	return !lines.tooLong(false)
}

// tooLong tells that a line has more than 998 octets beside its line end (RFC 5322 2.1.1); bare, that line ends may be
// LF alone, which makes the longest line one octet longer.
func (m *lineMeter) tooLong(bare bool) bool {
	limit := int64(hardLine + len("\r\n"))
	if bare {
		limit--
	}
	return m.longest > limit || m.open > hardLine
}

// isBad tells the octets that must not be in the body of a field, once its line ends are taken out.
func (to Target) isBad(c byte) bool {
	return c == 0 || c == '\r' || c == '\n' || c >= utf8.RuneSelf && to == SevenBit
}

func (to Target) hasBad(s string) bool {
	for i := range len(s) {
		if to.isBad(s[i]) {
			return true
		}
	}
	return false
}

// fixField appends one field put right.
func fixField(dst []byte, f Field, to Target) ([]byte, error) {
	if f.Name() == "" {
		return dst, errFieldOctets
	}
	body, err := f.Body(), error(nil)
	fix := fieldFixer{to: to, charset: wordCharset(body)}
	if to.hasBad(body) {
		switch name := strings.ToLower(f.Name()); {
		case name == "content-type" || name == "content-disposition":
			body, err = fix.params(body)
		case addressed[name]:
			body, err = fix.tokens(body, true)
		case structured[name]:
			body, err = fix.tokens(body, false)
		default:
			body = fix.words(body)
		}
	}
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendFolded(dst, f.Name(), body)
	if !to.allowsHeader(dst[start:]) {
		return dst, errFieldLine
	}
	return dst, nil
}

// appendFolded writes a field and folds it at its spaces, with lines of 76 octets where there are spaces enough.
func appendFolded(dst []byte, name, body string) []byte {
	dst = append(append(dst, name...), ':')
	col := len(name) + 1
	if body != "" && !isSpace(body[0]) {
		body = " " + body
	}
	for body != "" {
		n := 0
		for n < len(body) && isSpace(body[n]) {
			n++
		}
		for n < len(body) && !isSpace(body[n]) {
			n++
		}
		if col+n > wordLine && col > len(name)+1 || col+n > hardLine && col > 0 {
			dst = append(dst, '\r', '\n')
			col = 0
		}
		dst = append(dst, body[:n]...)
		col += n
		body = body[n:]
	}
	return append(dst, '\r', '\n')
}

// wordCharset names the character set of octets that nobody named: what is UTF-8 is hardly ever anything else.
func wordCharset(s string) string {
	if utf8.ValidString(s) {
		return "utf-8"
	}
	return unknownCharset
}

// unknownCharset says that the octets above 127 mean something, and nobody knows what (RFC 1428 3).
const unknownCharset = "unknown-8bit"

// fieldFixer puts the body of one field right.
type fieldFixer struct {
	to      Target
	charset string
}

// words makes encoded words of the words in s that need it. Rows of them become one text, for the space between two
// encoded words counts for nothing (RFC 2047 6.2); so does the space beside an encoded word that is there already.
func (x fieldFixer) words(s string) string {
	var b strings.Builder
	for s != "" {
		n, bad := x.run(s)
		text := s[:n]
		s = s[n:]
		if !bad {
			b.WriteString(text)
			continue
		}
		word := strings.TrimLeft(text, " \t")
		space := text[:len(text)-len(word)]
		if before := b.String(); space != "" && strings.HasSuffix(before, wordClose) {
			word = space + word
			space = " "
		}
		if strings.HasPrefix(strings.TrimLeft(s, " \t"), "=?") {
			word += s[:len(s)-len(strings.TrimLeft(s, " \t"))]
		}
		b.WriteString(space)
		b.WriteString(x.encode(word))
	}
	return b.String()
}

// run measures the words at the start of s, with the space before each, that are all bad, or one that is not.
func (x fieldFixer) run(s string) (n int, bad bool) {
	for n < len(s) {
		end := n
		for end < len(s) && isSpace(s[end]) {
			end++
		}
		for end < len(s) && !isSpace(s[end]) {
			end++
		}
		isBad := x.to.hasBad(s[n:end])
		if n > 0 && !isBad {
			return n, true
		}
		n = end
		if !isBad {
			return n, false
		}
	}
	return n, true
}

// encode writes s as encoded words with a space between two of them.
func (x fieldFixer) encode(s string) string {
	if x.charset == "utf-8" {
		return encodeText(s)
	}
	open := "=?" + x.charset + "?b?"
	room := (maxWord - len(open) - len(wordClose)) / 4 * 3
	var words []string
	for s != "" {
		n := min(room, len(s))
		words = append(words, open+base64.StdEncoding.EncodeToString([]byte(s[:n]))+wordClose)
		s = s[n:]
	}
	return strings.Join(words, " ")
}

// tokens puts comments right, and with phrases also the display names of addresses. What is bad elsewhere, as in an
// address itself, can't be.
func (x fieldFixer) tokens(s string, phrases bool) (string, error) {
	var b strings.Builder
	for s != "" {
		n := 1
		switch s[0] {
		case '(':
			n = commentEnd(s)
			inner := strings.TrimPrefix(s[:n], "(")
			inner, closed := strings.CutSuffix(inner, ")")
			if !closed && x.to.hasBad(inner) {
				return "", errFieldOctets
			}
			b.WriteString("(" + x.commentWords(inner))
			if closed {
				b.WriteByte(')')
			}
			s = s[n:]
			continue
		case '"':
			n = quoteEnd(s)
			if x.to.hasBad(s[:n]) && phrases && !isLocalPart(b.String(), s[n:]) {
				b.WriteString(x.encode(unquote(s[:n])))
				s = s[n:]
				continue
			}
		case '<':
			if n = strings.IndexByte(s, '>') + 1; n == 0 {
				n = len(s)
			}
		case ',', ';', ':', '>', ')':
		default:
			if n = strings.IndexAny(s, `("<,;:>)`); n < 0 {
				n = len(s)
			}
			if x.to.hasBad(s[:n]) && phrases && !strings.Contains(s[:n], "@") && !isLocalPart(b.String(), s[n:]) {
				b.WriteString(x.words(s[:n]))
				s = s[n:]
				continue
			}
		}
		if x.to.hasBad(s[:n]) {
			return "", errFieldOctets
		}
		b.WriteString(s[:n])
		s = s[n:]
	}
	return b.String(), nil
}

// commentWords is words for the text of a comment, in which a word may stand at a parenthesis.
func (x fieldFixer) commentWords(s string) string {
	var b strings.Builder
	for s != "" {
		n := strings.IndexAny(s, "()")
		if n == 0 {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if n < 0 {
			n = len(s)
		}
		b.WriteString(x.words(s[:n]))
		s = s[n:]
	}
	return b.String()
}

// isLocalPart tells from what stands around it that a word is of an address.
func isLocalPart(before, after string) bool {
	return strings.HasSuffix(before, "@") || strings.HasSuffix(before, ".") || strings.HasPrefix(after, "@") ||
		strings.HasPrefix(after, ".")
}

// params encodes the parameters that need it (RFC 2231 4).
func (x fieldFixer) params(s string) (string, error) {
	var b strings.Builder
	_, all := parseParams(s)
	for i := 0; s != ""; i++ {
		n := segmentEnd(s)
		segment := s[:n]
		s = strings.TrimPrefix(s[n:], ";")
		if !x.to.hasBad(segment) {
			if i > 0 {
				b.WriteByte(';')
			}
			b.WriteString(segment)
			continue
		}
		_, params := parseParams(";" + segment)
		if i == 0 || len(params) != 1 || !isToken(params[0].name) || strings.Contains(params[0].name, "*") ||
			params[0].name == "boundary" {
			return "", errFieldOctets
		}
		p := params[0]
		if _, twice := all.lookup(p.name + "*"); twice {
			continue // the encoded form, which counts, is there already
		}
		b.WriteString("; " + p.name + "*=" + x.charset + "''" + percent(p.value))
	}
	return b.String(), nil
}

// segmentEnd gives the place of the semicolon that ends the parameter at the start of s.
func segmentEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';':
			return i
		case '"':
			i += quoteEnd(s[i:]) - 1
		case '(':
			i += commentEnd(s[i:]) - 1
		}
	}
	return len(s)
}

// percent writes octets for an encoded parameter: letters, digits and some others as they are (RFC 2231 7).
func percent(s string) string {
	b := make([]byte, 0, 3*len(s))
	for i := range len(s) {
		c := s[i]
		if 'a' <= lower(c) && lower(c) <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&+", c) >= 0 && c != 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}
