package receiver

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// xclient is what XCLIENT said of the client for which another speaks; zero fields were not given.
type xclient struct {
	name     string
	addr     netip.Addr
	port     uint16
	hidden   bool // the address is not known
	destAddr netip.Addr
	destPort uint16
	protocol string // SMTP or ESMTP
	hello    smtp.Domain
	login    string

	remote, local net.Addr // made of the above
}

// xclientAttributes are those that are taken, as EHLO names them.
var xclientAttributes = []string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"}

// unknownAddr stands for an address that XCLIENT says nobody knows.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "unknown" }
func (unknownAddr) String() string  { return "unknown" }

// mayXClient tells that the client itself, whoever it speaks for, is in one of the networks that may.
func (s *Session) mayXClient() bool {
	if len(s.server.XClient) == 0 {
		return false
	}
	a, isTCP := s.wire.conn.RemoteAddr().(*net.TCPAddr)
	if !isTCP {
		return false
	}
	ip := a.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(s.server.XClient, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// xclient takes the attributes and begins anew, with a greeting.
func (s *Session) xclient(arg string) smtp.Reply {
	x := new(xclient)
	if s.behalf != nil {
		*x = *s.behalf
	}
	if !x.parse(arg) {
		return smtp.NewReply(501, smtp.EnhancedCode{5, 5, 4}, "An attribute is unknown, wrong or given twice")
	}
	x.addresses()
	s.forget()
	s.behalf, s.identity, s.loggedIn = x, x.login, x.login != ""
	s.verb = greetingVerb
	return s.greeting()
}

// parse reads "NAME=xtext ADDR=xtext ..."; false where something is wrong.
func (x *xclient) parse(arg string) bool {
	var seen []string
	for word := range strings.FieldsSeq(arg) {
		key, encoded, _ := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		value, ok := smtp.DecodeXtext(encoded)
		if !ok || value == "" || slices.Contains(seen, key) {
			return false
		}
		seen = append(seen, key)
		switch strings.ToUpper(value) {
		case "[UNAVAILABLE]", "[TEMPUNAVAIL]":
			value = ""
		}
		if !x.set(key, value) {
			return false
		}
	}
	return true
}

// set takes one attribute; an empty value is one that is not known.
func (x *xclient) set(key, value string) (ok bool) {
	switch key {
	case "NAME":
		_, err := smtp.ParseHelo(value)
		x.name, ok = value, value == "" || err == nil
	case "ADDR":
		x.hidden = value == ""
		x.addr, ok = parseAddr(value)
	case "PORT":
		x.port, ok = parsePort(value)
	case "DESTADDR":
		x.destAddr, ok = parseAddr(value)
	case "DESTPORT":
		x.destPort, ok = parsePort(value)
	case "PROTO":
		x.protocol = strings.ToUpper(value)
		ok = slices.Contains([]string{"", "SMTP", "ESMTP"}, x.protocol)
	case "HELO":
		hello, err := smtp.ParseHelo(value)
		x.hello, ok = hello, value == "" || err == nil
	case "LOGIN":
		x.login, ok = value, true
	}
	return ok
}

// addresses makes the addresses that the Handler sees; a port that is not given is 0.
func (x *xclient) addresses() {
	x.remote, x.local = nil, nil
	switch {
	case x.hidden:
		x.remote = unknownAddr{}
	case x.addr.IsValid():
		x.remote = net.TCPAddrFromAddrPort(netip.AddrPortFrom(x.addr, x.port))
	}
	if x.destAddr.IsValid() {
		x.local = net.TCPAddrFromAddrPort(netip.AddrPortFrom(x.destAddr, x.destPort))
	}
}

// parseAddr reads an IPv4 address, or an IPv6 address behind "IPV6:".
func parseAddr(s string) (netip.Addr, bool) {
	if s == "" {
		return netip.Addr{}, true
	}
	six := len(s) > 5 && strings.EqualFold(s[:5], "IPV6:")
	if six {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == "" && a.Is6() == six
}

func parsePort(s string) (uint16, bool) {
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}
