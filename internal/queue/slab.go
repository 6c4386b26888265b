package queue

import (
	"math"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// record is a job as it is kept: 56 bytes without a pointer.
type record struct {
	due      int64 // ns since 1970; 0: at once
	id       spool.ID
	n        uint32 // its recipient, if it has one (flagMany is not set)
	lane     uint32 // index into Plan.lanes
	links    [2]link
	notice   uint32 // seconds since 1970; 0: never
	sender   uint32
	priority int8
	state    state
	flags    uint8
}

// state is where a record is.
type state uint8

const (
	free    state = iota
	later         // in the heap
	ready         // on its lane's list and, if the lane is placed, in a line of the site
	noticed       // waits to be handed out because of its age
	flying        // an attempt runs; on the site's list of them
	looking       // handed out because of its age
	taken         // taken out of the heap's sight; free as soon as the heap has forgotten it
)

const (
	flagFresh = 1 << iota
	flagMany  // the recipients are in slab.many
	flagStale // its attempt began before the last pause of its site: its failure says nothing new
)

// link joins records to a list. A record can be on two at once.
type link struct{ prev, next uint32 }

const (
	byLine = iota // the line of a sender, a site's attempts, the noticed
	byLane        // the ready ones of a lane
)

// list is a doubly linked list of records; the number 0 is no record.
type list struct{ head, tail uint32 }

// chunkSize is a number of records whose memory is a size class of the allocator.
const chunkSize = 512

type chunk struct {
	records *[chunkSize]record // nil while none is used
	free    uint32             // first free record, by number; linked by next
	live    int
}

// slab keeps the records, in chunks that are given back when they are empty.
type slab struct {
	chunks  []chunk
	partial []uint32            // chunks with a free record
	spare   *[chunkSize]record  // of the last empty chunk, for a queue that keeps going empty
	many    map[uint32][]uint32 // recipients of the records that have several
}

func (s *slab) at(i uint32) *record { return &s.chunks[(i-1)/chunkSize].records[(i-1)%chunkSize] }

// take gives a free record; its fields are those of before.
func (s *slab) take() (uint32, *record) {
	if len(s.partial) == 0 {
		s.chunks = append(s.chunks, chunk{})
		s.partial = append(s.partial, uint32(len(s.chunks)-1))
	}
	n := s.partial[len(s.partial)-1]
	c := &s.chunks[n]
	if c.records == nil {
		s.open(n)
	}
	i := c.free
	r := s.at(i)
	c.free = r.links[0].next
	if c.live++; c.live == chunkSize {
		s.partial = s.partial[:len(s.partial)-1]
	}
	return i, r
}

// open gives a chunk its memory, all of it free.
func (s *slab) open(n uint32) {
	c := &s.chunks[n]
	if c.records, s.spare = s.spare, nil; c.records == nil {
		c.records = new([chunkSize]record)
	}
	first := n*chunkSize + 1
	for k := range c.records {
		c.records[k].links[0].next = first + uint32(k) + 1
	}
	c.records[chunkSize-1].links[0].next = 0
	c.free = first
}

func (s *slab) giveBack(i uint32) {
	r := s.at(i)
	if r.flags&flagMany != 0 {
		delete(s.many, i)
	}
	n := (i - 1) / chunkSize
	c := &s.chunks[n]
	r.state, r.links[0].next = free, c.free
	c.free = i
	if c.live == chunkSize {
		s.partial = append(s.partial, n)
	}
	if c.live--; c.live == 0 {
		s.spare, c.records = c.records, nil
	}
}

// push puts a record at the end of a list.
func (s *slab) push(by int, l *list, i uint32) {
	s.at(i).links[by] = link{prev: l.tail}
	if l.tail == 0 {
		l.head = i
	} else {
		s.at(l.tail).links[by].next = i
	}
	l.tail = i
}

// unlink takes a record out of the list it is on.
func (s *slab) unlink(by int, l *list, i uint32) {
	k := s.at(i).links[by]
	if k.prev == 0 {
		l.head = k.next
	} else {
		s.at(k.prev).links[by].next = k.next
	}
	if k.next == 0 {
		l.tail = k.prev
	} else {
		s.at(k.next).links[by].prev = k.prev
	}
}

// store makes a record of a job.
func (s *slab) store(j Job, lane uint32) (uint32, *record) {
	i, r := s.take()
	*r = record{due: nanos(j.Due), id: j.ID, lane: lane, notice: noticeOf(j.Notice), sender: j.Sender,
		priority: int8(min(max(j.Priority, math.MinInt8), math.MaxInt8))}
	if j.Fresh {
		r.flags |= flagFresh
	}
	s.setRecipients(i, r, j.Recipients)
	return i, r
}

func (s *slab) setRecipients(i uint32, r *record, recipients []int) {
	if len(recipients) == 1 {
		r.n = uint32(recipients[0])
		if r.flags&flagMany != 0 {
			r.flags &^= flagMany
			delete(s.many, i)
		}
		return
	}
	several := make([]uint32, len(recipients))
	for k, n := range recipients {
		several[k] = uint32(n)
	}
	if s.many == nil {
		s.many = make(map[uint32][]uint32)
	}
	s.many[i] = several
	r.flags |= flagMany
}

// count is the number of a record's recipients.
func (s *slab) count(i uint32, r *record) int {
	if r.flags&flagMany == 0 {
		return 1
	}
	return len(s.many[i])
}

func (s *slab) recipients(i uint32, r *record) []int {
	if r.flags&flagMany == 0 {
		return []int{int(r.n)}
	}
	all := make([]int, 0, len(s.many[i]))
	for _, n := range s.many[i] {
		all = append(all, int(n))
	}
	return all
}

// job makes the job again that a record was made of.
func (s *slab) job(i uint32, r *record, lane string) Job {
	j := Job{ID: r.id, Lane: lane, Recipients: s.recipients(i, r), Due: timeOf(r.due), Priority: int(r.priority),
		Sender: r.sender, Fresh: r.flags&flagFresh != 0}
	if r.notice != 0 {
		j.Notice = time.Unix(int64(r.notice), 0)
	}
	return j
}

// nanos is a time as it is kept; times that don't fit (before 1970, after 2262) are moved to where they do.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case t.IsZero():
		return 0
	case s < 0:
		return 1
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// noticeOf is a time in seconds, not before it.
func noticeOf(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return uint32(min(max(s, 1), math.MaxUint32))
}

func secondsToNanos(s uint32) int64 { return int64(s) * int64(time.Second) }
