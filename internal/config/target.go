package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// TargetKind says in which way mail goes on.
type TargetKind string

// The kinds of targets, each the word with which its text begins.
const (
	TargetMX      TargetKind = "mx"      // to the hosts that the DNS names for the domain
	TargetSMTP    TargetKind = "smtp"    // to one host
	TargetMaildir TargetKind = "maildir" // into a folder of this machine
	TargetDiscard TargetKind = "discard" // nowhere, and it counts as delivered
	TargetReject  TargetKind = "reject"  // nowhere, and the sender is told why
)

// Target is where a route sends its mail. Which fields are set follows from Kind.
type Target struct {
	Kind TargetKind
	Host string // of TargetSMTP: a name or an IP address, an IPv6 address without brackets
	Port int    // of TargetSMTP
	Path string // of TargetMaildir: a template with the placeholders {local}, {domain} and {data_dir}, not filled in
	Text string // of TargetReject: what the sender is told, one line of ASCII
}

// placeholders are the words that may stand in braces in Target.Path.
var placeholders = []string{"local", "domain", "data_dir"}

// maxRejectText keeps a reply line with code and enhanced code below 512 octets (RFC 5321 4.5.3.1.5).
const maxRejectText = 400

// ParseTarget reads a target; String writes it.
func ParseTarget(s string) (Target, error) {
	word, rest, more := strings.Cut(s, ":")
	kind := TargetKind(word)
	switch {
	case (kind == TargetMX || kind == TargetDiscard) && !more:
		return Target{Kind: kind}, nil
	case kind == TargetMX || kind == TargetDiscard:
		return Target{}, fmt.Errorf("%s: nothing may follow %q", quoteShort(s), word)
	case kind == TargetSMTP:
		return parseSMTP(s)
	case kind == TargetMaildir:
		return Target{Kind: kind, Path: rest}, checkTemplate(s, rest)
	case kind == TargetReject:
		text := strings.TrimSpace(rest)
		return Target{Kind: kind, Text: text}, checkRejectText(s, text)
	case word == "smtps", word == "lmtp", word == "mbox", word == "exec":
		return Target{}, fmt.Errorf("%s: %s is not built yet; this version has smtp://, maildir:, mx, discard and reject",
			quoteShort(s), word)
	}
	hint := "write smtp://HOST:PORT, maildir:/PATH/{local}, mx, discard or reject:TEXT"
	if near := nearest(word, []string{"smtp", "maildir", "mx", "discard", "reject"}); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return Target{}, fmt.Errorf("unknown target %s; %s", quoteShort(s), hint)
}

// String writes the target as in a file, with its port.
func (t Target) String() string {
	switch t.Kind {
	case TargetSMTP:
		return "smtp://" + net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	case TargetMaildir:
		return "maildir:" + t.Path
	case TargetReject:
		return "reject:" + t.Text
	default:
		return string(t.Kind)
	}
}

// parseSMTP reads smtp://HOST and smtp://HOST:PORT.
func parseSMTP(s string) (Target, error) {
	bad := fmt.Errorf("%s is not smtp://HOST:PORT; "+
		"HOST is a name, an IPv4 address, or an IPv6 address in brackets", quoteShort(s))
	rest, found := strings.CutPrefix(s, "smtp://")
	if !found {
		return Target{}, bad
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		if host, port, err = net.SplitHostPort(rest + ":25"); err != nil {
			return Target{}, bad
		}
	}
	if !isHost(host, strings.HasPrefix(rest, "[")) {
		return Target{}, bad
	}
	p, err := parsePort(port, 1)
	if err != nil {
		return Target{}, fmt.Errorf("%s: %w", quoteShort(s), err)
	}
	return Target{Kind: TargetSMTP, Host: host, Port: int(p)}, nil
}

// isHost tells a host to which one can connect. Only IPv6 addresses stand in brackets. The rules of EHLO are taken for
// names, for they allow the underscore that machines inside of a house often have.
func isHost(host string, brackets bool) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Is6() == brackets
	}
	_, err := smtp.ParseHelo(host)
	return err == nil && !brackets && !strings.HasPrefix(host, "[") && !endsInNumber(host)
}

// checkTemplate looks at the placeholders of a Maildir path.
func checkTemplate(whole, path string) error {
	if path == "" || strings.ContainsRune(path, 0) {
		return fmt.Errorf("%s has no path; write one such as \"maildir:/var/mail/{local}\"", quoteShort(whole))
	}
	for rest := path; ; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			return nil
		}
		name, after, closed := strings.Cut(rest[i+1:], "}")
		if rest[i] == '}' || !closed || strings.ContainsRune(name, '{') {
			return fmt.Errorf("%s has a brace without its partner; known placeholders are %s",
				quoteShort(whole), "{"+strings.Join(placeholders, "}, {")+"}")
		}
		if !slices.Contains(placeholders, name) {
			return fmt.Errorf("%s: unknown placeholder %s; known are %s",
				quoteShort(whole), quoteShort("{"+name+"}"), "{"+strings.Join(placeholders, "}, {")+"}")
		}
		rest = after
	}
}

// checkRejectText wants what fits in one reply line (RFC 5321 4.2: printable ASCII, space and tab).
func checkRejectText(whole, text string) error {
	if text == "" {
		return fmt.Errorf("%s has no text; write what the sender is told, such as \"reject:no such user\"",
			quoteShort(whole))
	}
	if len(text) > maxRejectText {
		return fmt.Errorf("%s is too long; a reply has room for %d characters of text", quoteShort(whole), maxRejectText)
	}
	for _, c := range text {
		if c < ' ' || c > '~' {
			return fmt.Errorf("%s has %q in it; the text must be one line of ASCII", quoteShort(whole), c)
		}
	}
	return nil
}
