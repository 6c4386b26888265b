package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// TestSelectors lists by each of the selectors, alone and together.
func TestSelectors(t *testing.T) {
	w := newWorld(t)
	old := func(m *spool.Message) {
		m.Arrived = m.Arrived.Add(-3 * time.Hour)
		m.Recipients[0].Reason, m.Recipients[0].Priority = spool.ReasonDNS, 4
	}
	a := w.put("Ann@example.com", nil, "a@example.org", "A@Example.ORG")
	b := w.put("", old, "b@sub.example.org")
	c := w.put("bob@example.net", func(m *spool.Message) { m.Recipients[0].State = spool.Held }, "c@[192.0.2.1]")
	d := w.put("bob@example.net", func(m *spool.Message) { m.Recipients[0].Priority = -1 }, "postmaster@xn--brger-kva.example")
	names := map[string]string{a.ID.String(): "a", b.ID.String(): "b", c.ID.String(): "c", d.ID.String(): "d"}
	for _, tt := range []struct {
		s    Selector
		want string // message and number of the recipient
	}{
		{Selector{}, "a0 a1 b0 c0 d0"},
		{Selector{All: true}, "a0 a1 b0 c0 d0"},
		{Selector{IDs: []string{b.ID.String(), a.ID.String(), b.ID.String()}}, "b0 a0 a1"},
		{Selector{IDs: []string{strings.ToUpper(d.ID.String())}}, "d0"},
		{Selector{Domain: "EXAMPLE.org"}, "a0 a1"},
		{Selector{Domain: "*.example.org"}, "b0"},
		{Selector{Domain: "[192.0.2.1]"}, "c0"},
		{Selector{Domain: "bürger.example"}, "d0"},
		{Selector{Sender: "Ann@EXAMPLE.com"}, "a0 a1"},
		{Selector{Sender: "ann@example.com"}, ""}, // the case of a local part counts
		{Selector{Sender: "<>"}, "b0"},
		{Selector{Sender: "@example.net"}, "c0 d0"},
		{Selector{Recipient: "a@example.org"}, "a0"},
		{Selector{Recipient: "<A@example.org>"}, "a1"},
		{Selector{Recipient: "@*.example.org"}, "b0"},
		{Selector{Recipient: "POSTMASTER@bürger.example"}, "d0"},
		{Selector{OlderThan: time.Hour}, "b0"},
		{Selector{NewerThan: time.Hour}, "a0 a1 c0 d0"},
		{Selector{OlderThan: time.Hour, NewerThan: 2 * time.Hour}, ""},
		{Selector{Reason: "dns"}, "b0"},
		{Selector{Class: "urgent"}, "b0"},
		{Selector{Class: "normal"}, "a0 a1 c0"},
		{Selector{Class: "bulk"}, "d0"},
		{Selector{State: "held"}, "c0"},
		{Selector{State: "waiting"}, "a0 a1 b0 d0"},
		{Selector{State: StateInFlight}, ""},
		{Selector{Site: "mx:sub.example.org tls=opportunistic"}, "b0"},
		{Selector{Site: "MX:Example.org tls=opportunistic"}, "a0 a1"},
		{Selector{Site: "mx:sub.example.org"}, "b0"},
		{Selector{Site: "example.org"}, "a0 a1"},
		{Selector{Site: "*.example.org"}, "b0"},
		{Selector{Site: "192.0.2.1"}, "c0"},
		{Selector{Site: "bürger.example"}, "d0"},
		{Selector{Site: "*"}, "a0 a1 b0 c0 d0"},
		{Selector{Site: "nowhere"}, ""},
		{Selector{Sender: "@example.net", State: "held", Class: "normal"}, "c0"},
	} {
		for _, desk := range []Desk{w.live, w.live.reader} {
			var got []string
			for e, err := range desk.List(w.ctx, tt.s, 0) {
				if err != nil {
					t.Fatalf("%+v: %v", tt.s, err)
				}
				got = append(got, fmt.Sprint(names[e.ID], e.N))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%T: %+v lists %q, want %q", desk, tt.s, got, tt.want)
			}
		}
	}
}

// TestListGoesOn has an id that is not there beside one that is, a limit, and a selector that is wrong.
func TestListGoesOn(t *testing.T) {
	w := newWorld(t)
	m := w.put("ann@example.com", nil, "a@example.org", "b@example.org", "c@example.org")
	gone := w.ids.New(time.Now())
	found, missing := 0, 0
	for _, err := range w.live.List(w.ctx, Selector{IDs: []string{gone.String(), m.ID.String()}}, 2) {
		switch {
		case err == nil:
			found++
		case errors.Is(err, spool.ErrNotFound) && strings.Contains(err.Error(), gone.String()):
			missing++
		default:
			t.Error(err)
		}
	}
	if found != 2 || missing != 1 {
		t.Errorf("%d found, %d missing", found, missing)
	}
	for _, err := range w.live.List(w.ctx, Selector{Class: "x"}, 0) {
		if !errors.Is(err, ErrWrong) {
			t.Errorf("error %v", err)
		}
	}
}

// TestSites compares the sites of the queue's counters with those of the spool's index, before a lane was looked up.
func TestSites(t *testing.T) {
	w := newWorld(t)
	w.put("ann@example.com", nil, "a@example.org", "b@example.org", "c@example.com")
	w.put("ann@example.com", func(m *spool.Message) { m.Recipients[0].Next = m.Arrived.Add(time.Hour) }, "a@example.org")
	w.put("ann@example.com", func(m *spool.Message) { m.Recipients[0].State = spool.Held }, "a@example.org")
	sites, err := w.live.reader.Sites(w.ctx)
	if err != nil || len(sites) != 2 {
		t.Fatalf("sites %+v, %v", sites, err)
	}
	if s := sites[0]; s.Name != "mx:example.org tls=opportunistic" || s.Waiting != 3 || s.Due != 2 || s.Next.IsZero() || s.Oldest.IsZero() ||
		s.Cap != 20 {
		t.Errorf("first site %+v", s)
	}
	if s := sites[1]; s.Waiting != 1 || s.Due != 1 || !s.Next.IsZero() {
		t.Errorf("second site %+v", s)
	}
	status, err := w.live.reader.Status(w.ctx)
	if want := (Status{Waiting: 4, Held: 1, Sites: 2}); err != nil || status != want {
		t.Errorf("status %+v, %v", status, err)
	}
	sites, err = w.live.Sites(w.ctx)
	if err != nil || len(sites) != 1 || sites[0].Name != "" || sites[0].Waiting != 4 || sites[0].LaneCount != 2 {
		t.Errorf("sites of the queue %+v, %v", sites, err)
	}
	if status, err := w.live.Status(w.ctx); err != nil || !status.Running || status.Waiting != 4 {
		t.Errorf("status of the server %+v, %v", status, err)
	}
}

// TestShow reads a message with a trail, and says what happens next to each recipient.
func TestShow(t *testing.T) {
	w := newWorld(t)
	busy := smtp.NewReply(450, smtp.EnhancedCode{4, 2, 0}, "Greylisted,\ncome back")
	m := w.put("ann@example.com", func(m *spool.Message) {
		m.Asked.EnvelopeID, m.Asked.RequireTLS, m.Cause, m.Kind = "QQ314", true, m.ID, spool.Bounce
		for range 3 {
			m.Recipients[0].Tried(spool.Attempt{At: m.Arrived, Reason: spool.ReasonInDoubt, Host: "mx [192.0.2.7]:25", TLS: "TLS 1.3", Reply: busy})
		}
		m.Recipients[0].Next = m.Arrived.Add(time.Hour)
		m.Recipients[1].State = spool.Held
	}, "a@example.org", "b@example.org", "c@example.org")
	s, err := w.live.Show(w.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if s.ID != m.ID.String() || s.Sender != "ann@example.com" || s.Kind != "bounce" || s.Cause != s.ID || s.EnvelopeID != "QQ314" ||
		len(s.Asked) != 1 || s.Client != "[192.0.2.1]:3456" || len(s.Recipients) != 3 {
		t.Fatalf("shown %+v", s)
	}
	r := s.Recipients[0]
	if r.Doubts != 3 || r.Attempts != 3 || len(r.Trail) != 3 || r.Trail[2].TLS != "TLS 1.3" || r.Reply != "450 4.2.0 Greylisted, come back" ||
		!r.GiveUp.Equal(m.Arrived.Add(120*time.Hour)) {
		t.Errorf("first recipient %+v", r)
	}
	for n, want := range []string{"it is tried at " + clock(m.Recipients[0].Next), "held until an operator", "its turn"} {
		if got := s.Recipients[n].Future; !strings.Contains(got, want) {
			t.Errorf("the future of recipient %d is %q, want %q", n, got, want)
		}
	}
	if _, err := w.live.Show(w.ctx, w.ids.New(time.Now())); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("a message that is not there: %v", err)
	}
}

// TestFuturePaused has a site that is left alone, and a retry that ends that.
func TestFuturePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.queue = queue.New(queue.Options{
			Resolve: func(_ context.Context, lane string) queue.Placement {
				return queue.Placement{Site: "dead", Cap: 1, Pauses: []time.Duration{time.Hour}}
			},
			Attempt: func(_ context.Context, work queue.Work) queue.Result {
				job := work.Job
				job.Due = time.Now().Add(time.Minute)
				return queue.Result{Owed: []queue.Job{job}, Signal: queue.Failed, Said: "connection refused"}
			},
		})
		w.live.o.Queue = w.queue
		m := w.put("ann@example.com", nil, "a@example.org")
		w.put("ann@example.com", nil, "b@example.org")
		stop := w.run()
		synctest.Wait()
		sites, err := w.live.Sites(w.ctx)
		if err != nil || len(sites) != 1 {
			t.Fatalf("sites %+v, %v", sites, err)
		}
		s := sites[0]
		if s.Name != "dead" || !s.PausedUntil.After(time.Now()) || s.Reply != "connection refused" || s.Failures < 1 {
			t.Errorf("site %+v", s)
		}
		shown, err := w.live.Show(w.ctx, m.ID)
		if err != nil || !strings.Contains(shown.Recipients[0].Future, "left alone until") || shown.Recipients[0].Site != "dead" {
			t.Errorf("shown %+v, %v", shown.Recipients, err)
		}
		w.act(Action{Verb: Retry, Selector: Selector{Site: "dead"}})
		synctest.Wait()
		if sites, _ := w.live.Sites(w.ctx); len(sites) != 1 || sites[0].Failures != s.Failures+1 {
			t.Errorf("after the retry: %+v, failures before: %d", sites, s.Failures)
		}
		stop()
	})
}

// TestTrace finds what is in the history, what still waits of it, and what is only in the spool.
func TestTrace(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	journal, err := history.Open(dir, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	w.live.reader.History, w.live.o.Record, w.live.o.Flush = dir, journal.Append, journal.Flush
	m := w.put("ann@example.com", nil, "a@example.org", "b@example.org")
	unknown := w.put("old@example.com", nil, "c@example.org")
	gone := w.ids.New(time.Now())
	journal.Append(&history.Event{ID: m.ID, Kind: history.Accepted, From: "ann@example.com", To: []string{"a@example.org", "b@example.org"}, MessageID: "<1@example.com>"})
	journal.Append(&history.Event{ID: gone, Kind: history.Accepted, From: "bob@example.com", To: []string{"d@example.org"}})
	journal.Append(&history.Event{ID: gone, Kind: history.Delivered, To: []string{"d@example.org"}, Host: "mx", Reply: "250 ok"})
	w.act(Action{Verb: Hold, Selector: Selector{Recipient: "b@example.org"}, Who: "uid 0"})

	for what, want := range map[string]string{
		m.ID.String():                  fmt.Sprint(m.ID, " accepted operator, 2 owed"),
		"1@example.com":                fmt.Sprint(m.ID, " accepted operator, 2 owed"),
		"b@example.org":                fmt.Sprint(m.ID, " accepted operator, 2 owed"),
		gone.String():                  fmt.Sprint(gone, " accepted delivered, 0 owed"),
		unknown.ID.String():            fmt.Sprint(unknown.ID, " , 1 owed"),
		"old@example.com":              fmt.Sprint(unknown.ID, " , 1 owed"),
		"nobody@example.com":           "",
		"<9@nowhere.example>":          "",
		w.ids.New(time.Now()).String(): "",
	} {
		lives, err := w.live.Trace(w.ctx, what, 0)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		var got []string
		for _, l := range lives {
			var kinds []string
			for _, e := range l.Events {
				kinds = append(kinds, e.Kind)
			}
			got = append(got, fmt.Sprintf("%s %s, %d owed", l.ID, strings.Join(kinds, " "), len(l.Waiting)))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	lives, err := w.live.Trace(w.ctx, "@example.org", 0)
	if err != nil || len(lives) != 3 || lives[2].ID != unknown.ID.String() { // what the history has not comes last
		t.Errorf("by domain: %+v, %v", lives, err)
	}
	if _, err := w.live.Trace(w.ctx, " ", 0); !errors.Is(err, ErrWrong) {
		t.Errorf("nothing: %v", err)
	}
}

// TestReader does nothing.
func TestReader(t *testing.T) {
	w := newWorld(t)
	if _, err := w.live.reader.Act(w.ctx, Action{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("act: %v", err)
	}
	if _, err := w.live.reader.Reload(w.ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("reload: %v", err)
	}
}

// BenchmarkSites has a million recipients at 10,000 sites, as `holub queue` sees them.
func BenchmarkSites(b *testing.B) {
	q := queue.New(queue.Options{})
	l := NewLive(LiveOptions{Queue: q})
	ids := spool.NewIDs(0)
	now := time.Now()
	jobs := make([]queue.Job, 0, 1000)
	for n := range 1_000_000 {
		jobs = append(jobs, queue.Job{ID: ids.New(now), Lane: fmt.Sprint("mx:d", n%10_000), Recipients: []int{0}, Due: now.Add(time.Hour)})
		if len(jobs) == cap(jobs) {
			q.Add(jobs...)
			jobs = slices.Delete(jobs, 0, len(jobs))
		}
	}
	for b.Loop() {
		sites, err := l.Sites(b.Context())
		if err != nil || len(sites) == 0 {
			b.Fatal(len(sites), err)
		}
	}
}
