package spooltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// Run checks what spool.Engine promises, on a new empty store for each test.
func Run(t *testing.T, store func(t *testing.T) Store) {
	tests := []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"round trip", testRoundTrip},
		{"every field", testFields},
		{"update", testUpdate},
		{"leaves after the last recipient", testLeaves},
		{"group", testGroup},
		{"group refused", testGroupRefused},
		{"put again", testPutAgain},
		{"abort", testAbort},
		{"never put", testNeverPut},
		{"pending", testPending},
		{"list", testList},
		{"check", testCheck},
		{"not found", testNotFound},
		{"refused", testRefused},
		{"cancelled", testCancelled},
		{"read while it leaves", testReadWhileLeaving},
		{"concurrent", testConcurrent},
		{"concurrent ends", testConcurrentEnds},
		{"closed", testClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, store(t)) })
	}
}

func testRoundTrip(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	w := model{}
	var all []spool.ID
	for _, size := range []int{0, 1, 4096, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1 << 17, 5<<20 + 3} {
		x := newEntry(ids, size, "a@example.org")
		must(t, put(ctx, e, x))
		w.apply([]*entry{x})
		all = append(all, x.m.ID)
	}
	bare := newEntry(ids, 0, "a@example.org")
	must(t, e.Apply(ctx, spool.Put{Message: bare.m}))
	w.apply([]*entry{bare})
	all = append(all, bare.m.ID)
	must(t, w.check(ctx, e, all))
	must(t, w.check(ctx, reopen(t, s, e), all))
}

func testFields(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	x := newEntry(ids, 10, `"Joe \" Bloggs"@example.org`, "b@[192.0.2.1]", "C.c@Example.ORG", "d@example.org")
	x.m.Kind, x.m.Cause, x.m.From, x.m.EightBit = spool.Bounce, ids.New(epoch), smtp.Path{}, true
	x.m.Client = "naïve \xff\r\n client"
	x.m.Recipients[1] = later(x.m.Recipients[1], 90*time.Minute)
	x.m.Recipients[1].Warned = true
	x.m.Recipients[2] = ended(x.m.Recipients[2], spool.Delivered)
	x.m.Recipients[3].State, x.m.Recipients[3].Reason = spool.Held, spool.ReasonNoReturn
	x.m.Recipients[3].Via, x.m.Recipients[3].Priority = "smtp://relay.example.org:25", -4
	x.m.Asked.Held, x.m.Asked.By = epoch.Add(time.Hour), epoch.Add(2*time.Hour)
	for n := range spool.TrailLength + 2 {
		x.m.Recipients[1].Tried(spool.Attempt{At: epoch.Add(time.Duration(n) * time.Minute), Reason: spool.ReasonInDoubt,
			Host: "mx.example.org", TLS: "TLS 1.3", Reply: smtp.NewReply(451, smtp.EnhancedCode{4, 4, 2}, "broke")})
	}
	must(t, put(ctx, e, x))
	w := model{}
	w.apply([]*entry{x})
	must(t, w.check(ctx, reopen(t, s, e), []spool.ID{x.m.ID}))
}

func testUpdate(t *testing.T, s Store) {
	ctx := t.Context()
	e := open(t, s)
	x := newEntry(spool.NewIDs(1), 100_000, "a@example.org", "b@example.org", "c@example.org")
	id := x.m.ID
	must(t, put(ctx, e, x))
	w := model{}
	w.apply([]*entry{x})
	to := x.m.Recipients
	held := to[2]
	held.State = spool.Held
	steps := []spool.Update{
		update(id, 0, later(to[0], time.Minute)),
		update(id, 0, later(later(to[0], time.Minute), time.Hour)),
		update(id, 0, later(to[0], time.Hour)), // the same due time again
		{ID: id, Recipients: map[int]spool.Recipient{1: ended(to[1], spool.Bounced), 2: held}},
		update(id, 1, ended(to[1], spool.Bounced)), // done stays done
		update(id, 2, to[2]), // released
	}
	for i, u := range steps {
		apply := e.Apply
		if i%2 == 1 {
			apply = e.ApplySoon // what it did is seen at once
		}
		must(t, apply(ctx, u))
		w.apply(nil, u)
		if err := w.check(ctx, e, []spool.ID{id}); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	e = reopen(t, s, e)
	must(t, w.check(ctx, e, []spool.ID{id}))
	if err := e.Apply(ctx, update(id, 1, to[1])); err == nil {
		t.Error("a done recipient was made to wait again")
	}
	moved := later(to[0], time.Minute)
	moved.To = address("<elsewhere@example.org>")
	must(t, e.Apply(ctx, update(id, 0, moved)))
	w.apply(nil, update(id, 0, later(to[0], time.Minute))) // the address of a recipient is for good
	must(t, w.check(ctx, e, []spool.ID{id}))
}

func testLeaves(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	w := model{}
	var all []spool.ID
	end := func(x *entry, ns ...int) {
		t.Helper()
		u := spool.Update{ID: x.m.ID, Recipients: map[int]spool.Recipient{}}
		for _, n := range ns {
			u.Recipients[n] = ended(x.m.Recipients[n], spool.Delivered)
		}
		must(t, e.Apply(ctx, u))
		w.apply(nil, u)
		must(t, w.check(ctx, e, all))
	}
	for _, size := range []int{0, 4096, 300_000, 20 << 20} {
		one := newEntry(ids, size, "a@example.org")
		three := newEntry(ids, 4096, "a@example.org", "b@example.org", "c@example.org")
		all = append(all, one.m.ID, three.m.ID)
		must(t, put(ctx, e, one))
		must(t, put(ctx, e, three))
		w.apply([]*entry{one, three})
		end(one, 0)
		end(three, 1)
		e = reopen(t, s, e)
		end(three, 0, 2)
		e = reopen(t, s, e)
		must(t, w.check(ctx, e, all))
	}
	dropped := newEntry(ids, 200_000, "a@example.org")
	dropped.m.Recipients[0].State = spool.Dropped
	must(t, put(ctx, e, dropped)) // nothing is owed from the start
	must(t, w.check(ctx, e, append(all, dropped.m.ID)))
}

func testGroup(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	x := newEntry(ids, 100_000, "a@example.org")
	bounce := newEntry(ids, 3000, "sender@example.org")
	bounce.m.Kind, bounce.m.Cause, bounce.m.From = spool.Bounce, x.m.ID, smtp.Path{}
	twice := newEntry(ids, 5, "a@example.org", "b@example.org")
	all := []spool.ID{x.m.ID, bounce.m.ID, twice.m.ID}
	w := model{}
	must(t, put(ctx, e, x))
	u := update(x.m.ID, 0, ended(x.m.Recipients[0], spool.Bounced))
	must(t, put(ctx, e, bounce, u))
	w.apply([]*entry{x, bounce}, u)
	must(t, w.check(ctx, e, all))

	// A message put and changed in one group, and one changed twice in one.
	first := update(twice.m.ID, 0, later(twice.m.Recipients[0], time.Minute))
	second := update(twice.m.ID, 1, later(twice.m.Recipients[1], time.Hour))
	must(t, put(ctx, e, twice, first))
	w.apply([]*entry{twice}, first)
	must(t, w.check(ctx, e, all))
	end := update(twice.m.ID, 0, ended(twice.m.Recipients[0], spool.Delivered))
	must(t, e.Apply(ctx, second, end))
	w.apply(nil, second, end)
	must(t, w.check(ctx, e, all))
	end2 := update(twice.m.ID, 1, ended(twice.m.Recipients[1], spool.Delivered))
	must(t, e.Apply(ctx, end, end2, end2))
	w.apply(nil, end2)
	must(t, w.check(ctx, reopen(t, s, e), all))
}

func testGroupRefused(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	x := newEntry(ids, 100, "a@example.org", "b@example.org")
	must(t, put(ctx, e, x))
	w := model{}
	w.apply([]*entry{x})
	bounce := newEntry(ids, 100_000, "sender@example.org")
	all := []spool.ID{x.m.ID, bounce.m.ID}
	end := update(x.m.ID, 0, ended(x.m.Recipients[0], spool.Bounced))
	unknown := update(ids.New(epoch), 0, end.Recipients[0])
	if err := put(ctx, e, bounce, end, unknown); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("a group with an update of no message: %v", err)
	}
	must(t, w.check(ctx, e, all))
	// What the refused group held back must not be counted as ended.
	must(t, e.Apply(ctx, end))
	w.apply(nil, end)
	must(t, w.check(ctx, e, all))
	end = update(x.m.ID, 1, ended(x.m.Recipients[1], spool.Bounced))
	must(t, put(ctx, e, bounce, end))
	w.apply([]*entry{bounce}, end)
	must(t, w.check(ctx, reopen(t, s, e), all))
}

func testPutAgain(t *testing.T, s Store) {
	ctx := t.Context()
	e := open(t, s)
	x := newEntry(spool.NewIDs(1), 150_000, "a@example.org", "b@example.org")
	ids := []spool.ID{x.m.ID}
	w := model{}
	c, err := write(ctx, e, x)
	must(t, err)
	must(t, e.Apply(ctx, spool.Put{Message: x.m, Content: c}))
	u := update(x.m.ID, 0, later(x.m.Recipients[0], time.Hour))
	must(t, e.Apply(ctx, u))
	w.apply([]*entry{x}, u)
	must(t, e.Apply(ctx, spool.Put{Message: x.m, Content: c})) // the same content
	c.Abort()
	must(t, w.check(ctx, e, ids))
	must(t, put(ctx, e, x)) // the whole message again
	must(t, w.check(ctx, e, ids))
	c, err = write(ctx, e, x)
	must(t, err)
	c.Abort()
	must(t, w.check(ctx, reopen(t, s, e), ids))
}

func testAbort(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	for _, size := range []int{0, 100, 300_000} {
		x := newEntry(ids, size, "a@example.org")
		c, err := write(ctx, e, x)
		must(t, err)
		c.Abort()
		c.Abort()
		if err := e.Apply(ctx, spool.Put{Message: x.m, Content: c}); err == nil {
			t.Errorf("aborted content of %d octets was put", size)
		}
		if _, err := c.Write([]byte("more")); err == nil {
			t.Errorf("aborted content of %d octets took more", size)
		}
		must(t, model{}.check(ctx, e, []spool.ID{x.m.ID}))

		w := model{}
		again := &entry{m: x.m, content: octets(ids.New(epoch), size/2)} // the id is free again
		again.m.Size = int64(size / 2)
		must(t, put(ctx, e, again))
		w.apply([]*entry{again})
		e = reopen(t, s, e)
		must(t, w.checkMessage(ctx, e, x.m.ID))
		must(t, e.Apply(ctx, update(x.m.ID, 0, ended(x.m.Recipients[0], spool.Delivered))))
	}
}

func testNeverPut(t *testing.T, s Store) {
	ctx := t.Context()
	e := open(t, s)
	ids := spool.NewIDs(1)
	for _, size := range []int{100, 500_000} {
		x := newEntry(ids, size, "a@example.org")
		_, err := write(ctx, e, x)
		must(t, err)
		e = reopen(t, s, e)
		must(t, model{}.check(ctx, e, []spool.ID{x.m.ID}))
		short := &entry{m: x.m, content: octets(ids.New(epoch), 70_000)}
		short.m.Size = 70_000
		must(t, put(ctx, e, short))
		must(t, sameContent(ctx, e, short))
		must(t, e.Apply(ctx, update(x.m.ID, 0, ended(x.m.Recipients[0], spool.Delivered))))
	}
}

func testPending(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	due := []time.Time{epoch.Add(time.Hour), {}, epoch, epoch.AddDate(-100, 0, 0), epoch.Add(time.Millisecond), epoch}
	var want []spool.Pending
	for i, at := range due {
		x := newEntry(ids, 0, "a@example.org", "b@example.org")
		first, second := &x.m.Recipients[0], &x.m.Recipients[1]
		first.Next, first.Attempts = at, i
		second.State, second.Next = spool.Held, at
		must(t, put(ctx, e, x))
		want = append(want, pendingOf(x.m, 0, *first), pendingOf(x.m, 1, *second))
	}
	for range 2 {
		got, err := list(ctx, e)
		must(t, err)
		must(t, samePending(got, want))
		e = reopen(t, s, e)
	}
	for p, err := range e.Pending(ctx) { // the spool may be changed while it is listed
		must(t, err)
		m, err := e.Load(ctx, p.ID)
		must(t, err)
		must(t, e.Apply(ctx, update(p.ID, p.N, ended(m.Recipients[p.N], spool.Dropped))))
	}
	got, err := list(ctx, e)
	must(t, err)
	must(t, samePending(got, nil))
}

func testList(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	w := model{}
	var all []spool.ID
	for n := range 7 {
		var to []string
		for r := range n + 1 {
			to = append(to, fmt.Sprintf("r%d@example.org", r))
		}
		x := newEntry(ids, 100, to...)
		must(t, put(ctx, e, x))
		w.apply([]*entry{x})
		all = append(all, x.m.ID)
	}
	for _, after := range append(all, spool.ID{}) {
		must(t, w.checkList(ctx, e, after))
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	for m, err := range e.List(stopped, spool.ID{}) {
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("List after its context ended: %v, %v", m, err)
		}
	}
	for d, err := range e.Damaged(ctx) {
		t.Errorf("set aside in a sound spool: %+v, %v", d, err)
	}
}

// testCheck: a check of a sound spool finds nothing and counts right.
func testCheck(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	want := spool.Summary{}
	for n, size := range []int{0, 1, 4096, 65536, 65537, 300_000} {
		x := newEntry(ids, size, "a@example.org", "b@example.org", "c@example.org")
		x.m.Recipients[0].State = spool.Held
		x.m.Recipients[1] = ended(x.m.Recipients[1], spool.Delivered)
		must(t, put(ctx, e, x))
		if n%2 == 0 {
			must(t, e.Apply(ctx, update(x.m.ID, 2, later(x.m.Recipients[2], time.Hour))))
		}
		want.Messages++
		want.Recipients += 3
		want.Held++
		want.Waiting++
		want.Octets += int64(size)
	}
	for range 2 {
		got, err := spool.Check(ctx, e, func(f spool.Finding) { t.Errorf("found in a sound spool: %v", f) })
		if err != nil || got != want {
			t.Errorf("Check: %+v, %v; want %+v", got, err, want)
		}
		e = reopen(t, s, e)
	}
}

func testNotFound(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	must(t, model{}.check(ctx, e, []spool.ID{ids.New(epoch)}))
	x := newEntry(ids, 10, "a@example.org")
	must(t, put(ctx, e, x))
	for _, n := range []int{-1, 1} {
		if err := e.Apply(ctx, update(x.m.ID, n, x.m.Recipients[0])); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("update of recipient %d of 1: %v", n, err)
		}
	}
}

func testRefused(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	bad := map[string]func(*spool.Message){
		"size":          func(m *spool.Message) { m.Size++ },
		"no recipients": func(m *spool.Message) { m.Recipients = nil },
		"no address":    func(m *spool.Message) { m.Recipients[0].To = smtp.Path{} },
		"unreadable":    func(m *spool.Message) { m.From.Local = "a\nb" },
	}
	for name, spoil := range bad {
		x := newEntry(ids, 10, "a@example.org")
		id := x.m.ID
		spoil(x.m)
		if err := put(ctx, e, x); err == nil {
			t.Errorf("%s: no error", name)
		}
		must(t, model{}.check(ctx, e, []spool.ID{id}))
	}
	x := newEntry(ids, 10, "a@example.org")
	if err := e.Apply(ctx, spool.Put{Message: x.m}); err == nil {
		t.Error("a message of 10 octets was put without content")
	}
}

func testCancelled(t *testing.T, s Store) {
	e := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	x := newEntry(spool.NewIDs(1), 100_000, "a@example.org")
	c, err := write(ctx, e, x)
	must(t, err)
	cancel()
	if err := e.Apply(ctx, spool.Put{Message: x.m, Content: c}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: %v", err)
	}
	must(t, model{}.check(t.Context(), e, []spool.ID{x.m.ID}))
	must(t, e.Apply(t.Context(), spool.Put{Message: x.m, Content: c})) // nothing was lost
	must(t, sameContent(t.Context(), e, x))
	if _, err := e.Load(ctx, x.m.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v", err)
	}
}

func testReadWhileLeaving(t *testing.T, s Store) {
	ctx := t.Context()
	e := open(t, s)
	x := newEntry(spool.NewIDs(1), 400_000, "a@example.org")
	must(t, put(ctx, e, x))
	r, err := e.Open(ctx, x.m.ID)
	must(t, err)
	defer r.Close()
	head := make([]byte, 10)
	_, err = io.ReadFull(r, head)
	must(t, err)
	must(t, e.Apply(ctx, update(x.m.ID, 0, ended(x.m.Recipients[0], spool.Delivered))))
	rest, err := io.ReadAll(r)
	if got := append(head, rest...); string(got) != string(x.content[:len(got)]) {
		t.Error("other octets than were written")
	} else if err == nil && len(got) != len(x.content) {
		t.Errorf("content ended without an error after %d of %d octets", len(got), len(x.content))
	} else if err != nil && !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("read of a message that left: %v", err)
	}
}

func testConcurrent(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	const writers, each = 8, 12
	kept := make([]*entry, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				x := newEntry(ids, n*9000, "a@example.org", fmt.Sprintf("w%d@example.org", i))
				w := model{}
				run := func() error {
					if err := put(ctx, e, x); err != nil {
						return err
					}
					w.apply([]*entry{x})
					u := update(x.m.ID, 1, later(x.m.Recipients[1], time.Duration(n)*time.Minute))
					end := update(x.m.ID, 0, ended(x.m.Recipients[0], spool.Delivered))
					if err := e.Apply(ctx, u, end); err != nil {
						return err
					}
					w.apply(nil, u, end)
					if err := w.checkMessage(ctx, e, x.m.ID); err != nil || n == each-1 {
						kept[i] = w[x.m.ID]
						return err
					}
					end = update(x.m.ID, 1, ended(x.m.Recipients[1], spool.Delivered))
					w.apply(nil, end)
					return errors.Join(e.Apply(ctx, end), w.checkMessage(ctx, e, x.m.ID))
				}
				if err := run(); err != nil {
					t.Errorf("writer %d, message %d: %v", i, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	w := model{}
	w.apply(kept)
	var left []spool.ID
	for id := range w {
		left = append(left, id)
	}
	must(t, w.check(ctx, e, left))
	must(t, w.check(ctx, reopen(t, s, e), left))
}

// testConcurrentEnds ends the recipients of one message side by side: it leaves after the last, whichever that is.
func testConcurrentEnds(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	for round := range 30 {
		x := newEntry(ids, 100, "a@example.org", "b@example.org", "c@example.org", "d@example.org")
		must(t, put(ctx, e, x))
		if round%3 == 0 {
			e = reopen(t, s, e)
		}
		var wg sync.WaitGroup
		for n, r := range x.m.Recipients {
			wg.Go(func() {
				for _, to := range []spool.Recipient{later(r, time.Minute), ended(r, spool.Delivered)} {
					if err := e.Apply(ctx, update(x.m.ID, n, to)); err != nil {
						t.Errorf("recipient %d: %v", n, err)
					}
				}
			})
		}
		wg.Wait()
		must(t, model{}.check(ctx, e, []spool.ID{x.m.ID}))
	}
}

func testClosed(t *testing.T, s Store) {
	ctx := t.Context()
	ids := spool.NewIDs(1)
	e := open(t, s)
	x, y := newEntry(ids, 200_000, "a@example.org"), newEntry(ids, 200_000, "a@example.org")
	must(t, put(ctx, e, x))
	c, err := write(ctx, e, y)
	must(t, err)
	r, err := e.Open(ctx, x.m.ID)
	must(t, err)
	must(t, e.Close())
	_, createErr := e.Create(ctx, ids.New(epoch))
	_, loadErr := e.Load(ctx, x.m.ID)
	_, openErr := e.Open(ctx, x.m.ID)
	_, listErr := list(ctx, e)
	_, readErr := io.ReadAll(r)
	calls := map[string]error{
		"Create": createErr, "Load": loadErr, "Open": openErr, "Pending": listErr, "Read": readErr,
		"Apply": e.Apply(ctx, spool.Put{Message: y.m, Content: c}),
	}
	for name, err := range calls {
		if !errors.Is(err, spool.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	c.Abort()
	must(t, r.Close())
	w := model{}
	w.apply([]*entry{x})
	must(t, w.check(ctx, open(t, s), []spool.ID{x.m.ID, y.m.ID}))
}
