package queue

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// maxLaneNames is how many lanes of a site a snapshot names.
const maxLaneNames = 10

// Site is what a snapshot shows of a site, for people. Lanes that are not placed yet are shown together as the site "".
type Site struct {
	Name                  string
	Lanes                 int      // that lead here and have something waiting
	LaneNames             []string // some of them, 10 at most
	Ready, Later, Running int      // recipients: in line, not due, being tried
	Window, Cap           int      // attempts that may run at once now, and at most
	Failures              int      // since the last success
	PausedUntil           time.Time
	Said                  string // the last reply or error
	SaidAt                time.Time
	Oldest                time.Time // when the oldest message was received that waits here; zero: none waits
	NextDue               time.Time // of what is not due, the earliest time; zero: nothing
}

// Flying gives the work whose attempts run.
func (p *Plan) Flying() []Work {
	all := make([]Work, 0, p.running+p.look.running)
	for i := p.look.flying.head; i != 0; {
		r := p.slab.at(i)
		all = append(all, p.lookWork(i, r, p.lanes[r.lane]))
		i = r.links[byLine].next
	}
	for _, s := range p.sites {
		for i := s.flying.head; i != 0; {
			r := p.slab.at(i)
			all = append(all, Work{Job: p.slab.job(i, r, p.lanes[r.lane].name), Site: s.name, site: s, record: i})
			i = r.links[byLine].next
		}
	}
	return all
}

// survey collects what Sites shows, in steps between which the plan may go on. Counts are exact at the step that reads
// them; Oldest and NextDue are those of the walk through the records, and may miss what moves meanwhile.
type survey struct {
	oldest []int64 // by lane: ms; 0: none
	due    []int64 // by lane: ns; 0: none
	sites  map[string]*Site
}

func newSurvey(p *Plan) *survey {
	return &survey{oldest: make([]int64, len(p.lanes)), due: make([]int64, len(p.lanes)), sites: make(map[string]*Site)}
}

// records looks at some chunks of records from the from-th; more tells that there are others.
func (v *survey) records(p *Plan, from, to int) (more bool) {
	for c := from; c < min(to, len(p.slab.chunks)); c++ {
		if p.slab.chunks[c].records == nil {
			continue
		}
		for k := range p.slab.chunks[c].records {
			v.record(&p.slab.chunks[c].records[k])
		}
	}
	return to < len(p.slab.chunks)
}

func (v *survey) record(r *record) {
	waits := r.state == later || r.state == ready || r.state == noticed
	if !waits || int(r.lane) >= len(v.oldest) { // a lane that is newer than the survey
		return
	}
	made := int64(binary.BigEndian.Uint64(r.id[:8]) >> 16) // spool.ID.Time without making a time
	if old := &v.oldest[r.lane]; *old == 0 || made < *old {
		*old = made
	}
	if due := &v.due[r.lane]; r.state == later && (*due == 0 || r.due < *due) {
		*due = r.due
	}
}

// lanes looks at some lanes from the from-th, and at their sites.
func (v *survey) lanes(p *Plan, from, to int) (more bool) {
	for n := from; n < min(to, len(p.lanes)); n++ {
		if l := p.lanes[n]; l != nil && l.ready+l.later > 0 {
			v.lane(l)
		}
	}
	return to < len(p.lanes)
}

func (v *survey) lane(l *lane) {
	name := ""
	if l.site != nil {
		name = l.site.name
	}
	s := v.sites[name]
	if s == nil {
		s = &Site{Name: name}
		v.sites[name] = s
		if l.site != nil {
			v.site(s, l.site)
		}
	}
	if l.site == nil {
		s.Ready += l.ready
		s.Later += l.later
	}
	if s.Lanes++; len(s.LaneNames) < maxLaneNames {
		s.LaneNames = append(s.LaneNames, l.name)
	}
	if int(l.index) >= len(v.oldest) {
		return
	}
	if made := v.oldest[l.index]; made != 0 {
		s.Oldest = earlier(s.Oldest, time.UnixMilli(made))
	}
	if due := v.due[l.index]; due != 0 {
		s.NextDue = earlier(s.NextDue, timeOf(due))
	}
}

func (v *survey) site(to *Site, s *site) {
	to.Ready, to.Later, to.Running = s.ready, s.later, s.busy
	to.Window, to.Cap, to.Failures = s.window, s.cap, s.failed
	to.PausedUntil, to.Said, to.SaidAt = timeOf(s.until), s.said, timeOf(s.saidAt)
}

// busy adds the sites where attempts run and nothing waits.
func (v *survey) busy(p *Plan) {
	for _, s := range p.sites {
		if s.running > 0 && v.sites[s.name] == nil {
			to := &Site{Name: s.name}
			v.site(to, s)
			v.sites[s.name] = to
		}
	}
}

// result gives the sites by name.
func (v *survey) result() []Site {
	all := make([]Site, 0, len(v.sites))
	for _, s := range v.sites {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Site) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// snapshot makes the whole survey; pause is called between its steps.
func (p *Plan) snapshot(pause func()) []Site {
	const chunksAtOnce, lanesAtOnce = 16, 2048
	v := newSurvey(p)
	for c, more := 0, true; more; c += chunksAtOnce {
		pause()
		more = v.records(p, c, c+chunksAtOnce)
	}
	for n, more := 0, true; more; n += lanesAtOnce {
		pause()
		more = v.lanes(p, n, n+lanesAtOnce)
	}
	v.busy(p)
	return v.result()
}
