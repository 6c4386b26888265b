package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// TestVerbs does everything with one message of two recipients, of which one is held, beside one that must not be touched.
func TestVerbs(t *testing.T) {
	later := func(m *spool.Message) {
		m.Recipients[0].Next = m.Arrived.Add(time.Hour)
		m.Recipients[0].Reason = spool.ReasonRefused
		m.Recipients[1].State, m.Recipients[1].Reason = spool.Held, spool.ReasonUnreadable
	}
	type after struct {
		state  spool.State
		reason spool.Reason
		now    bool // Next has come
		via    string
	}
	waits, held := after{spool.Waiting, spool.ReasonRefused, false, ""}, after{spool.Held, spool.ReasonUnreadable, true, ""}
	for _, tt := range []struct {
		action  Action
		result  Result
		want    []after // none: the message is gone
		reports int
		note    string
	}{
		{Action{Verb: Retry}, Result{Recipients: 1, Messages: 1, Skipped: 1},
			[]after{{spool.Waiting, spool.ReasonOperator, true, ""}, held}, 0, "made due now by uid 7"},
		{Action{Verb: Hold, Text: "looks odd"}, Result{Recipients: 1, Messages: 1, Skipped: 1},
			[]after{{spool.Held, spool.ReasonOperator, false, ""}, held}, 0, "held by uid 7: looks odd"},
		{Action{Verb: Release}, Result{Recipients: 1, Messages: 1, Skipped: 1},
			[]after{waits, {spool.Waiting, spool.ReasonOperator, true, ""}}, 0, "released by uid 7"},
		{Action{Verb: Bounce, Text: "not today"}, Result{Recipients: 2, Messages: 1}, nil, 1, "returned to the sender by uid 7: not today"},
		{Action{Verb: Remove}, Result{Recipients: 2, Messages: 1}, nil, 0, "removed by uid 7"},
		{Action{Verb: Reroute, To: "smtp://relay.example"}, Result{Recipients: 2, Messages: 1},
			[]after{{spool.Waiting, spool.ReasonOperator, true, "smtp://relay.example:25"},
				{spool.Held, spool.ReasonUnreadable, true, "smtp://relay.example:25"}}, 0,
			"rerouted to smtp://relay.example:25 by uid 7"},
	} {
		t.Run(string(tt.action.Verb), func(t *testing.T) {
			w := newWorld(t)
			other := w.put("ann@example.com", later, "c@example.org", "d@example.org")
			m := w.put("ann@example.com", later, "a@example.org", "b@example.org")
			tt.action.Selector.IDs = []string{m.ID.String()}
			tt.action.Who = "uid 7"

			dry := tt.action
			dry.DryRun = true
			counted := w.act(dry)
			if counted.Recipients != tt.result.Recipients || counted.Messages != 1 || len(counted.Sample) != counted.Recipients ||
				!counted.DryRun || len(w.events) > 0 {
				t.Errorf("the dry run says %+v", counted)
			}
			if got := w.act(tt.action); fmt.Sprint(got) != fmt.Sprint(tt.result) {
				t.Errorf("result %+v, want %+v", got, tt.result)
			}
			if len(tt.want) == 0 {
				if _, err := w.engine.Load(w.ctx, m.ID); !errors.Is(err, spool.ErrNotFound) {
					t.Errorf("the message is still there: %v", err)
				}
			} else {
				for n, r := range w.load(m.ID).Recipients {
					got := after{r.State, r.Reason, !r.Next.After(time.Now()), r.Via}
					if got != tt.want[n] {
						t.Errorf("recipient %d is %+v, want %+v", n, got, tt.want[n])
					}
				}
			}
			for n, r := range w.load(other.ID).Recipients {
				if got := (after{r.State, r.Reason, !r.Next.After(time.Now()), r.Via}); got != []after{waits, held}[n] {
					t.Errorf("recipient %d of the other message is %+v", n, got)
				}
			}
			checkBounce(t, w, tt.reports, tt.action.Text)
			if len(w.events) != 1 || w.events[0].Note != tt.note || w.events[0].Kind != history.Operator || w.events[0].ID != m.ID ||
				len(w.events[0].To) != tt.result.Recipients {
				t.Errorf("events %+v", w.events)
			}
			if !slices.Equal(w.forgot, []spool.ID{m.ID}) {
				t.Errorf("forgot %v", w.forgot)
			}
			for _, r := range w.reports { // queued by the server, here by the test
				w.queue.Add(w.jobs(r, []int{0})...)
			}
			w.checkQueue()
		})
	}
}

func checkBounce(t *testing.T, w *world, reports int, text string) {
	t.Helper()
	if len(w.reports) != reports {
		t.Fatalf("%d reports, want %d", len(w.reports), reports)
	}
	for _, r := range w.reports {
		content, err := w.engine.Open(w.ctx, r.ID)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<16)
		n, _ := content.Read(b)
		content.Close()
		if want := "550 5.7.0 Returned by the operator of this server: " + text; !strings.Contains(strings.ReplaceAll(string(b[:n]), "\r\n ", " "), want) {
			t.Errorf("the bounce does not say %q:\n%s", want, b[:n])
		}
	}
}

// TestBackToRoutes undoes a reroute, and bounces what has nobody to be told.
func TestBackToRoutes(t *testing.T) {
	w := newWorld(t)
	m := w.put("", func(m *spool.Message) { m.Kind = spool.Postmaster }, "postmaster@example.org")
	id := Selector{IDs: []string{m.ID.String()}}
	w.act(Action{Verb: Reroute, To: "discard", Selector: id})
	if via := w.load(m.ID).Recipients[0].Via; via != "discard" {
		t.Errorf("via %q", via)
	}
	w.checkQueue()
	w.act(Action{Verb: Reroute, Selector: id})
	if via := w.load(m.ID).Recipients[0].Via; via != "" {
		t.Errorf("via %q", via)
	}
	w.checkQueue()
	if got := w.act(Action{Verb: Bounce, Selector: id}); got.Kept != 1 || got.Recipients != 0 || got.Messages != 0 {
		t.Errorf("result %+v, want one that is kept", got)
	}
	if r := w.load(m.ID).Recipients[0]; r.State != spool.Held || r.Reason != spool.ReasonNoReturn {
		t.Errorf("it is %s for %s", r.State, r.Reason)
	}
	w.checkQueue()
}

// TestWrongActions are refused before anything is done.
func TestWrongActions(t *testing.T) {
	w := newWorld(t)
	w.put("ann@example.com", nil, "a@example.org")
	for what, a := range map[string]Action{
		"no selector":        {Verb: Hold},
		"both":               {Verb: Hold, Selector: Selector{All: true, Domain: "example.org"}},
		"no verb":            {Selector: Selector{All: true}},
		"an unknown verb":    {Verb: "explode", Selector: Selector{All: true}},
		"a wrong id":         {Verb: Hold, Selector: Selector{IDs: []string{"x"}}},
		"a wrong target":     {Verb: Reroute, To: "pigeon:", Selector: Selector{All: true}},
		"a target too many":  {Verb: Hold, To: "discard", Selector: Selector{All: true}},
		"a text of lines":    {Verb: Bounce, Text: "a\r\nb", Selector: Selector{All: true}},
		"a text too long":    {Verb: Bounce, Text: strings.Repeat("x", 301), Selector: Selector{All: true}},
		"a text beyond":      {Verb: Bounce, Text: "kůň", Selector: Selector{All: true}},
		"an unknown reason":  {Verb: Hold, Selector: Selector{Reason: "laziness"}},
		"an unknown class":   {Verb: Hold, Selector: Selector{Class: "first"}},
		"an unknown state":   {Verb: Hold, Selector: Selector{State: "gone"}},
		"no domain":          {Verb: Hold, Selector: Selector{Domain: "exa mple"}},
		"no domain after @":  {Verb: Hold, Selector: Selector{Sender: "@"}},
		"an address too bad": {Verb: Hold, Selector: Selector{Recipient: "a b@c"}},
		"a negative age":     {Verb: Hold, Selector: Selector{OlderThan: -1}},
	} {
		if _, err := w.live.Act(w.ctx, a); !errors.Is(err, ErrWrong) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(w.events) > 0 {
		t.Errorf("events %v", w.events)
	}
	w.checkQueue()
}

// TestBusy has one recipient of a message in flight: it is left alone, and named.
func TestBusy(t *testing.T) {
	w := newWorld(t)
	started, finish := make(chan struct{}), make(chan struct{})
	w.attempt = func(queue.Work) spool.Outcome {
		close(started)
		<-finish
		return spool.Outcome{Reply: smtp.NewReply(450, smtp.EnhancedCode{4, 2, 0}, "later"), Reason: spool.ReasonRefused}
	}
	m := w.put("ann@example.com", func(m *spool.Message) { m.Recipients[1].Next = m.Arrived.Add(time.Hour) }, "a@example.org", "b@example.org")
	stop := w.run()
	<-started
	all := Selector{All: true}
	var states []string
	for e, err := range w.live.List(w.ctx, Selector{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, e.State)
	}
	if !slices.Equal(states, []string{StateInFlight, "waiting"}) {
		t.Errorf("states %v", states)
	}
	for _, dry := range []bool{true, false} {
		r := w.act(Action{Verb: Remove, Selector: all, DryRun: dry})
		if r.Busy != 1 || r.Recipients != 1 || len(r.BusyNames) != 1 || r.BusyNames[0].Recipient != "a@example.org" {
			t.Errorf("dry %t: %+v", dry, r)
		}
	}
	close(finish)
	stop()
	rcpt := w.load(m.ID).Recipients
	if rcpt[0].State != spool.Waiting || rcpt[0].Attempts != 1 || rcpt[1].State != spool.Dropped {
		t.Errorf("recipients %+v", rcpt)
	}
	w.checkQueue()
}

// brokenEngine fails from one of its commits on.
type brokenEngine struct {
	spool.Engine
	left atomic.Int64
}

var errBroken = errors.New("the disk is gone")

func (e *brokenEngine) Apply(ctx context.Context, ops ...spool.Op) error {
	if e.left.Add(-1) < 0 {
		return errBroken
	}
	return e.Engine.Apply(ctx, ops...)
}

// TestFailureMidway has the second commit fail: what was not changed is in the queue as before, and the error says how much
// was done.
func TestFailureMidway(t *testing.T) {
	var broken *brokenEngine
	w := newWorldOver(t, func(e spool.Engine) spool.Engine {
		broken = &brokenEngine{Engine: e}
		return broken
	})
	for n := range 2*commitMessages + 50 {
		w.put("ann@example.com", nil, fmt.Sprintf("a%d@example.org", n), "b@example.com")
	}
	broken.left.Store(1)
	r, err := w.live.Act(w.ctx, Action{Verb: Hold, Selector: Selector{Domain: "example.org"}})
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "held 200 recipients of 200 messages, then") {
		t.Errorf("error %v", err)
	}
	if r.Recipients != 200 || r.Messages != 200 {
		t.Errorf("result %+v", r)
	}
	waiting, held := w.owed()
	if len(held) != 200 || len(waiting) != 2*(2*commitMessages+50)-200 {
		t.Errorf("%d are held, %d wait", len(held), len(waiting))
	}
	w.checkQueue()
	broken.left.Store(1000)
	if r := w.act(Action{Verb: Hold, Selector: Selector{Domain: "example.org"}}); r.Recipients != 250 || r.Skipped != 200 {
		t.Errorf("the second time %+v", r)
	}
	w.checkQueue()
}

// TestCancelled has a client go away before anything is done.
func TestCancelled(t *testing.T) {
	w := newWorld(t)
	m := w.put("ann@example.com", nil, "a@example.org")
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := w.live.Act(ctx, Action{Verb: Remove, Selector: Selector{IDs: []string{m.ID.String()}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	w.checkQueue()
	if s := w.load(m.ID).Recipients[0].State; s != spool.Waiting {
		t.Errorf("it is %s", s)
	}
}

// TestNothingIsLost does what comes to its mind while attempts run. In the end each recipient is somewhere, and only once:
// waiting in the spool and in the queue, held, or ended by an attempt or by an operator.
func TestNothingIsLost(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { nothingIsLost(t, seed) })
	}
}

func nothingIsLost(t *testing.T, seed uint64) {
	w := newWorld(t)
	var delivered, removed atomic.Int64
	var mu sync.Mutex
	rng := newRandom(seed)
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	w.attempt = func(queue.Work) spool.Outcome {
		if random(8) == 0 {
			delivered.Add(1)
			return spool.Outcome{Reply: smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "taken"), Host: "mx"}
		}
		return spool.Outcome{Reply: smtp.NewReply(450, smtp.EnhancedCode{4, 2, 0}, "later"), Reason: spool.ReasonRefused}
	}
	total := 0
	put := func() {
		var to []string
		for n := range 1 + random(4) {
			to = append(to, fmt.Sprintf("a%d@d%d.example", n, random(5)))
		}
		total += len(to)
		w.put(fmt.Sprintf("s%d@example.com", random(3)), nil, to...)
	}
	for range 60 {
		put()
	}
	stop := w.run()
	var ended atomic.Int64
	var operators sync.WaitGroup
	for range 3 {
		operators.Go(func() {
			for range 40 {
				a := Action{
					Verb:     []Verb{Retry, Retry, Hold, Release, Release, Reroute, Remove, Bounce}[random(8)],
					Selector: Selector{Domain: fmt.Sprintf("d%d.example", random(5)), Sender: fmt.Sprintf("s%d@example.com", random(3))},
				}
				if a.Verb == Reroute && random(2) == 0 {
					a.To = "smtp://relay.example"
				}
				r, err := w.live.Act(w.ctx, a)
				if err != nil {
					t.Error(err)
				}
				switch a.Verb {
				case Remove:
					removed.Add(int64(r.Recipients))
				case Bounce:
					ended.Add(int64(r.Recipients))
				}
			}
		})
	}
	for range 40 {
		put()
	}
	operators.Wait()
	stop()
	for _, r := range w.reports {
		w.queue.Add(w.jobs(r, []int{0})...)
	}
	w.checkQueue()
	waiting, held := w.owed()
	rest := len(waiting) + len(held) - len(w.reports)
	t.Logf("of %d: %d delivered, %d removed, %d returned, %d wait, %d held", total, delivered.Load(), removed.Load(), ended.Load(),
		len(waiting)-len(w.reports), len(held))
	if sum := int(delivered.Load()+removed.Load()+ended.Load()) + rest; sum != total {
		t.Errorf("%d of %d recipients are accounted for", sum, total)
	}
}
