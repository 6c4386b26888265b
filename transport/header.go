package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Sizes of PROXY headers, after "The PROXY protocol", versions 1 and 2, by Willy Tarreau. Its sections are named below.
const (
	maxHeader1 = 107 // 2.1: the longest line, CRLF included
	maxHeader2 = 16 + 4096
	fixed2     = 16 // signature, command, family, length

	signature2 = "\r\n\r\n\x00\r\nQUIT\n"

	unixAddrs2 = 216 // 2.2: two paths of 108 octets
)

// ErrProxyHeader is wrapped by every error about a PROXY header that is missing, wrong, too long or too late.
var ErrProxyHeader = errors.New("not a PROXY header")

// errShort says that a header is right as far as it goes.
var errShort = fmt.Errorf("%w: it is not complete", ErrProxyHeader)

// ProxyHeader is what a proxy says about the connection that it passes on.
type ProxyHeader struct {
	Version int // 1 or 2; 0 is 2 for Append

	// Source and Destination are the client's address and the one it connected to; both of one family. Both are invalid
	// where the proxy speaks for itself (LOCAL) or cannot name them (UNKNOWN, UNSPEC, Unix sockets): then the
	// connection's own addresses stand.
	Source, Destination netip.AddrPort
}

// Append appends the header as it goes over the wire.
func (h ProxyHeader) Append(b []byte) ([]byte, error) {
	src, dst := h.Source, h.Destination
	local := !src.IsValid() && !dst.IsValid()
	if !local && (!src.IsValid() || !dst.IsValid() || src.Addr().Is4() != dst.Addr().Is4()) {
		return nil, fmt.Errorf("%w: the addresses %s and %s are not of one family", ErrProxyHeader, src, dst)
	}
	if src.Addr().Zone() != "" || dst.Addr().Zone() != "" {
		return nil, fmt.Errorf("%w: it has no place for the zones of %s and %s", ErrProxyHeader, src, dst)
	}
	switch {
	case h.Version == 1 && local:
		return append(b, "PROXY UNKNOWN\r\n"...), nil
	case h.Version == 1:
		family := "TCP6"
		if src.Addr().Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(b, "PROXY %s %s %s %d %d\r\n", family, src.Addr(), dst.Addr(), src.Port(), dst.Port()), nil
	case h.Version != 0 && h.Version != 2:
		return nil, fmt.Errorf("%w: there is no version %d", ErrProxyHeader, h.Version)
	case local: // 2.2: LOCAL, UNSPEC, nothing follows
		return append(append(b, signature2...), 0x20, 0, 0, 0), nil
	}
	addrs := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	addrs = binary.BigEndian.AppendUint16(addrs, src.Port())
	addrs = binary.BigEndian.AppendUint16(addrs, dst.Port())
	family := byte(0x21)
	if src.Addr().Is4() {
		family = 0x11
	}
	b = append(append(b, signature2...), 0x21, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addrs)))
	return append(b, addrs...), nil
}

// ParseProxyHeader reads the header at the beginning of b and tells how many octets it has. What follows it is not
// looked at. Errors wrap ErrProxyHeader.
func ParseProxyHeader(b []byte) (h ProxyHeader, size int, err error) {
	switch {
	case hasStart(b, signature2):
		return parseHeader2(b)
	case hasStart(b, "PROXY "):
		return parseHeader1(b)
	}
	return ProxyHeader{}, 0, fmt.Errorf("%w: the connection starts with %.20q", ErrProxyHeader, b)
}

// hasStart tells that b starts with s, as far as b goes.
func hasStart(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// parseHeader1 reads the line of version 1 (2.1).
func parseHeader1(b []byte) (h ProxyHeader, size int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxHeader1)], '\n')
	switch {
	case end < 0 && len(b) < maxHeader1:
		return h, 0, errShort
	case end < 0:
		return h, 0, fmt.Errorf("%w: the line is longer than %d octets", ErrProxyHeader, maxHeader1)
	case b[end-1] != '\r': // the line starts with a word, so there is an octet before
		return h, 0, fmt.Errorf("%w: the line does not end in CRLF", ErrProxyHeader)
	}
	line := string(b[:end-1])
	words := strings.Split(line, " ")
	h.Version = 1
	switch {
	case words[1] == "UNKNOWN": // 2.1: whatever follows is to be ignored
		return h, end + 1, nil
	case len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6":
		return h, 0, fmt.Errorf("%w: the line %q is not PROXY, family, two addresses, two ports", ErrProxyHeader, line)
	}
	h.Source, err = parseAddr1(words[1], words[2], words[4])
	if err == nil {
		h.Destination, err = parseAddr1(words[1], words[3], words[5])
	}
	return h, end + 1, err
}

func parseAddr1(family, host, port string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || addr.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no address of the family %s", ErrProxyHeader, host, family)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no port", ErrProxyHeader, port)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

// parseHeader2 reads the binary header of version 2 (2.2). What follows the addresses (TLVs) is ignored.
func parseHeader2(b []byte) (h ProxyHeader, size int, err error) {
	if len(b) < fixed2 {
		return h, 0, errShort
	}
	command, family := b[12], b[13]
	rest := int(binary.BigEndian.Uint16(b[14:]))
	size = fixed2 + rest
	need, known := map[byte]int{0x00: 0, 0x11: 12, 0x21: 36, 0x31: unixAddrs2}[family]
	switch {
	case command>>4 != 2:
		return h, 0, fmt.Errorf("%w: there is no version %d", ErrProxyHeader, command>>4)
	case command&0xf > 1: // 2.2: other commands must be dropped
		return h, 0, fmt.Errorf("%w: there is no command %d", ErrProxyHeader, command&0xf)
	case size > maxHeader2:
		return h, 0, fmt.Errorf("%w: it has %d octets, at most %d", ErrProxyHeader, size, maxHeader2)
	}
	h.Version = 2
	local := command&0xf == 0 // 2.2: LOCAL: the family and all that follows is to be ignored
	switch {
	case !local && !known:
		return h, 0, fmt.Errorf("%w: the family %#02x is not one of stream connections", ErrProxyHeader, family)
	case !local && rest < need:
		return h, 0, fmt.Errorf("%w: %d octets are too few for addresses of family %#02x", ErrProxyHeader, rest, family)
	case len(b) < size:
		return h, 0, errShort
	case local || family == 0x00 || family == 0x31:
		return h, size, nil
	}
	n := (need - 4) / 2
	addrs := b[fixed2 : fixed2+need]
	src, _ := netip.AddrFromSlice(addrs[:n]) // n is 4 or 16
	dst, _ := netip.AddrFromSlice(addrs[n : 2*n])
	h.Source = netip.AddrPortFrom(src, binary.BigEndian.Uint16(addrs[2*n:]))
	h.Destination = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(addrs[2*n+2:]))
	return h, size, nil
}
