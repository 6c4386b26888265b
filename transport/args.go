package transport

import (
	"errors"
	"strings"
)

// plainRunes are, with letters and digits, the characters that need no quotes in an argument.
const plainRunes = "%+,-./:=@_"

// splitArgs cuts a command line into arguments. Spaces and tabs separate; '...' keeps all as it is; in "..." a
// backslash takes away the meaning of the quote and of the backslash; outside of quotes it does so for any character.
// There are no variables, patterns, or other signs of a shell.
func splitArgs(s string) ([]string, error) {
	var args []string
	var arg strings.Builder
	inArg := false
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'':
			arg.WriteByte(c)
		case quote == '"' && c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			arg.WriteByte(s[i])
		case quote == '"':
			arg.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inArg = c, true
		case c == ' ' || c == '\t':
			if inArg {
				args = append(args, arg.String())
				arg.Reset()
			}
			inArg = false
		case c == '\\' && i+1 == len(s):
			return nil, errors.New("a backslash at the end quotes nothing")
		case c == '\\':
			i++
			arg.WriteByte(s[i])
			inArg = true
		default:
			arg.WriteByte(c)
			inArg = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inArg {
		args = append(args, arg.String())
	}
	return args, nil
}

// joinArgs gives the command line that splitArgs cuts into the same arguments.
func joinArgs(args []string) string {
	var b strings.Builder
	for i, arg := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if arg != "" && !strings.ContainsFunc(arg, needsQuotes) {
			b.WriteString(arg)
			continue
		}
		b.WriteString("'" + strings.ReplaceAll(arg, "'", `'\''`) + "'")
	}
	return b.String()
}

func needsQuotes(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(plainRunes, r))
}

func checkArgs(args []string) error {
	if len(args) == 0 || args[0] == "" {
		return errors.New(`"exec:" needs a program, as in "exec:ssh relay.example holub session"`)
	}
	for _, arg := range args {
		if strings.ContainsFunc(arg, func(r rune) bool { return isControl(r) && r != '\t' }) {
			return errors.New("an argument may have no control characters")
		}
	}
	return nil
}
