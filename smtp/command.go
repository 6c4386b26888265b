package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
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
// trailing white space is dropped (4.1.1.1). NUL, control characters and octets above 126 are refused here, once for
// all commands.
func ParseCommand(line []byte) (Command, error) {
	for _, c := range line {
		if c < ' ' && c != '\t' || c >= 0x7f {
			return Command{}, fmt.Errorf("%w: it has the octet 0x%02x", ErrCommand, c)
		}
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

// isParamValue tells an esmtp-value: printable ASCII without "=" and space.
func isParamValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 33 || c > 126 || c == '=' {
			return false
		}
	}
	return s != ""
}

// Body is the kind of content that MAIL declares (RFC 6152).
type Body string

// The values of BODY; the zero value stands for a MAIL without it, which promises 7-bit content.
const (
	BodyDefault  Body = ""
	Body7Bit     Body = "7BIT"
	Body8BitMIME Body = "8BITMIME"
)

// Mail is the MAIL command (4.1.1.2) with the parameters of the extensions this package knows.
type Mail struct {
	From  Path   // the reverse-path; null for reports
	Size  int64  // SIZE, octets (RFC 1870); 0 where it is not declared
	Body  Body   // BODY (RFC 6152)
	Other Params // parameters that this package does not know
}

// ParseMail reads the argument of MAIL, "FROM:<path>" and parameters. Space after the colon is refused (4.1.1.2).
func ParseMail(arg string) (Mail, error) {
	path, params, err := parsePathArg("FROM:", arg)
	if err != nil {
		return Mail{}, err
	}
	if path.Domain.IsZero() && !path.IsNull() { // <postmaster> alone is a forward-path only (4.1.1.3)
		return Mail{}, fmt.Errorf("%w: %q", ErrPath, path)
	}
	m := Mail{From: path}
	for _, p := range params {
		switch p.Keyword {
		case "SIZE":
			m.Size, err = parseSize(p.Value)
		case "BODY":
			m.Body, err = parseBody(p.Value)
		default:
			m.Other = append(m.Other, p)
		}
		if err != nil {
			return Mail{}, err
		}
	}
	return m, nil
}

// Append writes the whole command with its CRLF.
func (m Mail) Append(dst []byte) []byte {
	dst = append(dst, "MAIL FROM:"...)
	dst = append(dst, m.From.String()...)
	if m.Size > 0 {
		dst = strconv.AppendInt(append(dst, " SIZE="...), m.Size, 10)
	}
	if m.Body != BodyDefault {
		dst = append(append(dst, " BODY="...), m.Body...)
	}
	return append(m.Other.append(dst), '\r', '\n')
}

// parseSize reads up to 20 digits (RFC 1870 3).
func parseSize(s string) (int64, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && len(s) <= 20 && s[0] != '+' {
		return int64(min(n, 1<<63-1)), nil
	}
	return 0, fmt.Errorf("%w: SIZE=%.40q", ErrParam, s)
}

func parseBody(s string) (Body, error) {
	switch b := Body(strings.ToUpper(s)); b {
	case Body7Bit, Body8BitMIME:
		return b, nil
	}
	return "", fmt.Errorf("%w: BODY=%.40q", ErrParam, s)
}

// Rcpt is the RCPT command (4.1.1.3).
type Rcpt struct {
	To    Path   // the forward-path
	Other Params // parameters that this package does not know
}

// ParseRcpt reads the argument of RCPT, "TO:<path>" and parameters.
func ParseRcpt(arg string) (Rcpt, error) {
	path, params, err := parsePathArg("TO:", arg)
	if err != nil {
		return Rcpt{}, err
	}
	if path.IsNull() {
		return Rcpt{}, fmt.Errorf("%w: %q", ErrPath, path)
	}
	return Rcpt{To: path, Other: params}, nil
}

// Append writes the whole command with its CRLF.
func (r Rcpt) Append(dst []byte) []byte {
	dst = append(dst, "RCPT TO:"...)
	dst = append(dst, r.To.String()...)
	return append(r.Other.append(dst), '\r', '\n')
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
