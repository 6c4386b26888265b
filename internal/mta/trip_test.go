package mta

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

func newMTA(t *testing.T, text string) *MTA {
	t.Helper()
	cfg, err := config.Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = t.TempDir()
	m, err := New(Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func message(t *testing.T, m *MTA, to ...string) *spool.Message {
	t.Helper()
	now := time.Unix(1e9, 0)
	msg := &spool.Message{ID: m.ids.New(now), Arrived: now}
	for _, s := range to {
		p, err := smtp.ParsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		msg.Recipients = append(msg.Recipients, spool.Recipient{To: p, Next: now})
	}
	return msg
}

const twoRoutes = "[dns]\nservers = [\"127.0.0.1:1\"]\n" +
	"[[route]]\nmatch = { domain = [\"a.example\", \"b.example\"] }\nto = \"smtp://127.0.0.1:1\"\n"

// TestJobs: recipients that go to one site at one time are one job; those that are done, and those that are held, none.
func TestJobs(t *testing.T) {
	m := newMTA(t, twoRoutes)
	msg := message(t, m, "<1@a.example>", "<2@b.example>", "<3@c.example>", "<4@a.example>", "<5@a.example>", "<6@C.example>", "<7@a.example>")
	msg.Recipients[3].State = spool.Delivered
	msg.Recipients[4].Next = msg.Recipients[4].Next.Add(time.Minute)
	msg.Recipients[6].State = spool.Held
	var got [][]int
	for _, j := range m.jobs(m.live.Load(), msg, all(msg)) {
		if j.ID != msg.ID || j.Lane == "" {
			t.Errorf("job %+v", j)
		}
		got = append(got, j.Recipients)
	}
	want := [][]int{{0, 1}, {2, 5}, {4}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("jobs of %v, want %v", got, want)
	}
}

// TestSplit: an attempt asks the routes anew, so recipients that were one job may have become several.
func TestSplit(t *testing.T) {
	m := newMTA(t, twoRoutes)
	msg := message(t, m, "<1@a.example>", "<2@localhost>", "<3@b.example>", "<4@localhost>")
	msg.Recipients[3].State = spool.Bounced
	l := m.live.Load()
	lane := l.routes.Route(msg.Recipients[0].To).Lane
	parts, moved := m.split(l, msg, queue.Work{Job: queue.Job{ID: msg.ID, Lane: lane, Recipients: all(msg)}, Site: "smtp://127.0.0.1:1"})
	if len(parts) != 1 || !slices.Equal(parts[0].recipients, []int{0, 2}) || parts[0].to.Kind != config.TargetSMTP || !slices.Equal(moved, []int{1}) {
		t.Errorf("%+v, moved %v", parts, moved)
	}
	if jobs := m.apart(l, msg, moved); len(jobs) != 1 || jobs[0].Lane == lane {
		t.Errorf("what moved is queued as %+v", jobs)
	}
}

// TestTakeUp: what waits in the spool is queued at the start as the jobs it was, what is held is not.
func TestTakeUp(t *testing.T) {
	m := newMTA(t, twoRoutes)
	for range 3 {
		msg := message(t, m, "<1@a.example>", "<2@b.example>", "<3@c.example>", "<4@d.example>")
		msg.Recipients[3].State = spool.Held
		if err := m.engine.Apply(t.Context(), spool.Put{Message: msg}); err != nil {
			t.Fatal(err)
		}
	}
	next, stop := pull(t.Context(), m.engine)
	defer stop()
	if err := m.takeUp(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	jobs := m.queue.Take(func(spool.ID, int) bool { return true })
	var sizes []int
	for _, j := range jobs {
		sizes = append(sizes, len(j.Recipients))
	}
	slices.Sort(sizes)
	if !slices.Equal(sizes, []int{1, 1, 1, 2, 2, 2}) {
		t.Errorf("jobs of %v recipients wait, want two jobs for each of three messages", sizes)
	}
}
