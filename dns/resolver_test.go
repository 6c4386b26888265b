package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/internal/dnstest"
)

const zone = `
example.org.        MX 20 mx2.example.org.
example.org.        MX 10 mx1.example.org.
example.org.        MX 10 mx1b.example.org.
mx1.example.org.    A    192.0.2.1
mx1.example.org.    AAAA 2001:db8::1
mx2.example.org.    A    192.0.2.2
six.example.org.    AAAA 2001:db8::6
text.example.org.   TXT  "no addresses and no exchangers"
null.example.org.   MX 0 .
alias.example.org.  CNAME example.org.
www.example.org.    CNAME mx1.example.org.
broken.example.org. CNAME nowhere.example.org.
short.example.org.  10 A 192.0.2.7
`

// newResolver asks the given servers, reads no hosts file of the machine, and gives up a try after 200 ms.
func newResolver(t *testing.T, change func(*dns.Options), servers ...string) *dns.Resolver {
	t.Helper()
	o := dns.Options{Servers: servers, Timeout: 200 * time.Millisecond, HostsFile: filepath.Join(t.TempDir(), "hosts")}
	if change != nil {
		change(&o)
	}
	r, err := dns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asError fails the test where err is not an *Error of the kind.
func asError(t *testing.T, err error, kind dns.Kind) *dns.Error {
	t.Helper()
	var e *dns.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want an *Error of kind %q", err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("got kind %q, want %q: %v", e.Kind, kind, err)
	}
	return e
}

func TestMX(t *testing.T) {
	r := newResolver(t, nil, dnstest.Start(t, zone))
	exchangers := []dns.MX{{"mx1.example.org", 10}, {"mx1b.example.org", 10}, {"mx2.example.org", 20}}
	for _, tt := range []struct {
		domain string
		want   []dns.MX
		kind   dns.Kind
	}{
		{domain: "example.org", want: exchangers},
		{domain: "EXAMPLE.ORG.", want: exchangers},
		{domain: "alias.example.org", want: exchangers},
		{domain: "null.example.org", want: []dns.MX{{".", 0}}},
		{domain: "text.example.org", want: []dns.MX{}},
		{domain: "localhost", want: []dns.MX{}},
		{domain: "none.example.org", kind: dns.KindNotFound},
		{domain: "broken.example.org", kind: dns.KindNotFound},
		{domain: "anything.invalid", kind: dns.KindNotFound},
		{domain: "", kind: dns.KindNotFound},
		{domain: ".", kind: dns.KindNotFound},
		{domain: "a..b", kind: dns.KindNotFound},
		{domain: `a\.b.example.org`, kind: dns.KindNotFound},
		{domain: "a b.example.org", kind: dns.KindNotFound},
		{domain: "müller.example.org", kind: dns.KindNotFound},
	} {
		got, err := r.MX(t.Context(), tt.domain)
		if tt.kind != "" {
			if e := asError(t, err, tt.kind); !e.NotFound() || e.Temporary() || e.NoData() || e.Type != "MX" ||
				e.Name != tt.domain {
				t.Errorf("MX(%q): error %+v", tt.domain, e)
			}
			continue
		}
		if err != nil || got == nil || !slices.Equal(got, tt.want) {
			t.Errorf("MX(%q) = %v, %v, want %v", tt.domain, got, err, tt.want)
		}
	}
}

func TestMXResultBelongsToTheCaller(t *testing.T) {
	r := newResolver(t, nil, dnstest.Start(t, zone))
	for range 2 {
		got, err := r.MX(t.Context(), "example.org")
		if err != nil || got[0].Host != "mx1.example.org" {
			t.Fatalf("MX = %v, %v", got, err)
		}
		got[0].Host = "changed by the caller"
	}
}

func TestAddrs(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	text := "192.0.2.99 listed.example.org other # comment\nnot-an-address x\n2001:db8::99\tListed.Example.org\n"
	if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newResolver(t, func(o *dns.Options) { o.HostsFile = hosts }, dnstest.Start(t, zone))
	addrs := func(list ...string) (as []netip.Addr) {
		for _, s := range list {
			as = append(as, netip.MustParseAddr(s))
		}
		return as
	}
	for _, tt := range []struct {
		host string
		want []netip.Addr
		kind dns.Kind
	}{
		{host: "mx1.example.org", want: addrs("192.0.2.1", "2001:db8::1")},
		{host: "mx2.example.org", want: addrs("192.0.2.2")},
		{host: "six.example.org", want: addrs("2001:db8::6")},
		{host: "www.example.org", want: addrs("192.0.2.1", "2001:db8::1")},
		{host: "listed.example.ORG.", want: addrs("192.0.2.99", "2001:db8::99")},
		{host: "other", want: addrs("192.0.2.99")},
		{host: "localhost", want: addrs("127.0.0.1", "::1")},
		{host: "Mail.LocalHost.", want: addrs("127.0.0.1", "::1")},
		{host: "text.example.org", kind: dns.KindNoData},
		{host: "none.example.org", kind: dns.KindNotFound},
		{host: "x", kind: dns.KindNotFound},
	} {
		got, err := r.Addrs(t.Context(), tt.host)
		if tt.kind != "" {
			if e := asError(t, err, tt.kind); e.Temporary() {
				t.Errorf("Addrs(%q): a denial is temporary: %v", tt.host, e)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Addrs(%q) = %v, %v, want %v", tt.host, got, err, tt.want)
		}
	}
}

func TestHostsFileIsReadAgainWhenItChanges(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	r := newResolver(t, func(o *dns.Options) { o.HostsFile = hosts }, dnstest.Start(t, zone))
	_, err := r.Addrs(t.Context(), "new.example.org")
	asError(t, err, dns.KindNotFound)
	if err := os.WriteFile(hosts, []byte("192.0.2.50 new.example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := r.Addrs(t.Context(), "new.example.org")
	if err != nil || len(got) != 1 || got[0].String() != "192.0.2.50" {
		t.Errorf("Addrs = %v, %v", got, err)
	}
}

func TestFailures(t *testing.T) {
	s := dnstest.New(t, zone)
	s.ServFail("fails.example.org")
	s.Refuse("refused.example.org")
	s.Silence("silent.example.org")
	r := newResolver(t, nil, s.Addr)
	for name, kind := range map[string]dns.Kind{
		"fails.example.org": dns.KindServFail, "refused.example.org": dns.KindRefused, "silent.example.org": dns.KindTimeout,
	} {
		_, err := r.MX(t.Context(), name)
		e := asError(t, err, kind)
		if !e.Temporary() || e.NotFound() || e.Server != s.Addr {
			t.Errorf("MX(%q): error %+v", name, e)
		}
		if n := s.Questions(name, "MX"); n != 2 {
			t.Errorf("%s was asked for %d times, want 2 rounds", name, n)
		}
		_, err = r.Addrs(t.Context(), name)
		asError(t, err, kind)
	}
	s.Heal("fails.example.org")
	if _, err := r.MX(t.Context(), "fails.example.org"); err == nil {
		t.Error("a name that is not in the zone has exchangers")
	} else {
		asError(t, err, dns.KindNotFound) // the failure was not kept
	}
}

func TestUnreachableServer(t *testing.T) {
	_, err := newResolver(t, nil, deadServer(t)).MX(t.Context(), "example.org")
	e := asError(t, err, dns.KindNetwork)
	if !e.Temporary() || e.Err == nil {
		t.Errorf("error %+v", e)
	}
}

// deadServer gives an address of the loopback where nothing listens.
func deadServer(t *testing.T) string {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func TestNextServerIsAsked(t *testing.T) {
	bad, good := dnstest.New(t, zone), dnstest.New(t, zone)
	r := newResolver(t, nil, deadServer(t), bad.Addr, good.Addr)
	for _, fault := range []func(string){bad.ServFail, bad.Refuse, bad.Silence} {
		fault("null.example.org")
		got, err := newResolver(t, nil, deadServer(t), bad.Addr, good.Addr).MX(t.Context(), "null.example.org")
		if err != nil || len(got) != 1 {
			t.Fatalf("MX = %v, %v", got, err)
		}
	}
	if n := good.Questions("null.example.org", ""); n != 3 {
		t.Errorf("the good server was asked %d times, want 3", n)
	}
	_, err := r.MX(t.Context(), "none.example.org")
	asError(t, err, dns.KindNotFound)
	if n := good.Questions("none.example.org", ""); n != 0 {
		t.Errorf("a denial was asked for again at the next server, %d times", n)
	}
}

func TestOneFamilyFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails uint16
		want  string
		kind  dns.Kind
	}{
		{"mx1.example.org.", mdns.TypeAAAA, "192.0.2.1", ""},
		{"mx1.example.org.", mdns.TypeA, "2001:db8::1", ""},
		{"six.example.org.", mdns.TypeAAAA, "", dns.KindServFail}, // no A, and who knows about AAAA
	} {
		addr := serveFunc(t, func(q *mdns.Msg) *mdns.Msg {
			m := new(mdns.Msg).SetReply(q)
			switch kind := q.Question[0].Qtype; {
			case kind == tt.fails:
				m.Rcode = mdns.RcodeServerFailure
			case kind == mdns.TypeA && tt.want != "":
				m.Answer = append(m.Answer, rr(t, tt.name+" 60 IN A 192.0.2.1"))
			case kind == mdns.TypeAAAA && tt.want != "":
				m.Answer = append(m.Answer, rr(t, tt.name+" 60 IN AAAA 2001:db8::1"))
			}
			return m
		})
		got, err := newResolver(t, nil, addr).Addrs(t.Context(), tt.name)
		if tt.kind != "" {
			asError(t, err, tt.kind)
		} else if err != nil || len(got) != 1 || got[0].String() != tt.want {
			t.Errorf("Addrs = %v, %v, want %s", got, err, tt.want)
		}
	}
}

func TestTruncatedAnswerIsAskedForOverTCP(t *testing.T) {
	s := dnstest.New(t, zone)
	s.Truncate("example.org")
	got, err := newResolver(t, nil, s.Addr).MX(t.Context(), "example.org")
	if err != nil || len(got) != 3 {
		t.Errorf("MX = %v, %v", got, err)
	}
	if n := s.Questions("example.org", "MX"); n != 2 {
		t.Errorf("asked %d times, want once over UDP and once over TCP", n)
	}
}

func TestLongAnswer(t *testing.T) {
	var long strings.Builder
	for i := range 100 {
		fmt.Fprintf(&long, "long.example.org. MX %d a-rather-long-name-for-a-mail-exchanger-%d.example.org.\n", 100-i, i)
	}
	s := dnstest.New(t, long.String())
	r := newResolver(t, nil, s.Addr)
	for range 2 {
		got, err := r.MX(t.Context(), "long.example.org")
		if err != nil || len(got) != 100 || got[0].Preference != 1 {
			t.Fatalf("MX = %d hosts, %v, want 100", len(got), err)
		}
	}
	if n := s.Questions("long.example.org", "MX"); n != 4 {
		t.Errorf("asked %d times, want 4: an answer of this length is not kept", n)
	}
}

// TestForgedReplies: what does not carry the id and the question that were sent is passed over.
func TestForgedReplies(t *testing.T) {
	forged := func(q *mdns.Msg) *mdns.Msg {
		m := new(mdns.Msg).SetReply(q)
		m.Answer = append(m.Answer, rr(t, "example.org. 60 IN MX 1 evil.example.net."))
		return m
	}
	for name, spoil := range map[string]func(m *mdns.Msg){
		"id":         func(m *mdns.Msg) { m.Id++ },
		"name":       func(m *mdns.Msg) { m.Question[0].Name = "example.net." },
		"type":       func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeA },
		"no reply":   func(m *mdns.Msg) { m.Response = false },
		"no query":   func(m *mdns.Msg) { m.Question = nil },
		"two":        func(m *mdns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"not parsed": nil,
	} {
		t.Run(name, func(t *testing.T) {
			addr := serveRaw(t, func(q *mdns.Msg) (packets [][]byte) {
				if spoil == nil {
					packets = append(packets, []byte{1, 2, 3})
				} else {
					bad := forged(q)
					spoil(bad)
					packets = append(packets, pack(t, bad))
				}
				good := new(mdns.Msg).SetReply(q)
				good.Answer = append(good.Answer, rr(t, "Example.ORG. 60 IN MX 1 mx.example.org."))
				return append(packets, pack(t, good))
			})
			got, err := newResolver(t, nil, addr).MX(t.Context(), "example.org")
			if err != nil || len(got) != 1 || got[0].Host != "mx.example.org" {
				t.Errorf("MX = %v, %v", got, err)
			}
		})
	}
}

func TestRecordsOfOtherNamesAreNotTaken(t *testing.T) {
	addr := serveFunc(t, func(q *mdns.Msg) *mdns.Msg {
		m := new(mdns.Msg).SetReply(q)
		m.Answer = append(m.Answer, rr(t, "other.example.org. 60 IN MX 1 evil.example.net."))
		return m
	})
	got, err := newResolver(t, nil, addr).MX(t.Context(), "example.org")
	if err != nil || len(got) != 0 {
		t.Errorf("MX = %v, %v, want none", got, err)
	}
}

func TestServerWithoutEDNS(t *testing.T) {
	addr := serveFunc(t, func(q *mdns.Msg) *mdns.Msg {
		m := new(mdns.Msg).SetReply(q)
		if q.IsEdns0() != nil {
			m.Rcode, m.Question = mdns.RcodeFormatError, nil
			return m
		}
		m.Answer = append(m.Answer, rr(t, "example.org. 60 IN MX 1 mx.example.org."))
		return m
	})
	got, err := newResolver(t, nil, addr).MX(t.Context(), "example.org")
	if err != nil || len(got) != 1 {
		t.Errorf("MX = %v, %v", got, err)
	}
}

func TestCacheByTTL(t *testing.T) {
	s := dnstest.New(t, zone)
	var mu sync.Mutex
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	pass := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	r := newResolver(t, func(o *dns.Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	}, s.Addr)
	ask := func(name string, want int) {
		t.Helper()
		r.Addrs(t.Context(), name) // the errors are the business of other tests
		if n := s.Questions(name, "A"); n != want {
			t.Errorf("%s was asked for %d times, want %d", name, n, want)
		}
	}
	ask("short.example.org", 1) // TTL 10 s
	ask("Short.Example.org", 1)
	ask("none.example.org", 1) // SOA: 60 s
	pass(9 * time.Second)
	ask("short.example.org", 1)
	pass(time.Second)
	ask("short.example.org", 2)
	pass(49 * time.Second)
	ask("none.example.org", 1)
	pass(time.Second)
	ask("none.example.org", 2)
}

func TestCacheIsBounded(t *testing.T) {
	s := dnstest.New(t, zone)
	r := newResolver(t, func(o *dns.Options) { o.CacheSize = 2 }, s.Addr)
	names := []string{"a.example.org", "b.example.org", "c.example.org", "d.example.org"}
	for range 3 {
		for _, name := range names {
			_, err := r.MX(t.Context(), name)
			asError(t, err, dns.KindNotFound)
		}
	}
	total := 0
	for _, name := range names {
		total += s.Questions(name, "MX")
	}
	if total <= len(names)+2 { // with room for all, later rounds would ask nothing
		t.Errorf("%d questions in 3 rounds for %d names and 2 places", total, len(names))
	}
}

func TestEqualQuestionsShareOneQuery(t *testing.T) {
	s := dnstest.New(t, zone)
	release := s.Hold()
	r := newResolver(t, func(o *dns.Options) { o.Timeout = 20 * time.Second; o.CacheSize = -1 }, s.Addr)
	first, giveUp := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := r.MX(first, "example.org"); ended <- err }()
	await(t, func() bool { return s.Questions("example.org", "MX") == 1 })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got, err := r.MX(t.Context(), "example.org"); err != nil || len(got) != 3 {
				t.Errorf("MX = %v, %v", got, err)
			}
		})
	}
	await(t, func() bool { return r.Waiting() == 11 })
	giveUp()
	if e := asError(t, <-ended, dns.KindCanceled); !errors.Is(e, context.Canceled) {
		t.Errorf("error %v does not wrap the context's", e)
	}
	release()
	wg.Wait()
	if n := s.Questions("example.org", "MX"); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
}

func TestContextEndsAQuestion(t *testing.T) {
	s := dnstest.New(t, zone)
	s.Silence("silent.example.org")
	r := newResolver(t, func(o *dns.Options) { o.Timeout = time.Minute }, s.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		await(t, func() bool { return s.Questions("silent.example.org", "A") == 1 })
		cancel()
	}()
	_, err := r.Addrs(ctx, "silent.example.org")
	asError(t, err, dns.KindCanceled)
	await(t, func() bool { return r.Waiting() == 0 })
	_, err = r.MX(ctx, "example.org")
	asError(t, err, dns.KindCanceled)
}

func TestNewRefusesBadServers(t *testing.T) {
	for _, server := range []string{"", "localhost", ":53", "192.0.2.1:"} {
		if _, err := dns.New(dns.Options{Servers: []string{server}}); err == nil {
			t.Errorf("New takes %q for a server", server)
		}
	}
	for _, server := range []string{"192.0.2.1", "2001:db8::1", "[2001:db8::1]", "ns.example.org:5353", "[::1]:53"} {
		if _, err := dns.New(dns.Options{Servers: []string{server}}); err != nil {
			t.Errorf("New(%q): %v", server, err)
		}
	}
}

// await waits for what another goroutine is about to do.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Error("waited for 20 s in vain")
			return
		}
	}
}

func rr(t *testing.T, text string) mdns.RR {
	t.Helper()
	r, err := mdns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pack(t *testing.T, m *mdns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

// serveFunc is a server over UDP that answers each question with what f makes of it.
func serveFunc(t *testing.T, f func(*mdns.Msg) *mdns.Msg) (addr string) {
	return serveRaw(t, func(q *mdns.Msg) [][]byte { return [][]byte{pack(t, f(q))} })
}

// serveRaw is a server over UDP that sends the packets that f makes of each question.
func serveRaw(t *testing.T, f func(*mdns.Msg) [][]byte) (addr string) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-ended })
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(mdns.Msg)
			if err := q.Unpack(buf[:n]); err != nil {
				t.Error(err)
				continue
			}
			for _, p := range f(q) {
				c.WriteTo(p, from)
			}
		}
	}()
	return c.LocalAddr().String()
}
