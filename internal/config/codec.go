package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/holub-mail/holub/smtp"
)

// codec reads and writes the values of one type. What format writes is TOML, and parse reads it.
type codec[V any] struct {
	kind   string                                               // for the documentation and errors, without article
	parse  func(r *reader, path string, n *node) (v V, ok bool) // not ok: an error is noted
	format func(V) string
}

// fromText makes the codec of a type that is written as a string.
func fromText[V any](kind, example string, parse func(string) (V, error), format func(V) string) codec[V] {
	return codec[V]{
		kind: kind,
		parse: func(r *reader, path string, n *node) (v V, ok bool) {
			if n.kind != kindString {
				r.wrongType(path, n, kind, quote(example))
				return v, false
			}
			v, err := parse(n.text)
			if err != nil {
				r.fail(path, n.pos, "%s: %v", path, err)
			}
			return v, err == nil
		},
		format: func(v V) string { return quote(format(v)) },
	}
}

// text makes the codec of a string that passes a check.
func text(kind, example string, check func(string) error) codec[string] {
	return fromText(kind, example,
		func(s string) (string, error) { return s, check(s) },
		func(s string) string { return s })
}

// listOf makes the codec of a list. Every element that is wrong is noted. An empty list is refused with whyNotEmpty, if
// that says something.
func listOf[V any](c codec[V], kind, example, whyNotEmpty string) codec[[]V] {
	return codec[[]V]{
		kind: kind,
		parse: func(r *reader, path string, n *node) ([]V, bool) {
			if n.kind != kindList {
				instead := example
				if n.kind == kindString {
					instead = "[" + quoteShort(n.text) + "]"
				}
				r.wrongType(path, n, kind, instead)
				return nil, false
			}
			if len(n.items) == 0 && whyNotEmpty != "" {
				r.fail(path, n.pos, "%s is an empty list; %s", path, whyNotEmpty)
				return nil, false
			}
			all, good := make([]V, 0, len(n.items)), true
			for i, item := range n.items {
				v, ok := c.parse(r, fmt.Sprintf("%s[%d]", path, i), item)
				all, good = append(all, v), good && ok
			}
			r.bad[path] = !good
			return all, good
		},
		format: func(all []V) string {
			parts := make([]string, len(all))
			for i, v := range all {
				parts[i] = c.format(v)
			}
			return "[" + strings.Join(parts, ", ") + "]"
		},
	}
}

// integer makes the codec of a number from least to most. why is added when it is too small; it may be empty.
func integer(least, most int64, why string) codec[int] {
	kind := fmt.Sprintf("integer from %d to %d", least, most)
	return codec[int]{
		kind: kind,
		parse: func(r *reader, path string, n *node) (int, bool) {
			if n.kind != kindInteger {
				r.wrongType(path, n, "integer", strconv.FormatInt(least, 10))
				return 0, false
			}
			v, err := parseInteger(n.text)
			switch {
			case err == nil && v < least:
				r.fail(path, n.pos, "%s must be at least %d%s, but is %d", path, least, why, v)
			case err != nil || v > most:
				r.fail(path, n.pos, "%s must be at most %d, but is %.40s", path, most, n.text)
			default:
				return int(v), true
			}
			return 0, false
		},
		format: strconv.Itoa,
	}
}

// parseInteger reads an integer as TOML writes it; the parser has refused leading zeros.
func parseInteger(s string) (int64, error) {
	return strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
}

// size makes the codec of a number of octets, at least least. why is added when it is too small; it may be empty.
func size(least int64, why string) codec[int64] {
	return codec[int64]{
		kind: "size",
		parse: func(r *reader, path string, n *node) (int64, bool) {
			var v int64
			var err error
			switch n.kind {
			case kindInteger:
				if v, err = parseInteger(n.text); err != nil {
					err = fmt.Errorf("%.40s is out of range", n.text)
				}
			case kindString:
				v, err = parseSize(n.text)
			default:
				r.wrongType(path, n, "size", `"50MiB"`)
				return 0, false
			}
			if err == nil && v < least {
				err = fmt.Errorf("must be at least %s%s, but is %s", formatSize(least), why, formatSize(v))
			}
			if err != nil {
				r.fail(path, n.pos, "%s: %v", path, err)
			}
			return v, err == nil
		},
		format: func(v int64) string {
			if s := formatSize(v); strings.HasSuffix(s, "B") {
				return quote(s)
			}
			return strconv.FormatInt(v, 10)
		},
	}
}

// duration is the codec of a time span above 0.
func duration() codec[time.Duration] {
	return fromText("duration", "5m", func(s string) (time.Duration, error) {
		d, err := ParseDuration(s)
		if err == nil && d <= 0 {
			err = fmt.Errorf("must be longer than nothing, but is %s", quoteShort(s))
		}
		return d, err
	}, FormatDuration)
}

// durationOrNone is the codec of a time span of which "0" is none.
func durationOrNone() codec[time.Duration] {
	return fromText("duration", "30d", ParseDuration, FormatDuration)
}

// prefix is the codec of a network in CIDR notation.
func prefix() codec[netip.Prefix] {
	return fromText("network", "192.0.2.0/24", parsePrefix, netip.Prefix.String)
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.Prefix{}, fmt.Errorf("%q is an address without a length; write %q for this address alone",
			s, netip.PrefixFrom(a, a.BitLen()))
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%s is not a network; write one such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
			quoteShort(s))
	case p.Addr().Is4In6(): // it would match no client: their addresses are unmapped
		return p, fmt.Errorf("%q is an IPv4 network in the form of IPv6; write it as IPv4", s)
	case p != p.Masked():
		return p, fmt.Errorf("%q has bits set behind the length; write %q for this network, or %q for the address alone",
			s, p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return p, nil
}

// word makes the codec of a value that is one of a few words.
func word[V ~string](kind string, all []V) codec[V] {
	known := make([]string, len(all))
	for i, v := range all {
		known[i] = string(v)
	}
	return fromText(kind, known[0], func(s string) (V, error) {
		if slices.Contains(known, s) {
			return V(s), nil
		}
		return "", fmt.Errorf("unknown %s %s; %s", kind, quoteShort(s), instead(s, known))
	}, func(v V) string { return string(v) })
}

// boolean is the codec of true and false.
func boolean() codec[bool] {
	return codec[bool]{
		kind: "boolean",
		parse: func(r *reader, path string, n *node) (bool, bool) {
			if n.kind != kindBoolean {
				r.wrongType(path, n, "boolean", "true")
				return false, false
			}
			return n.text == "true", true
		},
		format: strconv.FormatBool,
	}
}

// maxHold is the longest interval that FUTURERELEASE can say: 9 digits of seconds (RFC 4865 4).
const maxHold = 999_999_999 * time.Second

// hold is the codec of a time span for FUTURERELEASE: nothing, or a number of seconds.
func hold() codec[time.Duration] {
	return fromText("duration", "7d", func(s string) (time.Duration, error) {
		d, err := ParseDuration(s)
		switch {
		case err != nil:
		case d > 0 && d < time.Second:
			err = fmt.Errorf("must be \"0\" or at least \"1s\", but is %s", quoteShort(s))
		case d > maxHold:
			err = fmt.Errorf("must be at most 999999999 seconds (RFC 4865 4), but is %s", quoteShort(s))
		}
		return d, err
	}, FormatDuration)
}

// checkFile refuses what can name no file. Such names make errors of more than one line, so control characters go too.
func checkFile(s string) error {
	if s == "" || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%s is not the path of a file; write one such as \"/etc/holub/cert.pem\"", quoteShort(s))
	}
	return nil
}

// checkPath refuses what can name no folder.
func checkPath(s string) error {
	if s == "" || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%s is not a path; write one such as \"/var/lib/holub\"", quoteShort(s))
	}
	return nil
}

// checkPattern refuses what is no pattern of domains.
func checkPattern(s string) error {
	if s == "*" {
		return nil
	}
	name, wild := strings.CutPrefix(s, "*.")
	d, err := smtp.ParseDomain(name)
	if err != nil || wild && d.IsLiteral() {
		return fmt.Errorf("%s is not a pattern of domains; write \"example.org\", "+
			"\"*.example.org\" for every name below it, or \"*\" for all", quoteShort(s))
	}
	return nil
}

// parsePort reads a port number from least to 65535.
func parsePort(s string, least uint64) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("the port %s is not a number", quoteShort(s))
	case err != nil || n < least || n > math.MaxUint16:
		return 0, fmt.Errorf("the port %.20s is not between %d and 65535", s, least)
	}
	return uint16(n), nil
}

// server is the codec of a DNS server: an IP address with or without a port. Not a name: who would look it up?
func server() codec[string] {
	return fromText("DNS server", "127.0.0.1:53", func(s string) (string, error) {
		if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			return net.JoinHostPort(a.String(), "53"), nil
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			host, port = s, "53"
		}
		a, err := netip.ParseAddr(host)
		if err != nil {
			return "", fmt.Errorf("%s is not the address of a DNS server; "+
				"write one such as \"192.0.2.53\", \"127.0.0.1:5353\" or \"[2001:db8::53]:53\"", quoteShort(s))
		}
		p, err := parsePort(port, 1)
		if err != nil {
			return "", fmt.Errorf("%s: %w", quoteShort(s), err)
		}
		return netip.AddrPortFrom(a, p).String(), nil
	}, func(s string) string { return s })
}

// patterns is the codec of Match.Domain; no patterns at all are written as the one that is the same.
func patterns() codec[[]string] {
	one := text("pattern of domains", "example.org", checkPattern)
	c := listOf(one, "list of patterns of domains", `["example.org"]`,
		"it would match nobody; leave it out to match every recipient")
	format := c.format
	c.format = func(all []string) string {
		if all == nil {
			all = []string{"*"}
		}
		return format(all)
	}
	return c
}
