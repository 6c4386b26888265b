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
	expiry *time.Timer // while it is idle
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
	idle   map[place][]*session // the last given is the first taken
}

// take gives an idle session of a place, or nil.
func (p *pool) take(at place) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[at]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1]
	p.set(at, list[:len(list)-1])
	s.expiry.Stop()
	return s
}

// give keeps a session for a while.
func (p *pool) give(at place, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go quit(s)
		return
	}
	if p.idle == nil {
		p.idle = make(map[place][]*session)
	}
	p.idle[at] = append(p.idle[at], s)
	s.expiry = time.AfterFunc(p.keep, func() { p.expire(at, s) })
}

func (p *pool) expire(at place, s *session) {
	p.mu.Lock()
	found := false
	list := p.idle[at]
	for i := range list {
		if list[i] == s {
			found = true
			p.set(at, append(list[:i], list[i+1:]...))
			break
		}
	}
	p.mu.Unlock()
	if found { // else it was taken in the last moment
		quit(s)
	}
}

// set replaces the list of a place; p.mu is held.
func (p *pool) set(at place, list []*session) {
	if len(list) == 0 {
		delete(p.idle, at)
		return
	}
	p.idle[at] = list
}

// close ends all idle sessions; what is given later ends at once.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	var quits sync.WaitGroup
	for _, list := range idle {
		for _, s := range list {
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
