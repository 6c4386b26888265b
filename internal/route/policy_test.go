package route

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/smtp"
)

// tableOf makes the table of a configuration file.
func tableOf(t *testing.T, text string) *Table {
	t.Helper()
	c, err := config.Parse("holub.toml", []byte("hostname = \"mx.example.net\"\ndata_dir = \"/data\"\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return New(c.Hostname, c.DataDir, c.Route, c.Delivery)
}

const policies = `
delivery.retry = ["2m", "20m"]
delivery.tls = "required"
delivery.connections_per_site = 7

[[route]]
match.domain = ["slow.example"]
to = "mx"
retry = ["1h"]
warn_after = "1d"
give_up_after = "10d"
connections = 1

[[route]]
match.domain = ["few.example"]
to = "lmtp://unix:/run/lmtp"
connections = 2

[[route]]
match.domain = ["again.example"]
to = "lmtp://unix:/run/lmtp"
retry = ["2m", "20m"]
connections = 2

[[route]]
match.domain = ["here.example"]
to = "maildir:/mail/{local}"
give_up_after = "1d"
`

// TestPolicy asks for the schedule and the cap of each kind of destination.
func TestPolicy(t *testing.T) {
	table := tableOf(t, policies)
	const delivery = "[2m0s 20m0s] 4h0m0s 120h0m0s 7"
	for to, want := range map[string]string{
		"<a@slow.example>":      "[1h0m0s] 24h0m0s 240h0m0s 1",
		"<a@few.example>":       "[2m0s 20m0s] 4h0m0s 120h0m0s 2",
		"<a@here.example>":      "[2m0s 20m0s] 4h0m0s 24h0m0s 7",
		"<a@elsewhere.example>": delivery,
		"<a@localhost>":         delivery,
		"<postmaster>":          delivery,
	} {
		p := table.Route(path(t, to)).Policy
		if p == nil {
			t.Errorf("%s has no policy", to)
		} else if got := fmt.Sprint(p.Retry, " ", p.WarnAfter, " ", p.GiveUpAfter, " ", p.Connections); got != want {
			t.Errorf("%s has the policy %s, want %s", to, got, want)
		}
	}
}

// TestSame holds that the rule behind a destination does not count, but what it asks for.
func TestSame(t *testing.T) {
	table := tableOf(t, policies)
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"<a@few.example>", "<b@again.example>", true}, // two rules that say the same
		{"<a@elsewhere.example>", "<b@Elsewhere.example>", true},
		{"<a@elsewhere.example>", "<a@other.example>", false},
		{"<a@[IPv6:2001:db8::1]>", "<b@[ipv6:2001:DB8:0::1]>", true},
		{"<a@localhost>", "<postmaster>", false},
		{"<postmaster>", "<postmaster@localhost>", true}, // a rule and the way without one
		{"<a@here.example>", "<b@here.example>", false},
	} {
		for _, other := range []*Table{table, tableOf(t, policies)} {
			if got := table.Route(path(t, c.a)).Same(other.Route(path(t, c.b))); got != c.want {
				t.Errorf("%s and %s have the same destination: %v", c.a, c.b, got)
			}
		}
	}
	if a := table.Route(path(t, "<a@few.example>")); a.Same(Destination{Lane: a.Lane}) || !a.Same(a) {
		t.Error("no policy is not the same as one")
	}
	few := tableOf(t, policies+`
[[route]]
match.domain = ["third.example"]
to = "lmtp://unix:/run/lmtp"
retry = ["1m"]`)
	a, b := few.Route(path(t, "<a@few.example>")), few.Route(path(t, "<a@third.example>"))
	if a.Lane != b.Lane || a.Same(b) || b.Policy.Connections != 7 {
		t.Errorf("one place with two policies: %+v %+v, %+v %+v", a, a.Policy, b, b.Policy)
	}
}

// TestVia compares what an operator chooses with a route that says nothing more.
func TestVia(t *testing.T) {
	for _, to := range []string{"<joe@example.org>", "<Postmaster@example.org>", "<a@[192.0.2.1]>"} {
		for _, target := range []string{"mx", "smtp://relay.example", "smtps://relay.example", "lmtp://unix:/run/lmtp",
			"smtp+exec:ssh relay", "maildir:/m/{domain}/{local}", "maildir:{data_dir}/x", "discard", "reject:gone"} {
			want := tableOf(t, "delivery.tls = \"required\"\n[[route]]\nto = \""+target+"\"").Route(path(t, to))
			table := tableOf(t, "delivery.tls = \"required\"\n[[route]]\nto = \"reject:by the rules\"")
			parsed, err := config.ParseTarget(target)
			if err != nil {
				t.Fatal(err)
			}
			got := table.Via(path(t, to), parsed)
			if got.Policy == nil || got.Policy != table.byMX.policy {
				t.Errorf("%s via %s: policy %+v, want that of [delivery]", to, target, got.Policy)
			}
			if want.Policy = got.Policy; got != want {
				t.Errorf("%s via %s: %+v, want %+v", to, target, got, want)
			}
		}
	}
	table := tableOf(t, "")
	got := table.Via(smtp.Path{Mailbox: smtp.Mailbox{Local: "PostMaster"}},
		config.Target{Kind: config.TargetMaildir, Path: "/m/{domain}/{local}"})
	if want := filepath.FromSlash("/m/mx.example.net/postmaster"); got.Dir != want {
		t.Errorf("<PostMaster> via a Maildir goes to %s, want %s", got.Dir, want)
	}
}
