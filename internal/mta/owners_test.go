package mta

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/dnstest"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
	"github.com/holub-mail/holub/smtptest"
)

// spooled puts a message that has just arrived into the spool.
func spooled(t *testing.T, m *MTA, to ...string) *spool.Message {
	t.Helper()
	msg := message(t, m, to...)
	msg.Arrived = time.Now()
	msg.From, _ = smtp.ParsePath("<s@sender.example>")
	for i := range msg.Recipients {
		msg.Recipients[i].Next = msg.Arrived
	}
	content, err := m.engine.Create(t.Context(), msg.ID)
	if err != nil {
		t.Fatal(err)
	}
	n, err := content.Write([]byte("Subject: x\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	msg.Size = int64(n)
	if err := m.engine.Apply(t.Context(), spool.Put{Message: msg, Content: content}); err != nil {
		t.Fatal(err)
	}
	return msg
}

// TestForget: an operator changes one recipient while the jobs of two others run; the next attempt for one of these begins
// with what its last one left, not with what the other job read before.
func TestForget(t *testing.T) {
	m := newMTA(t, twoRoutes)
	l, ctx := m.live.Load(), t.Context()
	msg := spooled(t, m, "<0@a.example>", "<1@b.example>", "<2@a.example>")
	first := m.open.take(ctx, m.engine, msg.ID)
	held := msg.Recipients[2]
	held.State = spool.Held
	if err := m.engine.Apply(ctx, spool.Update{ID: msg.ID, Recipients: map[int]spool.Recipient{2: held}}); err != nil {
		t.Fatal(err)
	}
	m.open.forget(msg.ID)
	slow := m.open.take(ctx, m.engine, msg.ID)
	doubt := func(o *openMessage) {
		t.Helper()
		if !m.settleAll(ctx, l, o.msg, []spool.Outcome{{Reason: spool.ReasonInDoubt,
			Reply: smtp.NewReply(451, smtp.EnhancedCode{4, 4, 2}, "broke")}}) {
			t.Fatal("not settled")
		}
		m.open.giveBack(msg.ID, o)
	}
	doubt(first)
	doubt(m.open.take(ctx, m.engine, msg.ID))
	m.open.giveBack(msg.ID, slow)
	got, err := m.engine.Load(ctx, msg.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r := got.Recipients[0]; r.Attempts != 2 || r.Doubts != 2 || len(r.Trail) != 2 {
		t.Errorf("after two attempts in doubt: %d attempts, %d doubts, a trail of %d", r.Attempts, r.Doubts, len(r.Trail))
	}
	if len(m.open.all) != 0 {
		t.Errorf("%d messages stay in memory", len(m.open.all))
	}
}

// TestNotice is the table of when a message is looked at whose site is left alone.
func TestNotice(t *testing.T) {
	now := time.Now()
	policy := &route.Policy{WarnAfter: time.Hour, GiveUpAfter: 120 * time.Hour}
	for name, test := range map[string]struct {
		p    spool.Pending
		want time.Duration
	}{
		"new":                       {spool.Pending{Sender: 5}, time.Hour},
		"of nobody":                 {spool.Pending{Sender: nobody}, 120 * time.Hour},
		"warned":                    {spool.Pending{Sender: 5, Warned: true}, 120 * time.Hour},
		"by a time":                 {spool.Pending{Sender: 5, By: now.Add(10 * time.Minute)}, 10 * time.Minute},
		"by a time and warned":      {spool.Pending{Sender: 5, Warned: true, By: now.Add(10 * time.Minute)}, 10 * time.Minute},
		"by a time after the other": {spool.Pending{Sender: 5, By: now.Add(2 * time.Hour)}, time.Hour},
	} {
		test.p.Started = now
		if got := notice(&test.p, policy).Sub(now); got != test.want {
			t.Errorf("%s: after %v, want %v", name, got, test.want)
		}
	}
}

// TestLookAt: mail of a paused site that is to be given up in ten minutes is looked at then, and not later.
func TestLookAt(t *testing.T) {
	m := newMTA(t, twoRoutes)
	msg := message(t, m, "<0@a.example>")
	msg.Arrived = time.Now().Add(10*time.Minute - m.live.Load().cfg.Delivery.GiveUpAfter)
	msg.From, _ = smtp.ParsePath("<s@sender.example>")
	msg.Recipients[0].Next, msg.Recipients[0].Warned = time.Now(), true
	if err := m.engine.Apply(t.Context(), spool.Put{Message: msg}); err != nil {
		t.Fatal(err)
	}
	r := m.attempt(t.Context(), queue.Work{Job: queue.Job{ID: msg.ID, Recipients: []int{0}}, Site: "s",
		Pause: &queue.Pause{Since: time.Now(), Until: time.Now().Add(time.Hour), Said: "nothing"}})
	if len(r.Owed) != 1 || time.Until(r.Owed[0].Notice) > 15*time.Minute {
		t.Errorf("given up in 10 minutes, looked at again: %+v", r.Owed)
	}
}

// TestSettleGone: a result for what is not in the spool any more does not hold its place for ever.
func TestSettleGone(t *testing.T) {
	m := newMTA(t, twoRoutes)
	msg := spooled(t, m, "<0@a.example>")
	loaded, err := m.engine.Load(t.Context(), msg.ID)
	if err != nil {
		t.Fatal(err)
	}
	gone := loaded.Recipients[0]
	gone.State = spool.Dropped
	if err := m.engine.Apply(t.Context(), spool.Update{ID: msg.ID, Recipients: map[int]spool.Recipient{0: gone}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if m.settleAll(ctx, m.live.Load(), loaded, []spool.Outcome{{Reply: smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "ok")}}) || ctx.Err() != nil {
		t.Error("the result of a message that is gone was settled, or tried to be until the end")
	}
}

// TestLearningIsBounded: messages to many domains that the DNS does not tell of swell nothing; those above the bound are queued at
// once.
func TestLearningIsBounded(t *testing.T) {
	hole, err := net.ListenPacket("udp", "127.0.0.1:0") // a DNS server that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	m := newMTA(t, fmt.Sprintf("[dns]\nservers = [%q]\n", hole.LocalAddr()))
	before := runtime.NumGoroutine()
	for i := range 500 {
		var to []string
		for k := range 20 {
			to = append(to, fmt.Sprintf("<x@d%d-%d.example>", i, k))
		}
		m.queueAccepted(message(t, m, to...))
	}
	if more := runtime.NumGoroutine() - before; more > 4*(learningAtOnce+askingAtOnce) {
		t.Errorf("%d goroutines for 500 messages to 10,000 domains", more)
	}
	m.stop()
	m.learning.Wait()
	if waiting, _ := m.queue.Counts(); waiting != 500*20 {
		t.Errorf("%d recipients are queued, want all 10,000", waiting)
	}
}

// TestDNSOfOneDomain: trouble with the DNS of one domain is no trouble of the hosts that it shares with others.
func TestDNSOfOneDomain(t *testing.T) {
	hop := smtptest.Start(t)
	_, port, _ := net.SplitHostPort(hop.Addr)
	zone := dnstest.New(t, "good.example. MX 10 mx.example.\nflaky.example. MX 10 mx.example.\nmx.example. A 127.0.0.1\n")
	zone.ServFail("flaky.example.")
	m := newMTA(t, fmt.Sprintf("[dns]\nservers = [%q]\n[delivery]\nport = %s\n", zone.Addr, port))
	msg := spooled(t, m, "<x@flaky.example>")
	lane := m.live.Load().routes.Route(msg.Recipients[0].To).Lane
	r := m.attempt(t.Context(), queue.Work{Job: queue.Job{ID: msg.ID, Lane: lane, Recipients: []int{0}}, Site: "mx:mx.example"})
	if r.Signal == queue.Failed {
		t.Errorf("it counts as a failure of the site: %s", r.Said)
	}
}

// TestReloadBeforeRun: a configuration that changes while the server starts changes nothing before what waited is known, or
// a message would be queued twice.
func TestReloadBeforeRun(t *testing.T) {
	hop := smtptest.Start(t)
	text := "[[listen]]\naddress = \"127.0.0.1:0\"\nnetworks = [\"127.0.0.0/8\"]\n[[route]]\nto = \"smtp://" + hop.Addr + "\"\n"
	dir := t.TempDir()
	parse := func() (*config.Config, error) {
		cfg, err := config.Parse("test.toml", []byte(text))
		if err == nil {
			cfg.DataDir = dir
		}
		return cfg, err
	}
	cfg, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m, err := New(Options{Config: cfg, Logger: slog.New(slog.NewTextHandler(&log, nil)), Load: parse})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reloaded, ended := make(chan error, 1), make(chan error, 1)
	go func() { // as SIGHUP between Listen and Run
		_, err := m.Reload(ctx)
		reloaded <- err
	}()
	go func() { ended <- m.Run(ctx) }()
	if err := <-reloaded; err != nil {
		t.Error(err)
	}
	c, err := sender.Dial(t.Context(), m.Addrs()[0].String(), sender.Options{})
	if err != nil {
		t.Fatal(err)
	}
	to, _ := smtp.ParsePath("<u@h.example>")
	if r, err := c.Send(t.Context(), sender.Envelope{To: []smtp.Path{to}}, strings.NewReader("Subject: x\r\n\r\nx\r\n")); err != nil ||
		!r.Outcomes[0].Reply.Positive() {
		t.Fatalf("%v %v", r, err)
	}
	c.Close()
	hop.Next(t, 20*time.Second)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if more := hop.Messages(); len(more) != 1 {
		t.Errorf("delivered %d times", len(more))
	}
	if _, err := m.Reload(t.Context()); err == nil {
		t.Error("a server that has stopped took a new configuration")
	}
}

// TestHeldByClient: what an operator holds and releases again still waits for the time that its client asked for; only an
// operator who wants it tried now gets that.
func TestHeldByClient(t *testing.T) {
	m := newMTA(t, twoRoutes)
	close(m.takenUp)
	desk := m.desk(m.live.Load().cfg)
	msg := message(t, m, "<0@a.example>")
	msg.Arrived = time.Now()
	msg.Asked.Held = msg.Arrived.Add(48 * time.Hour)
	msg.Recipients[0].Next = msg.Started()
	if err := m.engine.Apply(t.Context(), spool.Put{Message: msg}); err != nil {
		t.Fatal(err)
	}
	m.queueAccepted(msg)
	next := func(verb admin.Verb) time.Time {
		t.Helper()
		r, err := desk.Act(t.Context(), admin.Action{Verb: verb, Selector: admin.Selector{All: true}})
		if err != nil || r.Recipients != 1 {
			t.Fatal(verb, r, err)
		}
		got, err := m.engine.Load(t.Context(), msg.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.Recipients[0].Next
	}
	next(admin.Hold)
	if at := next(admin.Release); time.Until(at) < 47*time.Hour {
		t.Errorf("released, it is due at %v", at)
	}
	if at := next(admin.Retry); time.Until(at) > time.Minute {
		t.Errorf("to be tried now, it is due at %v", at)
	}
}
