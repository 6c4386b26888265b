package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// story is a folder of a few messages, in segments of their own, where segmentSize says so.
type story struct {
	t   *testing.T
	dir string
	j   *Journal
	ids *spool.IDs
	now time.Time
}

func newStory(t *testing.T, segmentSize int64) *story {
	s := &story{t: t, dir: t.TempDir(), ids: spool.NewIDs(1), now: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}
	s.j = mustOpen(t, s.dir, Options{SegmentSize: segmentSize, MaxAge: -1})
	t.Cleanup(func() { mustClose(t, s.j) })
	return s
}

// add appends an event a minute after the one before.
func (s *story) add(e Event) {
	s.now = s.now.Add(time.Minute)
	e.At = s.now
	s.j.Append(&e)
	s.j.Flush()
}

func (s *story) id() spool.ID { return s.ids.New(s.now) }

// tell gives the notes of the lives, one life after the other.
func (s *story) tell(what string, limit int) string {
	s.t.Helper()
	lives, err := Lives(context.Background(), s.dir, what, limit)
	if err != nil {
		s.t.Errorf("%q: %v", what, err)
	}
	var all []string
	for _, l := range lives {
		all = append(all, notes(l.Events))
	}
	return strings.Join(all, " | ")
}

func TestLives(t *testing.T) {
	for _, size := range []int64{1, 0} {
		t.Run(fmt.Sprintf("segments of %d", size), func(t *testing.T) { testLives(t, newStory(t, size)) })
	}
}

func testLives(t *testing.T, s *story) {
	one, two, report, last := s.id(), s.id(), s.id(), s.id()
	s.add(Event{ID: one, Kind: Accepted, From: "Joe@Example.org", To: []string{"ann@example.net"},
		MessageID: "<One@x.example>", Note: "1a"})
	s.add(Event{ID: two, Kind: Accepted, From: "joe@example.org", To: []string{"bob@bücher.example", "ann@example.net"},
		MessageID: "two@x.example", Note: "2a"})
	s.add(Event{ID: one, Kind: Delivered, To: []string{"ann@example.net"}, Note: "1d"})
	s.add(Event{Kind: Refused, From: "eve@example.com", To: []string{"ann@example.net"}, Note: "r"})
	s.add(Event{ID: two, Kind: Bounced, To: []string{"bob@bücher.example"}, Report: report, Note: "2b"})
	s.add(Event{ID: report, Kind: Accepted, Cause: two, To: []string{"joe@example.org"}, Note: "2Ra"})
	s.add(Event{ID: report, Kind: Bounced, To: []string{"joe@example.org"}, Report: last, Note: "2Rb"})
	s.add(Event{ID: last, Kind: Delivered, To: []string{"postmaster"}, Note: "2RRd"})
	s.add(Event{ID: two, Kind: Delivered, To: []string{"ann@example.net"}, Note: "2d"})

	const life1, life2 = "1a 1d", "2a 2b 2Ra 2Rb 2RRd 2d"
	for _, tt := range []struct {
		what  string
		limit int
		want  string
	}{
		{one.String(), 0, life1},
		{two.String(), 0, life2},
		{report.String(), 0, life2},
		{last.String(), 0, life2},
		{s.id().String(), 0, ""},
		{"<one@x.example>", 0, life1},
		{"one@X.example", 0, life1},
		{"<two@x.example>", 0, life2},
		{"joe@example.org", 0, life2 + " | " + life1},
		{"<JOE@EXAMPLE.ORG>", 1, life2},
		{"ann@example.net", 0, "r | " + life2 + " | " + life1},
		{"ann@example.net", 2, "r | " + life2},
		{"@example.net", 0, "r | " + life2 + " | " + life1},
		{"bob@bücher.example", 0, life2},
		{"bob@BÜCHER.example", 0, life2},
		{"bob@xn--bcher-kva.example", 0, life2},
		{"@xn--bcher-kva.example", 0, life2},
		{"postmaster", 0, life2},
		{"@example.com", 0, "r"},
		{"eve@example.com", 0, "r"},
		{"example.net", 0, ""},
		{"nn@example.net", 0, ""},
		{"@xample.net", 0, ""},
	} {
		if got := s.tell(tt.what, tt.limit); got != tt.want {
			t.Errorf("%q, %d: %q, want %q", tt.what, tt.limit, got, tt.want)
		}
	}
	for _, what := range []string{"", " ", "<>", "@"} {
		if _, err := Lives(context.Background(), s.dir, what, 0); !errors.Is(err, ErrWhat) {
			t.Errorf("%q: error %v", what, err)
		}
	}
	if _, err := Lives(context.Background(), filepath.Join(s.dir, "no"), "@x", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Lives(ctx, s.dir, "@example.net", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

// TestManyRecipients: one line stays small, and each recipient is found as soon as the message was accepted.
func TestManyRecipients(t *testing.T) {
	s := newStory(t, 0)
	id := s.id()
	var to []string
	for i := range 1000 {
		to = append(to, fmt.Sprintf("u%d@example.net", i))
	}
	to = append(to, strings.Repeat("x", 3*maxText), strings.Repeat("y", 3*maxText))
	s.add(Event{ID: id, Kind: Accepted, From: "joe@example.org", To: to, Note: "a"})
	s.add(Event{ID: id, Kind: Delivered, To: to[700:701], Note: "d"})
	for _, i := range []int{0, 99, 100, 700, 999} {
		lives, err := Lives(context.Background(), s.dir, to[i], 0)
		if err != nil || len(lives) != 1 || notes(lives[0].Events) != "a d" {
			t.Fatalf("recipient %d: %v (%v)", i, lives, err)
		}
		e := lives[0].Events[0]
		if len(e.To) != len(to) || e.To[1000] != clip(to[1000]) || e.Recipients != len(to) || e.Part != 0 {
			t.Errorf("recipient %d: the event has %d recipients, says %d, part %d", i, len(e.To), e.Recipients, e.Part)
		}
		for j := range 1000 {
			if e.To[j] != to[j] {
				t.Fatalf("recipient %d became %q", j, e.To[j])
			}
		}
	}
	for e, err := range Find(context.Background(), s.dir, Query{Address: to[555], ID: id}) {
		if err != nil || len(e.To) != 100 || e.From != "joe@example.org" || e.Part != 5 || e.Recipients != len(to) {
			t.Errorf("the part that Find gives: %d recipients, part %d of %q (%v)", len(e.To), e.Part, e.From, err)
		}
	}
}

func TestFind(t *testing.T) {
	s := newStory(t, 1)
	var times []time.Time
	id := s.id()
	for i := range 6 {
		s.add(Event{ID: id, Kind: Deferred, To: []string{"ann@example.net"}, MessageID: fmt.Sprintf("m%d", i%2),
			Note: fmt.Sprint(i)})
		times = append(times, s.now)
	}
	for _, tt := range []struct {
		q    Query
		want string
	}{
		{Query{}, "0 1 2 3 4 5"},
		{Query{Limit: 2}, "0 1"},
		{Query{ID: id, Limit: 1}, "0"},
		{Query{MessageID: "<M1>"}, "1 3 5"},
		{Query{MessageID: "m1", Address: "@example.net", ID: id, Since: times[2]}, "3 5"},
		{Query{Since: times[1], Until: times[4]}, "1 2 3"},
		{Query{Until: times[0]}, ""},
		{Query{MessageID: "m1", Address: "@example.org"}, ""},
		{Query{ID: s.id()}, ""},
		{Query{Address: "<>"}, ""},
	} {
		var events []Event
		for e, err := range Find(context.Background(), s.dir, tt.q) {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		if got := notes(events); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.q, got, tt.want)
		}
	}
	for e := range Find(context.Background(), s.dir, Query{}) {
		if e.Note == "2" {
			break
		}
	}
	for e, err := range Find(context.Background(), filepath.Join(s.dir, "no"), Query{}) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no folder: %v, error %v", e, err)
		}
	}
}

// TestReadsLittle: only segments that can have what is searched are read.
func TestReadsLittle(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		j := mustOpen(t, dir, Options{SegmentSize: 1})
		j.Append(&Event{Kind: Refused, To: []string{fmt.Sprintf("u%d@d%d.example", i, i)}})
		mustClose(t, j)
	}
	for what, want := range map[string]int{"u7@d7.example": 1, "@d7.example": 1, "nobody@d.example": 0} {
		var stats Stats
		n := 0
		for range Find(context.Background(), dir, Query{Address: what, Stats: &stats}) {
			n++
		}
		if n != want || stats.Read != want || stats.Segments != 30 {
			t.Errorf("%s: %d events, %+v", what, n, stats)
		}
	}
}
