package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// perSite is the cap of connections in this test: what a kill can catch in flight.
const perSite = 8

// unsynced is how many deliveries may be on record and not yet on disk (docs/durability.md).
const unsynced = 32

// TestKill kills the real server again and again under load and counts what reaches the next host: nothing that was
// answered 250 may be lost, bounces included, and nothing may come twice but what was in flight at a kill, or delivered right before it.
//
// HOLUB_KILLS sets the number of kills.
func TestKill(t *testing.T) {
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("HOLUB_KILLS")); err == nil {
		kills = n
	}
	ledger := newLedger()
	next := startSink(t, "127.0.0.1:0", ledger.arrived)
	dir := t.TempDir()
	toml := fmt.Sprintf(`
hostname = "mx.example.org"
data_dir = "data"
[[listen]]
address = "127.0.0.1:0"
networks = ["127.0.0.0/8"]
[[route]]
to = "smtp://%s"
[delivery]
retry = ["100ms"]
connections_per_site = %d
`, next.addr, perSite)

	random := rand.New(rand.NewPCG(1, uint64(kills)))
	for range kills {
		s := startServer(t, dir, toml)
		load := ledger.startLoad(s.addr)
		<-time.After(time.Duration(50+random.IntN(400)) * time.Millisecond)
		s.kill()
		load.stop()
	}
	s := startServer(t, dir, toml)
	for left := len(ledger.missing()); left > 0; { // a long run leaves a backlog: as long as it shrinks, wait
		before := left
		eventually(t, fmt.Sprintf("fewer than %d accepted messages are missing", before), time.Minute, func() bool {
			left = len(ledger.missing())
			return left < before
		})
	}
	s.stop()

	accepted, bounced, twice := ledger.counts()
	t.Logf("%d kills: %d messages accepted, %d of them returned, 0 lost, %d came twice", kills, accepted, bounced, twice)
	if accepted < kills*5 {
		t.Errorf("only %d messages were accepted: this was no load", accepted)
	}
	// Originals and bounces go to the same site, and each kill catches both sides; so it does what was not yet on disk.
	if limit := kills * (perSite*2 + unsynced); twice > limit {
		t.Errorf("%d messages came twice; %d kills can have caught at most %d in flight or not yet on disk", twice, kills, limit)
	}
}

// ledger knows which messages were accepted and which came back out.
type ledger struct {
	seq atomic.Int64

	mu       sync.Mutex
	accepted map[int64]bool // by number; true: its recipient is refused, so that it must be returned
	arrivals map[int64]int
	returns  map[int64]int
}

func newLedger() *ledger {
	return &ledger{accepted: map[int64]bool{}, arrivals: map[int64]int{}, returns: map[int64]int{}}
}

var seqField = regexp.MustCompile(`(?m)^X-Seq: (\d+)\r$`)

// arrived notes a message that the sink took.
func (l *ledger) arrived(m taken) {
	found := seqField.FindStringSubmatch(m.content)
	if found == nil {
		return
	}
	n, _ := strconv.ParseInt(found[1], 10, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.from.IsNull() {
		l.returns[n]++
	} else {
		l.arrivals[n]++
	}
}

// missing lists the messages that were accepted and are nowhere yet.
func (l *ledger) missing() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []int64
	for n, returned := range l.accepted {
		if returned && l.returns[n] == 0 || !returned && l.arrivals[n] == 0 {
			list = append(list, n)
		}
	}
	return list
}

func (l *ledger) counts() (accepted, bounced, twice int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, returned := range l.accepted {
		accepted++
		if returned {
			bounced++
		}
	}
	for _, times := range []map[int64]int{l.arrivals, l.returns} {
		for _, n := range times {
			twice += n - 1
		}
	}
	return accepted, bounced, twice
}

// load is a crowd of clients.
type load struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup
}

func (l *ledger) startLoad(addr string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	crowd := &load{cancel: cancel}
	for range 16 {
		crowd.clients.Go(func() { l.client(ctx, addr) })
	}
	return crowd
}

func (c *load) stop() {
	c.cancel()
	c.clients.Wait()
}

// client sends messages until its session breaks.
func (l *ledger) client(ctx context.Context, addr string) {
	c, err := sender.Dial(ctx, addr, sender.Options{})
	if err != nil {
		return
	}
	defer c.Close()
	from, _ := smtp.ParsePath("<from@example.org>")
	for ctx.Err() == nil {
		n := l.seq.Add(1)
		returned := n%5 == 0
		local := "to"
		if returned {
			local = "refuse"
		}
		to, _ := smtp.ParsePath(fmt.Sprintf("<%s-%d@example.net>", local, n))
		text := fmt.Sprintf("X-Seq: %d\r\nSubject: load\r\n\r\n%s\r\n", n, strings.Repeat("x", 2000))
		result, err := c.Send(ctx, sender.Envelope{From: from, To: []smtp.Path{to}}, strings.NewReader(text))
		if err != nil {
			return
		}
		if result.Outcomes[0].Reply.Positive() {
			l.mu.Lock()
			l.accepted[n] = returned
			l.mu.Unlock()
		}
	}
}
