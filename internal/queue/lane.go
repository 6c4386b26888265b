package queue

import (
	"strings"
	"time"
)

const (
	maxAsking   = 256             // lanes that are being placed at once
	maxIdle     = 10_000          // lanes without a job whose placement is kept
	minValidity = 5 * time.Second // of a placement, whatever it says
)

// lane is a way mail goes, and where it leads as far as that is known.
type lane struct {
	name       string
	index      uint32 // in Plan.lanes
	generation uint32 // of the configuration that placed it
	site       *site  // nil: not placed yet
	expires    int64  // of the placement, in ns; 0: never
	asked      bool   // in Plan.asks, or being placed
	records    int    // in any state
	line       list   // its ready records
	ready      int    // recipients in line or in Plan.notices
	later      int    // recipients that are not due
	place      node[*lane]
}

func (p *Plan) laneNamed(name string) *lane {
	if l := p.byName[name]; l != nil {
		return l
	}
	l := &lane{name: strings.Clone(name)} // the caller's may be a part of something long
	l.place.value = l
	if n := len(p.freeLanes); n > 0 {
		l.index = p.freeLanes[n-1]
		p.freeLanes = p.freeLanes[:n-1]
		p.lanes[l.index] = l
	} else {
		l.index = uint32(len(p.lanes))
		p.lanes = append(p.lanes, l)
	}
	p.byName[l.name] = l
	return l
}

// outdated tells a placement that has to be asked for again.
func (p *Plan) outdated(l *lane, now int64) bool {
	return l.site == nil || l.generation != p.generation || l.expires != 0 && l.expires <= now
}

// ask puts a lane in line for being placed.
func (p *Plan) ask(l *lane) {
	if l.asked {
		return
	}
	l.asked = true
	l.place.leave()
	p.asks.push(&l.place)
}

// Unplaced gives the next lane for which Place must be called.
func (p *Plan) Unplaced() (name string, ok bool) {
	if p.asking >= maxAsking || p.asks.length == 0 {
		return "", false
	}
	p.asking++
	l := p.asks.pop()
	l.generation = p.generation // what it is told now comes from this configuration
	return l.name, true
}

// Place says where a lane leads that Unplaced gave. What is ready on it goes to that site's lines.
func (p *Plan) Place(name string, to Placement, now time.Time) {
	l := p.byName[name]
	if l == nil || !l.asked || l.place.in != nil {
		return // Unplaced did not give it
	}
	p.asking--
	l.asked = false
	if to.Site == "" {
		to.Site = l.name
	}
	s := p.siteNamed(to.Site)
	s.configure(to)
	if l.expires = nanos(to.Expires); l.expires != 0 {
		l.expires = max(l.expires, nanos(now.Add(minValidity)))
	}
	if l.site != s {
		p.move(l, s)
	}
	p.queueTurn(s)
	p.rest(l, now)
}

// move leads a lane to a site.
func (p *Plan) move(l *lane, to *site) {
	from := l.site
	for i := l.line.head; i != 0; i = p.slab.at(i).links[byLane].next {
		if from != nil {
			from.remove(&p.slab, i)
		}
		to.push(&p.slab, i)
	}
	l.site = to
	to.lanes++
	to.ready += l.ready
	to.later += l.later
	if from == nil {
		return
	}
	from.lanes--
	from.ready -= l.ready
	from.later -= l.later
	p.queueTurn(from)
	p.forget(from)
}

// rest puts a lane that has no job aside, or drops it when its placement is of no more use.
func (p *Plan) rest(l *lane, now time.Time) {
	if l.records > 0 || l.asked {
		return
	}
	at := nanos(now)
	if p.outdated(l, at) {
		p.drop(l)
	} else if l.place.in == nil {
		p.idle.push(&l.place)
	}
	for range 2 { // more than come in
		if p.idle.length > 0 && (p.idle.length > maxIdle || p.outdated(p.idle.first.value, at)) {
			p.drop(p.idle.first.value)
		}
	}
}

func (p *Plan) drop(l *lane) {
	l.place.leave()
	delete(p.byName, l.name)
	p.lanes[l.index] = nil
	p.freeLanes = append(p.freeLanes, l.index)
	if s := l.site; s != nil {
		s.lanes--
		p.forget(s)
	}
}

// Replace forgets where lanes lead, for the configuration has changed. Each keeps its place until it is asked again at its
// next turn; those that wait at a paused site are asked at once. All pauses end.
func (p *Plan) Replace() {
	p.generation++
	for _, l := range p.lanes {
		if l != nil && l.line.head != 0 && l.site != nil && l.site.until != 0 {
			p.ask(l)
		}
	}
	p.WakeSites(func(string) bool { return true })
}

// WakeSites ends the pauses of the sites that match. The attempt that each gets now is one more than its turn: if it fails, the
// pause that follows is as long as the one that was cut short.
func (p *Plan) WakeSites(match func(site string) bool) {
	var wake []*site // the heap changes when a pause ends
	for _, s := range p.paused {
		if match(s.name) {
			wake = append(wake, s)
		}
	}
	for _, s := range wake {
		s.rounds = max(s.rounds-1, 0)
		p.endPause(s)
	}
}
