package config

import (
	"fmt"
	"testing"
	"time"
)

// TestRouteSchedule says what holds for a route, and where it is said to come from, by what it and [delivery] give.
func TestRouteSchedule(t *testing.T) {
	c, err := Parse("f", []byte(`[[route]]
match.domain = ["a.example"]
to = "mx"
[[route]]
match.domain = ["b.example"]
to = "maildir:/mail/{local}"
retry = ["7m", "8m"]
warn_after = "1h"
[[route]]
to = "discard"
[delivery]
retry = ["3m"]
give_up_after = "2d"
connections_per_site = 4
[[route]]
to = "smtp://relay"
give_up_after = "9d"
warn_after = "5d"
connections = 20
`))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	for _, s := range c.Settings() {
		sources[s.Key] = s.Source
	}
	const retry, giveUp, most = "f:12 [delivery]", "f:13 [delivery]", "f:14 [delivery]"
	for i, want := range []struct{ values, retry, warn, giveUp, most string }{
		{"[3m0s] 4h0m0s 48h0m0s 4", retry, "default", giveUp, most},
		{"[7m0s 8m0s] 1h0m0s 48h0m0s 4", "f:7", "f:8", giveUp, most},
		{"[3m0s] 4h0m0s 48h0m0s 4", retry, "default", giveUp, most},
		{"[3m0s] 120h0m0s 216h0m0s 20", retry, "f:18", "f:17", "f:19"},
		{"[3m0s] 4h0m0s 48h0m0s 4", retry, "default", giveUp, most}, // the built-in one
	} {
		r := c.Route[i]
		if got := fmt.Sprint(r.Retry, " ", r.WarnAfter, " ", r.GiveUpAfter, " ", r.Connections); got != want.values {
			t.Errorf("route[%d] has %s, want %s", i, got, want.values)
		}
		for name, want := range map[string]string{"retry": want.retry, "warn_after": want.warn, "give_up_after": want.giveUp,
			"connections": want.most} {
			if got := sources[fmt.Sprintf("route[%d].%s", i, name)]; got != want {
				t.Errorf("route[%d].%s comes from %q, want %q", i, name, got, want)
			}
		}
	}
}

func TestHistory(t *testing.T) {
	for text, want := range map[string]History{
		"":                                {30 * 24 * time.Hour, 2 << 30},
		"[history]\nmax_age = \"0\"":      {0, 2 << 30},
		"[history]\nmax_age = \"1h30m\"":  {90 * time.Minute, 2 << 30},
		"[history]\nmax_size = \"1MiB\"":  {30 * 24 * time.Hour, 1 << 20},
		"[history]\nmax_size = 5_000_000": {30 * 24 * time.Hour, 5_000_000},
	} {
		if c, err := Parse("f", []byte(text)); err != nil || c.History != want {
			t.Errorf("%q: %+v, %v; want %+v", text, c, err, want)
		}
	}
}
