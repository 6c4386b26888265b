package queue

import (
	"math"
	"time"
)

// fallAtOnce is how many records at most become ready in one call of Next, to keep that call short.
const fallAtOnce = 1024

// Plan holds the jobs that wait and counts those that run. It has no clock, no lock and no goroutine; randomness is handed
// in.
//
// A job is later (in a heap by due time), or ready (on its lane, and in a line of the site where the lane leads). Sites
// that have a ready job and a free place stand in a ring and get their turns one after the other, so that a site with a
// million jobs and a site with one are served alike, and a site whose places are all taken or that is paused costs the
// others nothing.
//
// There are places for all sites together, too, for a machine has only so many connections. The last quarter of them is for
// sites of which nothing runs: slow sites can take all others, and mail to a site of its own still finds one.
type Plan struct {
	total      int
	random     func() float64
	slab       slab
	later      laterHeap
	lanes      []*lane // by index; nil: free
	freeLanes  []uint32
	byName     map[string]*lane
	sites      map[string]*site
	turns      ring[*site] // sites that may start an attempt
	parked     ring[*site] // those of them that may not because of the total
	paused     pauseHeap
	asks       ring[*lane] // to be placed
	asking     int         // being placed
	idle       ring[*lane] // placed and without a job
	generation uint32
	look       look
	waiting    int // recipients
	flying     int // recipients
	running    int // attempts, without those that only look
}

// NewPlan makes an empty plan with a cap of the attempts that may run at once for all sites (0: none) and a source of
// numbers from [0,1).
func NewPlan(total int, random func() float64) *Plan {
	if total <= 0 {
		total = math.MaxInt
	}
	return &Plan{total: max(total, 4), random: random, byName: make(map[string]*lane), sites: make(map[string]*site),
		look: look{first: math.MaxInt64}}
}

// Add takes a job in.
func (p *Plan) Add(j Job, now time.Time) {
	if len(j.Recipients) == 0 {
		return
	}
	l := p.laneNamed(j.Lane)
	l.place.leaveIf(&p.idle)
	i, r := p.slab.store(j, l.index)
	l.records++
	n := len(j.Recipients)
	p.waiting += n
	at := nanos(now)
	p.look.postpone(r, at)
	if r.due <= at {
		p.makeReady(i, r, l, n)
		return
	}
	r.state = later
	l.later += n
	if l.site != nil {
		l.site.later += n
	}
	p.later.push(laterEntry{at: r.wake(), record: i})
}

// wake is when something happens to a record that is not due.
func (r *record) wake() int64 {
	if r.notice != 0 {
		return min(r.due, secondsToNanos(r.notice))
	}
	return r.due
}

// makeReady puts a record on its lane, and in line at its site.
func (p *Plan) makeReady(i uint32, r *record, l *lane, recipients int) {
	r.state = ready
	p.look.await(r)
	p.slab.push(byLane, &l.line, i)
	l.ready += recipients
	if l.site == nil {
		p.ask(l)
		return
	}
	l.site.ready += recipients
	l.site.push(&p.slab, i)
	p.queueTurn(l.site)
}

// fall makes ready what is due, up to a number.
func (p *Plan) fall(now int64) {
	for range fallAtOnce {
		if len(p.later) == 0 || p.later[0].at > now {
			return
		}
		i := p.later.pop().record
		r := p.slab.at(i)
		l := p.lanes[r.lane]
		n := p.slab.count(i, r)
		l.later -= n
		if l.site != nil {
			l.site.later -= n
		}
		if r.due > now {
			p.notice(i, r, l, n)
			continue
		}
		p.look.postpone(r, now)
		p.makeReady(i, r, l, n)
	}
}

// Next takes out the job whose turn it is. It must be given back with Done. A call does a bounded amount of work: when
// there is none and Wake is not after now, call again.
func (p *Plan) Next(now time.Time) (Work, bool) {
	at := nanos(now)
	p.fall(at)
	for len(p.paused) > 0 && p.paused[0].until <= at {
		p.endPause(p.paused[0])
	}
	p.lookOn(at)
	if p.look.line.head != 0 && p.look.running < maxLooking {
		return p.takeNoticed(), true
	}
	s := p.nextSite()
	if s == nil {
		return Work{}, false
	}
	i := s.pop(&p.slab)
	r := p.slab.at(i)
	l := p.lanes[r.lane]
	n := p.slab.count(i, r)
	p.slab.unlink(byLane, &l.line, i)
	l.ready -= n
	s.ready -= n
	p.waiting -= n
	r.state = flying
	p.slab.push(byLine, &s.flying, i)
	s.running++
	s.busy += n
	p.running++
	p.flying += n
	p.queueTurn(s)
	if p.outdated(l, at) {
		p.ask(l)
	}
	return Work{Job: p.slab.job(i, r, l.name), Site: s.name, site: s, record: i}, true
}

// Done gives the place of a job back, takes in what is still owed and learns from what came of it.
func (p *Plan) Done(w Work, result Result, now time.Time) {
	i := w.record
	r := p.slab.at(i)
	l := p.lanes[r.lane]
	n := p.slab.count(i, r)
	p.flying -= n
	s := w.site
	if r.state == looking {
		p.slab.unlink(byLine, &p.look.flying, i)
		p.look.running--
		s = nil
	} else {
		p.slab.unlink(byLine, &s.flying, i)
		s.running--
		s.busy -= n
		p.running--
		stale := r.flags&flagStale != 0
		if stale {
			s.stale--
		}
		p.judge(s, stale, result, now)
	}
	p.slab.giveBack(i)
	for _, j := range result.Owed {
		p.Add(j, now)
	}
	l.records--
	if s != nil {
		p.queueTurn(s)
	}
	p.rest(l, now)
	if s != nil {
		p.forget(s)
	}
}

// Wake is when Next must be called again although nothing else happens; ok is false when there is no such time.
func (p *Plan) Wake() (at time.Time, ok bool) {
	first := p.look.wake()
	if len(p.later) > 0 {
		first = min(first, p.later[0].at)
	}
	if len(p.paused) > 0 {
		first = min(first, p.paused[0].until)
	}
	if first == math.MaxInt64 {
		return time.Time{}, false
	}
	return time.Unix(0, first), true
}

// Ready tells, without doing anything, that there is a lane to be placed or a job whose turn has come. What falls due is not
// among it before Next has seen it; Wake says when that is.
func (p *Plan) Ready() bool {
	if p.asks.length > 0 && p.asking < maxAsking {
		return true
	}
	spare := p.total - p.running
	return spare > 0 && (p.turns.length > 0 || p.parked.length > 0 && spare > p.total/4)
}

// Counts gives the number of recipients that wait and that are being tried.
func (p *Plan) Counts() (waiting, running int) { return p.waiting, p.flying }

// SiteOf gives the site where a lane leads, as far as it is known.
func (p *Plan) SiteOf(lane string) (site string, ok bool) {
	l := p.byName[lane]
	if l == nil || l.site == nil {
		return "", false
	}
	return l.site.name, true
}
