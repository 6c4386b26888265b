package mta

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/dnstest"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtptest"
)

// stress is a server among next hosts with faults, operators who do anything at any time, and a configuration that changes.
type stress struct {
	t    *testing.T
	m    *MTA
	desk admin.Desk

	hosts   []*smtptest.Server // of h0.example, h1.example, ... in turns; the last one is found by MX
	reports *smtptest.Server   // of the senders

	mu       sync.Mutex
	ids      []string
	expected []string // recipients
	removed  int
	shift    int // which host stands for which domain
}

// TestStress: whatever operators, reloads and next hosts do meanwhile, each recipient is delivered once, or returned once, or
// removed by an operator.
func TestStress(t *testing.T) {
	const messages = 120
	s := newStress(t)
	for i := range messages / 4 { // these wait when the server starts
		s.put(i)
	}
	if err := s.m.Listen(); err != nil {
		t.Fatal(err)
	}
	s.desk = s.m.desk(s.m.live.Load().cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.m.Run(ctx) }()
	<-s.m.started // as clients do: no door is served before
	acting, stopActing := context.WithCancel(ctx)
	var operators sync.WaitGroup
	for n := range 3 {
		operators.Go(func() { s.operate(acting, rand.New(rand.NewPCG(7, uint64(n)))) })
	}
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for i := messages / 4; i < messages; i++ {
		s.m.queueAccepted(s.put(i))
		<-pace.C
	}
	stopActing()
	operators.Wait()
	s.drain(ctx)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.account()
}

func newStress(t *testing.T) *stress {
	t.Helper()
	s := &stress{t: t, reports: smtptest.Start(t)}
	faults := []smtptest.Fault{
		{On: smtptest.Rcpt, Times: 150, Reply: smtp.NewReply(450, smtp.EnhancedCode{4, 2, 0}, "busy")},
		{On: smtptest.Mail, Times: 60, Drop: true, Delay: 10 * time.Millisecond},
		{On: smtptest.Connect, Times: 40, Reply: smtp.NewReply(421, smtp.EnhancedCode{4, 3, 2}, "go away")},
		{On: smtptest.Mail, Times: 40, Delay: 200 * time.Millisecond},
		{On: smtptest.Content, Times: 60, Reply: smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "later")},
		{},
	}
	bad := func(p smtp.Path) bool { return strings.HasPrefix(p.Local, "bad") }
	for _, f := range faults {
		host := smtptest.Start(t)
		host.Fail(smtptest.Fault{On: smtptest.Rcpt, Match: bad, Reply: smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "no such user")})
		if f.On != "" {
			host.Fail(f)
		}
		s.hosts = append(s.hosts, host)
	}
	zone := dnstest.Start(t, "d1.example. MX 10 mx.example.\nd2.example. MX 10 mx.example.\nmx.example. A 127.0.0.1\n")
	dir := t.TempDir()
	load := func() (*config.Config, error) { return s.config(zone, dir) }
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if s.m, err = New(Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Load: load}); err != nil {
		t.Fatal(err)
	}
	return s
}

// config makes the next configuration: the hosts change places.
func (s *stress) config(zone, dir string) (*config.Config, error) {
	s.mu.Lock()
	s.shift = 1 - s.shift
	shift := s.shift
	s.mu.Unlock()
	_, port, _ := net.SplitHostPort(s.hosts[len(s.hosts)-1].Addr)
	var b strings.Builder
	fmt.Fprintf(&b, "hostname = \"mx.stress.example\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[dns]\nservers = [%q]\n[delivery]\nport = %s\n", zone, port)
	named := len(s.hosts) - 1
	for i := range named {
		fmt.Fprintf(&b, "[[route]]\nmatch = { domain = [\"h%d.example\"] }\nto = \"smtp://%s\"\n", i, s.hosts[(i+shift)%named].Addr)
	}
	fmt.Fprintf(&b, "[[route]]\nmatch = { domain = [\"sender.example\"] }\nto = \"smtp://%s\"\n", s.reports.Addr)
	cfg, err := config.Parse("test.toml", []byte(b.String()))
	if err != nil {
		return nil, err
	}
	cfg.DataDir = dir
	quick := []time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond}
	cfg.Delivery.Retry, cfg.Delivery.WarnAfter, cfg.Delivery.PauseMax, cfg.Delivery.ConnectionsPerSite = quick, time.Second, 100*time.Millisecond, 4
	for i := range cfg.Route {
		cfg.Route[i].Retry, cfg.Route[i].WarnAfter, cfg.Route[i].Connections = quick, time.Second, 4
	}
	return cfg, nil
}

// put spools a message to some recipients, a few of whom are refused by every host.
func (s *stress) put(i int) *spool.Message {
	s.t.Helper()
	var to []string
	for k := range 1 + rand.IntN(8) {
		kind, domain := "ok", fmt.Sprintf("h%d.example", rand.IntN(len(s.hosts)-1))
		if rand.IntN(8) == 0 {
			kind = "bad"
		}
		if rand.IntN(3) == 0 {
			domain = fmt.Sprintf("d%d.example", 1+rand.IntN(2))
		}
		to = append(to, fmt.Sprintf("<%s-%d-%d@%s>", kind, i, k, domain))
	}
	msg := spooled(s.t, s.m, to...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids, s.expected = append(s.ids, msg.ID.String()), append(s.expected, to...)
	return msg
}

// operate does anything with any mail, until ctx ends.
func (s *stress) operate(ctx context.Context, r *rand.Rand) {
	verbs := []admin.Verb{admin.Hold, admin.Hold, admin.Release, admin.Release, admin.Release, admin.Retry, admin.Retry,
		admin.Reroute, admin.Bounce, admin.Remove}
	for ctx.Err() == nil {
		a := admin.Action{Verb: verbs[r.IntN(len(verbs))]}
		s.mu.Lock()
		some := s.ids[r.IntN(len(s.ids))]
		s.mu.Unlock()
		switch n := r.IntN(3); {
		case n == 0 || a.Verb == admin.Bounce || a.Verb == admin.Remove:
			a.Selector.IDs = []string{some}
		case n == 1:
			a.Selector.Domain = fmt.Sprintf("h%d.example", r.IntN(len(s.hosts)-1))
		default:
			a.Selector.Reason = "refused"
		}
		if a.Verb == admin.Reroute && r.IntN(2) == 0 {
			a.To = "smtp://" + s.hosts[r.IntN(len(s.hosts))].Addr
		}
		result, err := s.desk.Act(ctx, a)
		if err != nil && ctx.Err() == nil {
			s.t.Errorf("%s: %v", a.Verb, err)
		}
		if a.Verb == admin.Remove {
			s.mu.Lock()
			s.removed += result.Recipients
			s.mu.Unlock()
		}
		if r.IntN(20) == 0 {
			if _, err := s.m.Reload(ctx); err != nil && ctx.Err() == nil {
				s.t.Errorf("reload: %v", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(r.IntN(15)) * time.Millisecond):
		}
	}
}

// drain lets everything go, and waits until nothing is left.
func (s *stress) drain(ctx context.Context) {
	s.t.Helper()
	all := admin.Selector{All: true}
	left := 0
	for range 600 {
		s.desk.Act(ctx, admin.Action{Verb: admin.Release, Selector: all})
		s.desk.Act(ctx, admin.Action{Verb: admin.Retry, Selector: all})
		left = 0
		for range s.m.engine.Pending(ctx) {
			left++
		}
		if left == 0 {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	waiting, running := s.m.queue.Counts()
	s.t.Fatalf("%d recipients are left in the spool; %d wait in the queue, %d are in flight", left, waiting, running)
}

// account counts what became of every recipient.
func (s *stress) account() {
	s.t.Helper()
	delivered, returned, late := map[string]int{}, map[string]int{}, map[string]int{}
	for _, host := range s.hosts {
		for _, msg := range host.Messages() {
			for _, r := range msg.To {
				delivered[r.To.String()]++
			}
		}
	}
	for _, report := range s.reports.Messages() {
		for _, part := range strings.Split(report.Content, "Final-Recipient: rfc822; ")[1:] {
			address, _, _ := strings.Cut(part, "\r\n")
			count := returned
			if strings.Contains(part, "Action: delayed") {
				count = late
			}
			count["<"+strings.TrimSpace(address)+">"]++
		}
	}
	missing := 0
	for _, to := range s.expected {
		switch n := delivered[to] + returned[to]; {
		case n == 0:
			missing++
		case n > 1:
			s.t.Errorf("%s was delivered %d times and returned %d times", to, delivered[to], returned[to])
		}
		if late[to] > 1 {
			s.t.Errorf("the delay of %s was told %d times", to, late[to])
		}
	}
	s.t.Logf("%d recipients: %d delivered, %d returned, %d late, %d removed", len(s.expected), len(delivered), len(returned), len(late), s.removed)
	if missing != s.removed {
		s.t.Errorf("%d recipients are nowhere, and %d were removed", missing, s.removed)
	}
}
