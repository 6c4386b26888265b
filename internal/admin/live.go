package admin

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime/metrics"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
)

// Queue is what a Live desk needs of *queue.Queue.
type Queue interface {
	Sites() []queue.Site
	// Take takes out of the queue what waits there and matches; it belongs to the caller until it is given to Add.
	Take(match func(id spool.ID, n int) bool) []queue.Job
	Flying() []queue.Work
	Add(jobs ...queue.Job)
	Wake(match func(site string) bool)
	SiteOf(lane string) (site string, ok bool)
}

// LiveOptions are what a Live desk knows of the running server. Engine, Queue, Route, Jobs and End are needed.
type LiveOptions struct {
	Engine  spool.Engine
	Queue   Queue
	History string                                // the folder of the history; "": there is none
	Route   func(spool.Pending) route.Destination // where a recipient goes: route.Table.For
	// Jobs makes the jobs of those recipients of m that are Waiting.
	Jobs func(m *spool.Message, recipients []int) []queue.Job
	// End settles outcomes by which recipients come to their end, with the reports that this asks for, in one commit. It
	// changes m to what was committed, and queues the reports.
	End func(ctx context.Context, m *spool.Message, outcomes []spool.Outcome) error
	// Forget drops what the server has in memory of messages whose recipients have changed; called after the change and
	// before any of them is in the queue again. nil: it has nothing.
	Forget func(ids ...spool.ID)
	// Record notes an event in the history, and Flush has all of them where Trace finds them. nil: there is none.
	Record func(*history.Event)
	Flush  func()
	// CheckTarget says why nothing can be sent to a target, beside that it is not well-formed. nil: to each of them it can.
	CheckTarget func(target string) error
	// Reload has the server take its configuration anew and says what changed. nil: it can't.
	Reload func(ctx context.Context) (changes []string, err error)
	Held   func() int  // how many recipients are held; nil: Status counts them, if they can be counted in a moment
	Room   func() bool // enough of it for new mail; nil: always

	Version string
	PID     int
	Started time.Time
	Logger  *slog.Logger     // what operators do; nil: nothing is logged
	Now     func() time.Time // nil: time.Now
}

// countTime is for how long Status counts what is held.
const countTime = 200 * time.Millisecond

// Live is the Desk of the running server.
type Live struct {
	o      LiveOptions
	reader *Reader
	acting chan struct{} // holds a token while an Action runs: one at a time
}

var _ Desk = (*Live)(nil)

// NewLive makes the desk.
func NewLive(o LiveOptions) *Live {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Forget == nil {
		o.Forget = func(...spool.ID) {}
	}
	if o.Record == nil {
		o.Record = func(*history.Event) {}
	}
	if o.CheckTarget == nil {
		o.CheckTarget = func(string) error { return nil }
	}
	return &Live{
		o:      o,
		reader: &Reader{Engine: o.Engine, History: o.History, Route: o.Route, Now: o.Now},
		acting: make(chan struct{}, 1),
	}
}

// Status asks the queue's counters.
func (l *Live) Status(ctx context.Context) (Status, error) {
	s := Status{Running: true, Version: l.o.Version, PID: l.o.PID, Started: l.o.Started}
	for _, site := range l.o.Queue.Sites() {
		s.Sites++
		s.Waiting += site.Ready + site.Later
		s.InFlight += site.Running
	}
	s.Held = l.held(ctx)
	s.Heap = heap()
	s.NoRoom = l.o.Room != nil && !l.o.Room()
	return s, nil
}

// held counts what is held in the spool's index where nobody else counts it; -1: there is too much in it.
func (l *Live) held(ctx context.Context) int {
	if l.o.Held != nil {
		return l.o.Held()
	}
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	n := 0
	for p, err := range l.o.Engine.Pending(ctx) {
		if ctx.Err() != nil {
			return -1
		}
		if err == nil && p.Held {
			n++
		}
	}
	return n
}

// heap is what this process has in memory that it needs.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// Sites asks the queue's counters; the spool is not read.
func (l *Live) Sites(context.Context) ([]Site, error) {
	known := l.o.Queue.Sites()
	sites := make([]Site, 0, len(known))
	flying := map[string]time.Time{} // by site, since when the oldest is here
	for _, w := range l.o.Queue.Flying() {
		if at := w.ID.Time(); flying[w.Site].IsZero() || at.Before(flying[w.Site]) {
			flying[w.Site] = at
		}
	}
	for _, s := range known {
		site := newSite(s, l.reader.now())
		if at := flying[s.Name]; !at.IsZero() && (site.Oldest.IsZero() || at.Before(site.Oldest)) {
			site.Oldest = at
		}
		sites = append(sites, site)
	}
	sortSites(sites)
	return sites, nil
}

func newSite(s queue.Site, now time.Time) Site {
	site := Site{
		Name: s.Name, Lanes: s.LaneNames, LaneCount: s.Lanes, Waiting: s.Ready + s.Later, Due: s.Ready, InFlight: s.Running,
		Window: s.Window, Cap: s.Cap, Failures: s.Failures, Oldest: s.Oldest, Next: s.NextDue, PausedUntil: s.PausedUntil,
		Reply: said(s.Said), ReplyAt: s.SaidAt,
	}
	if !site.PausedUntil.After(now) {
		site.PausedUntil = time.Time{}
	}
	if len(site.Lanes) == 1 && site.Lanes[0] == site.Name {
		site.Lanes = nil
	}
	return site
}

// view is how recipients are seen now. Sites are only asked for where they are needed.
func (l *Live) view(withSites bool) view {
	v := view{r: l.reader, siteOf: l.siteOf, flying: map[part]bool{}}
	for _, w := range l.o.Queue.Flying() {
		for _, n := range w.Recipients {
			v.flying[part{w.ID, n}] = true
		}
	}
	if withSites {
		v.sites = map[string]Site{}
		for _, s := range l.o.Queue.Sites() {
			v.sites[s.Name] = newSite(s, l.reader.now())
		}
	}
	return v
}

// siteOf names the site of a lane; a lane that was never placed is its own.
func (l *Live) siteOf(lane string) string {
	if site, ok := l.o.Queue.SiteOf(lane); ok && site != "" {
		return site
	}
	return lane
}

// List reads the spool, and says what of it is in flight.
func (l *Live) List(ctx context.Context, s Selector, limit int) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		l.reader.list(ctx, s, limit, l.view(true))(yield)
	}
}

// Show reads one message.
func (l *Live) Show(ctx context.Context, id spool.ID) (*Shown, error) {
	return l.reader.show(ctx, id, l.view(true))
}

// Trace reads the history up to this moment.
func (l *Live) Trace(ctx context.Context, what string, limit int) ([]Life, error) {
	if l.o.Flush != nil {
		l.o.Flush()
	}
	return l.reader.trace(ctx, what, limit, l.view(true))
}

// Reload asks the server.
func (l *Live) Reload(ctx context.Context) (Reloaded, error) {
	if l.o.Reload == nil {
		return Reloaded{}, fmt.Errorf("%w: this server can't take its configuration anew; restart it", ErrRefused)
	}
	changes, err := l.o.Reload(ctx)
	if err != nil {
		return Reloaded{}, fmt.Errorf("%w: the configuration stays as it was: %w", ErrRefused, err)
	}
	return Reloaded{Changes: changes}, nil
}
