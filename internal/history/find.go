package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Query says which events are meant; all of what is set must hold.
type Query struct {
	ID        spool.ID  // events of this message, and those that name it as Cause or Report
	MessageID string    // with or without angle brackets, case does not count
	Address   string    // sender or recipient, "@example.org" for all of a domain; case does not count
	Since     time.Time // not before
	Until     time.Time // before
	Limit     int       // the first so many; 0: all
	Stats     *Stats    // what the search cost is added here; may be nil
}

// Stats is what a search looked at.
type Stats struct {
	Segments int   // in the folder
	Read     int   // read, because what was searched could be in it
	Bytes    int64 // of those
	Damaged  int   // lines that could not be read and were skipped
}

// Find gives the events that match, in the order in which they were written, which is that of time but for events of
// the same moment. It reads the folder of a server that runs or has stopped, changes nothing in it, and holds 1 MiB
// of it. An error of one file is given with a zero Event, and the search goes on with the next one, but for those of
// the folder and of ctx, which end it.
func Find(ctx context.Context, dir string, q Query) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		all, err := segments(dir)
		if err != nil {
			yield(Event{}, err)
			return
		}
		if q.Stats == nil {
			q.Stats = &Stats{}
		}
		q.Stats.Segments += len(all)
		s := search{filter: q.filter(), since: q.Since, until: q.Until, stats: q.Stats}
		found, more := 0, true
		for _, seg := range all {
			err := s.segment(ctx, seg, func(e *Event) bool {
				found++
				more = yield(*e, nil) && (q.Limit <= 0 || found < q.Limit)
				return more
			})
			if err != nil && more {
				more = yield(Event{}, err) && ctx.Err() == nil
			}
			if !more {
				return
			}
		}
	}
}

// filter is one question in the three forms in which it is asked: of the keys of a segment, of a line, of an event.
type filter struct {
	keys  func(has func(key uint32) bool) bool
	line  func(b []byte) bool // false: the event of this line can't match
	event func(e *Event) bool
}

// filter joins what the query asks for.
func (q *Query) filter() filter {
	var all []filter
	if !q.ID.IsZero() {
		all = append(all, byIDs(map[spool.ID]bool{q.ID: true}))
	}
	if q.MessageID != "" {
		all = append(all, byText(foldText(q.MessageID), ""))
	}
	if q.Address != "" {
		all = append(all, byText("", foldAddress(q.Address)))
	}
	return filter{
		keys: func(has func(uint32) bool) bool {
			for _, f := range all {
				if !f.keys(has) {
					return false
				}
			}
			return true
		},
		line: func(b []byte) bool {
			for _, f := range all {
				if !f.line(b) {
					return false
				}
			}
			return true
		},
		event: func(e *Event) bool {
			for _, f := range all {
				if !f.event(e) {
					return false
				}
			}
			return true
		},
	}
}

// byIDs asks for the events that name one of ids.
func byIDs(ids map[spool.ID]bool) filter {
	keys := make([]uint32, 0, len(ids))
	for id := range ids {
		keys = append(keys, keyOfID(id))
	}
	named := func(text []byte) bool {
		if len(text) < idLen {
			return false
		}
		id, err := spool.ParseID(string(text[:idLen]))
		return err == nil && ids[id]
	}
	return filter{
		keys: func(has func(uint32) bool) bool {
			for _, k := range keys {
				if has(k) {
					return true
				}
			}
			return false
		},
		line: func(b []byte) bool {
			if len(b) < idAt {
				return true
			}
			switch afterTime := b[idAt-len(idField):]; {
			case bytes.HasPrefix(afterTime, []byte(idField)):
				if named(b[idAt:]) {
					return true
				}
			case !bytes.HasPrefix(afterTime, []byte(kindField)):
				return true // not as we write it: the event will tell
			}
			for _, field := range [...]string{causeField, reportField} {
				if i := bytes.Index(b, []byte(field)); i >= 0 && named(b[i+len(field):]) {
					return true
				}
			}
			return false
		},
		event: func(e *Event) bool { return ids[e.ID] || ids[e.Cause] || ids[e.Report] },
	}
}

// byText asks for a message-id, for an address or "@domain", or for either; both are folded, and "" is not asked for.
func byText(messageID, address string) filter {
	match := func(a string) bool {
		a = foldAddress(a)
		return a == address || address[0] == '@' && len(a) > len(address) && a[len(a)-len(address):] == address
	}
	return filter{
		keys: func(has func(uint32) bool) bool {
			m, _, _ := hash(messageID)
			a, _, _ := hash(address)
			return messageID != "" && has(m) || address != "" && has(a)
		},
		line: linesWith(messageID, address),
		event: func(e *Event) bool {
			if messageID != "" && e.MessageID != "" && foldText(e.MessageID) == messageID {
				return true
			}
			if address == "" {
				return false
			}
			if e.From != "" && match(e.From) {
				return true
			}
			for _, a := range e.To {
				if match(a) {
					return true
				}
			}
			return false
		},
	}
}

// linesWith tells lines that have one of two folded texts in them. A domain with A-labels may stand there in
// U-labels, so with one of those every line may match; and U-labels may come to plain ASCII (full-width letters), so
// may a line with octets above ASCII.
func linesWith(texts ...string) func(b []byte) bool {
	var needles [][]byte
	for _, t := range texts {
		if t == "" {
			continue
		}
		if bytes.Contains([]byte(t), []byte("xn--")) {
			return func([]byte) bool { return true }
		}
		needle := []byte(lowerASCII(string(appendEscaped(nil, t))))
		if len(needles) == 0 || !bytes.Equal(needles[0], needle) {
			needles = append(needles, needle)
		}
	}
	var folded []byte
	return func(b []byte) bool {
		folded = append(folded[:0], b...)
		var above byte
		for i, c := range folded {
			above |= c
			folded[i] = lower(c)
		}
		if above >= 0x80 {
			return true
		}
		for _, n := range needles {
			if bytes.Contains(folded, n) {
				return true
			}
		}
		return false
	}
}

// search asks segments.
type search struct {
	filter
	since, until time.Time
	stats        *Stats
}

// may tells whether a segment can have what is searched. One without keys can: it is open, or they are lost.
func (s *search) may(seg segment) bool {
	k, err := readKeys(seg)
	if err != nil {
		return true
	}
	if k.span.some && (!s.since.IsZero() && k.span.last < s.since.UnixMicro() ||
		!s.until.IsZero() && k.span.first >= s.until.UnixMicro()) {
		return false
	}
	return s.keys(k.has)
}

// segment gives the events of one segment that match, until found returns false. A segment that was deleted meanwhile
// has none.
func (s *search) segment(ctx context.Context, seg segment, found func(e *Event) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.may(seg) {
		return nil
	}
	f, err := os.Open(seg.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("history: opening a segment to search it: %w", err)
	}
	defer f.Close()
	s.stats.Read++
	s.stats.Bytes += seg.size
	err = readLines(ctx, f, func() { s.stats.Damaged++ }, func(b []byte) bool {
		if !s.line(b) {
			return true
		}
		e, err := decodeLine(b)
		if err != nil {
			s.stats.Damaged++
			return true
		}
		if !s.since.IsZero() && e.At.Before(s.since) || !s.until.IsZero() && !e.At.Before(s.until) || !s.event(&e) {
			return true
		}
		return found(&e)
	})
	if err != nil {
		return fmt.Errorf("history: searching a segment: %w", err)
	}
	return nil
}
