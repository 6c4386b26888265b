package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/certtest"
)

// serveSink runs a sink on a listener until the test ends, and gives its address.
func serveSink(t testing.TB, s *Sink, l net.Listener) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	addr := l.Addr().String()
	if l.Addr().Network() == "unix" {
		addr = "unix:" + addr
	}
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if open := s.Counts().Open; open != 0 {
			t.Errorf("%d connections are still counted as open", open)
		}
	})
	return addr
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestRun sends mail in all ways, and neither side may count anything but what went over the wire.
func TestRun(t *testing.T) {
	cert := certtest.New(t, "127.0.0.1")
	for _, tt := range []struct {
		name   string
		source Source
		sink   *Sink // nil: the zero one
		unix   bool
		conns  int // 0: one for each session
	}{
		{name: "one", source: Source{}},
		{name: "one command at a time", source: Source{Sessions: 5, Messages: 100, Recipients: 3}},
		{name: "pipelined", source: Source{Sessions: 5, Messages: 100, Recipients: 3, Pipelining: true}},
		{name: "not offered", source: Source{Sessions: 5, Messages: 50, Recipients: 3, Pipelining: true}, sink: &Sink{NoPipelining: true}},
		{name: "a connection each", source: Source{Sessions: 4, Messages: 40, PerConn: 1}, conns: 40},
		{name: "few to a connection", source: Source{Messages: 10, PerConn: 3, Pipelining: true}, conns: 4},
		{name: "large", source: Source{Sessions: 3, Messages: 6, Size: 3 << 20}},
		{name: "more sessions than messages", source: Source{Sessions: 9, Messages: 2}, conns: 2},
		{name: "more domains than recipients", source: Source{Messages: 20, Recipients: 2, Domains: []string{"a", "b", "c"}, Pipelining: true}},
		{name: "sink in goroutines", source: Source{Sessions: 5, Messages: 50, Pipelining: true}, sink: &Sink{Delay: time.Nanosecond}},
		{name: "unix", source: Source{Sessions: 5, Messages: 50, Size: 100_000, Pipelining: true}, unix: true},
		{name: "TLS", source: Source{Sessions: 3, Messages: 30, Size: 100_000, TLS: cert.Client()}, sink: &Sink{TLS: cert.Server()}},
		{name: "TLS and delay", source: Source{Sessions: 3, Messages: 30, TLS: cert.Client(), PerConn: 5, Pipelining: true},
			sink: &Sink{TLS: cert.Server(), Delay: time.Nanosecond}, conns: -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sink, l := cmp.Or(tt.sink, &Sink{}), net.Listener(nil)
			sink.IDs = true
			if tt.unix {
				var err error
				if l, err = net.Listen("unix", filepath.Join(t.TempDir(), "s")); err != nil {
					t.Fatal(err)
				}
			} else {
				l = listen(t)
			}
			tt.source.Addr = serveSink(t, sink, l)
			sent, err := tt.source.Run(within(t))
			if err != nil {
				t.Fatal(err)
			}
			want, _ := tt.source.withDefaults()
			counts := sink.Counts()
			recipients, octets := want.Messages*want.Recipients, int64(want.Messages)*int64(want.Size)
			if sent.Messages != want.Messages || sent.Recipients != recipients || sent.Octets != octets || sent.FirstError != nil ||
				sent.Failed+sent.Reconnects+len(sent.Refused) > 0 {
				t.Errorf("sent %+v", sent)
			}
			if counts.Messages != want.Messages || counts.Recipients != recipients || counts.Octets != octets ||
				counts.Lost+counts.Repeated+counts.Foreign > 0 || counts.First.IsZero() || counts.Last.Before(counts.First) {
				t.Errorf("counted %+v", counts)
			}
			if tt.conns == 0 {
				tt.conns = want.Sessions
			}
			if tt.conns > 0 && (counts.Connections != tt.conns || sent.Sessions != tt.conns) {
				t.Errorf("%d connections counted, %d sent over, want %d", counts.Connections, sent.Sessions, tt.conns)
			}
			if sent.P50 <= 0 || sent.P50 > sent.P90 || sent.P90 > sent.P99 || sent.P99 > sent.Longest || sent.Longest > sent.Elapsed {
				t.Errorf("latencies %v %v %v %v of %v", sent.P50, sent.P90, sent.P99, sent.Longest, sent.Elapsed)
			}
		})
	}
}

// TestRefusals: what is refused is counted by its text, and the session goes on.
func TestRefusals(t *testing.T) {
	const n = 40
	for _, fail := range []Fail{{Every: 4}, {Every: 4, ForGood: true}, {Every: 4, AtDot: true}, {Every: 1}, {Every: 1, AtDot: true, ForGood: true}} {
		for _, pipelining := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v %v", fail, pipelining), func(t *testing.T) {
				sink := &Sink{Fail: fail}
				source := &Source{Addr: serveSink(t, sink, listen(t)), Sessions: 3, Messages: n, Recipients: 2, Pipelining: pipelining}
				sent, err := source.Run(within(t))
				if err != nil {
					t.Fatal(err)
				}
				tries := 2 * n // recipients
				if fail.AtDot {
					tries = n
				}
				refused := tries / fail.Every
				var replies int
				for text, times := range sent.Refused {
					if class := "4"; fail.ForGood && text[0] != '5' || !fail.ForGood && !strings.HasPrefix(text, class) {
						t.Errorf("refused by %q", text)
					}
					replies += times
				}
				counts := sink.Counts()
				if replies != refused || counts.Refused != refused {
					t.Errorf("%d replies counted by the source, %d by the sink, want %d", replies, counts.Refused, refused)
				}
				if sent.Messages+sent.Failed != n || counts.Messages != sent.Messages || counts.Recipients != sent.Recipients || sent.Reconnects > 0 {
					t.Errorf("sent %+v, counted %+v", sent, counts)
				}
				if fail.Every == 1 && sent.Failed != n {
					t.Errorf("%d messages failed, want all", sent.Failed)
				}
			})
		}
	}
}

// TestAllocations: a message allocates nothing; what is left are the connections and the runs.
func TestAllocations(t *testing.T) {
	sink := &Sink{}
	addr := serveSink(t, sink, listen(t))
	run := func(messages int, pipelining bool) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		source := &Source{Addr: addr, Sessions: 10, Messages: messages, Recipients: 2, Domains: []string{"a", "b", "c"}, Pipelining: pipelining}
		if _, err := source.Run(within(t)); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	for _, pipelining := range []bool{false, true} {
		few, many := run(100, pipelining), run(2100, pipelining)
		if many > few+200 {
			t.Errorf("pipelining %v: 2,000 messages more cost %d allocations more, want none", pipelining, many-few)
		}
	}
}

// TestIdle: sessions are opened and kept, with and without TLS, and one that the server ends is an error.
func TestIdle(t *testing.T) {
	cert := certtest.New(t, "127.0.0.1")
	for _, config := range []*tls.Config{nil, cert.Client()} {
		sink := &Sink{TLS: cert.Server()}
		source := &Source{Addr: serveSink(t, sink, listen(t)), Sessions: 20, Idle: 50 * time.Millisecond, TLS: config}
		source.Opened = func() {
			if c := sink.Counts(); c.Open != 20 {
				t.Errorf("%d sessions are open, want 20", c.Open)
			}
		}
		sent, err := source.Run(within(t))
		if err != nil || sent.Sessions != 20 || sent.Messages != 0 || sent.Elapsed < source.Idle {
			t.Errorf("TLS %v: %+v, %v", config != nil, sent, err)
		}

		ctx, cancel := context.WithCancel(within(t))
		l := listen(t)
		source = &Source{Addr: l.Addr().String(), Sessions: 3, Idle: time.Hour, TLS: config, Opened: cancel}
		served := make(chan error, 1)
		go func() { served <- (&Sink{TLS: cert.Server()}).Serve(ctx, l) }()
		sent, err = source.Run(within(t))
		if err == nil || sent.FirstError == nil || !strings.Contains(err.Error(), "not all sessions were kept") {
			t.Errorf("TLS %v: the server ended the sessions: %+v, %v", config != nil, sent, err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// TestBrokenOff: the end of ctx ends a run, and says so.
func TestBrokenOff(t *testing.T) {
	cert := certtest.New(t, "127.0.0.1")
	for _, config := range []*tls.Config{nil, cert.Client()} {
		addr := serveSink(t, &Sink{TLS: cert.Server()}, listen(t))
		ctx, cancel := context.WithCancel(within(t))
		source := &Source{Addr: addr, Sessions: 3, Idle: time.Hour, TLS: config, Opened: cancel}
		if _, err := source.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("TLS %v: %v, want that it was canceled", config != nil, err)
		}
	}
}

// TestNobodyThere: a run against a closed port ends, and names the reason.
func TestNobodyThere(t *testing.T) {
	l := listen(t)
	l.Close()
	cert := certtest.New(t, "127.0.0.1")
	for _, config := range []*tls.Config{nil, cert.Client()} {
		source := &Source{Addr: l.Addr().String(), Sessions: 2, Messages: 5, Retries: 1, TLS: config}
		sent, err := source.Run(within(t))
		if !errors.Is(err, ErrUnsent) || !strings.Contains(err.Error(), "connection refused") || sent.Reconnects != 2 {
			t.Errorf("TLS %v: %+v, %v", config != nil, sent, err)
		}
	}
}

// TestAwait: those who wait are told when their number is there, also when it was there before.
func TestAwait(t *testing.T) {
	sink := &Sink{}
	addr := serveSink(t, sink, listen(t))
	early := make(chan error, 2)
	for _, n := range []int{5, 10} {
		go func() { early <- sink.Await(within(t), n) }()
	}
	if _, err := (&Source{Addr: addr, Messages: 10}).Run(within(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-early; err != nil {
			t.Error(err)
		}
	}
	if err := sink.Await(within(t), 10); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if err := sink.Await(ctx, 11); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "10 of 11") {
		t.Errorf("%v", err)
	}
}

// BenchmarkMessage is a message of 4 KiB from a Source to a Sink, in 20 sessions.
func BenchmarkMessage(b *testing.B) {
	for _, pipelining := range []bool{false, true} {
		b.Run(fmt.Sprintf("pipelining=%v", pipelining), func(b *testing.B) {
			addr := serveSink(b, &Sink{}, listen(b))
			b.ReportAllocs()
			b.ResetTimer()
			if _, err := (&Source{Addr: addr, Sessions: 20, Messages: b.N, Pipelining: pipelining}).Run(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
