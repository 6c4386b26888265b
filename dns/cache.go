package dns

import (
	"context"
	"sync"
	"time"
)

// maxCachedRecords keeps one answer in the cache small; a longer one is asked for again each time.
const maxCachedRecords = 32

// cache keeps answers until their TTL ends. When it is full, an answer that has ended gives way, else any.
type cache struct {
	size    int
	now     func() time.Time
	mu      sync.Mutex
	entries map[question]cached
}

type cached struct {
	answer *answer
	until  time.Time
}

func newCache(size int, now func() time.Time) cache {
	if now == nil {
		now = time.Now
	}
	return cache{size: size, now: now, entries: map[question]cached{}}
}

func (c *cache) get(q question) (*answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	if ok && !c.now().Before(e.until) {
		delete(c.entries, q)
		return nil, false
	}
	return e.answer, ok
}

func (c *cache) put(q question, a *answer) {
	if c.size <= 0 || a.ttl <= 0 || len(a.mx)+len(a.addrs) > maxCachedRecords {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[q]; !ok && len(c.entries) >= c.size {
		c.makeRoom()
	}
	c.entries[q] = cached{a, c.now().Add(a.ttl)}
}

// makeRoom looks at a few entries, which a map gives in random order, and removes those that have ended, or else one.
func (c *cache) makeRoom() {
	const look = 8
	seen, now := 0, c.now()
	var victim question
	for q, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, q)
		}
		victim = q
		if seen++; seen == look {
			break
		}
	}
	if len(c.entries) >= c.size {
		delete(c.entries, victim)
	}
}

// flights joins equal questions that are asked at once.
type flights struct {
	mu      sync.Mutex
	running map[question]*flight
}

// flight is one query under way. It ends early when nobody waits for it any more.
type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	answer  *answer
}

// do gives what ask gives, run once for all who wait; ok is false when ctx ended first. The query does not end with the
// context of whoever came first: others may wait for it.
func (f *flights) do(ctx context.Context, q question, ask func(context.Context) *answer) (a *answer, ok bool) {
	f.mu.Lock()
	fl := f.running[q]
	if fl == nil {
		shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
		fl = &flight{cancel: cancel, done: make(chan struct{})}
		f.running[q] = fl
		go func() {
			a := ask(shared)
			f.mu.Lock()
			fl.answer = a
			f.forget(q, fl)
			f.mu.Unlock()
			cancel()
			close(fl.done)
		}()
	}
	fl.waiting++
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.answer, true
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiting--; fl.waiting == 0 {
		f.forget(q, fl) // who asks from now on needs a query of its own
		fl.cancel()
	}
	return nil, false
}

// forget takes a flight off the list. The caller holds the lock.
func (f *flights) forget(q question, fl *flight) {
	if f.running[q] == fl {
		delete(f.running, q)
	}
}
