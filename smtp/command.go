package smtp

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Errors of the command parsers; they come wrapped with the text at fault.
var (
	ErrCommand   = errors.New("not an SMTP command")
	ErrParam     = errors.New("not a parameter of the form KEYWORD=value")
	ErrDuplicate = errors.New("a parameter is given twice")
)

// Command is one line of the client: a verb in upper case and the rest of the line, which the verb's own parser reads.
type Command struct {
	Verb string
	Arg  string
}

// maxVerb is far above any registered verb.
const maxVerb = 16

// ParseCommand splits a line, without its CRLF, into verb and argument. A verb has letters and digits only (4.1.1);
// trailing white space is dropped (4.1.1.1). NUL, control characters and octets above 126 that are no UTF-8 are refused
// here, once for all commands; whether UTF-8 may stand in an argument is for its parser to say (RFC 6531 3.5).
func ParseCommand(line []byte) (Command, error) {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return Command{}, fmt.Errorf("%w: it has the octet 0x%02x", ErrCommand, c)
		}
	}
	if !utf8.Valid(line) {
		return Command{}, fmt.Errorf("%w: it has octets above 126 that are no UTF-8", ErrCommand)
	}
	s := strings.TrimRight(string(line), " \t")
	verb, arg, _ := strings.Cut(s, " ")
	if verb == "" || len(verb) > maxVerb {
		return Command{}, fmt.Errorf("%w: %.40q", ErrCommand, verb)
	}
	for i := range len(verb) {
		if !isLetDig(verb[i]) {
			return Command{}, fmt.Errorf("%w: %.40q", ErrCommand, verb)
		}
	}
	return Command{Verb: strings.ToUpper(verb), Arg: arg}, nil
}

// Append writes the command with its CRLF.
func (c Command) Append(dst []byte) []byte {
	dst = append(dst, c.Verb...)
	if c.Arg != "" {
		dst = append(append(dst, ' '), c.Arg...)
	}
	return append(dst, '\r', '\n')
}

// Param is one ESMTP parameter of MAIL or RCPT (4.1.2). Keyword is in upper case, Value as it came.
type Param struct{ Keyword, Value string }

// Params are the parameters in the order in which they came, each keyword once.
type Params []Param

// parseParams reads " KEY=value KEY".
func parseParams(s string) (Params, error) {
	var ps Params
	for word := range strings.SplitSeq(s, " ") {
		if word == "" {
			continue
		}
		key, value, hasValue := strings.Cut(word, "=")
		if !isKeyword(key) || hasValue && !isParamValue(value) {
			return nil, fmt.Errorf("%w: %.80q", ErrParam, word)
		}
		key = strings.ToUpper(key)
		for _, p := range ps {
			if p.Keyword == key {
				return nil, fmt.Errorf("%w: %s", ErrDuplicate, key)
			}
		}
		ps = append(ps, Param{key, value})
	}
	return ps, nil
}

func (ps Params) append(dst []byte) []byte {
	for _, p := range ps {
		dst = append(append(dst, ' '), p.Keyword...)
		if p.Value != "" {
			dst = append(append(dst, '='), p.Value...)
		}
	}
	return dst
}

// isKeyword tells an esmtp-keyword: a letter or digit, then letters, digits and hyphens.
func isKeyword(s string) bool {
	if s == "" || !isLetDig(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isLetDig(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// isParamValue tells an esmtp-value: printable ASCII without "=" and space, and UTF-8 (RFC 6531 3.3).
func isParamValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 33 || c == 127 || c == '=' {
			return false
		}
	}
	return s != ""
}

// parsePathArg reads a word such as "FROM:" in any case, a path, and parameters.
func parsePathArg(word, arg string) (Path, Params, error) {
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return Path{}, nil, fmt.Errorf("%w: %q is missing: %.80q", ErrPath, word, arg)
	}
	path, rest, err := cutPath(arg[len(word):])
	if err != nil {
		return Path{}, nil, err
	}
	if rest != "" && rest[0] != ' ' {
		return Path{}, nil, fmt.Errorf("%w: %.80q", ErrParam, rest)
	}
	params, err := parseParams(rest)
	return path, params, err
}
