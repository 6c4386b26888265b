package mail

import (
	"fmt"
	"strings"
)

// tokenKind is what a token of an address list is.
type tokenKind uint8

const (
	tokenEnd     tokenKind = iota
	tokenAtom              // or an encoded word
	tokenQuoted            // a quoted string
	tokenLiteral           // with its brackets
	tokenComment
	tokenSpecial // one of ,;:<>@.
	tokenBad     // its text says what is wrong
)

// addressToken is one token (RFC 5322 3.2); its text has neither quotes nor the backslashes of quoted pairs.
type addressToken struct {
	kind   tokenKind
	spaced bool // space or a comment stands in front
	text   string
}

func (t addressToken) is(special string) bool { return t.kind == tokenSpecial && t.text == special }

// addressLexer cuts tokens off a text.
type addressLexer struct {
	s       string
	comment bool // the last token was a comment
}

// next gives the next token; at the end of the text that is tokenEnd, again and again.
func (l *addressLexer) next() addressToken {
	rest := strings.TrimLeft(l.s, " \t\r\n")
	spaced := l.comment || len(rest) < len(l.s)
	l.s = rest
	t := addressToken{}
	switch {
	case rest == "":
	case rest[0] == '"':
		t = l.quoted()
	case rest[0] == '(':
		t = l.commentText()
	case rest[0] == '[':
		t = l.literal()
	case strings.IndexByte(",;:<>@.", rest[0]) >= 0:
		t = addressToken{kind: tokenSpecial, text: l.cut(1)}
	case atomPrefix(rest) > 0:
		t = addressToken{kind: tokenAtom, text: l.cut(atomPrefix(rest))}
	default:
		t = addressToken{kind: tokenBad, text: fmt.Sprintf("unexpected %q", l.cut(1))}
	}
	t.spaced = spaced
	l.comment = t.kind == tokenComment
	return t
}

// cut takes n octets.
func (l *addressLexer) cut(n int) string {
	text := l.s[:n]
	l.s = l.s[n:]
	return text
}

// quoted reads a quoted string (3.2.4).
func (l *addressLexer) quoted() addressToken {
	var b []byte
	for i := 1; i < len(l.s); i++ {
		c := l.s[i]
		switch {
		case c == '"':
			l.cut(i + 1)
			return addressToken{kind: tokenQuoted, text: string(b)}
		case c == '\\' && i+1 < len(l.s):
			i++
			c = l.s[i]
		}
		b = append(b, c)
	}
	l.s = ""
	return addressToken{kind: tokenBad, text: "quoted string without an end"}
}

// commentText reads a comment with those within it (3.2.2); only the outer parentheses are taken off.
func (l *addressLexer) commentText() addressToken {
	var b []byte
	depth := 0
	for i := 0; i < len(l.s) && depth <= maxCommentDepth; i++ {
		c := l.s[i]
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '\\' && i+1 < len(l.s):
			i++
			c = l.s[i]
		}
		if depth == 0 {
			l.cut(i + 1)
			return addressToken{kind: tokenComment, text: string(b[len("("):])}
		}
		b = append(b, c)
	}
	l.s = ""
	if depth > maxCommentDepth {
		return addressToken{kind: tokenBad, text: fmt.Sprintf("more than %d comments in each other", maxCommentDepth)}
	}
	return addressToken{kind: tokenBad, text: "comment without an end"}
}

// literal reads what stands in brackets (3.4.1).
func (l *addressLexer) literal() addressToken {
	end := strings.IndexAny(l.s[1:], `[]\`) + 1
	if end == 0 || l.s[end] != ']' {
		return addressToken{kind: tokenBad, text: fmt.Sprintf("unexpected %q", l.cut(1))}
	}
	return addressToken{kind: tokenLiteral, text: l.cut(end + 1)}
}

// atomPrefix tells how long the atom at the start of s is. An encoded word is one atom, though many have octets that
// may not stand in one.
func atomPrefix(s string) int {
	if strings.HasPrefix(s, "=?") {
		if w, ok := cutWord(s); ok {
			return w.size
		}
	}
	return atextPrefix(s)
}

// atextPrefix counts the octets of atext (3.2.3; RFC 6532 3.2) at the start of s.
func atextPrefix(s string) int {
	n := 0
	for n < len(s) && s[n] > ' ' && s[n] != 0x7f && strings.IndexByte(`()<>[]:;@\,."`, s[n]) < 0 {
		n++
	}
	return n
}
