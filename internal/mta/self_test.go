package mta

import (
	"net"
	"net/netip"
	"testing"
)

// TestSelf: an address of this server is one it listens on; a listener on every address stands for all of the machine's.
func TestSelf(t *testing.T) {
	var s self
	s.set([]net.Addr{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 3), Port: 2525}})
	s.set([]net.Addr{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2525}, &net.TCPAddr{IP: net.IPv6unspecified, Port: 25},
		&net.UnixAddr{Name: "/run/smtp.sock", Net: "unix"}})
	for addr, want := range map[string]bool{
		"127.0.0.1:2525":          true,
		"[::ffff:127.0.0.1]:2525": true,
		"127.0.0.2:2525":          false,
		"127.0.0.3:2525":          false,
		"127.0.0.1:25":            true,
		"127.0.0.9:25":            true,
		"[::1]:25":                true,
		"0.0.0.0:25":              true,
		"192.0.2.1:25":            false,
		"127.0.0.1:26":            false,
	} {
		if got := s.is(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if own, ok := netip.AddrFromSlice(i.(*net.IPNet).IP); ok && !s.is(netip.AddrPortFrom(own, 25)) {
			t.Errorf("%s is an address of this machine", own)
		}
	}
}
