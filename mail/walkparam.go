package mail

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxParams is how many parameters of a field are read; the others are as if they were not there.
const maxParams = 100

// param is one parameter of a Content-Type or Content-Disposition.
type param struct{ name, value string }

type paramList []param

// parseParams reads the body of a field such as Content-Type: a value and parameters, both in lower case but for the
// values of the parameters. It takes what comes: comments are left out (RFC 2045 5.1), an unquoted value ends with
// white space or a semicolon, a quoted one with the body where its quote is missing.
func parseParams(body string) (value string, params paramList) {
	c := paramCursor{body}
	c.skip()
	value = strings.ToLower(c.until("; \t("))
	for len(params) < maxParams {
		c.skip()
		for strings.HasPrefix(c.s, ";") {
			c.s = c.s[1:]
			c.skip()
		}
		if c.s == "" {
			break
		}
		name := c.until("=; \t")
		c.skip()
		if !strings.HasPrefix(c.s, "=") {
			continue
		}
		c.s = c.s[1:]
		c.skip()
		params = append(params, param{strings.ToLower(name), c.value()})
	}
	return value, params
}

// paramCursor is what is left of the body of a field.
type paramCursor struct{ s string }

// skip steps over white space and comments.
func (c *paramCursor) skip() {
	for {
		c.s = strings.TrimLeft(c.s, " \t\r\n")
		if !strings.HasPrefix(c.s, "(") {
			return
		}
		c.s = c.s[commentEnd(c.s):]
	}
}

// commentEnd gives the place behind the comment that s starts with.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// quoteEnd gives the place behind the quoted string that s starts with.
func quoteEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// until takes the octets in front of the first of the stops.
func (c *paramCursor) until(stops string) string {
	n := strings.IndexAny(c.s, stops)
	if n < 0 {
		n = len(c.s)
	}
	token := c.s[:n]
	c.s = c.s[n:]
	return token
}

func (c *paramCursor) value() string {
	if !strings.HasPrefix(c.s, `"`) {
		return c.until("; \t")
	}
	n := quoteEnd(c.s)
	quoted := c.s[:n]
	c.s = c.s[n:]
	return unquote(quoted)
}

// unquote gives the content of a quoted string, be its closing quote there or not.
func unquote(s string) string {
	s = strings.TrimPrefix(s, `"`)
	if !strings.ContainsAny(s, `\"`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// get gives the octets of a parameter, put together from its pieces (RFC 2231 3) and with percent signs decoded (4);
// the first one of that name counts.
func (l paramList) get(name string) string {
	value, _ := l.find(name)
	return value
}

// text gives a parameter in UTF-8, encoded words decoded, which should not be there (RFC 2047 5) and often are.
func (l paramList) text(name string) string {
	value, charset := l.find(name)
	if charset == "iso-8859-1" {
		return latin1([]byte(value))
	}
	return strings.ToValidUTF8(DecodeWords(value), string(utf8.RuneError))
}

// find looks for name*, then for name, then for name*0 and what follows.
func (l paramList) find(name string) (value, charset string) {
	if v, ok := l.lookup(name + "*"); ok {
		return cutCharset(v)
	}
	if v, ok := l.lookup(name); ok {
		return v, ""
	}
	var b strings.Builder
	for i := 0; ; i++ {
		piece := name + "*" + strconv.Itoa(i)
		v, ok := l.lookup(piece)
		if !ok {
			v, ok = l.lookup(piece + "*")
			if i == 0 {
				v, charset = cutCharset(v)
			} else {
				v = unpercent(v)
			}
		}
		if !ok {
			return b.String(), charset
		}
		b.WriteString(v)
	}
}

func (l paramList) lookup(name string) (string, bool) {
	for _, p := range l {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

// cutCharset decodes charset'language'octets.
func cutCharset(s string) (value, charset string) {
	charset, rest, ok := strings.Cut(s, "'")
	_, rest, ok2 := strings.Cut(rest, "'")
	if !ok || !ok2 {
		return unpercent(s), ""
	}
	return unpercent(rest), strings.ToLower(charset)
}

func unpercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}
