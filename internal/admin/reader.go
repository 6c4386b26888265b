package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
)

// Reader is a Desk over an engine and a history folder alone, for when the server is down. Its sites are lanes, for which
// hosts those lead to is only known while the server runs. It changes nothing.
type Reader struct {
	Engine  spool.Engine
	History string                                // the folder of the history; "": there is none
	Route   func(spool.Pending) route.Destination // where a recipient goes: route.Table.For
	Now     func() time.Time                      // nil: time.Now
}

var _ Desk = (*Reader)(nil)

func (r *Reader) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// Status counts what is in the spool.
func (r *Reader) Status(ctx context.Context) (Status, error) {
	var s Status
	lanes := map[string]bool{}
	for p, err := range r.Engine.Pending(ctx) {
		switch {
		case errors.Is(err, spool.ErrDamaged):
			continue
		case err != nil:
			return s, fmt.Errorf("count the spool: %w", err)
		case p.Held:
			s.Held++
		default:
			s.Waiting++
			lanes[r.Route(p).Lane] = true
		}
	}
	s.Sites = len(lanes)
	return s, nil
}

// Sites groups what waits by lane.
func (r *Reader) Sites(ctx context.Context) ([]Site, error) {
	now := r.now()
	byName := map[string]*Site{}
	for p, err := range r.Engine.Pending(ctx) {
		if errors.Is(err, spool.ErrDamaged) || err == nil && p.Held {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the sites: %w", err)
		}
		to := r.Route(p)
		s := byName[to.Lane]
		if s == nil {
			s = &Site{Name: to.Lane, Oldest: p.Started}
			if to.Policy != nil {
				s.Cap = to.Policy.Connections
			}
			byName[to.Lane] = s
		}
		s.Waiting++
		if !p.Next.After(now) {
			s.Due++
		} else if s.Next.IsZero() || p.Next.Before(s.Next) {
			s.Next = p.Next
		}
		if p.Started.Before(s.Oldest) {
			s.Oldest = p.Started
		}
	}
	sites := make([]Site, 0, len(byName))
	for _, s := range byName {
		sites = append(sites, *s)
	}
	sortSites(sites)
	return sites, nil
}

// sortSites puts those with the most mail first.
func sortSites(sites []Site) {
	slices.SortFunc(sites, func(a, b Site) int {
		return cmp.Or(cmp.Compare(b.Waiting+b.InFlight, a.Waiting+a.InFlight), cmp.Compare(a.Name, b.Name))
	})
}

// List reads the spool.
func (r *Reader) List(ctx context.Context, s Selector, limit int) iter.Seq2[Entry, error] {
	return r.list(ctx, s, limit, view{r: r})
}

// view is how recipients are seen: by the spool alone, or with what the running server knows.
type view struct {
	r      *Reader
	siteOf func(lane string) string // nil: the lane is the site
	flying map[part]bool            // what is in flight
	sites  map[string]Site          // by name, for what happens next
}

// part is one recipient of one message.
type part struct {
	id spool.ID
	n  int
}

func (v view) site(lane string) string {
	if v.siteOf == nil {
		return lane
	}
	return v.siteOf(lane)
}

// entry describes a recipient.
func (v view) entry(m *spool.Message, n int) Entry {
	r := &m.Recipients[n]
	e := Entry{
		ID: m.ID.String(), N: n, Kind: m.Kind.String(), Sender: history.Address(m.From), Recipient: history.Address(r.To),
		Via: r.Via, State: r.State.String(), Reason: r.Reason.String(), Class: classOf(r.Priority),
		Attempts: r.Attempts, Doubts: r.Doubts, Arrived: m.Arrived, Next: r.Next, Size: m.Size, Host: r.Host,
	}
	if !r.Reply.IsZero() {
		e.Reply = r.Reply.Text()
	}
	if r.State == spool.Delivered {
		e.Reason = "" // there is nothing to give reasons for
	}
	if r.State.Done() {
		return e
	}
	e.Site = v.site(v.r.Route(spool.PendingOf(m, n, r)).Lane)
	if r.State == spool.Waiting && v.flying[part{m.ID, n}] {
		e.State = StateInFlight
	}
	until := v.sites[e.Site].PausedUntil
	if e.State == spool.Waiting.String() && until.After(v.r.now()) && until.After(r.Next) {
		e.PausedUntil = until
	}
	return e
}

// match gives the indices of the recipients of msg that match.
func (v view) match(m *matcher, msg *spool.Message) []int {
	if !m.message(msg) {
		return nil
	}
	var ns []int
	for n := range msg.Recipients {
		r := &msg.Recipients[n]
		if !m.ofSpool(r) || !v.stateFits(m, part{msg.ID, n}, r) {
			continue
		}
		if len(m.site.wanted) > 0 {
			if lane := v.r.Route(spool.PendingOf(msg, n, r)).Lane; !m.site.matches(lane, v.site(lane)) {
				continue
			}
		}
		ns = append(ns, n)
	}
	return ns
}

// stateFits tells waiting recipients from those in flight.
func (v view) stateFits(m *matcher, p part, r *spool.Recipient) bool {
	switch m.state {
	case StateInFlight:
		return v.flying[p]
	case spool.Waiting.String():
		return !v.flying[p]
	}
	return true
}

// messages gives the messages that may match: those that are named, or all of the spool. Where no message is named those
// that no recipient of can match are left out.
func (r *Reader) messages(ctx context.Context, m *matcher) iter.Seq2[*spool.Message, error] {
	if m.ids == nil {
		return r.Engine.List(ctx, spool.ID{})
	}
	return func(yield func(*spool.Message, error) bool) {
		for _, id := range m.ids {
			msg, err := r.Engine.Load(ctx, id)
			if err != nil {
				err = fmt.Errorf("message %s: %w", id, err)
			}
			if !yield(msg, err) || ctx.Err() != nil {
				return
			}
		}
	}
}

// aboutOne tells an error that is about one message; what follows can still be read.
func aboutOne(err error) bool {
	return errors.Is(err, spool.ErrDamaged) || errors.Is(err, spool.ErrNotFound)
}

func (r *Reader) list(ctx context.Context, s Selector, limit int, v view) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m, err := s.compile(r.now())
		if err != nil {
			yield(Entry{}, err)
			return
		}
		given := 0
		for msg, err := range r.messages(ctx, m) {
			if err != nil {
				if !yield(Entry{}, err) || !aboutOne(err) {
					return
				}
				continue
			}
			for _, n := range v.match(m, msg) {
				if given++; !yield(v.entry(msg, n), nil) || given == limit {
					return
				}
			}
		}
	}
}

// Act refuses: only the running server changes the queue.
func (r *Reader) Act(context.Context, Action) (Result, error) {
	return Result{}, fmt.Errorf("%w: its queue can't be changed; start it with holub serve", ErrNotRunning)
}

// Reload refuses.
func (r *Reader) Reload(context.Context) (Reloaded, error) {
	return Reloaded{}, fmt.Errorf("%w: it reads its configuration when it starts", ErrNotRunning)
}
