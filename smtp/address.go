package smtp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of an address. Domain and label are those of 4.5.3.1.2 and of the DNS; the local part may be longer than the 64
// octets that 4.5.3.1.1 makes every server accept, for the return addresses of mailing lists often are.
const (
	MaxLocalPart = 255
	MaxDomain    = 255
	maxLabel     = 63
)

// Errors of the address parsers; they come wrapped with the text at fault.
var (
	ErrPath      = errors.New("not a path of the form <local-part@domain>")
	ErrMailbox   = errors.New("not a mailbox of the form local-part@domain")
	ErrLocalPart = errors.New("not a local part")
	ErrDomain    = errors.New("not a domain or address literal")
)

// Domain is a domain name or an address literal such as [192.0.2.1] or [IPv6:2001:db8::1] (4.1.2, 4.1.3). It keeps the
// form in which it came, be it of A-labels or of U-labels (RFC 5890 2.3.2.1); compare with Equal. The zero value is no
// domain.
type Domain struct {
	text  string
	ascii string     // the A-labels of a name with U-labels
	addr  netip.Addr // of an IPv4 or IPv6 literal
}

// ParseDomain reads a domain name or an address literal. Labels may be U-labels (RFC 6531 3.3); where only ASCII may
// stand, check IsASCII.
func ParseDomain(s string) (Domain, error) {
	switch {
	case strings.HasPrefix(s, "["):
		return parseLiteral(s)
	case !isASCII(s):
		return parseInternational(s)
	case !isDomainName(s, false):
		return Domain{}, fmt.Errorf("%w: %.80q", ErrDomain, s)
	}
	return Domain{text: s}, nil
}

// parseInternational reads a name with U-labels: one that has A-labels by the rules of look-up (RFC 5891 5).
func parseInternational(s string) (Domain, error) {
	if len(s) > MaxDomain || !utf8.ValidString(s) {
		return Domain{}, fmt.Errorf("%w: %.80q", ErrDomain, s)
	}
	ascii, err := idna.Lookup.ToASCII(s)
	if err != nil || !isDomainName(ascii, false) {
		return Domain{}, fmt.Errorf("%w: %.80q", ErrDomain, s)
	}
	return Domain{text: s, ascii: ascii}, nil
}

// ParseHelo reads the argument of EHLO and HELO. Unlike ParseDomain it takes an underscore in a label: many machines are
// named so, and 4.1.4 forbids to refuse mail for a name that does not check out.
func ParseHelo(s string) (Domain, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	if !isDomainName(s, true) {
		return Domain{}, fmt.Errorf("%w: %.80q", ErrDomain, s)
	}
	return Domain{text: s}, nil
}

// AddressLiteral gives the literal for an address.
func AddressLiteral(a netip.Addr) Domain {
	a = a.Unmap().WithZone("")
	var room [64]byte // the longest has 47 octets
	return Domain{text: string(AppendAddressLiteral(room[:0], a)), addr: a}
}

// AppendAddressLiteral writes the literal for an address, as AddressLiteral gives it.
func AppendAddressLiteral(dst []byte, a netip.Addr) []byte {
	a = a.Unmap().WithZone("")
	dst = append(dst, '[')
	if a.Is6() {
		dst = append(dst, "IPv6:"...)
	}
	return append(a.AppendTo(dst), ']')
}

func parseLiteral(s string) (Domain, error) {
	bad := func() (Domain, error) { return Domain{}, fmt.Errorf("%w: %.80q", ErrDomain, s) }
	if len(s) < 3 || len(s) > MaxDomain || s[len(s)-1] != ']' {
		return bad()
	}
	inner := s[1 : len(s)-1]
	tag, content, tagged := strings.Cut(inner, ":")
	switch {
	case !tagged:
		a, err := netip.ParseAddr(inner)
		if err != nil || !a.Is4() {
			return bad()
		}
		return Domain{text: s, addr: a}, nil
	case strings.EqualFold(tag, "IPv6"):
		a, ok := ipv6(content)
		if !ok {
			return bad()
		}
		return Domain{text: s, addr: a.Unmap()}, nil // else Equal and Key would differ
	}
	return bad() // no other tag is registered (4.1.3)
}

// ipv6 reads an IPv6 address in the form of 4.1.3, where "::" stands for two groups of zeros at least.
func ipv6(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	groups := len(strings.FieldsFunc(s, func(r rune) bool { return r == ':' }))
	if strings.Contains(s, ".") {
		groups++
	}
	return a, err == nil && a.Is6() && a.Zone() == "" && (groups <= 6 || !strings.Contains(s, "::"))
}

// String gives the domain as it came.
func (d Domain) String() string { return d.text }

// IsASCII tells a domain without U-labels.
func (d Domain) IsASCII() bool { return d.ascii == "" }

// ASCII gives the domain with A-labels in place of U-labels, for the DNS and for hosts without SMTPUTF8.
func (d Domain) ASCII() Domain {
	if d.ascii != "" {
		return Domain{text: d.ascii}
	}
	return d
}

// IsZero tells that there is no domain.
func (d Domain) IsZero() bool { return d.text == "" }

// IsLiteral tells an address literal, of whatever kind.
func (d Domain) IsLiteral() bool { return strings.HasPrefix(d.text, "[") }

// Addr gives the address of an IPv4 or IPv6 literal.
func (d Domain) Addr() (netip.Addr, bool) { return d.addr, d.addr.IsValid() }

// Equal compares without case (2.4), U-labels as their A-labels, and literals by their address.
func (d Domain) Equal(o Domain) bool {
	if d.addr.IsValid() && o.addr.IsValid() {
		return d.addr == o.addr
	}
	return strings.EqualFold(d.ASCII().text, o.ASCII().text)
}

// Key gives the form in which equal domains are the same string: lower case, A-labels, literals normalised.
func (d Domain) Key() string {
	if d.addr.IsValid() {
		return AddressLiteral(d.addr).text
	}
	return strings.ToLower(d.ASCII().text)
}

// Mailbox is local-part@domain (4.1.2). Local holds the local part as meant, quotes and backslashes taken off, its case
// kept: only the host of the domain may interpret it (2.4). It may have UTF-8 (RFC 6531 3.3).
type Mailbox struct {
	Local  string
	Domain Domain
}

// ParseMailbox reads local-part@domain.
func ParseMailbox(s string) (Mailbox, error) {
	m, rest, err := cutMailbox(s)
	if err == nil && rest != "" {
		err = fmt.Errorf("%w: %.80q", ErrMailbox, s)
	}
	if err != nil {
		return Mailbox{}, err
	}
	return m, nil
}

// Limits of 4.5.3.1 within which every server must take a mailbox.
const (
	safeLocalPart = 64
	safeMailbox   = 256 - len("<>")
)

// CheckMailbox tells whether s is a mailbox that every server must take: one that ParseMailbox reads and that keeps the
// limits of 4.5.3.1.1 and 4.5.3.1.3, counted as it is written, quotes and backslashes included. Whoever lets people enter
// addresses asks this; a server that is sent more than that may take it.
func CheckMailbox(s string) error {
	if _, err := ParseMailbox(s); err != nil {
		return err
	}
	_, rest, _ := cutLocalPart(s)
	switch {
	case len(s)-len(rest) > safeLocalPart:
		return fmt.Errorf("%w: longer than %d octets: %.80q", ErrLocalPart, safeLocalPart, s)
	case len(s) > safeMailbox:
		return fmt.Errorf("%w: longer than %d octets: %.80q", ErrMailbox, safeMailbox, s)
	}
	return nil
}

// String writes the mailbox with as little quoting as its local part allows (4.1.2).
func (m Mailbox) String() string {
	var room [128]byte // few addresses are longer
	return string(m.Append(room[:0]))
}

// Append writes the mailbox as String does.
func (m Mailbox) Append(dst []byte) []byte {
	dst = appendLocal(dst, m.Local)
	if !m.Domain.IsZero() {
		dst = append(append(dst, '@'), m.Domain.text...)
	}
	return dst
}

// IsASCII tells a mailbox that can be written without SMTPUTF8 as it is.
func (m Mailbox) IsASCII() bool { return isASCII(m.Local) && m.Domain.IsASCII() }

// QuoteLocal writes a local part for the wire: as it is where it is a dot-string, else as a quoted string.
func QuoteLocal(local string) string {
	if isDotString(local) {
		return local
	}
	return string(appendLocal(nil, local))
}

// appendLocal writes what QuoteLocal gives.
func appendLocal(dst []byte, local string) []byte {
	if isDotString(local) {
		return append(dst, local...)
	}
	dst = append(dst, '"')
	for i := range len(local) {
		if c := local[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, local[i])
	}
	return append(dst, '"')
}

// Path is what stands between "<" and ">" in MAIL and RCPT: a mailbox, nothing (the null reverse-path), or postmaster
// alone (4.1.1.3). A source route in front of the mailbox is read and dropped (4.1.2, appendix C).
type Path struct{ Mailbox }

// ParsePath reads a path in its angle brackets.
func ParsePath(s string) (Path, error) {
	p, rest, err := cutPath(s)
	if err == nil && rest != "" {
		err = fmt.Errorf("%w: %.80q", ErrPath, s)
	}
	if err != nil {
		return Path{}, err
	}
	return p, nil
}

// Postmaster is the forward-path <postmaster>.
var Postmaster = Path{Mailbox{Local: "postmaster"}}

// IsNull tells the null reverse-path <>.
func (p Path) IsNull() bool { return p == Path{} }

// IsPostmaster tells a postmaster of any domain or none; the word has no case (4.5.1).
func (p Path) IsPostmaster() bool {
	return isASCII(p.Local) && strings.EqualFold(p.Local, "postmaster")
}

// String writes the path in its angle brackets.
func (p Path) String() string {
	if p.IsNull() {
		return "<>"
	}
	var room [128]byte
	return string(p.Append(room[:0]))
}

// Append writes the path as String does. It stands in front of the Append of the mailbox within, which has no brackets.
func (p Path) Append(dst []byte) []byte {
	dst = append(dst, '<')
	if !p.IsNull() {
		dst = p.Mailbox.Append(dst)
	}
	return append(dst, '>')
}

// cutPath reads a path from the start of s and returns what follows it.
func cutPath(s string) (Path, string, error) {
	bad := func() (Path, string, error) { return Path{}, s, fmt.Errorf("%w: %.80q", ErrPath, s) }
	if !strings.HasPrefix(s, "<") {
		return bad()
	}
	if strings.HasPrefix(s, "<>") {
		return Path{}, s[2:], nil
	}
	inner := s[1:]
	if n := len("postmaster"); len(inner) > n && inner[n] == '>' && strings.EqualFold(inner[:n], "postmaster") {
		return Path{Mailbox{Local: inner[:n]}}, inner[n+1:], nil
	}
	inner, ok := cutSourceRoute(inner)
	if !ok {
		return bad()
	}
	m, rest, err := cutMailbox(inner)
	if err != nil {
		return Path{}, s, err
	}
	if !strings.HasPrefix(rest, ">") {
		return bad()
	}
	return Path{m}, rest[1:], nil
}

// cutSourceRoute drops "@a,@b:" from the start of s. Receivers must take it and should ignore it (appendix F.2).
func cutSourceRoute(s string) (string, bool) {
	if !strings.HasPrefix(s, "@") {
		return s, true
	}
	for {
		if !strings.HasPrefix(s, "@") {
			return s, false
		}
		end := strings.IndexAny(s, ",:>\"")
		if strings.HasPrefix(s, "@[") { // an IPv6 literal holds colons
			end = strings.IndexByte(s, ']') + 1
		}
		if end <= 0 || end >= len(s) {
			return s, false
		}
		if _, err := ParseDomain(s[1:end]); err != nil {
			return s, false
		}
		sep := s[end]
		s = s[end+1:]
		if sep == ':' {
			return s, true
		}
		if sep != ',' {
			return s, false
		}
	}
}

// cutMailbox reads a mailbox from the start of s and returns what follows it.
func cutMailbox(s string) (Mailbox, string, error) {
	local, rest, err := cutLocalPart(s)
	if err != nil {
		return Mailbox{}, s, err
	}
	if !strings.HasPrefix(rest, "@") {
		return Mailbox{}, s, fmt.Errorf("%w: %.80q", ErrMailbox, s)
	}
	rest = rest[1:]
	end := 0
	if strings.HasPrefix(rest, "[") {
		end = strings.IndexByte(rest, ']') + 1
	} else {
		for end < len(rest) && (isLetDig(rest[end]) || rest[end] == '-' || rest[end] == '.' || rest[end] >= utf8.RuneSelf) {
			end++
		}
	}
	d, err := ParseDomain(rest[:end])
	if err != nil {
		return Mailbox{}, s, fmt.Errorf("%w: %.80q", ErrDomain, rest)
	}
	return Mailbox{Local: local, Domain: d}, rest[end:], nil
}

// cutLocalPart reads a dot-string or a quoted string from the start of s (4.1.2).
func cutLocalPart(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, "\"") {
		return cutQuoted(s)
	}
	end := 0
	for end < len(s) && (isAtext(s[end]) || s[end] == '.') {
		end++
	}
	if end > MaxLocalPart || !isDotString(s[:end]) || !utf8.ValidString(s[:end]) {
		return "", s, fmt.Errorf("%w: %.80q", ErrLocalPart, s)
	}
	return s[:end], s[end:], nil
}

func cutQuoted(s string) (local, rest string, err error) {
	var b []byte
	for i := 1; i < len(s) && len(b) <= MaxLocalPart; i++ {
		c := s[i]
		if c == '"' && utf8.Valid(b) {
			return string(b), s[i+1:], nil
		}
		if c == '\\' && i+1 < len(s) { // quoted-pairSMTP
			i++
			c = s[i]
			if c >= utf8.RuneSelf { // quoted-pairSMTP stays ASCII in RFC 6531
				break
			}
		} else if c == '\\' || c == '"' {
			break
		}
		if c < 32 || c == 127 { // qtextSMTP
			break
		}
		b = append(b, c)
	}
	return "", s, fmt.Errorf("%w: %.80q", ErrLocalPart, s)
}

func isDomainName(s string, underscore bool) bool {
	if s == "" || len(s) > MaxDomain {
		return false
	}
	for more := true; more; {
		var label string
		if label, s, more = strings.Cut(s, "."); !isLabel(label, underscore) {
			return false
		}
	}
	return true
}

// isLabel tells a sub-domain: letters, digits and inner hyphens.
func isLabel(s string, underscore bool) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetDig(c) && c != '-' && !(underscore && c == '_') {
			return false
		}
	}
	return true
}

// isDotString tells atoms with one dot between two of them.
func isDotString(s string) bool {
	dot := true // in front of an atom, whose place no dot can take
	for i := range len(s) {
		switch {
		case isAtext(s[i]):
			dot = false
		case s[i] != '.' || dot:
			return false
		default:
			dot = true
		}
	}
	return !dot
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetDig(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// isAtext tells the octets of an atom (RFC 5322 3.2.3; RFC 6531 3.3).
func isAtext(c byte) bool {
	return atext[c]
}

// atext is the table of isAtext.
var atext = func() (t [256]bool) {
	for c := range t {
		t[c] = isLetDig(byte(c)) || c >= utf8.RuneSelf || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", byte(c)) >= 0
	}
	return t
}()
