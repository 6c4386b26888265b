package deliver

import (
	"context"
	"sync"
	"time"

	"github.com/holub-mail/holub/smtp/sender"
)

// session is an open session with a host.
type session struct {
	client *sender.Client
	host   string
	tls    string // what protects it, "TLS 1.3"; "" is nothing
	uses   int

	// While it is idle; guarded by pool.mu:
	expiry *time.Timer // made when it is idle for the first time
	next   *session    // that was given before it
}

// place is where a session may be used again: at the same site, spoken to in the same manner.
type place struct {
	site       string
	manner     Manner
	requireTLS bool // mail with REQUIRETLS goes there
}

// pool keeps idle sessions by place. As a session is taken before a new one is opened and given back by who used it, there
// are never more of a place than attempts ran at once.
type pool struct {
	keep time.Duration

	mu     sync.Mutex
	closed bool
	idle   map[place]*session // the last given is the first taken
}

// take gives an idle session of a place, or nil.
func (p *pool) take(at place) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.idle[at]
	if s == nil {
		return nil
	}
	p.set(at, s.next)
	s.next = nil
	s.expiry.Stop()
	return s
}

// give keeps a session for a while. A session is given to one place only.
func (p *pool) give(at place, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go quit(s)
		return
	}
	if p.idle == nil {
		p.idle = make(map[place]*session)
	}
	s.next = p.idle[at]
	p.idle[at] = s
	if s.expiry != nil {
		s.expiry.Reset(p.keep)
		return
	}
	s.expiry = time.AfterFunc(p.keep, func() { p.expire(at, s) })
}

func (p *pool) expire(at place, s *session) {
	p.mu.Lock()
	found := p.remove(at, s)
	p.mu.Unlock()
	if found { // else it was taken in the last moment
		quit(s)
	}
}

// remove takes a session off those of a place and tells whether it was there; p.mu is held.
func (p *pool) remove(at place, s *session) bool {
	if p.idle[at] == s {
		p.set(at, s.next)
		return true
	}
	for before := p.idle[at]; before != nil; before = before.next {
		if before.next == s {
			before.next = s.next
			return true
		}
	}
	return false
}

// set replaces the first session of a place; p.mu is held.
func (p *pool) set(at place, first *session) {
	if first == nil {
		delete(p.idle, at)
		return
	}
	p.idle[at] = first
}

// close ends all idle sessions; what is given later ends at once.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	var quits sync.WaitGroup
	for _, first := range idle {
		for s := first; s != nil; s = s.next {
			s.expiry.Stop()
			quits.Go(func() { quit(s) })
		}
	}
	quits.Wait()
}

// quitTime is all that a farewell is worth.
const quitTime = 2 * time.Second

func quit(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), quitTime)
	defer cancel()
	s.client.Quit(ctx)
}
