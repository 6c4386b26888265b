package queue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

var epoch = time.Unix(1e9, 0)

// id makes the n-th id; ids sort by n.
func id(n int) spool.ID {
	return spool.ID{8: byte(n >> 24), 9: byte(n >> 16), 10: byte(n >> 8), 11: byte(n)}
}

func half() float64 { return 0.5 }

// owner says who must have a recipient.
type owner uint8

const (
	ownerPlan owner = iota + 1
	ownerAttempt
	ownerCaller
)

type recipientID struct {
	id spool.ID
	n  int
}

// modelRun does what comes to its mind with a plan, and keeps books of each recipient.
type modelRun struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Time
	plan    *Plan
	owners  map[recipientID]owner
	due     map[recipientID]time.Time
	flying  []Work
	caps    map[string]int
	placing []string
	taken   []Job
	ids     int
	total   int
}

// TestPlanModel: no recipient is lost or handed out twice or too early, the caps of sites and of all hold, a paused site is
// given nothing, all counters are what a count of the records gives, and in the end everything leaves.
func TestPlanModel(t *testing.T) {
	seeds := uint64(120)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		r := modelRun{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: epoch, owners: map[recipientID]owner{},
			due: map[recipientID]time.Time{}, caps: map[string]int{}}
		if r.total = 1 << 30; seed%2 == 0 {
			r.total = 4 + r.rng.IntN(12)
		}
		r.plan = NewPlan(r.total, r.rng.Float64)
		for range 600 {
			r.step()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		r.drain()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (r *modelRun) step() {
	switch r.rng.IntN(20) {
	case 0, 1, 2, 3, 4:
		r.add()
	case 5, 6, 7, 8, 9:
		r.next()
	case 10, 11, 12:
		if len(r.flying) > 0 {
			r.done(r.rng.IntN(len(r.flying)), Signal(r.rng.IntN(3)), r.rng.IntN(2) == 0)
		}
	case 13, 14:
		if lane, ok := r.plan.Unplaced(); ok {
			r.placing = append(r.placing, lane)
		}
	case 15, 16:
		if len(r.placing) > 0 {
			r.place(r.rng.IntN(len(r.placing)))
		}
	case 17, 18:
		r.now = r.now.Add(time.Duration(r.rng.IntN(40_000)) * time.Millisecond)
	case 19:
		r.steer()
	}
	r.check()
}

func (r *modelRun) add() {
	if len(r.taken) > 0 && r.rng.IntN(2) == 0 { // the caller gives back what it took
		j := r.taken[0]
		r.taken = r.taken[1:]
		r.give(j)
		return
	}
	r.ids++
	j := Job{ID: id(r.ids), Lane: fmt.Sprint("lane", r.rng.IntN(9)), Priority: r.rng.IntN(3) - 1,
		Sender: uint32(r.rng.IntN(5)), Fresh: r.rng.IntN(2) == 0}
	for n := range 1 + r.rng.IntN(3) {
		j.Recipients = append(j.Recipients, n)
	}
	if r.rng.IntN(2) == 0 {
		j.Due = r.now.Add(time.Duration(r.rng.IntN(100_000)-20_000) * time.Millisecond)
	}
	if r.rng.IntN(3) == 0 {
		j.Notice = r.now.Add(time.Duration(r.rng.IntN(200)-20) * time.Second)
	}
	r.give(j)
}

func (r *modelRun) give(j Job) {
	for _, n := range j.Recipients {
		r.owners[recipientID{j.ID, n}] = ownerPlan
		r.due[recipientID{j.ID, n}] = j.Due
	}
	r.plan.Add(j, r.now)
}

func (r *modelRun) pass(j Job, from, to owner) {
	for _, n := range j.Recipients {
		k := recipientID{j.ID, n}
		if r.owners[k] != from {
			r.t.Errorf("%v is handed from %d to %d, but %d has it", k, from, to, r.owners[k])
		}
		if r.owners[k] = to; to == 0 {
			delete(r.owners, k)
		}
	}
}

func (r *modelRun) next() {
	w, ok := r.plan.Next(r.now)
	if !ok {
		return
	}
	r.pass(w.Job, ownerPlan, ownerAttempt)
	r.flying = append(r.flying, w)
	if w.Pause != nil {
		if w.Notice.After(r.now) {
			r.t.Errorf("a look at %v, it is %v", w.Notice, r.now)
		}
		return
	}
	if s := r.plan.sites[w.Site]; s.until != 0 {
		r.t.Errorf("%s is paused and given an attempt", w.Site)
	}
	for _, n := range w.Recipients {
		if r.due[recipientID{w.ID, n}].After(r.now) {
			r.t.Errorf("tried before its time")
		}
	}
}

// done ends an attempt; some of its recipients may be owed.
func (r *modelRun) done(k int, signal Signal, owes bool) {
	w := r.flying[k]
	r.flying = slices.Delete(r.flying, k, k+1)
	r.pass(w.Job, ownerAttempt, 0)
	result := Result{Signal: signal, Said: "250"}
	if owes {
		j := w.Job
		j.Recipients = j.Recipients[:1+r.rng.IntN(len(j.Recipients))]
		j.Due = r.now.Add(time.Duration(r.rng.IntN(60)) * time.Second)
		for _, n := range j.Recipients {
			r.owners[recipientID{j.ID, n}] = ownerPlan
			r.due[recipientID{j.ID, n}] = j.Due
		}
		result.Owed = []Job{j}
	}
	r.plan.Done(w, result, r.now)
}

func (r *modelRun) place(k int) {
	lane := r.placing[k]
	r.placing = slices.Delete(r.placing, k, k+1)
	site := fmt.Sprint("site", r.rng.IntN(4))
	if r.caps[site] == 0 {
		r.caps[site] = 1 + r.rng.IntN(4)
	}
	to := Placement{Site: site, Cap: r.caps[site], Pauses: []time.Duration{10 * time.Second, time.Minute}}
	if r.rng.IntN(2) == 0 {
		to.Expires = r.now.Add(time.Duration(r.rng.IntN(60)) * time.Second)
	}
	r.plan.Place(lane, to, r.now)
}

func (r *modelRun) steer() {
	switch r.rng.IntN(4) {
	case 0:
		r.plan.Replace()
	case 1:
		r.plan.WakeSites(func(s string) bool { return s == "site1" })
	default:
		mod := 2 + r.rng.IntN(6)
		chosen := func(id spool.ID, n int) bool { return (int(id[11])+n)%mod == 0 }
		want := 0
		for k, o := range r.owners {
			if o == ownerPlan && chosen(k.id, k.n) {
				want++
			}
		}
		for _, j := range r.plan.Take(chosen, r.now) {
			r.pass(j, ownerPlan, ownerCaller)
			r.taken = append(r.taken, j)
			want -= len(j.Recipients)
		}
		if want != 0 {
			r.t.Errorf("%d matching recipients were not taken", want)
		}
	}
}

func (r *modelRun) check() {
	r.t.Helper()
	count := map[owner]int{}
	for _, o := range r.owners {
		count[o]++
	}
	if w, f := r.plan.Counts(); w != count[ownerPlan] || f != count[ownerAttempt] {
		r.t.Errorf("Counts gives %d, %d; the books %v", w, f, count)
	}
	running, all := map[string]int{}, 0
	for _, w := range r.flying {
		if w.Pause == nil {
			running[w.Site]++
			all++
		}
	}
	for s, n := range running {
		if n > r.caps[s] {
			r.t.Errorf("%d attempts at %s, at most %d", n, s, r.caps[s])
		}
	}
	if all > r.total || len(r.flying)-all > maxLooking {
		r.t.Errorf("%d attempts in all, at most %d; %d look", all, r.total, len(r.flying)-all)
	}
	if n := len(r.plan.Flying()); n != len(r.flying) {
		r.t.Errorf("Flying has %d, the books %d", n, len(r.flying))
	}
	verify(r.t, r.plan)
}

// drain lets all succeed, with time, and wants everything gone.
func (r *modelRun) drain() {
	for _, j := range r.taken {
		r.give(j)
	}
	for range 100_000 {
		for len(r.flying) > 0 {
			r.done(0, Worked, false)
		}
		if lane, ok := r.plan.Unplaced(); ok {
			r.placing = append(r.placing, lane)
		}
		for len(r.placing) > 0 {
			r.place(0)
		}
		before := len(r.flying)
		if r.next(); len(r.flying) > before {
			continue
		}
		at, ok := r.plan.Wake()
		if !ok && r.plan.asks.length == 0 {
			break
		}
		if at.After(r.now) {
			r.now = at
		}
	}
	if len(r.owners) > 0 {
		r.t.Errorf("%d recipients never came out", len(r.owners))
	}
	r.check()
	for _, c := range r.plan.slab.chunks {
		if c.live != 0 {
			r.t.Errorf("an empty plan keeps %d records", c.live)
		}
	}
}

// tally is what a count of the records gives for a site or a lane.
type tally struct{ ready, later, busy, running, inLine, records int }

// verify counts all records and compares.
func verify(t *testing.T, p *Plan) {
	t.Helper()
	sites, lanes := map[*site]*tally{}, map[*lane]*tally{}
	for _, s := range p.sites {
		sites[s] = &tally{}
	}
	for _, l := range p.byName {
		lanes[l] = &tally{}
	}
	heaped := 0
	for c := range p.slab.chunks {
		for k := 0; p.slab.chunks[c].records != nil && k < chunkSize; k++ {
			i := uint32(c*chunkSize + k + 1)
			r := p.slab.at(i)
			if r.state == free {
				continue
			}
			n, l := p.slab.count(i, r), p.lanes[r.lane]
			s := sites[l.site]
			if s == nil {
				s = &tally{}
			}
			lanes[l].records++
			switch r.state {
			case later:
				lanes[l].later += n
				s.later += n
				heaped++
			case ready:
				lanes[l].inLine++
				s.inLine++
				fallthrough
			case noticed:
				lanes[l].ready += n
				s.ready += n
			}
		}
	}
	if heaped != len(p.later) {
		t.Errorf("%d records are later, %d entries in the heap", heaped, len(p.later))
	}
	for l, want := range lanes {
		got := tally{ready: l.ready, later: l.later, records: l.records, inLine: p.length(byLane, l.line)}
		if got != *want {
			t.Errorf("lane %s counts %+v, want %+v", l.name, got, *want)
		}
	}
	for s, want := range sites {
		p.verifySite(t, s, want)
	}
}

func (p *Plan) verifySite(t *testing.T, s *site, want *tally) {
	t.Helper()
	for i := s.flying.head; i != 0; i = p.slab.at(i).links[byLine].next {
		want.running++
		want.busy += p.slab.count(i, p.slab.at(i))
	}
	inLine := 0
	for c := range s.of {
		for _, b := range s.of[c] {
			for _, l := range b.lines {
				inLine += p.length(byLine, l.list)
			}
		}
	}
	got := tally{ready: s.ready, later: s.later, busy: s.busy, running: s.running, inLine: s.length}
	if got != *want || inLine != s.length {
		t.Errorf("site %s counts %+v, want %+v; %d in its lines", s.name, got, *want, inLine)
	}
	if s.wants() != (s.turn.in != nil) {
		t.Errorf("site %s wants a turn: %t, stands for one: %t", s.name, s.wants(), s.turn.in != nil)
	}
	if s.lanes == 0 && s.running == 0 {
		t.Errorf("site %s is kept for nothing", s.name)
	}
	if (s.until != 0) != slices.Contains(p.paused, s) {
		t.Errorf("site %s is paused: %t, in the heap: %t", s.name, s.until != 0, !(s.until != 0))
	}
}

func (p *Plan) length(by int, l list) (n int) {
	for i := l.head; i != 0; i = p.slab.at(i).links[by].next {
		n++
	}
	return n
}

// TestLaterHeap compares with a sort.
func TestLaterHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var h laterHeap
	want := map[laterEntry]bool{}
	for n := range 20_000 {
		if rng.IntN(100) < 50+n/2_000%2*20-10 {
			e := laterEntry{at: rng.Int64N(500), record: uint32(n)}
			h.push(e)
			want[e] = true
		} else if len(h) > 0 {
			delete(want, h.pop())
		}
		if n%5_000 == 4_999 {
			h.keep(func(e laterEntry) bool { return e.record%3 != 0 })
			maps.DeleteFunc(want, func(e laterEntry, _ bool) bool { return e.record%3 == 0 })
		}
	}
	var last laterEntry
	for len(h) > 0 {
		e := h.pop()
		if e.before(last) || !want[e] {
			t.Fatalf("%v comes after %v, wanted %t", e, last, want[e])
		}
		delete(want, e)
		last = e
	}
	if len(want) > 0 {
		t.Errorf("%d entries were lost", len(want))
	}
}

// TestSlab takes and gives back at random, and looks at what it keeps when all is given back.
func TestSlab(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var s slab
	held := map[uint32]int{}
	for n := range 50_000 {
		if rng.IntN(100) < 50+n/5_000%2*20-10 {
			i, _ := s.store(Job{Recipients: slices.Repeat([]int{n}, 1+n%2)}, 0)
			s.at(i).state = ready
			if _, twice := held[i]; twice {
				t.Fatalf("record %d is given twice", i)
			}
			held[i] = n
		} else {
			for i, n := range held {
				if got := s.recipients(i, s.at(i)); len(got) != 1+n%2 || got[0] != n {
					t.Fatalf("record %d holds %v, want %d", i, got, n)
				}
				s.giveBack(i)
				delete(held, i)
				break
			}
		}
	}
	for i := range held {
		s.giveBack(i)
	}
	for _, c := range s.chunks {
		if c.records != nil {
			t.Error("an empty chunk keeps its memory")
		}
	}
	if len(s.many) != 0 {
		t.Errorf("%d lists of recipients are kept", len(s.many))
	}
}
