package queue

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// id makes the n-th id; ids sort by n.
func id(n int) spool.ID {
	return spool.ID{8: byte(n >> 24), 9: byte(n >> 16), 10: byte(n >> 8), 11: byte(n)}
}

// model is a naive plan: it looks at everything, every time.
type model struct {
	perSite int
	waiting map[spool.ID]modelJob
	running map[string]int
}

type modelJob struct {
	Job
	place int // in the line of its site; 0: it was never seen to be due
}

// fall gives the jobs that are due their places: a job that was added due stands behind those that fell due before.
func (m *model) fall(now time.Time, place *int) {
	var due []modelJob
	for _, j := range m.waiting {
		if j.place == 0 && !j.Due.After(now) {
			due = append(due, j)
		}
	}
	slices.SortFunc(due, func(a, b modelJob) int {
		if c := a.Due.Compare(b.Due); c != 0 {
			return c
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	for _, j := range due {
		*place++
		j.place = *place
		m.waiting[j.ID] = j
	}
}

// front is the job of a site that has stood in line longest.
func (m *model) front(site string) (first modelJob) {
	for _, j := range m.waiting {
		if j.Site == site && j.place > 0 && (first.place == 0 || j.place < first.place) {
			first = j
		}
	}
	return first
}

// ready tells whether any site has both a job in line and a free place.
func (m *model) ready() bool {
	for _, j := range m.waiting {
		if j.place > 0 && m.running[j.Site] < m.perSite {
			return true
		}
	}
	return false
}

// TestPlanModel does what comes to its mind with a plan and with the naive one. No job is lost or handed out twice, the cap
// of a site holds, each site's jobs come in their order, and there is a job whenever there must be one.
func TestPlanModel(t *testing.T) {
	for seed := range uint64(60) {
		r := planRun{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1e9, 0)}
		perSite := 1 + r.rng.IntN(4)
		r.plan = NewPlan(perSite, math.MaxInt)
		r.model = model{perSite: perSite, waiting: map[spool.ID]modelJob{}, running: map[string]int{}}
		for range 400 {
			r.step()
		}
		r.drain()
	}
}

type planRun struct {
	t      *testing.T
	rng    *rand.Rand
	now    time.Time
	plan   *Plan
	model  model
	flying []Job
	ids    int
	place  int
}

func (r *planRun) step() {
	switch r.rng.IntN(5) {
	case 0, 1:
		r.add()
	case 2, 3:
		r.next()
	case 4:
		if len(r.flying) > 0 {
			r.done(r.rng.IntN(len(r.flying)))
		} else {
			r.now = r.now.Add(time.Duration(r.rng.IntN(10)) * time.Second)
		}
	}
	r.check()
}

func (r *planRun) add() {
	r.ids++
	j := Job{ID: id(r.ids), Site: fmt.Sprint("site", r.rng.IntN(6)), Recipients: []int{r.rng.IntN(3)}}
	if r.rng.IntN(2) == 0 {
		j.Due = r.now.Add(time.Duration(r.rng.IntN(20)-5) * time.Second)
	}
	m := modelJob{Job: j}
	if !j.Due.After(r.now) {
		r.place++
		m.place = r.place
	}
	r.model.waiting[j.ID] = m
	r.plan.Add(j, r.now)
}

func (r *planRun) next() {
	r.model.fall(r.now, &r.place)
	must := r.model.ready()
	j, ok := r.plan.Next(r.now)
	if ok != must {
		r.t.Fatalf("Next gives a job: %v, the model: %v", ok, must)
	}
	if !ok {
		return
	}
	want := r.model.front(j.Site)
	if want.ID != j.ID || fmt.Sprint(want.Job) != fmt.Sprint(j) {
		r.t.Fatalf("Next gives %v, of this site the model has %v in front", j, want.Job)
	}
	delete(r.model.waiting, j.ID)
	if r.model.running[j.Site]++; r.model.running[j.Site] > r.model.perSite {
		r.t.Fatalf("%d jobs run for %s, the cap is %d", r.model.running[j.Site], j.Site, r.model.perSite)
	}
	r.flying = append(r.flying, j)
}

func (r *planRun) done(i int) {
	j := r.flying[i]
	r.flying = slices.Delete(r.flying, i, i+1)
	r.model.running[j.Site]--
	r.plan.Done(j)
}

func (r *planRun) check() {
	waiting, running := r.plan.Counts()
	if waiting != len(r.model.waiting) || running != len(r.flying) {
		r.t.Fatalf("Counts gives %d waiting and %d running, want %d and %d", waiting, running, len(r.model.waiting), len(r.flying))
	}
	at, ok := r.plan.Wake()
	for _, j := range r.model.waiting {
		if j.Due.After(r.now) && (!ok || at.After(j.Due)) {
			r.t.Fatalf("Wake gives %v, %v, and %v is due at %v", at, ok, j.ID, j.Due)
		}
	}
}

// drain lets the time pass and takes everything out.
func (r *planRun) drain() {
	r.now = r.now.Add(time.Hour)
	for len(r.model.waiting)+len(r.flying) > 0 {
		r.next()
		if len(r.flying) > 0 {
			r.done(0)
		}
	}
	r.check()
	if len(r.plan.sites) != 0 || !r.plan.turns.empty() || len(r.plan.later) != 0 {
		r.t.Fatalf("an empty plan keeps %d sites, turns: %v, %d later", len(r.plan.sites), !r.plan.turns.empty(), len(r.plan.later))
	}
}

// TestPlanFairness has a site with 100,000 jobs, added first, and others with one: each of them comes within one round.
func TestPlanFairness(t *testing.T) {
	const sites, flood = 200, 100_000
	now := time.Unix(1e9, 0)
	p := NewPlan(1000, math.MaxInt)
	for n := range flood {
		p.Add(Job{ID: id(n), Site: "flood"}, now)
	}
	for n := range sites {
		p.Add(Job{ID: id(flood + n), Site: fmt.Sprint("small", n)}, now)
	}
	served := map[string]int{}
	for range sites + 1 {
		j, ok := p.Next(now)
		if !ok {
			t.Fatal("the plan is empty too early")
		}
		served[j.Site]++
	}
	for n := range sites {
		if served[fmt.Sprint("small", n)] != 1 {
			t.Errorf("site small%d was not served in the first round", n)
		}
	}
	if served["flood"] != 1 {
		t.Errorf("the large site was served %d times in the first round", served["flood"])
	}
}

// TestPlanFairnessLate adds the small site while the large one is being worked off and all its places are taken.
func TestPlanFairnessLate(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := NewPlan(5, math.MaxInt)
	for n := range 1000 {
		p.Add(Job{ID: id(n), Site: "flood"}, now)
	}
	var flying []Job
	for {
		j, ok := p.Next(now)
		if !ok {
			break
		}
		flying = append(flying, j)
	}
	if len(flying) != 5 {
		t.Fatalf("%d jobs run, the cap is 5", len(flying))
	}
	p.Add(Job{ID: id(5000), Site: "small"}, now)
	if j, ok := p.Next(now); !ok || j.Site != "small" {
		t.Errorf("Next gives %v, %v while the large site is full", j, ok)
	}
	p.Done(flying[0])
	p.Add(Job{ID: id(5001), Site: "other"}, now)
	first, _ := p.Next(now)
	second, _ := p.Next(now)
	if first.Site != "flood" || second.Site != "other" {
		t.Errorf("a freed place and a new site: %s, then %s", first.Site, second.Site)
	}
}

// TestPlanCost counts, for time would tell more about the machine: with 10,000 sites, all but one full, a turn must not
// look at the full ones. Their number stands in the ring if they are looked at.
func TestPlanCost(t *testing.T) {
	const sites = 10_000
	now := time.Unix(1e9, 0)
	p := NewPlan(1, math.MaxInt)
	for round := range 3 {
		for n := range sites {
			p.Add(Job{ID: id(round*sites + n), Site: fmt.Sprint(n)}, now)
		}
	}
	for range sites {
		if _, ok := p.Next(now); !ok {
			t.Fatal("a site is not served")
		}
	}
	if n := ringed(p); n != 0 {
		t.Fatalf("%d full sites stand in the ring", n)
	}
	for range 2 {
		p.Done(Job{Site: "77"})
		if n := ringed(p); n != 1 {
			t.Fatalf("%d sites stand in the ring, want the one with a free place", n)
		}
		if j, ok := p.Next(now); !ok || j.Site != "77" {
			t.Fatalf("Next gives %v, %v", j, ok)
		}
	}
	allocs := testing.AllocsPerRun(1000, func() {
		p.Add(Job{Site: "free", ID: id(9)}, now)
		j, _ := p.Next(now)
		p.Done(j)
	})
	if allocs > 3 { // the site and its line
		t.Errorf("Add, Next and Done of a new site among %d make %v allocations", sites, allocs)
	}
}

func ringed(p *Plan) int { return len(p.turns.items) - p.turns.first }

// TestFifo compares with a slice, and looks at the room it takes.
func TestFifo(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var f fifo[int]
	var want []int
	for n := range 100_000 {
		if rng.IntN(100) < 50+n/2_000%2*10-5 { // grows and shrinks in turns
			f.push(n)
			want = append(want, n)
		} else if len(want) > 0 {
			if f.empty() {
				t.Fatal("empty with values in it")
			}
			if got := f.pop(); got != want[0] {
				t.Fatalf("pop gives %d, want %d", got, want[0])
			}
			want = want[1:]
		}
		if len(f.items) > 2*max(len(want), 1)+20_000 {
			t.Fatalf("%d places for %d values", len(f.items), len(want))
		}
	}
	for range want {
		f.pop()
	}
	if !f.empty() {
		t.Error("not empty after the last value")
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, sites := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("sites=%d", sites), func(b *testing.B) {
			now := time.Unix(1e9, 0)
			p := NewPlan(20, math.MaxInt)
			names := make([]string, sites)
			for n := range names {
				names[n] = fmt.Sprint("site", n)
				p.Add(Job{ID: id(n), Site: names[n]}, now)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				p.Add(Job{ID: id(n), Site: names[n%sites]}, now)
				j, _ := p.Next(now)
				p.Done(j)
			}
		})
	}
}
