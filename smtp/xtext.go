package smtp

import "unicode/utf8"

const hexDigits = "0123456789ABCDEF"

// EncodeXtext writes a string as xtext (RFC 3461 4): printable ASCII as it is, "+", "=" and all else as "+XX". UTF-8 stays
// as it is, as the forms of RFC 6533 3 for addresses with SMTPUTF8 allow.
func EncodeXtext(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 127 && c != '+' && c != '=' || c >= utf8.RuneSelf {
			b = append(b, c)
		} else {
			b = append(b, '+', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// DecodeXtext reads xtext. It refuses what decodes to control characters: no parameter means them, and whoever writes the
// value into a report would break it.
func DecodeXtext(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			c = byte(hi<<4 | lo)
			i += 2
		} else if c <= ' ' || c == '=' {
			return "", false
		}
		if c < ' ' || c == 127 {
			return "", false
		}
		b = append(b, c)
	}
	if !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}

// hexValue gives the value of an upper-case hexadecimal digit, or -1 (RFC 3461 4: hexchar).
func hexValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
