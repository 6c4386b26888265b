package route

import (
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/smtp"
)

// The name of a lane is enough to find its way back to what the configuration says of it.
func TestPlace(t *testing.T) {
	relay, err := config.ParseTarget("smtp://relay.example.net:2525")
	if err != nil {
		t.Fatal(err)
	}
	policy := func(connections int) config.Route {
		return config.Route{TLS: config.TLSNone, Retry: []time.Duration{time.Minute}, Connections: connections}
	}
	byRelay, byMX := policy(3), policy(4)
	byRelay.Match.Domain, byRelay.To = []string{"relayed.example"}, relay
	byMX.Match.Domain, byMX.To = []string{"*.slow.example"}, config.Target{Kind: config.TargetMX}
	byMX.SevenBit = true
	table := New("here.example", "/data", []config.Route{byRelay, byMX}, config.Delivery{TLS: config.TLSOpportunistic, ConnectionsPerSite: 20})
	for _, c := range []struct {
		to, site, mx string
		connections  int
	}{
		{"<joe@relayed.example>", "smtp://relay.example.net:2525", "", 3},
		{"<joe@A.slow.example>", "mx:a.slow.example", "a.slow.example", 4},
		{"<joe@elsewhere.example>", "mx:elsewhere.example", "elsewhere.example", 20},
		{"<joe@[192.0.2.1]>", "mx:[192.0.2.1]", "[192.0.2.1]", 20},
		{"<postmaster>", "maildir:/data/mail/postmaster", "", 20},
	} {
		to, err := smtp.ParsePath(c.to)
		if err != nil {
			t.Fatal(err)
		}
		d := table.Route(to)
		site, mx, policy := table.Place(d.Lane)
		if site != c.site || mx.Key() != c.mx || policy.Connections != c.connections || policy.Connections != d.Policy.Connections {
			t.Errorf("%s by lane %q: site %q, mx %q, %d connections", c.to, d.Lane, site, mx, policy.Connections)
		}
	}
	gone := "mx:a.slow.example tls=required"
	if site, mx, policy := table.Place(gone); site != "mx:a.slow.example" || mx.IsZero() || policy.Connections != 20 {
		t.Errorf("a lane of an older configuration: %q, %q, %d", site, mx, policy.Connections)
	}
}

// An operator's target goes before the routes; a text that is none counts for nothing.
func TestFor(t *testing.T) {
	table := New("here.example", "/data", nil, config.Delivery{TLS: config.TLSOpportunistic})
	to, err := smtp.ParsePath("<joe@example.org>")
	if err != nil {
		t.Fatal(err)
	}
	for via, want := range map[string]string{
		"":                          "mx:example.org tls=opportunistic",
		"smtp://relay.example:2525": "smtp://relay.example:2525 tls=opportunistic",
		"carrier:pigeon":            "mx:example.org tls=opportunistic",
	} {
		if d := table.For(to, via); d.Lane != want {
			t.Errorf("via %q: %s, want %s", via, d.Lane, want)
		}
	}
}
