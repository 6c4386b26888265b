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
	uses   int
	expiry *time.Timer // while it is idle
}

// pool keeps idle sessions by site. As a session is taken before a new one is opened and given back by who used it, there
// are never more of a site than attempts ran at once.
type pool struct {
	keep time.Duration

	mu     sync.Mutex
	closed bool
	idle   map[string][]*session // the last given is the first taken
}

// take gives an idle session of a site, or nil.
func (p *pool) take(site string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[site]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1]
	p.set(site, list[:len(list)-1])
	s.expiry.Stop()
	return s
}

// give keeps a session for a while.
func (p *pool) give(site string, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go quit(s)
		return
	}
	if p.idle == nil {
		p.idle = make(map[string][]*session)
	}
	p.idle[site] = append(p.idle[site], s)
	s.expiry = time.AfterFunc(p.keep, func() { p.expire(site, s) })
}

func (p *pool) expire(site string, s *session) {
	p.mu.Lock()
	found := false
	list := p.idle[site]
	for i := range list {
		if list[i] == s {
			found = true
			p.set(site, append(list[:i], list[i+1:]...))
			break
		}
	}
	p.mu.Unlock()
	if found { // else it was taken in the last moment
		quit(s)
	}
}

// set replaces the list of a site; p.mu is held.
func (p *pool) set(site string, list []*session) {
	if len(list) == 0 {
		delete(p.idle, site)
		return
	}
	p.idle[site] = list
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
