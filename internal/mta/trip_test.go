package mta

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/config"
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
	m, err := New(cfg, slog.New(slog.DiscardHandler))
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
	for _, j := range m.jobs(msg, all(msg)) {
		if j.ID != msg.ID || j.Site == "" {
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
	parts := m.split(msg, all(msg))
	if len(parts) != 2 || !slices.Equal(parts[0].recipients, []int{0, 2}) || !slices.Equal(parts[1].recipients, []int{1}) ||
		parts[0].to.Kind != config.TargetSMTP || parts[1].to.Kind != config.TargetMaildir {
		t.Errorf("%+v", parts)
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
	if err := m.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if waiting, _ := m.queue.Counts(); waiting != 6 {
		t.Errorf("%d jobs wait, want two for each of three messages", waiting)
	}
}
