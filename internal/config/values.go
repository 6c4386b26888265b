package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration reads a duration: Go's form with days before it, such as "90s", "1h30m", "5d" or "1d12h". A day is 24
// hours. Negative durations are refused.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%s is not a duration; write numbers with ms, s, m, h or d, such as \"90s\", \"1h30m\" or \"5d\"",
		quoteShort(s))
	if s == "" || s[0] == '-' || s[0] == '+' {
		return 0, bad
	}
	var total time.Duration
	if days, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil {
			return 0, bad
		}
		if n > uint64(math.MaxInt64/day) {
			return 0, fmt.Errorf("%s is too long; at most 106751 days can be counted", quoteShort(s))
		}
		if total, s = time.Duration(n)*day, rest; s == "" {
			return total, nil
		}
		if s[0] == '-' || s[0] == '+' {
			return 0, bad
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || total+d < 0 {
		return 0, bad
	}
	return total + d, nil
}

// FormatDuration writes a duration so that ParseDuration reads it: "5d", "1h30m", "0s". It must not be negative.
func FormatDuration(d time.Duration) string {
	var out strings.Builder
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&out, "%d%s", n, unit.name)
			d %= unit.size
		}
	}
	if d > 0 || out.Len() == 0 {
		out.WriteString(d.String())
	}
	return out.String()
}

// sizeUnits are the units of a size, largest first.
var sizeUnits = []struct {
	name  string
	shift int
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// errSize says how a size is written.
var errSize = errors.New(`write octets as a number, or a text with KiB, MiB or GiB, such as "50MiB"`)

// parseSize reads a size with a unit; the result is in octets.
func parseSize(s string) (int64, error) {
	for _, unit := range sizeUnits {
		digits, found := strings.CutSuffix(s, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63-unit.shift)
		if errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("%s is too large", quoteShort(s))
		}
		if err == nil {
			return int64(n) << unit.shift, nil
		}
	}
	return 0, fmt.Errorf("%s is not a size; %w", quoteShort(s), errSize)
}

// formatSize writes a size with the largest unit that divides it: "50MiB", or the octets alone.
func formatSize(n int64) string {
	for _, unit := range sizeUnits {
		if n > 0 && n%(1<<unit.shift) == 0 {
			return strconv.FormatInt(n>>unit.shift, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// quote writes a TOML basic string. strconv.Quote won't do: it has escapes that TOML lacks.
func quote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteRune(c)
		case c < 0x20 || 0x7f <= c && c < 0xa0:
			fmt.Fprintf(&out, `\u%04X`, c)
		default:
			out.WriteRune(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// quoteShort quotes a text for an error, and no more than 60 characters of it.
func quoteShort(s string) string {
	if r := []rune(s); len(r) > 60 {
		return quote(string(r[:60])) + "..."
	}
	return quote(s)
}

// withArticle puts "a" or "an" before a noun.
func withArticle(noun string) string {
	if strings.ContainsRune("aeio", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}
