package load

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// sourceLoop runs all sessions of a Source in one loop.
type sourceLoop struct {
	*campaign
	loop    *loop
	addr    syscall.Sockaddr
	family  int
	tally   tally
	live    int     // sessions that are not done
	paused  []later // sessions to connect again
	silent  []*peer // idle sessions
	release time.Duration
}

// later is a session that connects again at a time of the loop.
type later struct {
	client *client
	at     time.Duration
}

// forever is a wait that other things end.
const forever = time.Hour

// runLoop runs a campaign without TLS.
func runLoop(ctx context.Context, c *campaign, addr *net.TCPAddr) (*tally, error) {
	s := &sourceLoop{campaign: c}
	if err := s.resolve(addr); err != nil {
		return &s.tally, err
	}
	var err error
	if s.loop, err = newLoop(s, c.Timeout); err != nil {
		return &s.tally, err
	}
	defer s.loop.close()
	if c.Idle > 0 {
		s.loop.timeout = max(c.Timeout, 2*c.Idle)
	}
	s.live = c.Sessions
	for range c.Sessions {
		s.connect(newClient(c, &s.tally))
	}
	return &s.tally, s.loop.run(ctx)
}

// resolve writes the address as the kernel wants it.
func (s *sourceLoop) resolve(addr *net.TCPAddr) error {
	ap := addr.AddrPort()
	ip := ap.Addr().Unmap()
	switch {
	case !ip.IsValid():
		s.family, s.addr = syscall.AF_INET, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}
	case ip.Is4():
		s.family, s.addr = syscall.AF_INET, &syscall.SockaddrInet4{Port: addr.Port, Addr: ip.As4()}
	default:
		to := &syscall.SockaddrInet6{Port: addr.Port, Addr: ip.As16()}
		if ip.Zone() != "" {
			zone, err := net.InterfaceByName(ip.Zone())
			if err != nil {
				return fmt.Errorf("the zone of %v: %w", addr, err)
			}
			to.ZoneId = uint32(zone.Index)
		}
		s.family, s.addr = syscall.AF_INET6, to
	}
	return nil
}

// connect begins a connection. That it can't be made shows at the first read, or here.
func (s *sourceLoop) connect(c *client) {
	c.connecting()
	fd, err := syscall.Socket(s.family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		s.closed(c, os.NewSyscallError("socket", err))
		return
	}
	// Without this a message larger than one packet can wait for the acknowledgement of its command.
	err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err == nil {
		if err = syscall.Connect(fd, s.addr); err == syscall.EINPROGRESS {
			err = nil
		}
	}
	if err != nil {
		syscall.Close(fd)
		s.closed(c, os.NewSyscallError("connect", err))
		return
	}
	if _, err := s.loop.add(fd, c); err != nil {
		s.closed(c, err)
	}
}

func (s *sourceLoop) accepted(int) {}

// wants is called for a session that is to be idle.
func (s *sourceLoop) wants(p *peer, _ action) { s.silent = append(s.silent, p) }

func (s *sourceLoop) closed(d dialogue, err error) {
	c := d.(*client)
	again, wait := c.closed(err)
	if !again {
		s.live--
		return
	}
	s.paused = append(s.paused, later{c, s.loop.now + wait})
}

func (s *sourceLoop) turn() (most time.Duration, done bool) {
	if s.live == 0 {
		return 0, true
	}
	most = forever
	if len(s.paused) > 0 {
		most = s.resume()
	}
	if s.Idle > 0 && s.opening.Load() == 0 {
		if s.release == 0 {
			s.release = s.loop.now + s.Idle
		}
		most = min(most, max(s.release-s.loop.now, 0))
		if s.loop.now >= s.release {
			s.endIdle()
		}
	}
	return most, false
}

// resume connects the sessions whose pause is over, and says how long the shortest other pause is.
func (s *sourceLoop) resume() time.Duration {
	most := forever
	due := s.paused
	s.paused = nil
	for _, p := range slices.Backward(due) {
		if p.at <= s.loop.now {
			s.connect(p.client)
			continue
		}
		s.paused = append(s.paused, p)
		most = min(most, p.at-s.loop.now)
	}
	return most
}

// endIdle lets the idle sessions say goodbye.
func (s *sourceLoop) endIdle() {
	for _, p := range s.silent {
		if s.loop.peers[p.fd] == p {
			p.d.(*client).quit()
			s.loop.flush(p)
		}
	}
	s.silent = nil
}
