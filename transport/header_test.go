package transport

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// binaryHeader makes a header of version 2 by hand.
func binaryHeader(command, family byte, length int, rest ...byte) []byte {
	return append([]byte{'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n',
		command, family, byte(length >> 8), byte(length)}, rest...)
}

var (
	fourAddrs = []byte{192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 25}
	sixAddrs  = bytes.Join([][]byte{
		netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice(), {0x12, 0x67, 0, 25},
	}, nil)
	someTLV = []byte{0x04, 0, 2, 0, 0} // PP2_TYPE_NOOP
)

func TestParseProxyHeader(t *testing.T) {
	four := ProxyHeader{2, netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("198.51.100.1:25")}
	six := ProxyHeader{2, netip.MustParseAddrPort("[2001:db8::7]:4711"), netip.MustParseAddrPort("[2001:db8::1]:25")}
	version1 := func(h ProxyHeader) ProxyHeader {
		h.Version = 1
		return h
	}
	for name, tt := range map[string]struct {
		in   []byte
		want ProxyHeader
	}{
		"1, TCP4":            {[]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"), version1(four)},
		"1, TCP6":            {[]byte("PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n"), version1(six)},
		"1, UNKNOWN":         {[]byte("PROXY UNKNOWN\r\n"), ProxyHeader{Version: 1}},
		"1, UNKNOWN, longer": {[]byte("PROXY UNKNOWN what ever\x00 1 2 3 4\r\n"), ProxyHeader{Version: 1}},
		"1, the longest":     {[]byte("PROXY UNKNOWN" + strings.Repeat(" ", 92) + "\r\n"), ProxyHeader{Version: 1}},
		"2, TCP4":            {binaryHeader(0x21, 0x11, 12, fourAddrs...), four},
		"2, TCP6":            {binaryHeader(0x21, 0x21, 36, sixAddrs...), six},
		"2, TLVs": {binaryHeader(0x21, 0x11, 12+3*len(someTLV),
			append(append([]byte(nil), fourAddrs...), bytes.Repeat(someTLV, 3)...)...), four},
		"2, the largest": {binaryHeader(0x21, 0x11, 4096,
			append(append([]byte(nil), fourAddrs...), make([]byte, 4084)...)...), four},
		"2, LOCAL":             {binaryHeader(0x20, 0x00, 0), ProxyHeader{Version: 2}},
		"2, LOCAL, any family": {binaryHeader(0x20, 0x77, 3, 1, 2, 3), ProxyHeader{Version: 2}},
		"2, LOCAL, addresses":  {binaryHeader(0x20, 0x11, 12, fourAddrs...), ProxyHeader{Version: 2}},
		"2, UNSPEC":            {binaryHeader(0x21, 0x00, 5, someTLV...), ProxyHeader{Version: 2}},
		"2, Unix":              {binaryHeader(0x21, 0x31, 216, make([]byte, 216)...), ProxyHeader{Version: 2}},
	} {
		got, size, err := ParseProxyHeader(append(tt.in, "EHLO a\r\n"...))
		if err != nil || size != len(tt.in) || got != tt.want {
			t.Errorf("%s: got %+v, %d, %v; want %+v, %d", name, got, size, err, tt.want, len(tt.in))
		}
		for i := range tt.in { // as the network may cut it
			if _, _, err := ParseProxyHeader(tt.in[:i]); !errors.Is(err, errShort) {
				t.Errorf("%s: the first %d octets give %v", name, i, err)
			}
		}
	}
}

func TestParseProxyHeaderRefuses(t *testing.T) {
	for name, in := range map[string][]byte{
		"no header":            []byte("EHLO a\r\n"),
		"one wrong letter":     []byte("PROXX"),
		"lower case":           []byte("proxy TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"),
		"bare LF":              []byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\n"),
		"bare LF at once":      []byte("PROXY \n"),
		"no family":            []byte("PROXY \r\n"),
		"UDP4":                 []byte("PROXY UDP4 192.0.2.7 198.51.100.1 4711 25\r\n"),
		"two spaces":           []byte("PROXY TCP4  192.0.2.7 198.51.100.1 4711 25\r\n"),
		"a space at the end":   []byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 25 \r\n"),
		"a CR inside":          []byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\r\n"),
		"no ports":             []byte("PROXY TCP4 192.0.2.7 198.51.100.1\r\n"),
		"the other family":     []byte("PROXY TCP4 2001:db8::7 2001:db8::1 4711 25\r\n"),
		"the other family, 6":  []byte("PROXY TCP6 192.0.2.7 198.51.100.1 4711 25\r\n"),
		"a zone":               []byte("PROXY TCP6 fe80::1%eth0 fe80::2 4711 25\r\n"),
		"leading zero":         []byte("PROXY TCP4 192.0.02.7 198.51.100.1 4711 25\r\n"),
		"leading zero, port":   []byte("PROXY TCP4 192.0.2.7 198.51.100.1 04711 25\r\n"),
		"port too large":       []byte("PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n"),
		"signed port":          []byte("PROXY TCP4 192.0.2.7 198.51.100.1 +1 25\r\n"),
		"too long":             []byte("PROXY UNKNOWN" + strings.Repeat(" ", 93) + "\r\n"),
		"never ends":           []byte("PROXY UNKNOWN " + strings.Repeat("x", 200)),
		"2, version 1":         binaryHeader(0x11, 0x11, 12, fourAddrs...),
		"2, version 3":         binaryHeader(0x31, 0x11, 12, fourAddrs...),
		"2, command 2":         binaryHeader(0x22, 0x11, 12, fourAddrs...),
		"2, datagrams":         binaryHeader(0x21, 0x12, 12, fourAddrs...),
		"2, unknown family":    binaryHeader(0x21, 0x41, 12, fourAddrs...),
		"2, too short for 4":   binaryHeader(0x21, 0x11, 11, fourAddrs...),
		"2, too short for 6":   binaryHeader(0x21, 0x21, 12, fourAddrs...),
		"2, too short, Unix":   binaryHeader(0x21, 0x31, 215, make([]byte, 215)...),
		"2, too long":          binaryHeader(0x21, 0x11, 4097),
		"2, too long, LOCAL":   binaryHeader(0x20, 0x00, 65535),
		"2, broken signature":  []byte("\r\n\r\n\x00\r\nQUIX"),
		"an empty line at all": []byte("\r\n\r\nEHLO"),
	} {
		h, _, err := ParseProxyHeader(in)
		if !errors.Is(err, ErrProxyHeader) || errors.Is(err, errShort) {
			t.Errorf("%s: got %+v, %v; want a refusal", name, h, err)
		}
	}
}

func TestAppendProxyHeaderRefuses(t *testing.T) {
	four, six := netip.MustParseAddrPort("192.0.2.7:1"), netip.MustParseAddrPort("[2001:db8::7]:1")
	for _, h := range []ProxyHeader{
		{Source: four}, {Destination: four}, {Source: four, Destination: six}, {Version: 3, Source: four, Destination: four},
		{Version: 1, Source: six, Destination: netip.MustParseAddrPort("[fe80::1%eth0]:1")},
	} {
		if b, err := h.Append(nil); !errors.Is(err, ErrProxyHeader) {
			t.Errorf("%+v is written %q, %v", h, b, err)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\nEHLO a\r\n"))
	f.Add([]byte("PROXY TCP6 ::ffff:1.2.3.4 2001:db8::1 4711 25\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add(binaryHeader(0x21, 0x11, 12, fourAddrs...))
	f.Add(binaryHeader(0x21, 0x21, 36, sixAddrs...))
	f.Add(binaryHeader(0x20, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, size, err := ParseProxyHeader(b)
		if err != nil {
			if !errors.Is(err, ErrProxyHeader) {
				t.Fatalf("the error %v is not ErrProxyHeader", err)
			}
			if errors.Is(err, errShort) && len(b) >= maxHeader2 {
				t.Fatalf("%d octets are not enough", len(b))
			}
			return
		}
		if size > len(b) || size > maxHeader2 {
			t.Fatalf("the header has %d octets of %d", size, len(b))
		}
		for _, i := range []int{0, size / 2, size - 1} {
			if _, _, err := ParseProxyHeader(b[:i]); !errors.Is(err, errShort) {
				t.Fatalf("%d octets of %d give %v", i, size, err)
			}
		}
		again, err := h.Append(nil)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", h, err)
		}
		got, n, err := ParseProxyHeader(again)
		if err != nil || got != h || n != len(again) {
			t.Fatalf("%+v is written %q and read as %+v, %d, %v", h, again, got, n, err)
		}
	})
}
