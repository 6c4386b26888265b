package config

import (
	"fmt"
	"slices"
	"strings"
)

// TargetKind says in which way mail goes on.
type TargetKind string

// The kinds of targets. The text of each but TargetSMTP begins with its kind.
const (
	TargetMX      TargetKind = "mx"      // to the hosts that the DNS names for the domain
	TargetSMTP    TargetKind = "smtp"    // to one next hop, by SMTP or LMTP, over whatever carries bytes both ways
	TargetMaildir TargetKind = "maildir" // into a folder of this machine
	TargetDiscard TargetKind = "discard" // nowhere, and it counts as delivered
	TargetReject  TargetKind = "reject"  // nowhere, and the sender is told why
)

// Target is where a route sends its mail. Which fields are set follows from Kind.
type Target struct {
	Kind TargetKind

	// Of TargetSMTP.
	Protocol    Protocol // what is spoken
	Network     string   // where, as transport.ParseEndpoint reads it: "host:port", "unix:/path" or "exec:PROGRAM ARGS"
	ImplicitTLS bool     // the session begins with the handshake (RFC 8314); only with a Host
	Host        string   // a name in lower case or an IP address, without brackets; empty for a socket or a program
	Port        int      // of Host

	Path string // of TargetMaildir: a template with the placeholders {local}, {domain} and {data_dir}, not filled in
	Text string // of TargetReject: what the sender is told, one line of ASCII
}

// DefaultTLS is the TLS of deliveries to the target when its route does not say: that of [delivery] for TargetMX, TLSNone
// where nothing is sent over a network.
func (t Target) DefaultTLS(delivery TLS) TLS {
	switch {
	case t.Kind == TargetMX:
		return delivery
	case t.Kind != TargetSMTP:
		return TLSNone
	case t.ImplicitTLS: // who writes smtps:// wants to know with whom
		return TLSRequired
	default:
		return TLSOpportunistic
	}
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
	case slices.Contains(hopForms, word):
		return parseHop(s, word)
	case kind == TargetMaildir:
		return Target{Kind: kind, Path: rest}, checkTemplate(s, rest)
	case kind == TargetReject:
		text := strings.TrimSpace(rest)
		return Target{Kind: kind, Text: text}, checkRejectText(s, text)
	case word == "mbox", word == "exec":
		return Target{}, fmt.Errorf("%s: %s is not built yet; this version has smtp://, smtps://, lmtp://, smtp+exec:, "+
			"maildir:, mx, discard and reject", quoteShort(s), word)
	}
	hint := "write smtp://HOST:PORT, maildir:/PATH/{local}, mx, discard or reject:TEXT"
	if near := nearest(word, append([]string{"maildir", "mx", "discard", "reject"}, hopForms...)); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return Target{}, fmt.Errorf("unknown target %s; %s", quoteShort(s), hint)
}

// String writes the target as in a file, with its port.
func (t Target) String() string {
	switch t.Kind {
	case TargetSMTP:
		return t.hop()
	case TargetMaildir:
		return "maildir:" + t.Path
	case TargetReject:
		return "reject:" + t.Text
	default:
		return string(t.Kind)
	}
}

// checkTemplate looks at the placeholders of a Maildir path.
func checkTemplate(whole, path string) error {
	if path == "" || strings.ContainsRune(path, 0) {
		return fmt.Errorf("%s has no path; write one such as \"maildir:/var/mail/{local}\"", quoteShort(whole))
	}
	return checkPlaceholders(whole, path, placeholders)
}

// checkPlaceholders looks at all that stands in braces in a path.
func checkPlaceholders(whole, path string, placeholders []string) error {
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
