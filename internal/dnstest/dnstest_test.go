package dnstest_test

import (
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/holub-mail/holub/internal/dnstest"
)

func TestServer(t *testing.T) {
	s := dnstest.New(t, `
		example.org.       MX 10 mx.example.org.
		mx.example.org. 60 A 192.0.2.1
		www.example.org.   CNAME mx.example.org.
		loop.example.org.  CNAME loop.example.org.
		deep.sub.example.org. A 192.0.2.2
	`)
	s.ServFail("bad.example.org")
	s.Refuse("no.example.org")
	s.Truncate("long.example.org")
	for _, tt := range []struct {
		name    string
		kind    uint16
		rcode   int
		answers int
	}{
		{"example.org.", mdns.TypeMX, mdns.RcodeSuccess, 1},
		{"EXAMPLE.org.", mdns.TypeMX, mdns.RcodeSuccess, 1},
		{"example.org.", mdns.TypeA, mdns.RcodeSuccess, 0},
		{"www.example.org.", mdns.TypeA, mdns.RcodeSuccess, 2},
		{"loop.example.org.", mdns.TypeA, mdns.RcodeSuccess, 10},
		{"sub.example.org.", mdns.TypeA, mdns.RcodeSuccess, 0},
		{"none.example.org.", mdns.TypeA, mdns.RcodeNameError, 0},
		{"bad.example.org.", mdns.TypeA, mdns.RcodeServerFailure, 0},
		{"no.example.org.", mdns.TypeA, mdns.RcodeRefused, 0},
		{"long.example.org.", mdns.TypeA, mdns.RcodeSuccess, 0},
	} {
		m, err := mdns.Exchange(new(mdns.Msg).SetQuestion(tt.name, tt.kind), s.Addr)
		if err != nil || m.Rcode != tt.rcode || len(m.Answer) != tt.answers {
			t.Errorf("%s: %v, %v, want rcode %d and %d records", tt.name, m, err, tt.rcode, tt.answers)
		}
	}
	if n := s.Questions("example.org", ""); n != 3 {
		t.Errorf("Questions = %d, want 3", n)
	}
	if n := s.Questions("Example.org.", "MX"); n != 2 {
		t.Errorf("Questions of MX = %d, want 2", n)
	}
	c := mdns.Client{Net: "tcp"}
	if m, _, err := c.Exchange(new(mdns.Msg).SetQuestion("example.org.", mdns.TypeMX), s.Addr); err != nil ||
		len(m.Answer) != 1 {
		t.Errorf("over TCP: %v, %v", m, err)
	}
}
