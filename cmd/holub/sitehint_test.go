package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/admin"
)

// hintDesk is a desk that has sites and nothing else.
type hintDesk struct {
	admin.Desk
	sites []admin.Site
	err   error
}

func (d hintDesk) Sites(context.Context) ([]admin.Site, error) { return d.sites, d.err }

// Act matches by the verb: retry finds all in flight, release finds nothing, hold finds what is held already.
func (d hintDesk) Act(_ context.Context, a admin.Action) (admin.Result, error) {
	switch a.Verb {
	case admin.Retry:
		return admin.Result{Busy: 1, BusyNames: []admin.Entry{{ID: "06h0m1x0j4001kh23e80"}}}, nil
	case admin.Hold:
		return admin.Result{Skipped: 1}, nil
	case admin.Remove:
		return admin.Result{Recipients: 1, Messages: 1, Busy: 1}, nil
	case admin.Bounce:
		return admin.Result{Problems: []string{"message x: no such message"}}, nil
	}
	return admin.Result{}, nil
}

// TestExitCodes has an action tell by its exit code whether anything was done.
func TestExitCodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	socket, err := admin.Listen(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server := admin.NewServer(hintDesk{}, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	defer func() {
		if err := errors.Join(server.Close(context.WithoutCancel(t.Context())), <-served); err != nil {
			t.Error(err)
		}
	}()
	for verb, want := range map[string]int{"retry": exTempFail, "release": exUnavailable, "hold": 0, "remove": 0, "bounce": exUnavailable} {
		root := rootCommand()
		root.SetArgs([]string{"queue", verb, "--all", "--json", "--socket", path})
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		code := 0
		if err := root.Execute(); err != nil {
			var e exitError
			if !errors.As(err, &e) {
				t.Errorf("%s: %v has no exit code", verb, err)
			}
			code = e.code
		}
		if code != want {
			t.Errorf("%s ends with %d, want %d", verb, code, want)
		}
	}
}

// TestSiteHint names the sites that are written most like the one that was named, those not looked up yet by their lanes.
func TestSiteHint(t *testing.T) {
	sites := []admin.Site{
		{Name: "mx:mx1.example.org,mx2.example.org", Lanes: []string{"mx:one.example tls=opportunistic"}, LaneCount: 1},
		{Name: "smtp://192.0.2.7:25"},
		{Name: "", Lanes: []string{"mx:doubt.test tls=opportunistic", "mx:late.test tls=verify"}, LaneCount: 12},
		{Name: "mx:a.example.com"}, {Name: "mx:b.example.com"}, {Name: "mx:c.example.com"},
	}
	for wanted, want := range map[string]string{
		"mx1.exmaple.org": " These sites have mail: mx:mx1.example.org,mx2.example.org  ",
		"ome.example":     " These sites have mail: mx:mx1.example.org,mx2.example.org  ",
		"192.0.2.8":       " These sites have mail: smtp://192.0.2.7:25  ",
		"mx:dout.test":    " These sites have mail: mx:doubt.test  ",
		"LATER.TEST":      " These sites have mail: mx:late.test tls=verify  ",
	} {
		got := siteHint(t.Context(), hintDesk{sites: sites}, wanted)
		if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "  and 12 more (holub queue)") {
			t.Errorf("%q: %q, want %q first", wanted, got, want)
		}
	}
	for _, tt := range []struct {
		desk         hintDesk
		wanted, want string
	}{
		{hintDesk{sites: sites}, "", ""},
		{hintDesk{err: errors.New("gone")}, "x", ""},
		{hintDesk{}, "x", " No site has mail that waits."},
		{hintDesk{sites: sites[1:2]}, "x", " These sites have mail: smtp://192.0.2.7:25"},
	} {
		if got := siteHint(t.Context(), tt.desk, tt.wanted); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.wanted, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"", "abc"}: 3, {"abc", ""}: 3, {"abc", "abc"}: 0, {"abc", "abd"}: 1, {"abc", "ac"}: 1, {"ab", "ba"}: 2,
		{"kitten", "sitting"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("from %q to %q: %d, want %d", pair[0], pair[1], got, want)
		}
	}
}
