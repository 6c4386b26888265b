package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// shelf is an engine that shows what a test puts on it.
type shelf struct {
	spool.Engine
	pending  []spool.Pending
	messages []*spool.Message
	content  map[spool.ID][]byte
	unread   map[spool.ID]error // of content
	errs     []error            // in the listings
	aside    []spool.Damaged
	asideErr error  // in the listing of what was set aside
	listed   func() // called after the messages were listed
}

func (s *shelf) Pending(context.Context) iter.Seq2[spool.Pending, error] {
	return func(yield func(spool.Pending, error) bool) {
		for _, err := range s.errs {
			if !yield(spool.Pending{}, err) {
				return
			}
		}
		for _, p := range s.pending {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s *shelf) List(context.Context, spool.ID) iter.Seq2[*spool.Message, error] {
	return func(yield func(*spool.Message, error) bool) {
		for _, m := range s.messages {
			if !yield(m, nil) {
				return
			}
		}
		if s.listed != nil {
			s.listed()
		}
	}
}

func (s *shelf) Load(_ context.Context, id spool.ID) (*spool.Message, error) {
	for _, m := range s.messages {
		if m.ID == id {
			return m, nil
		}
	}
	return nil, spool.ErrNotFound
}

func (s *shelf) Open(_ context.Context, id spool.ID) (io.ReadCloser, error) {
	if err := s.unread[id]; err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(s.content[id])), nil
}

func (s *shelf) Damaged(context.Context) iter.Seq2[spool.Damaged, error] {
	return func(yield func(spool.Damaged, error) bool) {
		if s.asideErr != nil && !yield(spool.Damaged{}, s.asideErr) {
			return
		}
		for _, d := range s.aside {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// fullShelf has five messages of three recipients: one waits, one is held, one is done.
func fullShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{content: map[spool.ID][]byte{}, unread: map[spool.ID]error{}}
	for i := range 5 {
		m := &spool.Message{ID: spool.ID{byte(i + 1)}, Size: int64(i) * 100, Arrived: time.UnixMilli(int64(i)).UTC()}
		for n, state := range []spool.State{spool.Waiting, spool.Held, spool.Delivered} {
			to, err := smtp.ParsePath(fmt.Sprintf("<r%d@example.org>", n))
			if err != nil {
				t.Fatal(err)
			}
			m.Recipients = append(m.Recipients, spool.Recipient{To: to, State: state, Next: time.UnixMilli(int64(n)).UTC()})
			if !state.Done() {
				s.pending = append(s.pending, spool.PendingOf(m, n, &m.Recipients[n]))
			}
		}
		s.messages = append(s.messages, m)
		s.content[m.ID] = make([]byte, m.Size)
	}
	slices.SortFunc(s.pending, func(a, b spool.Pending) int { return a.Next.Compare(b.Next) })
	return s
}

// Check finds every way in which a spool can disagree with itself, and nothing in one that is sound.
func TestCheck(t *testing.T) {
	sound := spool.Summary{Messages: 5, Recipients: 15, Waiting: 5, Held: 5, Octets: 1000}
	for name, c := range map[string]struct {
		spoil func(s *shelf)
		what  string // of the only finding; "": none
		id    spool.ID
		want  func(*spool.Summary)
	}{
		"sound":           {spoil: func(*shelf) {}},
		"entry missing":   {spoil: func(s *shelf) { s.pending = s.pending[1:] }, what: "index", id: spool.ID{1}},
		"entry twice":     {spoil: func(s *shelf) { s.pending = append(s.pending, s.pending[9]) }, what: "index", id: spool.ID{5}},
		"entry differs":   {spoil: func(s *shelf) { s.pending[2].Held = true }, what: "index", id: spool.ID{3}},
		"entry of a done": {spoil: func(s *shelf) { p := s.pending[0]; p.N = 2; s.pending = append(s.pending, p) }, what: "index", id: spool.ID{1}},
		"entry of none":   {spoil: func(s *shelf) { p := s.pending[0]; p.ID = spool.ID{9}; s.pending = append(s.pending, p) }, what: "index", id: spool.ID{9}},
		"entry of none, first": {spoil: func(s *shelf) { p := s.pending[0]; p.ID = spool.ID{0, 1}; s.pending = append(s.pending, p) }, what: "index",
			id: spool.ID{0, 1}},
		"entry unreadable": {spoil: func(s *shelf) { s.errs = append(s.errs, spool.ErrDamaged) }, what: "index"},
		"content short": {spoil: func(s *shelf) { s.content[spool.ID{5}] = make([]byte, 399) }, what: "content", id: spool.ID{5},
			want: func(s *spool.Summary) { s.Octets -= 400 }},
		"content unreadable": {spoil: func(s *shelf) { s.unread[spool.ID{2}] = spool.ErrDamaged }, what: "content", id: spool.ID{2},
			want: func(s *spool.Summary) { s.Octets -= 100 }},
		"content that left": {spoil: func(s *shelf) { s.unread[spool.ID{2}] = spool.ErrNotFound },
			want: func(s *spool.Summary) { s.Octets -= 100 }},
		"set aside": {spoil: func(s *shelf) { s.aside = []spool.Damaged{{ID: spool.ID{7}, What: "envelope", Size: 3}} }, what: "set aside",
			id: spool.ID{7}, want: func(s *spool.Summary) { s.Damaged, s.Bad = 1, 0 }},
		"set aside unreadable": {spoil: func(s *shelf) { s.asideErr = spool.ErrDamaged }, what: "set aside"},
		"changes meanwhile": {spoil: func(s *shelf) {
			was := s.pending[3].Next
			s.pending[3].Next = was.Add(time.Hour)
			s.listed = func() { s.pending[3].Next = was }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fullShelf(t)
			c.spoil(s)
			want := sound
			if c.what != "" {
				want.Bad++
			}
			if c.want != nil {
				c.want(&want)
			}
			var found []spool.Finding
			sum, err := spool.Check(t.Context(), s, func(f spool.Finding) { found = append(found, f) })
			if err != nil || sum != want {
				t.Errorf("%+v, %v\nwant %+v", sum, err, want)
			}
			switch {
			case c.what == "" && len(found) != 0 || c.what != "" && len(found) != 1:
				t.Errorf("found %v", found)
			case c.what != "" && (found[0].What != c.what || found[0].ID != c.id || !errors.Is(found[0].Err, spool.ErrDamaged)):
				t.Errorf("found %v", found[0])
			}
		})
	}
}

// A disk that fails is no finding: the check could not be done.
func TestCheckFails(t *testing.T) {
	broken := errors.New("input/output error")
	s := fullShelf(t)
	s.unread[spool.ID{2}] = broken
	if _, err := spool.Check(t.Context(), s, nil); !errors.Is(err, broken) {
		t.Errorf("content: %v", err)
	}
	s = fullShelf(t)
	s.errs = []error{broken}
	if _, err := spool.Check(t.Context(), s, nil); !errors.Is(err, broken) {
		t.Errorf("index: %v", err)
	}
	s = fullShelf(t)
	s.asideErr = broken
	if _, err := spool.Check(t.Context(), s, nil); !errors.Is(err, broken) {
		t.Errorf("set aside: %v", err)
	}
}
