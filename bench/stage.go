package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/holub-mail/holub/bench/peer"
	"github.com/holub-mail/holub/bench/report"
)

// A stage is one server that runs, with the sink it sends to.
type stage struct {
	*harness
	work
	name      string // of the server
	generator generator
	running   running
	addr      string // of the server
	sink      sink   // nil where the work has none
	arrived   int    // recipients that the sink must have by now
}

// openSink starts the sink and gives the hops that lead to it, of every domain that mail goes to.
func (st *stage) openSink(ctx context.Context, t *peer.TLS) (hops map[string]string, err error) {
	listen := "127.0.0.1"
	if st.sites {
		listen = "0.0.0.0"
	}
	port, err := freePort(listen)
	if err != nil {
		return nil, err
	}
	if st.sink, err = st.generator.sink(ctx, sinkOptions{Addr: net.JoinHostPort(listen, port), TLS: t}); err != nil {
		return nil, err
	}
	hops = map[string]string{"": net.JoinHostPort("127.0.0.1", port)}
	if st.sites {
		for i := range max(st.domains, 1) {
			hops[domain(i)] = net.JoinHostPort(host(i), port)
		}
	}
	if st.waiting > 0 {
		dead, err := freePort("127.0.0.1") // nothing listens there
		if err != nil {
			return nil, errors.Join(err, st.sink.stop())
		}
		hops[deadDomain] = net.JoinHostPort("127.0.0.1", dead)
	}
	return hops, nil
}

// dead gives the hops of mail that all goes to a host that is down.
func dead() (hops map[string]string, err error) {
	port, err := freePort("127.0.0.1") // nothing listens there
	return map[string]string{"": net.JoinHostPort("127.0.0.1", port)}, err
}

// deadDomain is where mail goes that has to wait.
const deadDomain = "dead.example"

// batch is n messages of the work.
func (st *stage) batch(n int) batch {
	b := batch{Addr: st.addr, Sessions: min(st.sessions, n), Messages: n, Size: st.size, Recipients: max(st.recipients, 1),
		PerConnection: st.perConnection, Pipelining: st.pipelining, TLS: st.tls}
	for i := range max(st.domains, 1) {
		b.Domains = append(b.Domains, domain(i))
	}
	return b
}

// timing is what sending a number of messages took.
type timing struct {
	sent
	whole time.Duration // until the point that the work is timed to
}

// send sends n messages and waits until all have arrived.
func (st *stage) send(ctx context.Context, n int) (timing, error) {
	began := time.Now()
	s, err := st.generator.send(ctx, st.batch(n))
	if err != nil {
		return timing{}, err
	}
	t := timing{sent: s, whole: s.Elapsed}
	if st.sink == nil {
		return t, nil
	}
	st.arrived += st.arrivals(n)
	if err := await(ctx, st.sink, st.arrived, polling, st.patience); err != nil {
		return timing{}, err
	}
	if !st.early {
		t.whole = time.Since(began)
	}
	return t, nil
}

// warmUp fills the queue where the work wants that, sends the messages that don't count, and gives the server's rate as
// far as it is known: that of its last run, else of a probe that takes about a second.
func (st *stage) warmUp(ctx context.Context) (rate float64, err error) {
	if err := st.fill(ctx); err != nil {
		return 0, fmt.Errorf("fill the queue: %w", err)
	}
	n := max(st.warm/2, 1)
	if st.messages > 0 {
		n = min(n, max(st.messages/4, 1))
	}
	if _, err := st.send(ctx, n); err != nil {
		return 0, fmt.Errorf("warm up: %w", err)
	}
	t, err := st.send(ctx, n)
	if err != nil {
		return 0, fmt.Errorf("warm up: %w", err)
	}
	if known := st.rates[st.key()]; known > 0 {
		return known, nil
	}
	if st.messages > 0 {
		return 0, nil
	}
	// The second half tells how large the probe has to be; a server that just began is still too slow to tell more.
	n = max(n, int(float64(n)/t.whole.Seconds()*min(1, st.seconds)))
	if t, err = st.send(ctx, n); err != nil {
		return 0, fmt.Errorf("probe: %w", err)
	}
	return float64(n) / t.whole.Seconds(), nil
}

func (st *stage) key() string { return st.work.name + " " + st.name }

// fill has the server take mail for a host that is dead, in messages of many recipients.
func (st *stage) fill(ctx context.Context) error {
	const each = 500 // recipients of a message
	if st.waiting == 0 {
		return nil
	}
	b := batch{Addr: st.addr, Sessions: 4, Messages: max(st.waiting/each, 1), Size: kib, Recipients: min(st.waiting, each),
		Domains: []string{deadDomain}}
	ours, err := newOurtools()
	if err != nil {
		return err
	}
	b.Sessions = min(b.Sessions, b.Messages)
	_, err = ours.send(ctx, b)
	return err
}

// expense is the processor time of the server and the sink so far.
func (st *stage) expense() (server, sink time.Duration, err error) {
	if server, _, err = st.running.usage(); err != nil {
		return 0, 0, fmt.Errorf("learn the processor time of %s: %w", st.name, err)
	}
	if st.sink != nil {
		sink, err = st.sink.cpu()
	}
	return server, sink, err
}

// memory is what the server needs now, in octets.
func (st *stage) memory() (int64, error) {
	_, n, err := st.running.usage()
	return n, err
}

// measure is the run that counts.
func (st *stage) measure(ctx context.Context, r *report.Run) error {
	rate, err := st.warmUp(ctx)
	if err != nil {
		return err
	}
	n := st.count(st.work, rate)
	serverBefore, sinkBefore, err := st.expense()
	if err != nil {
		return err
	}
	watch := sample(sampling, st.memory)
	t, err := st.send(ctx, n)
	peak, watched := watch.most()
	if err != nil {
		return err
	}
	server, sink, err := st.expense()
	if err = errors.Join(err, watched); err != nil {
		return err
	}
	r.Messages, r.Recipients, r.Seconds, r.Peak = n, st.arrivals(n), t.whole.Seconds(), peak
	r.Value = float64(n) / r.Seconds
	r.ServerCPU, r.SinkCPU = (server - serverBefore).Seconds(), (sink - sinkBefore).Seconds()
	r.SourceCPU, r.P50, r.P99 = t.CPU.Seconds(), t.P50, t.P99
	st.rates[st.key()] = r.Value
	return nil
}

// idle opens sessions that say EHLO and then nothing, and measures the memory of the server.
func (st *stage) idle(ctx context.Context, r *report.Run) error {
	without, err := settled(ctx, time.Second, st.memory)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, 0, st.sessions)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	began := time.Now()
	for len(conns) < st.sessions {
		c, err := openIdle(ctx, st.addr)
		if err != nil {
			return fmt.Errorf("open idle session %d of %d: %w", len(conns)+1, st.sessions, err)
		}
		conns = append(conns, c)
	}
	r.Seconds = time.Since(began).Seconds()
	if err := pause(ctx, calm); err != nil {
		return err
	}
	size, err := settled(ctx, time.Second, st.memory)
	r.Peak, r.Value = size, float64(max(size-without, 0))/mib
	return err
}

// calm is how long sessions are idle before they count as idle.
const calm = 5 * time.Second

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// openIdle opens one session and leaves it after EHLO.
func openIdle(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	err = c.SetDeadline(time.Now().Add(30 * time.Second))
	if err == nil {
		_, err = expect(c, "220")
	}
	if err == nil {
		_, err = c.Write([]byte("EHLO idle.example\r\n"))
	}
	if err == nil {
		_, err = expect(c, "250")
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// settled asks every step until two answers in a row differ by less than a hundredth, ten times at most, and gives the last.
func settled(ctx context.Context, step time.Duration, ask func() (int64, error)) (int64, error) {
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	last := int64(-1)
	for range 10 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		n, err := ask()
		if err != nil {
			return 0, err
		}
		if diff := n - last; last >= 0 && max(diff, -diff)*100 < n {
			return n, nil
		}
		last = n
	}
	return last, nil
}
