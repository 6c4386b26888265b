package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holub-mail/holub/bench/peer"
	"github.com/holub-mail/holub/bench/report"
)

// A server is what the harness needs of a peer.
type server interface {
	Name() string
	Install(context.Context) (version string, err error)
	start(context.Context, peer.Setup) (running, error)
}

// running is a server that runs.
type running interface {
	// usage is the processor time of all its processes since its start, of those that have ended too, and the memory that
	// they need together now, in octets.
	usage() (cpu time.Duration, memory int64, err error)
	syncs() (int, error) // so far; only with Setup.Trace
	log() string         // the end of what it logged
	stop() error
}

// plan says how much is measured.
type plan struct {
	rounds     int
	seconds    float64 // that a run should take
	messages   int     // of each run; 0: as many as fit into seconds
	pipelining bool
	trace      int           // messages of the run that counts syncs; 0: it is left out
	patience   time.Duration // without any message arriving, before a run is given up
	longest    time.Duration // of one run, start and warm-up included
}

// harness runs servers in turn.
type harness struct {
	plan
	dir        string // for the folders of the runs; it is removed with all that is in it
	certs      *peer.TLS
	generators []generator // the first that can do a work does it
	log        io.Writer   // a line for each run

	rates map[string]float64 // the last rate of a work by a server: "relay holub"
	next  int                // number of the next run's folder
}

const (
	sampling = 100 * time.Millisecond // of memory
	polling  = 5 * time.Millisecond   // of the sink's count
)

// generator is the first pair that can do the work; nil where none can or needs to.
func (h *harness) generator(w work) generator {
	for _, g := range h.generators {
		if g.can(w) {
			return g
		}
	}
	return nil
}

// install readies all servers and gives those that are there. For the others the report says why not.
func (h *harness) install(ctx context.Context, servers []server) (ready []server, described []report.Server) {
	for _, s := range servers {
		fmt.Fprintf(h.log, "installing %s\n", s.Name())
		version, err := s.Install(ctx)
		d := report.Server{Name: s.Name(), Version: version}
		if p, ok := s.(interface{ Durability() string }); ok {
			d.Durability = p.Durability()
		}
		if err != nil {
			d.Absent = err.Error()
			fmt.Fprintf(h.log, "%s takes no part: %v\n", s.Name(), err)
		} else {
			ready = append(ready, s)
		}
		described = append(described, d)
	}
	return ready, described
}

// missing is an error where a server takes no part that was named, or that the others are held against.
func missing(described []report.Server, named bool, reference string) error {
	for _, d := range described {
		if d.Absent != "" && (named || d.Name == reference) {
			return fmt.Errorf("%s was asked for and takes no part: %s; Postfix, Exim and OpenSMTPD need root and Debian, Haraka "+
				"node and npm; run this as root there, or leave it out, as with --servers holub", d.Name, d.Absent)
		}
	}
	return nil
}

// compare runs all works: for each, round after round, all servers in turn, and another one first in each round, so that
// what disturbs the machine hits all alike. Then it counts syncs. It ends early only when ctx does.
func (h *harness) compare(ctx context.Context, works []work, servers []server) (runs []report.Run, traces []report.Trace, err error) {
	for _, w := range works {
		for round := range h.rounds {
			for i := range servers {
				s := servers[(i+round)%len(servers)]
				run := h.run(ctx, w, s)
				run.Round = round + 1
				if ctx.Err() != nil {
					return runs, traces, context.Cause(ctx)
				}
				runs = append(runs, run)
				h.tell(w, run)
			}
		}
		if h.trace == 0 || w.idle {
			continue
		}
		for _, s := range servers {
			t := h.traceRun(ctx, w, s)
			if ctx.Err() != nil {
				return runs, traces, context.Cause(ctx)
			}
			traces = append(traces, t)
		}
	}
	return runs, traces, nil
}

func (h *harness) tell(w work, r report.Run) {
	if r.Error != "" {
		fmt.Fprintf(h.log, "%s, round %d, %s: FAILED: %s\n", w.name, r.Round, r.Server, short(r.Error))
		return
	}
	fmt.Fprintf(h.log, "%s, round %d, %s: %.0f %s, %d messages in %.1f s\n", w.name, r.Round, r.Server, r.Value, w.unit(),
		r.Messages, r.Seconds)
}

// run does one work by one server once. A failure is in the run's Error.
func (h *harness) run(ctx context.Context, w work, s server) report.Run {
	r := report.Run{Work: w.name, Server: s.Name()}
	err := h.stage(ctx, w, s, false, func(ctx context.Context, st *stage) error {
		if w.idle {
			return st.idle(ctx, &r)
		}
		return st.measure(ctx, &r)
	})
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// traceRun counts the syncs of some messages, which is slow and so not timed.
func (h *harness) traceRun(ctx context.Context, w work, s server) report.Trace {
	n := h.trace
	if w.recipients > 1 {
		n = max(n/10, 1)
	}
	t := report.Trace{Work: w.name, Server: s.Name(), Messages: n}
	err := h.stage(ctx, w, s, true, func(ctx context.Context, st *stage) error {
		if _, err := st.warmUp(ctx); err != nil {
			return err
		}
		before, err := st.running.syncs()
		if err != nil {
			return fmt.Errorf("count syncs: %w", err)
		}
		if _, err := st.send(ctx, n); err != nil {
			return err
		}
		after, err := st.running.syncs()
		t.Syncs = after - before
		return err
	})
	if err != nil {
		t.Error = err.Error()
	}
	return t
}

// stage makes all that one run needs, has it played, and takes it down again.
func (h *harness) stage(ctx context.Context, w work, s server, trace bool, play func(context.Context, *stage) error) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.longest, fmt.Errorf("a run takes at most %v (see --timeout)", h.longest))
	defer cancel()
	h.next++
	dir := filepath.Join(h.dir, fmt.Sprintf("run%d", h.next))
	if err := os.MkdirAll(filepath.Join(dir, "server"), 0o755); err != nil {
		return fmt.Errorf("make the folder of a run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	restore, err := confine(w.cores)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	flushDisk()
	st := &stage{harness: h, work: w, name: s.Name(), generator: h.generator(w)}
	if st.generator == nil && !w.idle {
		return fmt.Errorf("no generator can do %s", w.name)
	}
	setup := peer.Setup{Dir: filepath.Join(dir, "server"), Sessions: w.sessions, Cores: w.cores}
	if trace {
		setup.Trace = filepath.Join(dir, "trace")
	}
	if w.tls {
		setup.TLS = h.certs
	}
	port, err := freePort("127.0.0.1")
	if err != nil {
		return err
	}
	setup.Addr = net.JoinHostPort("127.0.0.1", port)
	st.addr = setup.Addr
	switch {
	case w.relay:
		if setup.Hops, err = st.openSink(ctx, setup.TLS); err == nil {
			defer func() { err = errors.Join(err, st.sink.stop()) }()
		}
	case !w.kept:
		setup.Hops, err = dead()
	}
	if err != nil {
		return err
	}
	if st.running, err = s.start(ctx, setup); err != nil {
		return err // it says who did not start
	}
	defer func() { err = errors.Join(err, st.running.stop()) }()
	if err := play(ctx, st); err != nil {
		return fmt.Errorf("%w; the end of its log: %s", err, lastOf(st.running.log(), 600))
	}
	return nil
}

// count is how many messages a run has, by the rate in messages a second that is known.
func (h *harness) count(w work, rate float64) int {
	if h.messages > 0 {
		return h.messages
	}
	least := w.least
	if least == 0 {
		least = 10 * w.sessions
	}
	n := max(int(rate*h.seconds), least)
	if w.most > 0 {
		n = min(n, w.most)
	}
	return n
}

// workFolder makes a new folder for the runs below dir, and touches nothing else there. It refuses a dir that is in memory,
// where a sync costs nothing.
func workFolder(dir string) (made, fs string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", fmt.Errorf("make the folder for the queues (choose another with --dir): %w", err)
	}
	if fs, err = fileSystem(dir); err != nil {
		return "", "", err
	}
	if slices.Contains([]string{"tmpfs", "ramfs"}, fs) {
		return "", "", fmt.Errorf("%s is on a %s, where a sync costs nothing and nothing is durable: name a folder on a disk with --dir",
			dir, fs)
	}
	made, err = os.MkdirTemp(dir, "holub-bench-")
	if err == nil {
		err = os.Chmod(made, 0o755) // servers have users of their own
	}
	if err != nil {
		return "", "", fmt.Errorf("make a folder for the queues (choose another with --dir): %w", err)
	}
	return made, fs, nil
}

// close removes the folder of the harness.
func (h *harness) close() error {
	if err := os.RemoveAll(h.dir); err != nil {
		return fmt.Errorf("remove the queues: %w", err)
	}
	return nil
}
