package queue

import (
	"container/heap"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Job is the smallest unit of work: the recipients of one message that go to one site and are due together.
type Job struct {
	ID         spool.ID
	Site       string    // jobs of one site share its cap; the name means nothing here
	Recipients []int     // indices into the message's recipients
	Due        time.Time // not before this; zero is now
	Priority   int       // above 0: before ordinary jobs of its site; below 0: behind them
}

// Plan holds the jobs that wait and counts those that run. It has no clock, no lock and no goroutine.
//
// A job is either later (in a heap by due time) or ready (in its site's line). Sites that have a ready job and a free
// place stand in a ring and get their turns one after the other, so that a site with a million jobs and a site with one
// are served alike, and a site whose places are all taken costs the others nothing.
//
// There are places for all sites together, too, for a machine has only so many connections. The last quarter of them is for
// sites of which nothing runs: slow sites can take all others, and mail to a site of its own still finds one.
type Plan struct {
	perSite int
	total   int
	sites   map[string]*site
	turns   fifo[*site] // the ring
	later   dueHeap
	waiting int
	running int
}

type site struct {
	name    string
	ready   [classes]fifo[Job]
	turn    int // of the classes
	running int
	inTurns bool
}

// classes are the levels of priority that are told apart: above, at and below ordinary.
const classes = 3

// shares is the order in which the classes of a site get their turns: six turns of ten to the urgent, three to
// ordinary mail, one to the rest. A class that has nothing passes its turn on, so none starves and none waits for nobody.
var shares = [...]int{0, 0, 1, 0, 0, 1, 0, 0, 1, 2}

func (j Job) class() int {
	switch {
	case j.Priority > 0:
		return 0
	case j.Priority == 0:
		return 1
	}
	return 2
}

// NewPlan makes an empty plan with caps of the jobs that may run at once for one site, and for all.
func NewPlan(perSite, total int) *Plan {
	return &Plan{perSite: max(perSite, 1), total: max(total, 4), sites: make(map[string]*site)}
}

// Add takes a job in.
func (p *Plan) Add(j Job, now time.Time) {
	p.waiting++
	if j.Due.After(now) {
		heap.Push(&p.later, j)
		return
	}
	p.makeReady(j)
}

// Next takes out the job whose turn it is. It must be given back with Done.
func (p *Plan) Next(now time.Time) (Job, bool) {
	for len(p.later) > 0 && !p.later[0].Due.After(now) {
		p.makeReady(heap.Pop(&p.later).(Job))
	}
	s := p.nextSite()
	if s == nil {
		return Job{}, false
	}
	s.inTurns = false
	j := s.pop()
	s.running++
	p.running++
	p.waiting--
	p.queueTurn(s)
	return j, true
}

// nextSite takes the site whose turn it is out of the ring; nil where there is no place for any.
func (p *Plan) nextSite() *site {
	if p.running >= p.total {
		return nil
	}
	onlyIdle := p.running >= p.total-p.total/4
	for range p.turns.len() {
		s := p.turns.pop()
		if s.running == 0 || !onlyIdle {
			return s
		}
		p.turns.push(s)
	}
	return nil
}

// Done gives the place of a job back.
func (p *Plan) Done(j Job) {
	s := p.sites[j.Site]
	s.running--
	p.running--
	p.queueTurn(s)
	if s.running == 0 && s.empty() {
		delete(p.sites, j.Site)
	}
}

// Wake is when the next job that is not ready yet falls due; ok is false when there is none.
func (p *Plan) Wake() (at time.Time, ok bool) {
	if len(p.later) == 0 {
		return time.Time{}, false
	}
	return p.later[0].Due, true
}

// Counts gives the number of jobs that wait and that run.
func (p *Plan) Counts() (waiting, running int) { return p.waiting, p.running }

func (p *Plan) makeReady(j Job) {
	s := p.sites[j.Site]
	if s == nil {
		s = &site{name: j.Site}
		p.sites[j.Site] = s
	}
	s.ready[j.class()].push(j)
	p.queueTurn(s)
}

// queueTurn puts a site at the end of the ring if it has work and a free place.
func (p *Plan) queueTurn(s *site) {
	if s.inTurns || s.empty() || s.running >= p.perSite {
		return
	}
	s.inTurns = true
	p.turns.push(s)
}

func (s *site) empty() bool {
	for i := range s.ready {
		if !s.ready[i].empty() {
			return false
		}
	}
	return true
}

// pop takes the next job; there must be one.
func (s *site) pop() Job {
	class := shares[s.turn]
	s.turn = (s.turn + 1) % len(shares)
	for i := 0; s.ready[class].empty(); i++ { // the next in order of urgency takes the turn
		class = i
	}
	return s.ready[class].pop()
}

// dueHeap orders jobs by due time, then by age.
type dueHeap []Job

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, k int) bool {
	if !h[i].Due.Equal(h[k].Due) {
		return h[i].Due.Before(h[k].Due)
	}
	return string(h[i].ID[:]) < string(h[k].ID[:])
}
func (h dueHeap) Swap(i, k int) { h[i], h[k] = h[k], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(Job)) }
func (h *dueHeap) Pop() any {
	old := *h
	j := old[len(old)-1]
	old[len(old)-1] = Job{}
	*h = old[:len(old)-1]
	return j
}
