package mta

import (
	"net"
	"net/netip"
)

// self knows the addresses this server listens on, so that it never delivers to itself (RFC 5321 5.1).
type self struct {
	addrs []netip.AddrPort
	ports []uint16 // of listeners on every address of the machine
}

func (s *self) add(a net.Addr) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return
	}
	ap := tcp.AddrPort()
	if ap.Addr().IsUnspecified() {
		s.ports = append(s.ports, ap.Port())
		return
	}
	s.addrs = append(s.addrs, unmap(ap))
}

// is tells an address of this server.
func (s *self) is(ap netip.AddrPort) bool {
	ap = unmap(ap)
	for _, own := range s.addrs {
		if own == ap {
			return true
		}
	}
	for _, port := range s.ports {
		if port == ap.Port() && onThisMachine(ap.Addr()) {
			return true
		}
	}
	return false
}

func onThisMachine(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, i := range interfaces {
		if prefix, ok := i.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(prefix.IP); ok && own.Unmap() == a {
				return true
			}
		}
	}
	return false
}

func unmap(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) }
