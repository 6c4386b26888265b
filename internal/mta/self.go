package mta

import (
	"net"
	"net/netip"
	"sync"
)

// self knows the addresses this server listens on, so that it never delivers to itself (RFC 5321 5.1).
type self struct {
	mu    sync.RWMutex
	addrs []netip.AddrPort
	ports []uint16 // of listeners on every address of the machine
}

// set says what is listened on now.
func (s *self) set(all []net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs, s.ports = nil, nil
	for _, a := range all {
		tcp, ok := a.(*net.TCPAddr)
		if !ok {
			continue
		}
		ap := tcp.AddrPort()
		if ap.Addr().IsUnspecified() {
			s.ports = append(s.ports, ap.Port())
			continue
		}
		s.addrs = append(s.addrs, unmap(ap))
	}
}

// is tells an address of this server.
func (s *self) is(ap netip.AddrPort) bool {
	ap = unmap(ap)
	s.mu.RLock()
	defer s.mu.RUnlock()
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
