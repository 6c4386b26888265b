package queue

import (
	"container/heap"
	"time"
)

// startWindow is how many attempts a site gets at once before it has shown what it can take.
const startWindow = 2

// site is where lanes lead: what holds for a set of hosts together.
//
// Its window grows by one with each success up to the cap, and is halved by each failure. A failure at a window of one,
// after another one and no success between them, pauses the site; after the pause one attempt goes, and if that fails, the
// next and longer pause begins.
type site struct {
	name   string
	cap    int
	pauses []time.Duration

	bands                    // what waits in line
	flying             list  // records of attempts that run
	running, stale     int   // attempts that run; those of them that began before the last pause
	ready, later, busy int   // recipients: in line or handed to Plan.notices, not due, being tried
	window             int   // attempts that may run beside the stale ones
	failed             int   // failures since the last success
	rounds             int   // pauses since the last success
	since, until       int64 // of the pause, in ns; 0: none
	said               string
	saidAt             int64
	lanes              int         // that lead here
	turn               node[*site] // in Plan.turns or Plan.parked
	pausePlace         int         // in Plan.paused
}

func newSite(name string) *site {
	s := &site{name: name, window: startWindow}
	s.turn.value = s
	return s
}

// configure takes over what the last placement says of the site.
func (s *site) configure(p Placement) {
	s.cap, s.pauses = max(p.Cap, 1), p.Pauses
	s.window = min(s.window, s.cap)
}

// wants tells that a job of the site could go now.
func (s *site) wants() bool {
	return s.until == 0 && s.length > 0 && s.running-s.stale < s.window && s.running < s.cap
}

// worked opens the window by one.
func (s *site) worked() {
	s.failed, s.rounds = 0, 0
	s.window = min(s.window+1, s.cap)
}

// failure halves the window and tells whether the site is to be left alone, and how long (without jitter).
func (s *site) failure() (pause time.Duration, dead bool) {
	dead = s.window == 1 && s.failed > 0 && len(s.pauses) > 0
	s.failed++
	s.window = max(s.window/2, 1)
	if !dead {
		return 0, false
	}
	s.rounds++
	return s.pauses[min(s.rounds, len(s.pauses))-1], true
}

func (s *site) pause() *Pause {
	return &Pause{Since: timeOf(s.since), Until: timeOf(s.until), Said: s.said}
}

// judge takes up what an attempt told of its site.
func (p *Plan) judge(s *site, stale bool, r Result, now time.Time) {
	if r.Said != "" {
		s.said, s.saidAt = r.Said, nanos(now)
	}
	switch {
	case r.Signal == Worked:
		s.worked()
		p.endPause(s)
	case r.Signal == Failed && !stale:
		if length, dead := s.failure(); dead {
			p.beginPause(s, now, jitter(length, p.random()))
		}
	}
}

// beginPause leaves a site alone; what runs there now can't say anything new about it but that it works.
func (p *Plan) beginPause(s *site, now time.Time, length time.Duration) {
	for i := s.flying.head; i != 0; {
		r := p.slab.at(i)
		r.flags |= flagStale
		i = r.links[byLine].next
	}
	s.stale = s.running
	s.since, s.until = nanos(now), max(nanos(now.Add(length)), 1)
	heap.Push(&p.paused, s)
}

func (p *Plan) endPause(s *site) {
	if s.until == 0 {
		return
	}
	heap.Remove(&p.paused, s.pausePlace)
	s.since, s.until = 0, 0
	p.queueTurn(s)
}

// siteNamed gives the site of a name, a new one if need be.
func (p *Plan) siteNamed(name string) *site {
	s := p.sites[name]
	if s == nil {
		s = newSite(name)
		p.sites[name] = s
	}
	return s
}

// forget drops a site to which nothing leads and at which nothing runs.
func (p *Plan) forget(s *site) {
	if s.lanes > 0 || s.running > 0 || p.sites[s.name] != s {
		return
	}
	if s.until != 0 {
		heap.Remove(&p.paused, s.pausePlace)
		s.until = 0
	}
	s.turn.leave()
	delete(p.sites, s.name)
}

// queueTurn puts a site that has work and a free place at the end of the ring, and takes one out that has not.
func (p *Plan) queueTurn(s *site) {
	switch {
	case !s.wants():
		s.turn.leave()
	case s.turn.in == nil:
		p.turns.push(&s.turn)
	case s.turn.in == &p.parked && s.running == 0:
		s.turn.leave()
		p.turns.push(&s.turn)
	}
}

// nextSite takes the site whose turn it is out of the ring; nil where there is no place for any. Sites that are passed
// over because only idle ones may run are parked, so that nobody looks at them again, and come first when there is place.
func (p *Plan) nextSite() *site {
	if p.running >= p.total {
		return nil
	}
	onlyIdle := p.running >= p.total-p.total/4
	if !onlyIdle && p.parked.length > 0 {
		return p.parked.pop()
	}
	for p.turns.length > 0 {
		s := p.turns.pop()
		if s.running == 0 || !onlyIdle {
			return s
		}
		p.parked.push(&s.turn)
	}
	return nil
}

// pauseHeap orders paused sites by the end of the pause.
type pauseHeap []*site

func (h pauseHeap) Len() int           { return len(h) }
func (h pauseHeap) Less(i, k int) bool { return h[i].until < h[k].until }
func (h pauseHeap) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].pausePlace, h[k].pausePlace = i, k
}
func (h *pauseHeap) Push(x any) {
	s := x.(*site)
	s.pausePlace = len(*h)
	*h = append(*h, s)
}
func (h *pauseHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return s
}
