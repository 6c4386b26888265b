package deliver

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// bubble is a Remote whose hosts are pipes, for tests of time. Address 192.0.2.1 answers, 192.0.2.2 never connects,
// 192.0.2.3 accepts and never says a word.
type bubble struct {
	*world
	t       *testing.T
	host    *nextHost
	silent  []net.Conn
	dialled []string
}

func newBubble(t *testing.T, change func(*Options)) *bubble {
	b := &bubble{t: t, world: &world{t: t, content: letter}}
	b.host = &nextHost{w: b.world, conns: map[string]net.Conn{}}
	b.host.srv = &receiver.Server{Hostname: "host.example", Handler: b.host}
	o := Options{Hostname: "mx.example.net", Dial: b.dial, Resolver: static{}}
	if change != nil {
		change(&o)
	}
	b.remote = NewRemote(o)
	return b
}

func (b *bubble) dial(ctx context.Context, _, address string) (net.Conn, error) {
	b.dialled = append(b.dialled, address)
	near, far := net.Pipe()
	switch {
	case strings.HasPrefix(address, "192.0.2.1:"):
		b.host.total++
		go b.host.srv.ServeConn(far)
	case strings.HasPrefix(address, "192.0.2.2:"):
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		b.silent = append(b.silent, far)
	}
	return near, nil
}

// end closes what is open, so that nothing is left in the bubble.
func (b *bubble) end() {
	b.remote.Close()
	for _, c := range b.silent {
		c.Close()
	}
	synctest.Wait()
	if n := b.host.srv.Sessions(); n != 0 {
		b.t.Errorf("%d sessions are open at the end", n)
	}
}

func (b *bubble) to(hosts ...string) []spool.Outcome {
	addrs := static{}
	for _, h := range hosts {
		addrs["relay.example"] = append(addrs["relay.example"], netip.MustParseAddr(h))
	}
	b.remote.options.Resolver = addrs
	return b.remote.ToHop(b.t.Context(), "site", Hop{Host: "relay.example", Port: 25}, Manner{}, b.task("joe"))
}

// TestConnectTimeout waits for each address that does not answer as long as it is told, and goes on to the next.
func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil)
		defer b.end()
		start := time.Now()
		expect(t, "outcome", said(b.to("192.0.2.2", "192.0.2.2", "192.0.2.1")), "250 2.0.0")
		if took := time.Since(start); took != time.Minute { // twice the default
			t.Errorf("it took %v", took)
		}
		b.remote.idle.close()
		start = time.Now()
		b.remote = NewRemote(Options{Hostname: "mx.example.net", Dial: b.dial, ConnectTimeout: 7 * time.Second})
		expect(t, "outcome", said(b.to("192.0.2.2")), "451 4.4.1 connect")
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestSilentHost accepts the connection and never greets.
func TestSilentHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil)
		defer b.end()
		start := time.Now()
		expect(t, "outcome", said(b.to("192.0.2.3", "192.0.2.1")), "250 2.0.0")
		if took := time.Since(start); took != 5*time.Minute { // RFC 5321 4.5.3.2.1
			t.Errorf("it took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, func(o *Options) { o.Timeouts = sender.Timeouts{Greeting: time.Second} })
		defer b.end()
		outcomes := b.to("192.0.2.3")
		expect(t, "outcome", said(outcomes), "451 4.4.2 session")
		if text := outcomes[0].Reply.Text(); !strings.Contains(text, "192.0.2.3") || !strings.Contains(text, "within 1s") {
			t.Errorf("the reply does not say who and why: %s", text)
		}
	})
}

// TestStopWhileItWaits ends the context in the middle of a wait: at once, and as if it had not been tried.
func TestStopWhileItWaits(t *testing.T) {
	for _, host := range []string{"192.0.2.2", "192.0.2.3"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, func(o *Options) { o.ConnectTimeout = time.Hour })
			defer b.end()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			outcomes := b.remote.ToMX(ctx, "site", smtp.AddressLiteral(netip.MustParseAddr(host)), Manner{}, b.task("joe ann"))
			expect(t, host, said(outcomes), "451 4.3.2 shutdown, 451 4.3.2 shutdown")
			if took := time.Since(start); took != time.Minute {
				t.Errorf("%s: it took %v", host, took)
			}
		})
	}
}

// TestIdleTime keeps a session that long, counted from its last use, then says QUIT.
func TestIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, func(o *Options) { o.IdleTime = 10 * time.Second })
		defer b.end()
		sessions := func(what string, open, total int) {
			t.Helper()
			synctest.Wait()
			if n := b.host.srv.Sessions(); n != open || b.host.total != total {
				t.Errorf("%s: %d sessions of %d are open, want %d of %d", what, n, b.host.total, open, total)
			}
		}
		b.to("192.0.2.1")
		sessions("after the first", 1, 1)
		for range 3 {
			time.Sleep(9 * time.Second)
			b.to("192.0.2.1")
			sessions("used in time", 1, 1)
		}
		time.Sleep(9 * time.Second)
		sessions("just before", 1, 1)
		time.Sleep(2 * time.Second)
		sessions("just after", 0, 1)
		if len(b.remote.idle.idle) != 0 {
			t.Errorf("the pool keeps %v", b.remote.idle.idle)
		}
		b.to("192.0.2.1")
		sessions("used again", 1, 2)
	})
}

// TestIdleTimeDefault is five seconds.
func TestIdleTimeDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil)
		defer b.end()
		b.to("192.0.2.1")
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		if n := b.host.srv.Sessions(); n != 1 {
			t.Errorf("%d sessions before five seconds", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := b.host.srv.Sessions(); n != 0 {
			t.Errorf("%d sessions after five seconds", n)
		}
	})
}

// TestQuitIsShort does not wait long for a host that does not take a farewell.
func TestQuitIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil)
		defer b.end()
		b.to("192.0.2.1")
		near, far := net.Pipe()
		defer far.Close()
		go func() { // greets, and is silent from then on
			far.Write([]byte("220 x\r\n"))
			buf := make([]byte, 100)
			far.Read(buf)
			far.Write([]byte("250 x\r\n"))
		}()
		client, err := sender.NewClient(t.Context(), near, sender.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b.remote.idle.give(place{site: "silent"}, &session{client: client})
		start := time.Now()
		b.remote.Close()
		if took := time.Since(start); took > quitTime {
			t.Errorf("Close took %v", took)
		}
	})
}
