package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp"
)

// TestQueueScripts runs the command lines of testdata/queue. Besides the words of TestScripts there are "fill FOLDER", which
// makes a data folder with the mail of filledMail, "lock FOLDER", which holds it as a server does, and "eventually REGEXP
// COMMAND", which repeats a command until what it prints matches.
func TestQueueScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/queue",
		Setup: func(env *testscript.Env) error {
			env.Values[serverKey{}] = new(*scriptServer)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fill": scriptFill, "lock": scriptLock, "eventually": scriptEventually,
			"serve": scriptServe, "stop": scriptStop, "waitfor": scriptWaitFor, "status": scriptStatus,
		},
	})
}

func scriptEventually(ts *testscript.TestScript, neg bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	scriptWait(ts, strings.Join(args[1:], " ")+" prints "+args[0], func() bool {
		ts.Check(ts.Exec(args[1], args[2:]...))
		return re.MatchString(ts.ReadFile("stdout")) != neg
	})
}

func scriptLock(ts *testscript.TestScript, _ bool, args []string) {
	engine, err := lsm.Open(filepath.Join(ts.MkAbs(args[0]), "spool"), lsm.Options{})
	ts.Check(err)
	ts.Defer(func() { engine.Close() })
}

func scriptFill(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	engine, err := lsm.Open(filepath.Join(dir, "spool"), lsm.Options{})
	ts.Check(err)
	for _, m := range filledMail(ts, time.Now()) {
		content, err := engine.Create(context.Background(), m.ID)
		ts.Check(err)
		_, err = content.Write([]byte(strings.Repeat("x", int(m.Size))))
		ts.Check(err)
		ts.Check(engine.Apply(context.Background(), spool.Put{Message: m, Content: content}))
	}
	ts.Check(engine.Close())
	journal, err := history.Open(filepath.Join(dir, "history"), history.Options{MaxAge: -1})
	ts.Check(err)
	for _, e := range filledHistory() {
		journal.Append(&e)
	}
	ts.Check(journal.Close())
}

// filledID makes an id that is the same in every run.
func filledID(n byte) spool.ID { return spool.ID{1, 2, 3, 4, 5, 6, 11: n} }

// filledMail is the mail of a spool: what a host refused for now, what may have been delivered, a report, what is held.
func filledMail(ts *testscript.TestScript, now time.Time) []*spool.Message {
	path := func(s string) smtp.Path {
		p, err := smtp.ParsePath("<" + s + ">")
		ts.Check(err)
		return p
	}
	message := func(n byte, age time.Duration, from string, to ...string) *spool.Message {
		m := &spool.Message{ID: filledID(n), From: path(from), Arrived: now.Add(-age), Size: 1500, Client: "[192.0.2.1]:3456 (app.example.com)"}
		for _, a := range to {
			m.Recipients = append(m.Recipients, spool.Recipient{To: path(a), Next: now.Add(time.Hour + 30*time.Second)})
		}
		return m
	}
	busy := message(1, 3*time.Hour+12*time.Minute+30*time.Second, "ann@example.com", "bob@example.org", "carl@example.net")
	for range 12 {
		busy.Recipients[0].Tried(spool.Attempt{At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Reason: spool.ReasonRefused,
			Host: "mx.example.org [192.0.2.7]:25", TLS: "TLS 1.3", Reply: smtp.NewReply(450, smtp.EnhancedCode{4, 2, 0}, "Greylisted\ncome back")})
	}
	busy.Recipients[1].Tried(spool.Attempt{At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Reason: spool.ReasonInDoubt,
		Reply: smtp.NewReply(451, smtp.EnhancedCode{4, 4, 2}, "The session broke after the final dot")})
	busy.Recipients[1].Next = now.Add(-time.Minute)
	report := message(2, 26*time.Hour+30*time.Minute+time.Second, "", "dora@example.org")
	report.Kind, report.Cause, report.Size = spool.Bounce, filledID(9), 35_000_000
	held := message(3, 4*time.Hour+5*time.Minute+30*time.Second, "eve@example.com", "bob@example.org")
	held.Recipients[0].State, held.Recipients[0].Reason, held.Recipients[0].Priority = spool.Held, spool.ReasonOperator, -1
	return []*spool.Message{busy, report, held}
}

// filledHistory is the life of a message that is gone, and the end of an older one.
func filledHistory() []history.Event {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	id := filledID(8)
	return []history.Event{
		{At: at.Add(-time.Hour), ID: filledID(7), Kind: history.Deferred, From: "ann@example.com", To: []string{"gina@example.net"},
			Reply: "0", Attempt: 1, Reason: "connect", Site: "mx:example.net tls=opportunistic"},
		{At: at, ID: id, Kind: history.Accepted, From: "ann@example.com", To: []string{"bob@example.org", "fred@example.org"},
			MessageID: "<1.2@example.com>", Client: "[192.0.2.1]:3456", Hello: "app.example.com", TLS: "TLS 1.3", Size: 1500},
		{At: at.Add(time.Second), ID: id, Kind: history.Deferred, To: []string{"bob@example.org"}, Host: "mx.example.org [192.0.2.7]:25",
			TLS: "TLS 1.3", Reply: "450 4.2.0 Greylisted\n\x1b[31mcome back", Reason: "refused", Attempt: 1, Next: at.Add(time.Minute)},
		{At: at.Add(time.Minute), ID: id, Kind: history.Delivered, To: []string{"bob@example.org"}, Host: "mx.example.org [192.0.2.7]:25",
			TLS: "TLS 1.3", Reply: "250 2.0.0 Ok: queued as 12345", Attempt: 2},
		{At: at.Add(2 * time.Minute), ID: id, Kind: history.Operator, To: []string{"fred@example.org"}, Note: "removed by uid 0: spam"},
	}
}

// TestPausedCells has the mail of a site that is left alone say for how long, and a site be named by its one lane.
func TestPausedCells(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e := admin.Entry{State: "waiting", Next: now, PausedUntil: now.Add(53 * time.Second), Site: "mx:doubt.test tls=opportunistic"}
	if got := entryCells(e, now); got[3] != "paused 53s" || got[8] != "mx:doubt.test" {
		t.Errorf("cells %q", got)
	}
	e.PausedUntil = now
	if got := entryCells(e, now); got[3] != "now" {
		t.Errorf("cells after the pause %q", got)
	}
	for _, tt := range []struct {
		site admin.Site
		want string
	}{
		{admin.Site{Lanes: []string{e.Site}, LaneCount: 1}, "mx:doubt.test (not looked up yet)"},
		{admin.Site{Lanes: []string{"a", "b"}, LaneCount: 2}, "(not looked up yet: 2 places)"},
		{admin.Site{Name: "smtp://192.0.2.7:25 tls=none"}, "smtp://192.0.2.7:25 tls=none"},
	} {
		if got := siteCells(tt.site, now)[0]; got != tt.want {
			t.Errorf("%+v is %q, want %q", tt.site, got, tt.want)
		}
	}
}

// TestNothingWasSaid has no code 0 printed, and no reason beside a success.
func TestNothingWasSaid(t *testing.T) {
	var b strings.Builder
	s := story{w: &b}
	s.recipient(&admin.ShownRecipient{Entry: admin.Entry{State: "delivered", Attempts: 2}, Trail: []admin.Attempt{
		{Reason: "connect", Host: "mx"}, {Host: "mx", Reply: "250 2.0.0 Ok"}}}, time.Time{})
	for _, want := range []string{"Z  connect  mx: nothing was said\n", "Z  mx: 250 2.0.0 Ok\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// TestFit has a table keep to the width of a terminal, and never lose the id.
func TestFit(t *testing.T) {
	for width, want := range map[int]string{
		0:   "ID    SENDER             SIZE  REPLY\nabcd  <ann@example.com>  1.5K  450 4.2.0 Greylisted, come back\n",
		60:  "ID    SENDER             SIZE  REPLY\nabcd  <ann@example.com>  1.5K  450 4.2.0 Greylisted, come b…\n",
		44:  "ID    SENDER           SIZE  REPLY\nabcd  <ann@example.c…  1.5K  450 4.2.0 Grey…\n",
		30:  "ID    SENDER       REPLY\nabcd  <ann@examp…  450 4.2.0 …\n",
		5:   "ID    SENDER\nabcd  <ann@exam…\n",
		200: "ID    SENDER             SIZE  REPLY\nabcd  <ann@example.com>  1.5K  450 4.2.0 Greylisted, come back\n",
	} {
		var b strings.Builder
		tab := newTable(&b, column{name: "ID"}, column{name: "SENDER", flex: true}, column{name: "SIZE", right: true, drop: 2},
			column{name: "REPLY", flex: true, drop: 1})
		tab.width = width
		if err := tab.add("abcd", "<ann@example.com>", "1.5K", "450 4.2.0 Greylisted, come back"); err != nil {
			t.Fatal(err)
		}
		if err := tab.flush(); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("at %d:\n%swant:\n%s", width, b.String(), want)
		}
	}
}

// TestWatch has something shown again and again until it is interrupted.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		var b strings.Builder
		shown := 0
		o := output{watch: 2 * time.Second}
		err := o.repeat(ctx, &b, func(w io.Writer) error {
			if shown++; shown == 3 {
				cancel()
			}
			_, err := io.WriteString(w, "x\n")
			return err
		})
		if err != nil || b.String() != "x\n\nx\n\nx\n" || time.Since(begin) != 4*time.Second {
			t.Errorf("%q after %v, %v", b.String(), time.Since(begin), err)
		}
		failed := errors.New("the server is gone")
		if err := o.repeat(t.Context(), &b, func(io.Writer) error { return failed }); err != failed {
			t.Errorf("error %v", err)
		}
	})
}

func TestWordsForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Second: "1m1s",
		3*time.Hour + 12*time.Minute + 59*time.Second: "3h12m", 24 * time.Hour: "1d", 125*time.Hour + time.Minute: "5d5h",
		2401 * time.Hour: "100d",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.0K", 1500: "1.5K", 10_100: "9.9K", 10_240: "10K", 1 << 20: "1.0M",
		35_000_000: "33M", 1_048_000: "1.0M", 1 << 40: "1.0T", 1 << 60: "1048576T"} {
		if got := shortSize(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
