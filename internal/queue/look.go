package queue

import (
	"math"
	"time"
)

const (
	maxLooking = 64               // jobs handed out at once only to be looked at
	lookEvery  = 20 * time.Second // between two rounds through what is ready
	lookDelay  = 30 * time.Second // before a job whose notice had passed when it came is looked at: it may go first
	lookAtOnce = 16               // chunks in one call of Next
)

// look finds the jobs that must be looked at because of their age although they are ready and not their turn.
//
// Every so often it walks through the records, a few chunks in each call of Next, and only when there is something to find.
type look struct {
	line    list  // what was found and not handed out
	flying  list  // what was handed out
	running int   // its number
	first   int64 // no ready record has an earlier notice, in ns
	begun   int64 // when the last round began
	active  bool
	next    int // chunk, while active
}

// postpone moves a notice that has passed, so that the job is tried first if there is a place for it, and so that one that
// comes back as it was does not come back at once.
func (k *look) postpone(r *record, now int64) {
	if r.notice != 0 && secondsToNanos(r.notice) <= now {
		r.notice = uint32(min((now+int64(lookDelay))/int64(time.Second), math.MaxUint32))
	}
}

// await takes note of a record that became ready.
func (k *look) await(r *record) {
	if r.notice != 0 {
		k.first = min(k.first, secondsToNanos(r.notice))
	}
}

// wake is when Next has something to do for a look; MaxInt64: never. A time that has passed: at once.
func (k *look) wake() int64 {
	switch {
	case k.active, k.line.head != 0 && k.running < maxLooking:
		return 0
	case k.first == math.MaxInt64:
		return math.MaxInt64
	}
	return max(k.first, k.begun+int64(lookEvery))
}

// lookOn walks a few chunks further, if a round is on or due.
func (p *Plan) lookOn(now int64) {
	k := &p.look
	if !k.active {
		if k.first > now || now < k.begun+int64(lookEvery) && now >= k.begun { // or the clock was set back
			return
		}
		k.active, k.next, k.begun, k.first = true, 0, now, math.MaxInt64
	}
	for range lookAtOnce {
		if k.next >= len(p.slab.chunks) {
			k.active = false
			return
		}
		p.lookAt(k.next, now)
		k.next++
	}
}

// lookAt finds in one chunk what must be looked at.
func (p *Plan) lookAt(chunk int, now int64) {
	records := p.slab.chunks[chunk].records
	if records == nil {
		return
	}
	for c := range records {
		r := &records[c]
		if r.state != ready || r.notice == 0 {
			continue
		}
		if secondsToNanos(r.notice) > now {
			p.look.await(r)
			continue
		}
		i := uint32(chunk*chunkSize + c + 1)
		l := p.lanes[r.lane]
		n := p.slab.count(i, r)
		p.leaveLine(i, l, n)
		p.notice(i, r, l, n)
	}
}

// leaveLine takes a ready record off its lane and out of the line of its site.
func (p *Plan) leaveLine(i uint32, l *lane, recipients int) {
	p.slab.unlink(byLane, &l.line, i)
	l.ready -= recipients
	if s := l.site; s != nil {
		s.remove(&p.slab, i)
		s.ready -= recipients
		p.queueTurn(s)
	}
}

// notice puts a record that is in no line where it is handed out to be looked at. It counts as ready until then.
func (p *Plan) notice(i uint32, r *record, l *lane, recipients int) {
	r.state = noticed
	p.slab.push(byLine, &p.look.line, i)
	l.ready += recipients
	if l.site != nil {
		l.site.ready += recipients
	}
}

func (p *Plan) leaveNoticed(i uint32, l *lane, recipients int) {
	p.slab.unlink(byLine, &p.look.line, i)
	l.ready -= recipients
	if l.site != nil {
		l.site.ready -= recipients
	}
}

// takeNoticed hands out the first of the noticed; there must be one.
func (p *Plan) takeNoticed() Work {
	i := p.look.line.head
	r := p.slab.at(i)
	l := p.lanes[r.lane]
	n := p.slab.count(i, r)
	p.leaveNoticed(i, l, n)
	r.state = looking
	p.slab.push(byLine, &p.look.flying, i)
	p.look.running++
	p.waiting -= n
	p.flying += n
	return p.lookWork(i, r, l)
}

func (p *Plan) lookWork(i uint32, r *record, l *lane) Work {
	w := Work{Job: p.slab.job(i, r, l.name), Pause: &Pause{}, record: i}
	if l.site != nil {
		w.Site, w.Pause = l.site.name, l.site.pause()
	}
	return w
}
