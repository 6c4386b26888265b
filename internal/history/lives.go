package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Life is everything that is known of one message, in order of time, and of the reports about it, whose events have
// IDs of their own. ID is the message that all of it is about; it is zero for a refusal before there was a message.
// Events of old messages may be gone in part.
type Life struct {
	ID     spool.ID
	Events []Event
}

// ErrWhat is the error for a search for nothing.
var ErrWhat = errors.New("nothing to search for: give a queue id, a message-id, an address or @domain")

const (
	defaultLives = 20
	maxHops      = 8 // from a message to a report about it, to what happened to that, and so on
)

// Lives tells the lives of messages, the newest first: what is a queue id, a message-id or an address (of a sender or
// a recipient), with or without angle brackets, or "@domain". It gives at most limit of them (0: 20): of more, those
// that something happened to last. A report is part of the life of what it is about. Files that can't be read are
// left out; the error then comes beside what was found.
func Lives(ctx context.Context, dir, what string, limit int) ([]Life, error) {
	return lives(ctx, dir, what, limit, &Stats{})
}

func lives(ctx context.Context, dir, what string, limit int, stats *Stats) ([]Life, error) {
	what = strings.TrimSpace(what)
	if bare(what) == "" || what == "@" {
		return nil, ErrWhat
	}
	if limit <= 0 {
		limit = defaultLives
	}
	all, err := segments(dir)
	if err != nil {
		return nil, err
	}
	stats.Segments += len(all)
	t := tracer{all: all, stats: stats, parent: map[spool.ID]spool.ID{}, events: map[spool.ID][]found{}}
	todo := map[spool.ID]bool{}
	if id, err := spool.ParseID(what); err == nil {
		todo[id] = true
	} else {
		// Twice as many, for a report may match beside the message that it is about.
		todo = t.search(ctx, byText(foldText(what), foldAddress(what)), 2*limit)
	}
	t.follow(ctx, todo)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("history: searching: %w", ctx.Err())
	}
	return t.lives(limit), errors.Join(t.errs...)
}

// found is an event and where it stands.
type found struct {
	Event
	segment int
	line    int
}

func order(a, b found) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.segment, b.segment), cmp.Compare(a.line, b.line))
}

// tracer collects what belongs to some messages.
type tracer struct {
	all    []segment
	stats  *Stats
	errs   []error
	parent map[spool.ID]spool.ID // of a report: what it is about
	events map[spool.ID][]found
	noID   []found // each is a life of its own
}

// scan reads all events of a segment that match.
func (t *tracer) scan(ctx context.Context, n int, f filter, each func(found)) {
	s := search{filter: f, stats: t.stats}
	line := 0
	err := s.segment(ctx, t.all[n], func(e *Event) bool {
		line++
		each(found{*e, n, line})
		return true
	})
	if err != nil {
		t.errs = append(t.errs, err)
	}
}

// search looks from the newest segment back until it has at least limit messages that match, and gives at most so many.
// Matches without an id go to noID and count too.
func (t *tracer) search(ctx context.Context, f filter, limit int) map[spool.ID]bool {
	ids := map[spool.ID]bool{}
	for n := len(t.all) - 1; n >= 0 && len(ids)+len(t.noID) < limit && ctx.Err() == nil; n-- {
		last := map[spool.ID]int{} // the place of its last event
		var noID []found
		t.scan(ctx, n, f, func(e found) {
			if !e.ID.IsZero() {
				last[e.ID] = e.line
				return
			}
			if noID = append(noID, e); len(noID) > 2*limit {
				noID = append(noID[:0], noID[limit:]...)
			}
		})
		for len(ids)+len(t.noID) < limit && len(last)+len(noID) > 0 {
			id, at := newest(last)
			if k := len(noID) - 1; k >= 0 && noID[k].line > at {
				t.noID = append(t.noID, noID[k])
				noID = noID[:k]
				continue
			}
			delete(last, id)
			ids[id] = true
		}
	}
	return ids
}

// newest gives the entry with the highest place, -1 if there is none.
func newest(last map[spool.ID]int) (id spool.ID, at int) {
	at = -1
	for i, n := range last {
		if n > at {
			id, at = i, n
		}
	}
	return id, at
}

// follow collects all events of the messages in todo, and of what is linked to them.
func (t *tracer) follow(ctx context.Context, todo map[spool.ID]bool) {
	for hop := 0; hop < maxHops && len(todo) > 0 && ctx.Err() == nil; hop++ {
		linked := map[spool.ID]bool{}
		for id := range todo {
			t.events[id] = nil // not looked for again
		}
		f := byIDs(todo)
		for n := range t.all {
			t.scan(ctx, n, f, func(e found) {
				if todo[e.ID] {
					t.events[e.ID] = append(t.events[e.ID], e)
				}
				if !e.Cause.IsZero() && !e.ID.IsZero() {
					t.parent[e.ID] = e.Cause
				}
				if !e.Report.IsZero() && !e.ID.IsZero() {
					t.parent[e.Report] = e.ID
				}
				for _, id := range [...]spool.ID{e.ID, e.Cause, e.Report} {
					if _, known := t.events[id]; !known && !id.IsZero() {
						linked[id] = true
					}
				}
			})
		}
		todo = linked
	}
}

// root follows reports back to the message that all of them are about.
func (t *tracer) root(id spool.ID) spool.ID {
	for range maxHops {
		up, ok := t.parent[id]
		if !ok || up == id {
			return id
		}
		id = up
	}
	return id
}

// lives puts together what was collected: of the limit messages that lived last, the newest first.
func (t *tracer) lives(limit int) []Life {
	groups := map[spool.ID][]found{}
	for id, events := range t.events {
		root := t.root(id)
		groups[root] = append(groups[root], events...)
	}
	var all []Life
	for _, id := range slices.SortedFunc(maps.Keys(groups), func(a, b spool.ID) int {
		return slices.Compare(a[:], b[:]) // else lives of the same moment would come in any order
	}) {
		if len(groups[id]) > 0 {
			all = append(all, Life{ID: id, Events: inOrder(groups[id])})
		}
	}
	slices.SortFunc(t.noID, order)
	for _, e := range t.noID {
		all = append(all, Life{Events: []Event{e.Event}})
	}
	slices.Reverse(all)
	end := func(l Life) time.Time { return l.Events[len(l.Events)-1].At }
	slices.SortStableFunc(all, func(a, b Life) int { return end(b).Compare(end(a)) })
	all = all[:min(limit, len(all))]
	slices.SortStableFunc(all, func(a, b Life) int { return b.Events[0].At.Compare(a.Events[0].At) })
	return all
}

// inOrder gives the events of a life by time, those that were written in parts as one.
func inOrder(events []found) []Event {
	slices.SortFunc(events, order)
	byID := map[spool.ID][]Event{} // the parts of an event follow each other among those of its message
	var ids []spool.ID
	for _, e := range events {
		if byID[e.ID] == nil {
			ids = append(ids, e.ID)
		}
		byID[e.ID] = append(byID[e.ID], e.Event)
	}
	var all []Event
	for _, id := range ids {
		all = append(all, joinParts(byID[id])...)
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.At.Compare(b.At) })
	return all
}
