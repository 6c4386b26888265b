package queue

import (
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Take takes the matching recipients out of what waits; a job of which some match is split. It is one walk over all.
func (p *Plan) Take(match func(id spool.ID, n int) bool, now time.Time) []Job {
	var jobs []Job
	heaped := false // something in the heap was taken
	for c := range p.slab.chunks {
		records := p.slab.chunks[c].records
		if records == nil {
			continue
		}
		for k := range records {
			r := &records[k]
			if r.state != later && r.state != ready && r.state != noticed {
				continue
			}
			i := uint32(c*chunkSize + k + 1)
			j, whole := p.takeFrom(i, r, match)
			if len(j.Recipients) == 0 {
				continue
			}
			heaped = heaped || whole && r.state == taken
			jobs = append(jobs, j)
		}
	}
	if heaped {
		p.later.keep(func(e laterEntry) bool {
			gone := p.slab.at(e.record).state == taken
			if gone {
				p.slab.giveBack(e.record)
			}
			return !gone
		})
	}
	for _, l := range p.lanes {
		if len(jobs) > 0 && l != nil && l.records == 0 && l.place.in == nil {
			p.rest(l, now)
		}
	}
	return jobs
}

// takeFrom takes the matching recipients out of one record; whole tells that none is left in it.
func (p *Plan) takeFrom(i uint32, r *record, match func(id spool.ID, n int) bool) (j Job, whole bool) {
	if r.flags&flagMany == 0 && !match(r.id, int(r.n)) { // the common case, without a list
		return Job{}, false
	}
	l := p.lanes[r.lane]
	if r.flags&flagMany == 0 {
		j = p.slab.job(i, r, l.name)
		p.remove(i, r, l, 1)
		return j, true
	}
	var out, rest []int
	for _, n := range p.slab.many[i] {
		if match(r.id, int(n)) {
			out = append(out, int(n))
		} else {
			rest = append(rest, int(n))
		}
	}
	if len(out) == 0 {
		return Job{}, false
	}
	j = p.slab.job(i, r, l.name)
	j.Recipients = out
	if len(rest) == 0 {
		p.remove(i, r, l, len(out))
		return j, true
	}
	p.slab.setRecipients(i, r, rest)
	p.shrink(r, l, len(out))
	return j, false
}

// shrink counts recipients out of a waiting record that stays.
func (p *Plan) shrink(r *record, l *lane, recipients int) {
	p.waiting -= recipients
	if r.state == later {
		l.later -= recipients
		if l.site != nil {
			l.site.later -= recipients
		}
		return
	}
	l.ready -= recipients
	if l.site != nil {
		l.site.ready -= recipients
	}
}

// remove takes a whole waiting record out. One in the heap is marked only; Take cleans the heap at its end.
func (p *Plan) remove(i uint32, r *record, l *lane, recipients int) {
	switch r.state {
	case later:
		p.shrink(r, l, recipients)
		r.state = taken
	case ready:
		p.waiting -= recipients
		p.leaveLine(i, l, recipients)
		p.slab.giveBack(i)
	case noticed:
		p.waiting -= recipients
		p.leaveNoticed(i, l, recipients)
		p.slab.giveBack(i)
	}
	l.records--
}
