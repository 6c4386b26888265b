package smtp

import (
	"strconv"
	"strings"
)

// Extensions are what a server offers in its reply to EHLO (4.1.1.1).
type Extensions struct {
	Pipelining    bool  // RFC 2920
	EightBitMIME  bool  // RFC 6152
	EnhancedCodes bool  // RFC 2034
	Size          bool  // RFC 1870
	MaxSize       int64 // octets; 0 where SIZE names no limit
	Other         []string
}

// Lines gives the keywords as lines of the EHLO reply, after its first.
func (e Extensions) Lines() []string {
	var lines []string
	if e.Pipelining {
		lines = append(lines, "PIPELINING")
	}
	if e.Size {
		line := "SIZE"
		if e.MaxSize > 0 {
			line += " " + strconv.FormatInt(e.MaxSize, 10)
		}
		lines = append(lines, line)
	}
	if e.EightBitMIME {
		lines = append(lines, "8BITMIME")
	}
	if e.EnhancedCodes {
		lines = append(lines, "ENHANCEDSTATUSCODES")
	}
	return append(lines, e.Other...)
}

// ParseExtensions reads the lines of an EHLO reply after its first. Keywords have no case; what is not known is kept.
func ParseExtensions(lines []string) Extensions {
	var e Extensions
	for _, line := range lines {
		keyword, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(keyword) {
		case "PIPELINING":
			e.Pipelining = true
		case "8BITMIME":
			e.EightBitMIME = true
		case "ENHANCEDSTATUSCODES":
			e.EnhancedCodes = true
		case "SIZE":
			e.Size = true
			if n, err := strconv.ParseInt(strings.TrimSpace(arg), 10, 64); err == nil && n > 0 {
				e.MaxSize = n
			}
		case "":
		default:
			e.Other = append(e.Other, line)
		}
	}
	return e
}
