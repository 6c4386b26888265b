package smtp

import (
	"fmt"
	"strconv"
	"strings"
)

// Bdat is the BDAT command (RFC 3030 2): Size octets follow its line, with no dot-stuffing and no end of their own.
type Bdat struct {
	Size int64
	Last bool
}

// ParseBdat reads the argument of BDAT, "size" or "size LAST".
func ParseBdat(arg string) (Bdat, error) {
	size, last, given := strings.Cut(arg, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || !isDigits(size, 19) || given && !strings.EqualFold(last, "LAST") {
		return Bdat{}, fmt.Errorf("%w: BDAT %.80s", ErrParam, arg)
	}
	return Bdat{Size: n, Last: given}, nil
}

// Append writes the command with its CRLF; the octets of the chunk follow it.
func (b Bdat) Append(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, "BDAT "...), b.Size, 10)
	if b.Last {
		dst = append(dst, " LAST"...)
	}
	return append(dst, '\r', '\n')
}
