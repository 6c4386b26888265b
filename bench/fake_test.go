package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/bench/peer"
)

// fakeServer notes its starts in a list shared by all servers of a test.
type fakeServer struct {
	name    string
	starts  *[]string
	install error
	durable string
	refuse  error // of start
	died    error // of stop
}

func (f *fakeServer) Name() string { return f.name }

func (f *fakeServer) Durability() string { return f.durable }

func (f *fakeServer) Install(context.Context) (string, error) { return "1." + f.name, f.install }

func (f *fakeServer) start(_ context.Context, s peer.Setup) (running, error) {
	*f.starts = append(*f.starts, f.name)
	if f.refuse != nil {
		return nil, f.refuse
	}
	return &fakeRunning{died: f.died, traced: s.Trace != ""}, nil
}

type fakeRunning struct {
	died   error
	traced bool
	asked  int
}

func (f *fakeRunning) usage() (time.Duration, int64, error) {
	f.asked++
	return time.Duration(f.asked) * time.Second, 5 * mib, nil
}

func (f *fakeRunning) syncs() (int, error) {
	if !f.traced {
		return 0, errors.New("not traced")
	}
	f.asked += 10
	return f.asked, nil
}

func (f *fakeRunning) log() string { return "the log" }
func (f *fakeRunning) stop() error { return f.died }

// fakePair is a generator that takes time for each message, and its own sink.
type fakePair struct {
	each    time.Duration // that a message takes
	batches []batch
	came    int
	lose    int // messages that never arrive
	double  int // recipients that arrive twice
	fail    error
	open    int // sinks
}

func (p *fakePair) name() string    { return "fake" }
func (p *fakePair) can(w work) bool { return !w.tls }
func (p *fakePair) messages() []int {
	var all []int
	for _, b := range p.batches {
		all = append(all, b.Messages)
	}
	return all
}

func (p *fakePair) send(_ context.Context, b batch) (sent, error) {
	p.batches = append(p.batches, b)
	if p.fail != nil {
		return sent{}, p.fail
	}
	d := time.Duration(b.Messages) * p.each
	<-time.After(d) // by the clock of the test
	p.came += b.Messages*b.Recipients - p.lose + p.double
	return sent{Elapsed: d, CPU: time.Millisecond, P50: p.each, P99: p.each}, nil
}

func (p *fakePair) sink(context.Context, sinkOptions) (sink, error) {
	p.open++
	p.came = 0
	return (*fakeSink)(p), nil
}

type fakeSink fakePair

func (s *fakeSink) recipients() (int, error)    { return s.came, nil }
func (s *fakeSink) cpu() (time.Duration, error) { return 0, nil }
func (s *fakeSink) stop() error                 { s.open--; return nil }

// testHarness measures with a fake pair in a folder of the test.
func testHarness(t *testing.T, p *fakePair) *harness {
	return &harness{dir: t.TempDir(), generators: []generator{p}, log: io.Discard, rates: map[string]float64{},
		plan: plan{rounds: 3, seconds: 5, patience: time.Second, longest: time.Hour}}
}

// greeter is a server that answers every EHLO with a reply, for as long as the test runs.
func greeter(t *testing.T, greeting, reply string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				fmt.Fprint(c, greeting)
				in := bufio.NewReader(c)
				for {
					line, err := in.ReadString('\n')
					if err != nil || strings.HasPrefix(line, "QUIT") {
						return
					}
					fmt.Fprint(c, reply)
				}
			})
		}
	})
	return l.Addr().String()
}
