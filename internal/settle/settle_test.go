package settle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp"
)

var (
	arrived = time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)

	fine    = smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Ok")
	busy    = smtp.NewReply(450, smtp.EnhancedCode{4, 2, 1}, "Greylisted")
	unknown = smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "No such user")
)

const (
	giveUpAge = 5 * 24 * time.Hour
	warnAge   = 4 * time.Hour
	pause     = 30 * time.Minute
	limit     = 1000 // ReturnSize
	remote    = "mx.example.org [192.0.2.1]:25"
)

// recorder is an engine that shows what is done with it and fails when told to.
type recorder struct {
	spool.Engine
	applied   [][]spool.Op
	soon      int // commits of them that did not wait for the disk
	contents  []*recordedContent
	failApply error
	failWrite error
	failOpen  error
	damaged   int // Open gives so many octets and then ErrDamaged; 0: all
}

type recordedContent struct {
	spool.Content
	owner   *recorder
	aborted bool
}

func (c *recordedContent) Write(p []byte) (int, error) {
	if c.owner.failWrite != nil {
		return 0, c.owner.failWrite
	}
	return c.Content.Write(p)
}

func (c *recordedContent) Abort() {
	c.aborted = true
	c.Content.Abort()
}

func (r *recorder) Create(ctx context.Context, id spool.ID) (spool.Content, error) {
	c, err := r.Engine.Create(ctx, id)
	if err != nil {
		return nil, err
	}
	recorded := &recordedContent{Content: c, owner: r}
	r.contents = append(r.contents, recorded)
	return recorded, nil
}

func (r *recorder) Apply(ctx context.Context, ops ...spool.Op) error {
	return r.apply(ctx, r.Engine.Apply, ops)
}

func (r *recorder) ApplySoon(ctx context.Context, ops ...spool.Op) error {
	r.soon++
	return r.apply(ctx, r.Engine.ApplySoon, ops)
}

func (r *recorder) apply(ctx context.Context, apply func(context.Context, ...spool.Op) error, ops []spool.Op) error {
	r.applied = append(r.applied, ops)
	if r.failApply != nil {
		return r.failApply
	}
	plain := make([]spool.Op, len(ops))
	for i, op := range ops {
		if put, ok := op.(spool.Put); ok {
			put.Content = put.Content.(*recordedContent).Content
			op = put
		}
		plain[i] = op
	}
	return apply(ctx, plain...)
}

func (r *recorder) Open(ctx context.Context, id spool.ID) (io.ReadCloser, error) {
	if r.failOpen != nil {
		return nil, r.failOpen
	}
	content, err := r.Engine.Open(ctx, id)
	if err != nil || r.damaged == 0 {
		return content, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(content, int64(r.damaged)), damage{}), content}, nil
}

type damage struct{}

func (damage) Read([]byte) (int, error) { return 0, fmt.Errorf("read chunk 7: %w", spool.ErrDamaged) }

// house is a settler with a spool in memory.
type house struct {
	t *testing.T
	*recorder
	*Settler
	ids  *spool.IDs
	logs *bytes.Buffer

	settled  []spool.Outcome // what the hooks were told
	reported []spool.ID
}

var rules = Rules{
	Next: func(attempts int, started, now time.Time) (time.Time, bool) {
		if now.Sub(started) >= giveUpAge {
			return time.Time{}, true
		}
		return now.Add(time.Duration(attempts) * pause), false
	},
	GiveUp: giveUpAge, WarnAfter: warnAge,
}

func newHouse(t *testing.T) *house {
	t.Helper()
	engine, err := lsm.Open("spool", lsm.Options{FS: vfs.NewMem(), MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{t: t, recorder: &recorder{Engine: engine}, ids: spool.NewIDs(1), logs: new(bytes.Buffer)}
	h.Settler = New(Options{
		Engine: h.recorder, IDs: h.ids, Hostname: "mx.example.net",
		Rules: func(*spool.Recipient) Rules { return rules }, ReturnSize: limit,
		Settled:  func(m *spool.Message, o spool.Outcome, now time.Time) { h.settled = append(h.settled, o) },
		Reported: func(r *spool.Message) { h.reported = append(h.reported, r.ID) },
		Logger:   slog.New(slog.NewTextHandler(h.logs, nil)),
	})
	return h
}

const shortMail = "Subject: pigeons\r\nFrom: <ann@example.com>\r\n\r\nThey fly.\r\n"

// accept spools a message and hands it out as the queue would: read back from the store.
func (h *house) accept(kind spool.Kind, from, content string, to ...string) *spool.Message {
	h.t.Helper()
	m := &spool.Message{ID: h.ids.New(arrived), Kind: kind, From: path(h.t, from), Arrived: arrived, Client: "test",
		Size: int64(len(content)), EightBit: strings.IndexFunc(content, func(r rune) bool { return r > 127 }) >= 0}
	for _, s := range to {
		m.Recipients = append(m.Recipients, spool.Recipient{To: path(h.t, s), Next: arrived})
	}
	stored, err := h.recorder.Engine.Create(h.t.Context(), m.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.WriteString(stored, content); err != nil {
		h.t.Fatal(err)
	}
	if err := h.recorder.Engine.Apply(h.t.Context(), spool.Put{Message: m, Content: stored}); err != nil {
		h.t.Fatal(err)
	}
	return h.load(m.ID)
}

func (h *house) load(id spool.ID) *spool.Message {
	h.t.Helper()
	m, err := h.recorder.Engine.Load(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// content reads what a message has behind it, damage or not.
func (h *house) content(id spool.ID) string {
	h.t.Helper()
	r, err := h.recorder.Engine.Open(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// settle settles at an age and wants that to succeed.
func (h *house) settle(m *spool.Message, age time.Duration, outcomes ...spool.Outcome) []*spool.Message {
	h.t.Helper()
	reports, err := h.Settle(h.t.Context(), m, outcomes, arrived.Add(age))
	if err != nil {
		h.t.Fatal(err)
	}
	return reports
}

func path(t *testing.T, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// said is an outcome that a remote host gave.
func said(n int, r smtp.Reply) spool.Outcome {
	return spool.Outcome{N: n, Reply: r, Host: remote, Reason: spool.ReasonRefused}
}

// TestDecide is the table of what an outcome leads to, one row for each.
func TestDecide(t *testing.T) {
	hold := spool.Outcome{Hold: true, Reason: spool.ReasonUnreadable,
		Reply: smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "The stored message can't be read")}
	const ann, null = "<ann@example.com>", "<>"
	for _, test := range []struct {
		name    string
		kind    spool.Kind
		from    string
		age     time.Duration
		outcome spool.Outcome
		state   spool.State
		reason  spool.Reason
		report  string // kind and recipient; "" none
	}{
		{"delivered", spool.Mail, ann, 0, said(0, fine), spool.Delivered, spool.ReasonNew, ""},
		{"delivered after give-up age", spool.Mail, ann, 2 * giveUpAge, said(0, fine), spool.Delivered, spool.ReasonNew, ""},
		{"later", spool.Mail, ann, 0, said(0, busy), spool.Waiting, spool.ReasonRefused, ""},
		{"no reply at all counts as later", spool.Mail, ann, 0, said(0, smtp.Reply{}), spool.Waiting, spool.ReasonRefused, ""},
		{"just before the note", spool.Mail, ann, warnAge - 1, said(0, busy), spool.Waiting, spool.ReasonRefused, ""},
		{"late", spool.Mail, ann, warnAge, said(0, busy), spool.Waiting, spool.ReasonRefused, "delay to <ann@example.com>"},
		{"late, nobody to tell", spool.Bounce, null, warnAge, said(0, busy), spool.Waiting, spool.ReasonRefused, ""},
		{"late mail without a sender", spool.Mail, null, warnAge, said(0, busy), spool.Waiting, spool.ReasonRefused, ""},
		{"just before give-up", spool.Mail, ann, giveUpAge - 1, said(0, busy), spool.Waiting, spool.ReasonRefused, "delay to <ann@example.com>"},
		{"given up", spool.Mail, ann, giveUpAge, said(0, busy), spool.Bounced, spool.ReasonRefused, "bounce to <ann@example.com>"},
		{"refused", spool.Mail, ann, 0, said(0, unknown), spool.Bounced, spool.ReasonRefused, "bounce to <ann@example.com>"},
		{"refused, null reverse-path", spool.Mail, null, 0, said(0, unknown), spool.Bounced, spool.ReasonRefused, "postmaster to <postmaster>"},
		{"given up, null reverse-path", spool.Mail, null, giveUpAge, said(0, busy), spool.Bounced, spool.ReasonRefused, "postmaster to <postmaster>"},
		{"a bounce is refused", spool.Bounce, null, 0, said(0, unknown), spool.Bounced, spool.ReasonRefused, "postmaster to <postmaster>"},
		{"a note is refused", spool.DelayNote, null, 0, said(0, unknown), spool.Bounced, spool.ReasonRefused, "postmaster to <postmaster>"},
		{"the postmaster's own", spool.Postmaster, null, 0, said(0, unknown), spool.Held, spool.ReasonNoReturn, ""},
		{"the postmaster's own, given up", spool.Postmaster, null, giveUpAge, said(0, busy), spool.Held, spool.ReasonNoReturn, ""},
		{"the postmaster's own, later", spool.Postmaster, null, 0, said(0, busy), spool.Waiting, spool.ReasonRefused, ""},
		{"held", spool.Mail, ann, 0, hold, spool.Held, spool.ReasonUnreadable, ""},
		{"held even at give-up age", spool.Mail, ann, giveUpAge, hold, spool.Held, spool.ReasonUnreadable, ""},
		{"held, null reverse-path", spool.Bounce, null, giveUpAge, hold, spool.Held, spool.ReasonUnreadable, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			m := h.accept(test.kind, test.from, shortMail, "<joe@example.org>", "<other@example.org>")
			reports := h.settle(m, test.age, test.outcome)
			r := m.Recipients[0]
			if r.State != test.state || r.Reason != test.reason || r.Attempts != 1 || r.Host != test.outcome.Host ||
				!reflect.DeepEqual(r.Reply, test.outcome.Reply) {
				t.Errorf("the recipient is %v, %v: %+v", r.State, r.Reason, r)
			}
			if want := arrived.Add(test.age + pause); r.State == spool.Waiting && !r.Next.Equal(want) {
				t.Errorf("the next attempt is at %v, want %v", r.Next, want)
			}
			if got := describe(reports); got != test.report {
				t.Errorf("reports: %q, want %q", got, test.report)
			}
			if r.Warned != strings.HasPrefix(test.report, "delay") {
				t.Errorf("Warned is %v", r.Warned)
			}
			checkStored(t, h, m, reports)
		})
	}
}

// describe says which reports there are, and to whom.
func describe(reports []*spool.Message) string {
	var all []string
	for _, r := range reports {
		for _, to := range r.Recipients {
			all = append(all, r.Kind.String()+" to "+to.To.String())
		}
	}
	return strings.Join(all, ", ")
}

// checkStored wants the store to have what Settle says, in one commit.
func checkStored(t *testing.T, h *house, m *spool.Message, reports []*spool.Message) {
	t.Helper()
	if stored := h.load(m.ID); !sameMessage(stored, m) {
		t.Errorf("the store has\n%+v, Settle left\n%+v", stored, m)
	}
	if len(h.applied) != 1 || len(h.applied[0]) != len(reports)+1 {
		t.Errorf("%d commits, the first of %d operations, for %d reports", len(h.applied), len(h.applied[0]), len(reports))
	}
	plain := len(reports) == 0
	last := h.applied[0][len(h.applied[0])-1]
	for _, r := range last.(spool.Update).Recipients {
		plain = plain && r.State == spool.Delivered
	}
	if (h.soon == 1) != plain {
		t.Errorf("%d commits did not wait for the disk; only one that says no more than that mail was delivered may", h.soon)
	}
	for _, r := range reports {
		stored := h.load(r.ID)
		if !sameMessage(stored, r) {
			t.Errorf("the store has the report\n%+v, Settle returned\n%+v", stored, r)
		}
		if !r.From.IsNull() || r.Cause != m.ID { // RFC 5321 4.5.5
			t.Errorf("the report %+v is not from <> about %v", r, m.ID)
		}
		if text := h.content(r.ID); int64(len(text)) != r.Size {
			t.Errorf("the report has %d octets, its envelope says %d", len(text), r.Size)
		}
	}
	for _, c := range h.contents {
		if c.aborted {
			t.Error("content was aborted")
		}
	}
}

// sameMessage compares as the store keeps it: times to the millisecond.
func sameMessage(a, b *spool.Message) bool {
	plain := func(m *spool.Message) spool.Message {
		c := *m
		c.Arrived = c.Arrived.Truncate(time.Millisecond).UTC()
		c.Recipients = slices.Clone(c.Recipients)
		for i := range c.Recipients {
			r := &c.Recipients[i]
			r.Next = r.Next.Truncate(time.Millisecond).UTC()
			r.Reply.Lines = slices.Clone(r.Reply.Lines)
			if len(r.Reply.Lines) == 0 {
				r.Reply.Lines = nil
			}
		}
		return c
	}
	return reflect.DeepEqual(plain(a), plain(b))
}

// TestFailureChangesNothing breaks each step: no recipient changes, nothing new is in the store, no content is left open.
func TestFailureChangesNothing(t *testing.T) {
	broken := errors.New("the disk is full")
	for name, breakIt := range map[string]func(*house) context.Context{
		"commit": func(h *house) context.Context { h.failApply = broken; return h.t.Context() },
		"write":  func(h *house) context.Context { h.failWrite = broken; return h.t.Context() },
		"context": func(h *house) context.Context {
			ctx, cancel := context.WithCancel(h.t.Context())
			cancel()
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<a@example.org>", "<b@example.org>")
			before := *m
			before.Recipients = slices.Clone(m.Recipients)
			ctx := breakIt(h)
			outcomes := []spool.Outcome{said(0, unknown), said(1, busy)} // a bounce and a note
			reports, err := h.Settle(ctx, m, outcomes, arrived.Add(warnAge))
			if err == nil || len(reports) != 0 {
				t.Fatalf("Settle gives %v, %v", reports, err)
			}
			if !strings.Contains(err.Error(), m.ID.String()) {
				t.Errorf("the error %q does not name the message", err)
			}
			if !sameMessage(m, &before) || !sameMessage(h.load(m.ID), &before) {
				t.Errorf("the message has changed: %+v", m)
			}
			for _, c := range h.contents {
				if !c.aborted {
					t.Error("the content of a report was not aborted")
				}
			}
			if n := h.pending(); n != 2 {
				t.Errorf("%d recipients wait in the store, want the two of the message", n)
			}
			h.failApply, h.failWrite = nil, nil
			if got := describe(h.settle(m, warnAge, outcomes...)); got != "delay to <ann@example.com>, bounce to <ann@example.com>" {
				t.Errorf("the second try reports %q", got)
			}
		})
	}
}

// pending counts the recipients that the store has work for.
func (h *house) pending() int {
	h.t.Helper()
	n := 0
	for _, err := range h.recorder.Pending(h.t.Context()) {
		if err != nil {
			h.t.Error(err)
		}
		n++
	}
	return n
}

// TestLastRecipientLeaves has the message leave the store in the commit that brings its bounce.
func TestLastRecipientLeaves(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<joe@example.org>")
	reports := h.settle(m, 0, said(0, unknown))
	if _, err := h.recorder.Load(t.Context(), m.ID); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("the ended message is still there: %v", err)
	}
	if len(reports) != 1 || h.pending() != 1 {
		t.Errorf("%d reports, %d recipients wait", len(reports), h.pending())
	}
}

// TestKept counts what had nobody to return to, and only once it is in the store.
func TestKept(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Bounce, "<>", shortMail, "<a@example.org>", "<b@example.org>")
	h.failApply = errors.New("the disk is full")
	if _, err := h.Settle(t.Context(), m, []spool.Outcome{said(0, unknown)}, arrived); err == nil {
		t.Fatal("Settle succeeds without a commit")
	}
	if n := h.Kept(); n != 0 {
		t.Errorf("%d kept after a failed commit", n)
	}
	h.failApply = nil
	h.settle(m, 0, said(0, unknown))
	reports := h.settle(m, 0, said(1, unknown))
	if n := h.Kept(); n != 2 {
		t.Errorf("%d kept, want 2", n)
	}
	// The postmaster's copy can't be delivered either: it stays where an operator finds it, and nothing new is made.
	kept := h.load(reports[0].ID)
	if more := h.settle(kept, giveUpAge, said(0, unknown)); len(more) != 0 {
		t.Errorf("it makes %q", describe(more))
	}
	if r := h.load(kept.ID).Recipients[0]; r.State != spool.Held || r.Reason != spool.ReasonNoReturn {
		t.Errorf("it is %v, %v", r.State, r.Reason)
	}
	if n := h.Kept(); n != 2 {
		t.Errorf("%d kept, want 2", n)
	}
}

// TestDelayNoteOnce fails again and again: one note, then one bounce.
func TestDelayNoteOnce(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<a@example.org>", "<b@example.org>")
	var got []string
	for _, age := range []time.Duration{0, warnAge, warnAge + time.Hour, giveUpAge - 1, giveUpAge} {
		reports := h.settle(h.load(m.ID), age, said(0, busy))
		got = append(got, describe(reports))
	}
	want := []string{"", "delay to <ann@example.com>", "", "", "bounce to <ann@example.com>"}
	if !slices.Equal(got, want) {
		t.Errorf("reports %q, want %q", got, want)
	}
	if r := h.load(m.ID).Recipients[0]; r.Attempts != 5 || !r.Warned {
		t.Errorf("the recipient is %+v", r)
	}
}

// TestNoNotes turns notes of delay off.
func TestNoNotes(t *testing.T) {
	h := newHouse(t)
	h.Rules = func(*spool.Recipient) Rules { return Rules{Next: rules.Next, GiveUp: giveUpAge} }
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<a@example.org>")
	if reports := h.settle(m, giveUpAge-1, said(0, busy)); len(reports) != 0 {
		t.Errorf("reports %q", describe(reports))
	}
}

// TestLog has one line for each recipient and report, with the id and the reply as it came.
func TestLog(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<a@example.org>", "<b@example.org>", "<c@example.org>")
	h.settle(m, 0, said(0, fine), said(1, busy), said(2, unknown))
	lines := strings.Split(strings.TrimSpace(h.logs.String()), "\n")
	want := [][]string{
		{"msg=delivered", `to=<a@example.org>`, `reply="250 2.0.0 Ok"`},
		{"msg=deferred", `to=<b@example.org>`, `reply="450 4.2.1 Greylisted"`, "reason=refused", "next=2026-03-27T12:30:00"},
		{"msg=bounced", `to=<c@example.org>`, `reply="550 5.1.1 No such user"`, `host="` + remote + `"`},
		{"msg=report", "kind=bounce", "about=" + m.ID.String(), "to=<ann@example.com>"},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), h.logs)
	}
	for i, words := range want {
		for _, word := range append(words, m.ID.String()) {
			if !strings.Contains(lines[i], word) {
				t.Errorf("line %d has no %q: %s", i, word, lines[i])
			}
		}
	}
}

// What was only left to wait grows older: told to its sender once, returned at the end, and untouched in between.
func TestUntried(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<bob@example.org>", "<eve@example.org>")
	silent := smtp.NewReply(451, smtp.EnhancedCode{4, 4, 1}, "Nobody at mx.example.org could be reached")
	untried := func(n int) spool.Outcome {
		return spool.Outcome{N: n, Untried: true, Reason: spool.ReasonPaused, Reply: silent}
	}
	settle := func(age time.Duration, outcomes ...spool.Outcome) []*spool.Message {
		t.Helper()
		reports, err := h.Settle(t.Context(), m, outcomes, arrived.Add(age))
		if err != nil {
			t.Fatal(err)
		}
		return reports
	}
	settle(time.Minute, spool.Outcome{N: 1, Reply: busy, Host: remote, Reason: spool.ReasonRefused, TLS: "TLS 1.3"})
	commits := len(h.applied)
	if reports := settle(time.Hour, untried(0), untried(1)); len(reports) != 0 || len(h.applied) != commits {
		t.Errorf("young mail that was left alone: %d reports, %d commits", len(reports), len(h.applied)-commits)
	}
	if reports := settle(warnAge, untried(0), untried(1)); len(reports) != 1 || reports[0].Kind != spool.DelayNote {
		t.Errorf("at the age of the warning: %v", reports)
	}
	bob, eve := m.Recipients[0], m.Recipients[1]
	if bob.State != spool.Waiting || !bob.Warned || bob.Attempts != 0 || len(bob.Trail) != 0 || bob.Reason != spool.ReasonPaused {
		t.Errorf("bob, never tried: %+v", bob)
	}
	if eve.Attempts != 1 || len(eve.Trail) != 1 || eve.Trail[0].TLS != "TLS 1.3" || !reflect.DeepEqual(eve.Reply, busy) ||
		!eve.Next.Equal(arrived.Add(time.Minute+pause)) {
		t.Errorf("eve, tried once: %+v", eve)
	}
	commits = len(h.applied)
	if reports := settle(warnAge+time.Hour, untried(0), untried(1)); len(reports) != 0 || len(h.applied) != commits {
		t.Errorf("warned mail that was left alone: %d reports, %d commits", len(reports), len(h.applied)-commits)
	}
	commits = len(h.applied)
	busy := []spool.Outcome{{N: 0, Untried: true}, {N: 1, Untried: true}} // the site is there: they will have their turn
	if reports := settle(giveUpAge, busy...); len(reports) != 0 || len(h.applied) != commits {
		t.Errorf("old mail at a busy site: %d reports, %d commits", len(reports), len(h.applied)-commits)
	}
	reports := settle(giveUpAge, untried(0), untried(1))
	if len(reports) != 1 || reports[0].Kind != spool.Bounce || m.Recipients[0].State != spool.Bounced || m.Recipients[1].State != spool.Bounced {
		t.Fatalf("at the end: %v, %+v", reports, m.Recipients)
	}
	text := h.content(reports[0].ID)
	for _, want := range []string{"Nobody at mx.example.org could be reached", "Greylisted"} {
		if !strings.Contains(text, want) {
			t.Errorf("the bounce does not say %q:\n%s", want, text)
		}
	}
	if len(h.settled) != 5 || len(h.reported) != 2 {
		t.Errorf("the hooks were told of %d outcomes and %d reports", len(h.settled), len(h.reported))
	}
}

// The first attempt and the latest ones stay on the trail.
func TestTrail(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<bob@example.org>")
	for n := range spool.TrailLength + 3 {
		o := spool.Outcome{Reply: busy, Host: fmt.Sprintf("host%d", n), Reason: spool.ReasonRefused}
		if n == 1 {
			o.Reason = spool.ReasonInDoubt
		}
		if _, err := h.Settle(t.Context(), m, []spool.Outcome{o}, arrived.Add(time.Duration(n)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := h.Load(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	r := stored.Recipients[0]
	var hosts []string
	for _, a := range r.Trail {
		hosts = append(hosts, a.Host)
	}
	want := "host0 host4 host5 host6 host7 host8 host9 host10 host11 host12"
	if got := strings.Join(hosts, " "); got != want || r.Attempts != 13 || r.Doubts != 1 {
		t.Errorf("%d attempts, %d in doubt, trail %s, want %s", r.Attempts, r.Doubts, got, want)
	}
}
