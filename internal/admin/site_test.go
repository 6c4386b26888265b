package admin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// TestSiteMatch has a place meant by each of its names, and by no other's.
func TestSiteMatch(t *testing.T) {
	places := map[string][2]string{ // lane and site
		"shared":  {"mx:one.example tls=opportunistic", "mx:mx1.example.org,mx2.example.org"},
		"verify":  {"mx:one.example tls=verify", "mx:mx1.example.org,mx2.example.org"},
		"doubt":   {"mx:doubt.test tls=opportunistic 7bit", ""}, // not looked up yet
		"hop":     {"smtp://192.0.2.7:25 tls=opportunistic", "smtp://192.0.2.7:25"},
		"six":     {"mx:[IPv6:2001:db8::1] tls=opportunistic", "mx:[IPv6:2001:db8::1]"},
		"maildir": {"maildir:data/mail/ann", "maildir:data/mail/ann"},
	}
	order := []string{"shared", "verify", "doubt", "hop", "six", "maildir"}
	for wanted, want := range map[string]string{
		"":                                    "shared verify doubt hop six maildir",
		"*":                                   "shared verify doubt hop six maildir",
		"mx:mx1.example.org,mx2.example.org":  "shared verify",
		"MX1.example.org":                     "shared verify",
		"mx:mx2.example.org":                  "shared verify",
		"*.example.org":                       "shared verify",
		"mx*.org":                             "shared verify",
		"one.example":                         "shared verify",
		"mx:one.example":                      "shared verify",
		"mx:one.example tls=verify":           "verify",
		"mx:one.example tls=opportunistic":    "shared",
		"doubt.test":                          "doubt",
		"mx:doubt.test":                       "doubt",
		"mx:doubt.test 7bit":                  "doubt",
		"*.test":                              "doubt",
		"smtp://192.0.2.7:25":                 "hop",
		"smtp://192.0.2.7":                    "hop",
		"192.0.2.7:25":                        "hop",
		" 192.0.2.7 ":                         "hop",
		"192.0.2.*":                           "hop",
		"smtp://*":                            "hop",
		"2001:db8::1":                         "six",
		"[ipv6:2001:0db8::1]":                 "six",
		"maildir:*":                           "maildir",
		"example.org":                         "",
		"mx3.example.org":                     "",
		"mx1.example.or":                      "",
		"mx:":                                 "",
		"**a*a*a*a*nothing":                   "",
		"mx1.example.org,mx1.example.org":     "",
		"mx1.example.org*mx1.example.org":     "",
		"mx:mx1.example.org*.mx2.example.org": "",
	} {
		m := parseSiteMatch(wanted)
		for range 2 { // also from what is remembered
			var got []string
			for _, name := range order {
				if m.matches(places[name][0], places[name][1]) {
					got = append(got, name)
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%q means %q, want %q", wanted, got, want)
			}
		}
	}
}

func TestShortSite(t *testing.T) {
	for name, want := range map[string]string{
		"mx:example.org tls=opportunistic":      "mx:example.org",
		"mx:example.org tls=opportunistic 7bit": "mx:example.org 7bit",
		"mx:example.org tls=verify":             "mx:example.org tls=verify",
		"maildir:x tls=opportunistically":       "maildir:x tls=opportunistically",
		"":                                      "",
	} {
		if got := ShortSite(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// FuzzSite has each name of a place, and each name with a part of it starred, mean this place.
func FuzzSite(f *testing.F) {
	f.Add("mx:example.org tls=opportunistic", "mx:mx1.example.org,mx2.example.org", 3)
	f.Add("smtp://[IPv6:2001:db8::1]:25 tls=none", "", 0)
	f.Add("maildir:a b*c", ",", 1)
	f.Fuzz(func(t *testing.T, lane, site string, at int) {
		for _, name := range SiteNames(lane, site) {
			if strings.TrimSpace(name) != name || strings.ToLower(name) != name || name == "" {
				continue // no name that can be typed
			}
			if !parseSiteMatch(name).matches(lane, site) {
				t.Errorf("%q does not mean %q, %q", name, lane, site)
			}
			at := min(max(at, 0), len(name))
			if !globMatches(name[:at]+"*", name) || !globMatches("*"+name[at:], name) || !globMatches(name[:at]+"*"+name[at:], name) {
				t.Errorf("%q with a star at %d does not match itself", name, at)
			}
		}
	})
}

// TestNothingSaid has a delivered recipient, with its reply and no reason, and an attempt to which nobody said a word.
func TestNothingSaid(t *testing.T) {
	w := newWorld(t)
	m := w.put("ann@example.com", func(m *spool.Message) {
		m.Recipients[0].Tried(spool.Attempt{At: m.Arrived, Reason: spool.ReasonRefused, Reply: smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Ok")})
		m.Recipients[0].State = spool.Delivered
		m.Recipients[1].Tried(spool.Attempt{At: m.Arrived, Reason: spool.ReasonConnect})
	}, "a@example.org", "b@example.org")
	s, err := w.live.Show(w.ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Recipients[0]; r.Reason != "" || r.Trail[0].Reason != "" || r.Trail[0].Reply != "250 2.0.0 Ok" {
		t.Errorf("delivered: %+v", r)
	}
	if r := s.Recipients[1]; r.Reason == "" || r.Trail[0].Reason != "connect" || r.Trail[0].Reply != "" || r.Reply != "" {
		t.Errorf("nothing said: %+v", r)
	}
	if e := newEvent(&history.Event{Kind: history.Delivered, Reply: "0", Reason: "new"}); e.Reply != "" || e.Reason != "" {
		t.Errorf("event %+v", e)
	}
	if s := newSite(queue.Site{Said: "0"}, time.Now()); s.Reply != "" {
		t.Errorf("site %+v", s)
	}
}

// TestListPaused has the mail of a paused site say until when, and a site that has all of its mail in flight since when.
func TestListPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.queue = queue.New(queue.Options{
			Resolve: func(_ context.Context, lane string) queue.Placement {
				return queue.Placement{Site: "of " + lane, Cap: 1, Pauses: []time.Duration{time.Hour}}
			},
			Attempt: func(ctx context.Context, work queue.Work) queue.Result {
				if strings.Contains(work.Lane, "slow") {
					<-ctx.Done()
					return queue.Result{Owed: []queue.Job{work.Job}}
				}
				return queue.Result{Owed: []queue.Job{work.Job}, Signal: queue.Failed, Said: "connection refused"}
			},
		})
		w.live.o.Queue = w.queue
		dead := w.put("ann@example.com", nil, "a@dead.example")
		slow := w.put("ann@example.com", nil, "a@slow.example")
		ctx, cancel := context.WithCancel(w.ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); w.queue.Run(ctx, ctx) }()
		defer func() { cancel(); <-ended }()
		synctest.Wait()
		for e, err := range w.live.List(w.ctx, Selector{}, 0) {
			if want := e.ID == dead.ID.String(); err != nil || e.PausedUntil.After(time.Now()) != want {
				t.Errorf("%+v, %v, want it paused: %t", e, err, want)
			}
		}
		r := w.act(Action{Verb: Hold, DryRun: true, Selector: Selector{Site: "*dead.example"}})
		if len(r.Sample) != 1 || r.Sample[0].PausedUntil.IsZero() {
			t.Errorf("dry run %+v", r)
		}
		sites, err := w.live.Sites(w.ctx)
		if err != nil || len(sites) != 2 {
			t.Fatalf("sites %+v, %v", sites, err)
		}
		for _, s := range sites {
			if strings.Contains(s.Name, "slow") && (s.InFlight != 1 || s.Waiting != 0 || !s.Oldest.Equal(slow.ID.Time())) {
				t.Errorf("the site where all is in flight: %+v", s)
			}
		}
	})
}

// TestNote takes apart what the history says of each verb.
func TestNote(t *testing.T) {
	for verb := range verbs {
		for _, who := range []string{"", "uid 0"} {
			for _, text := range []string{"", "paid by uid 5: late"} {
				for _, to := range []string{"", "smtp://relay.example:25"} {
					a := Action{Verb: verb, Who: who, Text: text}
					how := ""
					if verb == Reroute {
						if a.To, how = to, "back to the routes"; to != "" {
							how = "to " + to
						}
					}
					by := strings.TrimSuffix(strings.TrimPrefix(who+": "+text, ": "), ": ")
					if got, want := fmt.Sprint(Note(a.note())), fmt.Sprint(verb.Past(), how, by); got != want {
						t.Errorf("%q is %q, want %q", a.note(), got, want)
					}
				}
			}
		}
	}
	for _, note := range []string{"", "heldfast by x", "asked to be tried again by uid 0"} {
		if done, how, by := Note(note); done != note || how+by != "" {
			t.Errorf("%q is %q, %q, %q", note, done, how, by)
		}
	}
}

// TestWrongAsTyped has the errors of selectors show what was typed.
func TestWrongAsTyped(t *testing.T) {
	for _, tt := range []struct {
		s    Selector
		want string
	}{
		{Selector{Sender: "foo"}, `sender: "foo" is`},
		{Selector{Recipient: "<foo"}, `recipient: "<foo" is`},
		{Selector{Sender: "@*.a b"}, `sender: "*.a b" is not a domain`},
		{Selector{Domain: "*.a b"}, `domain: "*.a b" is not a domain`},
		{Selector{IDs: []string{"XYZ"}}, `"XYZ"`},
	} {
		if _, err := tt.s.compile(time.Now()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.s, err, tt.want)
		}
	}
}
