// Package dnstest is a name server inside a test process. It serves the records of a zone text over UDP and TCP on the
// loopback, and it fails on command: a name can be made to answer SERVFAIL, REFUSED, truncated, or nothing.
//
// It never asks another server, so a test that uses it needs no network. Tests of packages that look up mail hosts call
// it; nothing else may.
//
//	addr := dnstest.Start(t, `
//	example.org.      MX 10 mx1.example.org.
//	mx1.example.org.  A  192.0.2.1
//	`)
//	resolver, err := dns.New(dns.Options{Servers: []string{addr}})
//
//	s := dnstest.New(t, zone)           // the same with its switches
//	s.ServFail("example.org.")
//	s.Questions("example.org.", "MX")   // how often it was asked
package dnstest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// Server is a name server that lives as long as its test. Names are taken in any case, with or without the final dot.
type Server struct {
	Addr string // host:port for UDP and TCP

	mu      sync.Mutex
	records map[string][]mdns.RR // by owner in lower case
	mode    map[string]mode
	asked   map[question]int
	hold    chan struct{} // when set, no answer leaves before it is closed
	release func()        // of the last Hold
}

type question struct {
	name string
	kind uint16
}

// mode is how a name misbehaves.
type mode int

const (
	honest mode = iota
	servFail
	refuse
	silent
	truncate
)

// negativeTTL stands in the SOA of denials, in seconds.
const negativeTTL = 60

// Start serves the zone until the test ends and returns the address of the server.
func Start(t testing.TB, zone string) (addr string) {
	t.Helper()
	return New(t, zone).Addr
}

// New serves the zone until the test ends. The zone has one record a line as in a master file (RFC 1035 5.1): names end
// with a dot, the TTL may be left out (300 s, or that of the line above).
func New(t testing.TB, zone string) *Server {
	t.Helper()
	s := &Server{mode: map[string]mode{}, asked: map[question]int{}}
	s.Set(t, zone)
	udp, tcp := listen(t)
	s.Addr = udp.LocalAddr().String()
	s.serve(t, &mdns.Server{PacketConn: udp, Handler: mdns.HandlerFunc(s.answer)})
	s.serve(t, &mdns.Server{Listener: tcp, Handler: mdns.HandlerFunc(s.answer)})
	return s
}

// Set replaces all records.
func (s *Server) Set(t testing.TB, zone string) {
	t.Helper()
	records := map[string][]mdns.RR{}
	var lines strings.Builder
	for line := range strings.Lines(zone) { // a leading space would mean "the same owner as above"
		lines.WriteString(strings.TrimSpace(line) + "\n")
	}
	p := mdns.NewZoneParser(strings.NewReader(lines.String()), ".", "zone")
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := canonical(rr.Header().Name)
		records[name] = append(records[name], rr)
	}
	if err := p.Err(); err != nil {
		t.Fatalf("dnstest: the zone does not parse: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = records
}

// ServFail makes the server answer SERVFAIL for the name.
func (s *Server) ServFail(name string) { s.set(name, servFail) }

// Refuse makes the server answer REFUSED for the name.
func (s *Server) Refuse(name string) { s.set(name, refuse) }

// Silence makes the server answer nothing for the name.
func (s *Server) Silence(name string) { s.set(name, silent) }

// Truncate makes the server answer for the name without records and with the TC bit over UDP, and as it should over
// TCP.
func (s *Server) Truncate(name string) { s.set(name, truncate) }

// Heal makes the server answer for the name as it should.
func (s *Server) Heal(name string) { s.set(name, honest) }

// Hold keeps every answer back until the returned function is called.
func (s *Server) Hold() (release func()) {
	hold := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = hold
	s.release = sync.OnceFunc(func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		close(hold)
	})
	return s.release
}

// Questions tells how often the name was asked for records of a type such as "MX"; "" counts all types.
func (s *Server) Questions(name, kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for q, count := range s.asked {
		if q.name == canonical(name) && (kind == "" || mdns.TypeToString[q.kind] == kind) {
			n += count
		}
	}
	return n
}

func (s *Server) set(name string, m mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode[canonical(name)] = m
}

func canonical(name string) string { return strings.ToLower(mdns.Fqdn(name)) }

// listen opens UDP and TCP on the same free port of the loopback.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 { // the UDP port may be taken by another process
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			continue
		}
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return udp, tcp
		}
		tcp.Close()
	}
	t.Fatalf("dnstest: no free port: %v", err)
	return nil, nil
}

// serve runs one server and stops it at the end of the test.
func (s *Server) serve(t testing.TB, srv *mdns.Server) {
	started, ended := make(chan struct{}), make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(ended)
		if err := srv.ActivateAndServe(); err != nil {
			t.Errorf("dnstest: %v", err)
		}
	}()
	select {
	case <-started:
	case <-ended:
		t.FailNow()
	case <-time.After(10 * time.Second):
		t.Fatal("dnstest: the server does not start")
	}
	t.Cleanup(func() {
		s.mu.Lock()
		release := s.release
		s.mu.Unlock()
		if release != nil { // else the server would wait for the answers that are held back
			release()
		}
		srv.Shutdown()
		<-ended
	})
}

func (s *Server) answer(w mdns.ResponseWriter, r *mdns.Msg) {
	m := new(mdns.Msg).SetReply(r)
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	hold, talks := s.fill(m, overTCP)
	if hold != nil {
		<-hold
	}
	if talks {
		size := mdns.MinMsgSize
		if opt := r.IsEdns0(); opt != nil {
			m.SetEdns0(1232, false)
			size = int(opt.UDPSize())
		}
		if !overTCP {
			m.Truncate(size)
		}
		w.WriteMsg(m)
	}
}

// fill completes the reply; talks is false where none is due.
func (s *Server) fill(m *mdns.Msg, overTCP bool) (hold chan struct{}, talks bool) {
	q := m.Question[0]
	name := canonical(q.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[question{name, q.Qtype}]++
	m.RecursionAvailable = true
	switch s.mode[name] {
	case silent:
		return s.hold, false
	case servFail:
		m.Rcode = mdns.RcodeServerFailure
		return s.hold, true
	case refuse:
		m.Rcode = mdns.RcodeRefused
		return s.hold, true
	case truncate:
		if !overTCP {
			m.Truncated = true
			return s.hold, true
		}
	}
	s.fillRecords(m, name, q.Qtype)
	return s.hold, true
}

// fillRecords adds the records of a name, through its CNAMEs, or the denial (RFC 2308 2).
func (s *Server) fillRecords(m *mdns.Msg, name string, kind uint16) {
	for range 10 {
		var target string
		for _, rr := range s.records[name] {
			if cname, ok := rr.(*mdns.CNAME); ok && kind != mdns.TypeCNAME {
				target = canonical(cname.Target)
				m.Answer = append(m.Answer, rr)
			} else if rr.Header().Rrtype == kind {
				m.Answer = append(m.Answer, rr)
				target = ""
			}
		}
		if target == "" {
			break
		}
		name = target
	}
	if n := len(m.Answer); n > 0 && m.Answer[n-1].Header().Rrtype == kind {
		return
	}
	if !s.exists(name) {
		m.Rcode = mdns.RcodeNameError
	}
	m.Ns = append(m.Ns, &mdns.SOA{
		Hdr: mdns.RR_Header{Name: name, Rrtype: mdns.TypeSOA, Class: mdns.ClassINET, Ttl: negativeTTL},
		Ns:  "ns.invalid.", Mbox: "hostmaster.invalid.", Serial: 1, Minttl: negativeTTL,
	})
}

// exists tells that the zone has the name, or one below it.
func (s *Server) exists(name string) bool {
	for owner := range s.records {
		if owner == name || strings.HasSuffix(owner, "."+name) {
			return true
		}
	}
	return false
}
