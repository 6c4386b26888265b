package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/bench/peer"
	"github.com/holub-mail/holub/bench/report"
)

func relayWork() work {
	return work{name: "relay", sessions: 2, size: 4 * kib, warm: 20, relay: true}
}

// TestOrder: in each round every server has its turn, another one first, and only then comes the next round.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		servers := []server{&fakeServer{name: "a", starts: &starts}, &fakeServer{name: "b", starts: &starts},
			&fakeServer{name: "c", starts: &starts}}
		p := &fakePair{each: time.Millisecond}
		h := testHarness(t, p)
		runs, traces, err := h.compare(t.Context(), []work{relayWork()}, servers)
		if err != nil || len(traces) != 0 {
			t.Fatal(traces, err)
		}
		if got, want := strings.Join(starts, " "), "a b c b c a c a b"; got != want {
			t.Errorf("servers ran in the order %s, want %s", got, want)
		}
		if len(runs) != 9 || runs[8].Round != 3 || runs[8].Server != "b" {
			t.Errorf("%+v", runs)
		}
		for _, r := range runs {
			if r.Error != "" || r.Peak != 5*mib || r.ServerCPU < 1 {
				t.Errorf("%+v", r)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(h.dir, "*")); len(left) != 0 || p.open != 0 {
			t.Errorf("left behind: %v and %d sinks", left, p.open)
		}
	})
}

// TestAdaptive: a run takes the time that was asked for, whatever the speed of the server; from the second round on by
// the rate of the run before.
func TestAdaptive(t *testing.T) {
	for _, each := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			p := &fakePair{each: each}
			h := testHarness(t, p)
			for range 2 {
				r := h.run(t.Context(), relayWork(), &fakeServer{name: "a", starts: new([]string)})
				if r.Error != "" || r.Seconds < 4.5 || r.Seconds > 5.5 {
					t.Errorf("each message takes %v: %+v", each, r)
				}
				if want := 1 / each.Seconds(); r.Value < 0.9*want || r.Value > 1.01*want {
					t.Errorf("%.0f msg/s, want %.0f", r.Value, want)
				}
			}
			if n := p.messages(); len(n) != 7 || n[0] != 10 || n[1] != 10 || n[2] != max(10, int(time.Second/each)) {
				t.Errorf("batches of %v; want 10 and 10 to warm up, and a probe of a second", n)
			}
		})
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		plan plan
		work work
		rate float64
		want int
	}{
		{plan{seconds: 5}, work{sessions: 20}, 1000, 5000},
		{plan{seconds: 5}, work{sessions: 20}, 1, 200},
		{plan{seconds: 5}, work{sessions: 1, least: 40}, 1, 40},
		{plan{seconds: 5}, work{sessions: 20, least: 40}, 1, 40},
		{plan{seconds: 5}, work{sessions: 1, most: 100}, 1000, 100},
		{plan{seconds: 5, messages: 7}, work{sessions: 20, least: 40}, 1000, 7},
	} {
		h := &harness{plan: c.plan}
		if got := h.count(c.work, c.rate); got != c.want {
			t.Errorf("%+v at %.0f msg/s: %d messages, want %d", c.work, c.rate, got, c.want)
		}
	}
}

// TestRecipientsAndDomains: what is sent is what the work says, and all recipients have to arrive.
func TestRecipientsAndDomains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakePair{each: time.Millisecond}
		h := testHarness(t, p)
		w := relayWork()
		w.recipients, w.domains, w.sites = 100, 100, true
		r := h.run(t.Context(), w, &fakeServer{name: "a", starts: new([]string)})
		if r.Error != "" || r.Recipients != 100*r.Messages {
			t.Errorf("%+v", r)
		}
		if b := p.batches[2]; b.Recipients != 100 || len(b.Domains) != 100 || b.Domains[99] != "d100.example" {
			t.Errorf("%+v", b)
		}
	})
}

// TestFailures: whatever goes wrong is in the run, with the server's log where it ran, and all is taken down.
func TestFailures(t *testing.T) {
	tls := relayWork()
	tls.tls = true
	for name, c := range map[string]struct {
		pair   fakePair
		server fakeServer
		work   work
		want   []string
	}{
		"does not start": {server: fakeServer{refuse: errors.New("port in use")}, work: relayWork(), want: []string{"port in use"}},
		"mail is lost":   {pair: fakePair{lose: 3}, work: relayWork(), want: []string{"the sink has 7 of 10", "the log"}},
		"mail is double": {pair: fakePair{double: 3}, work: relayWork(), want: []string{"more mail arrived", "13 instead of 10"}},
		"refused":        {pair: fakePair{fail: errors.New("451 later")}, work: relayWork(), want: []string{"warm up", "451 later", "the log"}},
		"died":           {server: fakeServer{died: errors.New("killed")}, work: relayWork(), want: []string{"killed"}},
		"no generator":   {work: tls, want: []string{"no generator can do relay"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := &c.pair, &c.server
				p.each, s.name, s.starts = time.Millisecond, "x", new([]string)
				h := testHarness(t, p)
				r := h.run(t.Context(), c.work, s)
				for _, want := range c.want {
					if !strings.Contains(r.Error, want) {
						t.Errorf("the error does not say %q: %s", want, r.Error)
					}
				}
				left, _ := filepath.Glob(filepath.Join(h.dir, "*"))
				if len(left) != 0 || p.open != 0 {
					t.Errorf("left behind: %v and %d sinks", left, p.open)
				}
			})
		})
	}
}

// TestLongest: a run that takes too long is given up, and the error names the flag.
func TestLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakePair{each: time.Millisecond, lose: 1}
		h := testHarness(t, p)
		h.longest, h.patience = 10*time.Second, time.Hour
		r := h.run(t.Context(), relayWork(), &fakeServer{name: "a", starts: new([]string)})
		if !strings.Contains(r.Error, "--timeout") {
			t.Error(r.Error)
		}
	})
}

// TestEnd: when the user ends the program, what was measured so far is given, and no server is started any more.
func TestEnd(t *testing.T) {
	var starts []string
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	s := &ending{fakeServer{name: "a", starts: &starts}, func() {
		if len(starts) == 2 {
			cancel(enough)
		}
	}}
	h := testHarness(t, &fakePair{})
	h.messages = 10
	runs, _, err := h.compare(ctx, []work{relayWork()}, []server{s})
	if !errors.Is(err, enough) || len(runs) != 1 || len(starts) != 2 {
		t.Errorf("%d runs, %d starts, %v", len(runs), len(starts), err)
	}
}

// ending is a server at whose start something happens.
type ending struct {
	fakeServer
	then func()
}

func (e *ending) start(ctx context.Context, s peer.Setup) (running, error) {
	defer func() { e.then() }()
	return e.fakeServer.start(ctx, s)
}

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakePair{each: time.Millisecond}
		h := testHarness(t, p)
		h.trace, h.rounds, h.messages = 50, 1, 10
		_, traces, err := h.compare(t.Context(), []work{relayWork()}, []server{&fakeServer{name: "a", starts: new([]string)}})
		want := []report.Trace{{Work: "relay", Server: "a", Messages: 50, Syncs: 10}}
		if err != nil || !reflect.DeepEqual(traces, want) {
			t.Errorf("%+v %v, want %+v", traces, err, want)
		}
	})
}

func TestInstall(t *testing.T) {
	h := testHarness(t, &fakePair{})
	ready, described := h.install(t.Context(), []server{&fakeServer{name: "a", durable: "syncs nothing"}, &fakeServer{name: "b", install: errors.New("no network")}})
	want := []report.Server{{Name: "a", Version: "1.a", Durability: "syncs nothing"}, {Name: "b", Version: "1.b", Absent: "no network"}}
	if len(ready) != 1 || !reflect.DeepEqual(described, want) {
		t.Errorf("%d ready; %+v", len(ready), described)
	}
	for _, c := range []struct {
		named     bool
		reference string
		fails     bool
	}{{false, "a", false}, {false, "", false}, {false, "b", true}, {true, "a", true}} {
		err := missing(described, c.named, c.reference)
		if (err != nil) != c.fails || err != nil && !strings.Contains(err.Error(), "--servers holub") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestDraw: a server that fails at two points running is spared the later ones; others go on.
func TestDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakePair{each: time.Millisecond}
		h := testHarness(t, p)
		h.rounds = 2
		var starts []string
		good, bad := &fakeServer{name: "good", starts: &starts}, &fakeServer{name: "bad", starts: &starts, refuse: errors.New("no")}
		c := curve{name: "size", at: func(x int) work { w := relayWork(); w.size = x; return w }}
		points, err := h.draw(t.Context(), c, []int{1024, 2048, 4096}, []server{good, bad})
		if err != nil || len(points) != 6 {
			t.Fatal(points, err)
		}
		for i := 0; i < 6; i += 2 {
			if g := points[i]; len(g.Micros) != 2 || g.Rate[0] < 900 || g.Error != "" {
				t.Errorf("%+v", g)
			}
			if points[i+1].Error == "" || len(points[i+1].Micros) != 0 {
				t.Errorf("%+v", points[i+1])
			}
		}
		if n := slices.IndexFunc(points, func(p report.Point) bool { return strings.Contains(p.Error, "left out") }); n != 5 {
			t.Errorf("left out at point %d, want the last", n)
		}
		if p.batches[len(p.batches)-1].Size != 4096 {
			t.Errorf("the last size was %d", p.batches[len(p.batches)-1].Size)
		}
	})
}

// TestWorkFolder: whatever lies in the folder that was named stays as it is, also what looks like an old run or a certificate.
func TestWorkFolder(t *testing.T) {
	dir := t.TempDir()
	if memory, err := fileSystem(dir); err == nil && memory == "tmpfs" {
		if _, _, err := workFolder(dir); err == nil {
			t.Error("a folder in memory was taken")
		}
		return
	}
	foreign := []string{"run7/queue/mail", "run.txt", "key.pem", "cert.pem", "ca.pem", "other", "holub-bench-1/mail"}
	for _, name := range foreign {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	s := settings{dir: dir, generator: "holub", plan: plan{rounds: 1, seconds: 1, patience: 1, longest: 1}}
	h, _, err := s.harness(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.certs.Key); err != nil || filepath.Dir(h.dir) != dir || filepath.Dir(h.certs.Key) != h.dir {
		t.Errorf("the folder is %s, the key %s: %v", h.dir, h.certs.Key, err)
	}
	h.generators = []generator{&fakePair{}}
	if r := h.run(t.Context(), relayWork(), &fakeServer{name: "a", starts: new([]string)}); r.Messages == 0 {
		t.Errorf("%+v", r)
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
	for _, name := range foreign {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != name {
			t.Errorf("%s holds %q now: %v", name, text, err)
		}
	}
	if _, err := os.Stat(h.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was left behind: %v", h.dir, err)
	}
}

// TestInMemory: a sync costs nothing there, so such a folder is refused.
func TestInMemory(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "holub-bench-test-*")
	if err != nil {
		t.Skipf("there is no /dev/shm that can be written to: %v", err)
	}
	defer os.Remove(shm)
	if _, _, err := workFolder(shm); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("a folder in memory: %v", err)
	}
}
