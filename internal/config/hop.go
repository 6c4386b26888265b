package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/transport"
)

// Protocol says what is spoken with a next hop.
type Protocol string

// The protocols of a TargetSMTP.
const (
	SMTP Protocol = "smtp" // RFC 5321
	LMTP Protocol = "lmtp" // RFC 2033: one reply per recipient
)

// Ports that go without saying. LMTP has none.
const (
	portSMTP  = 25
	portSMTPS = 465 // RFC 8314 7.3
)

// hopForms are the ways in which a next hop is written.
var hopForms = []string{"smtp", "smtps", "lmtp", "smtp+exec", "lmtp+exec"}

// parseHop reads the target of a next hop, of the form that its first word says.
func parseHop(s, word string) (Target, error) {
	protocol, _, program := strings.Cut(word, "+")
	t := Target{Kind: TargetSMTP, Protocol: Protocol(protocol)}
	if word == "smtps" {
		t.Protocol, t.ImplicitTLS = SMTP, true
	}
	if program {
		_, command, _ := strings.Cut(s, ":")
		e, err := dialable("exec:" + strings.TrimSpace(command))
		if err != nil {
			return Target{}, fmt.Errorf("%s: %w", quoteShort(s), err)
		}
		t.Network = e.String()
		return t, nil
	}
	rest, found := strings.CutPrefix(s, word+"://")
	if found && strings.HasPrefix(rest, "unix:") {
		return t.atSocket(s, rest)
	}
	if !found {
		return Target{}, notHop(s, word)
	}
	return t.atHost(s, word, rest)
}

// atSocket fills in a Unix socket.
func (t Target) atSocket(whole, endpoint string) (Target, error) {
	if t.ImplicitTLS {
		return Target{}, fmt.Errorf("%s: a Unix socket has no name to verify; write %s", quoteShort(whole),
			quoteShort("smtp://"+endpoint))
	}
	if path := strings.TrimPrefix(endpoint, "unix:"); !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return Target{}, fmt.Errorf("%s: the path of a Unix socket begins with \"/\", as in \"%s://unix:/run/mail.sock\"",
			quoteShort(whole), t.Protocol)
	}
	e, err := dialable(endpoint)
	if err != nil {
		return Target{}, fmt.Errorf("%s: %w", quoteShort(whole), err)
	}
	t.Network = e.String()
	return t, nil
}

// atHost fills in a host and its port.
func (t Target) atHost(whole, word, rest string) (Target, error) {
	host, port, err := net.SplitHostPort(rest)
	if err != nil { // no port, or nonsense
		if host, port, err = net.SplitHostPort(rest + ":" + t.usualPort()); err != nil {
			return Target{}, notHop(whole, word)
		}
	}
	if !isHost(host, strings.HasPrefix(rest, "[")) {
		return Target{}, notHop(whole, word)
	}
	if port == "" {
		return Target{}, fmt.Errorf("%s has no port, and LMTP has no usual one; write one such as %s", quoteShort(whole),
			quoteShort(strings.TrimSuffix(whole, ":")+":24"))
	}
	p, err := parsePort(port, 1)
	switch {
	case err != nil:
		return Target{}, fmt.Errorf("%s: %w", quoteShort(whole), err)
	case t.Protocol == LMTP && p == portSMTP: // RFC 2033 5
		return Target{}, fmt.Errorf("%s: LMTP must not be spoken at port 25 (RFC 2033 5); write the port of the LMTP server",
			quoteShort(whole))
	}
	e := transport.Endpoint{Kind: transport.TCP, Host: strings.ToLower(host), Port: p}
	if a, err := netip.ParseAddr(host); err == nil {
		e.Host = a.String()
	}
	if read, err := transport.ParseEndpoint(e.String()); err == nil && read.Kind != transport.TCP {
		return Target{}, fmt.Errorf("%s: a host can't be called %q; write its full name or its address", quoteShort(whole), host)
	}
	if err := e.CanDial(); err != nil {
		return Target{}, fmt.Errorf("%s: %w", quoteShort(whole), reason(err))
	}
	t.Host, t.Port, t.Network = e.Host, int(p), e.String()
	return t, nil
}

// usualPort is the port that may be left out; empty where there is none.
func (t Target) usualPort() string {
	switch {
	case t.ImplicitTLS:
		return strconv.Itoa(portSMTPS)
	case t.Protocol == LMTP:
		return ""
	default:
		return strconv.Itoa(portSMTP)
	}
}

// hop writes a next hop as parseHop reads it, with its port.
func (t Target) hop() string {
	word := string(t.Protocol)
	if t.ImplicitTLS {
		word = "smtps"
	}
	if command, ok := strings.CutPrefix(t.Network, "exec:"); ok {
		return word + "+exec:" + command
	}
	return word + "://" + t.Network
}

func notHop(s, word string) error {
	return fmt.Errorf("%s is not %s://HOST:PORT; "+
		"HOST is a name, an IPv4 address, or an IPv6 address in brackets", quoteShort(s), word)
}

// dialable reads an endpoint to which one can connect.
func dialable(s string) (transport.Endpoint, error) {
	e, err := transport.ParseEndpoint(s)
	if err == nil {
		err = e.CanDial()
	}
	return e, reason(err)
}

// reason takes from an error of an endpoint the part that says what is wrong: the text itself is quoted here already.
func reason(err error) error {
	for {
		many, ok := err.(interface{ Unwrap() []error })
		if !ok || !errors.Is(err, transport.ErrEndpoint) {
			return err
		}
		all := many.Unwrap()
		err = all[len(all)-1]
	}
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
