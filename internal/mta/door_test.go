package mta

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/deliver"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/smtp/sender"
)

// TestIntakeOptions is the table of who may send to whom at a listener of each role.
func TestIntakeOptions(t *testing.T) {
	m := newMTA(t, twoRoutes)
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	unix := &net.UnixAddr{Name: "@", Net: "unix"}
	tcp := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1}
	for name, test := range map[string]struct {
		l                          config.Listen
		strangers, oursAlone, unix bool
	}{
		"mx":                   {config.Listen{Role: config.RoleMX, Networks: networks}, true, false, false},
		"relay":                {config.Listen{Role: config.RoleRelay, Networks: networks}, false, false, true},
		"relay of nobody":      {config.Listen{Role: config.RoleRelay}, false, false, true},
		"relay behind a proxy": {config.Listen{Role: config.RoleRelay, Proxy: networks}, false, false, false},
		"lmtp":                 {config.Listen{Role: config.RoleLMTP}, true, true, true},
		"lmtp of a network":    {config.Listen{Role: config.RoleLMTP, Networks: networks}, false, true, true},
	} {
		o := m.intakeOptions(m.live.Load(), test.l)
		if o.Strangers != test.strangers || o.OursAlone != test.oursAlone || len(o.Networks) != len(test.l.Networks) {
			t.Errorf("%s: strangers %v, ours alone %v", name, o.Strangers, o.OursAlone)
		}
		if trusts := o.Trusted != nil && o.Trusted(unix); trusts != test.unix {
			t.Errorf("%s: a Unix client is trusted: %v", name, trusts)
		}
		if o.Trusted != nil && o.Trusted(tcp) {
			t.Errorf("%s: a TCP client is trusted without its network", name)
		}
	}
}

// TestOffer is the table of what a listener offers.
func TestOffer(t *testing.T) {
	for name, test := range map[string]struct {
		l                         config.Listen
		tls, by, hold, importance bool
	}{
		"relay":          {config.Listen{Role: config.RoleRelay, TLS: config.ListenPlain, HoldMax: time.Hour}, false, true, true, true},
		"relay, no hold": {config.Listen{Role: config.RoleRelay, TLS: config.ListenStartTLS}, true, true, false, true},
		"submission":     {config.Listen{Role: config.RoleSubmission, TLS: config.ListenPlain, HoldMax: time.Hour}, false, true, true, true},
		"mx":             {config.Listen{Role: config.RoleMX, TLS: config.ListenImplicit, HoldMax: time.Hour}, true, false, false, false},
		"lmtp":           {config.Listen{Role: config.RoleLMTP, TLS: config.ListenPlain, HoldMax: time.Hour}, false, false, false, false},
	} {
		e := offer(test.l)
		if !e.DSN || !e.UTF8 || !e.BinaryMIME || e.RequireTLS != test.tls || e.DeliverBy != test.by || e.FutureRelease != test.hold ||
			e.Priority != test.importance || !e.MaxHoldUntil.IsZero() {
			t.Errorf("%s offers %+v", name, e)
		}
	}
}

// TestReceiver: the limits and the manner of a listener reach its server.
func TestReceiver(t *testing.T) {
	m := newMTA(t, twoRoutes+"[limits]\nmessage_size = \"64KiB\"\nrecipients = 100\nsessions = 3\nerrors = 4\nidle_timeout = \"5s\"\nmessage_timeout = \"6s\"\n")
	xclient := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s := m.receiver(m.live.Load(), config.Listen{Role: config.RoleLMTP, TLS: config.ListenStartTLS, XClient: xclient, SevenBit: true}, certtest.New(t, "mx.example.org").Server(), new(handler))
	if s.MaxSize != 64<<10 || s.MaxRecipients != 100 || s.MaxSessions != 3 || s.MaxErrors != 4 || s.IdleTimeout != 5*time.Second ||
		s.MessageTimeout != 6*time.Second {
		t.Errorf("limits: %+v", s)
	}
	if !s.LMTP || !s.SevenBit || len(s.XClient) != 1 || s.TLS == nil || s.Hostname != m.live.Load().cfg.Hostname {
		t.Errorf("manner: %+v", s)
	}
	if s := m.receiver(m.live.Load(), config.Listen{TLS: config.ListenImplicit}, certtest.New(t, "mx.example.org").Server(), new(handler)); s.TLS != nil || s.LMTP || s.SevenBit {
		t.Errorf("implicit TLS: %+v", s)
	}
}

// TestManner: how a route wants its hop to be spoken to.
func TestManner(t *testing.T) {
	for name, test := range map[string]struct {
		to   route.Destination
		want deliver.Manner
	}{
		"none":          {route.Destination{TLS: config.TLSNone}, deliver.Manner{}},
		"opportunistic": {route.Destination{TLS: config.TLSOpportunistic}, deliver.Manner{TLS: sender.TLSOpportunistic}},
		"required":      {route.Destination{TLS: config.TLSRequired}, deliver.Manner{TLS: sender.TLSRequired}},
		"7-bit LMTP": {route.Destination{Hop: config.Target{Protocol: config.LMTP}, TLS: config.TLSNone, SevenBit: true},
			deliver.Manner{LMTP: true, SevenBit: true}},
		"smtps": {route.Destination{Hop: config.Target{ImplicitTLS: true}, TLS: config.TLSRequired}, deliver.Manner{TLS: sender.TLSImplicit}},
		"smtps of anybody": {route.Destination{Hop: config.Target{ImplicitTLS: true}, TLS: config.TLSOpportunistic},
			deliver.Manner{TLS: sender.TLSImplicit, Unproven: true}},
	} {
		if got := manner(test.to); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
