package main

import (
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/dnstest"
)

// TestSiteAfterRestart has mail meant by the hosts of its site, and after a restart, when nobody has asked yet where its lane
// leads, by its domain; the names that are shown say no more than is needed.
func TestSiteAfterRestart(t *testing.T) {
	zone := dnstest.Start(t, `
doubt.test.       MX 10 mx1.doubt.test.
doubt.test.       MX 20 mx2.doubt.test.
mx1.doubt.test.   A 127.0.0.9
mx2.doubt.test.   A 127.0.0.9
`)
	dir := t.TempDir()
	toml := byMX(zone, "1")
	s := startServer(t, dir, toml)
	sendMail(t, s, "", "x@doubt.test", "Subject: hello\n\nhello\n")
	queue := func(args ...string) string {
		return command(t, dir, append(append([]string{"queue"}, args...), "-c", "holub.toml")...)
	}
	eventually(t, "the first attempt has failed", 20*time.Second, func() bool {
		return strings.Contains(queue("list", "--site", "mx2.doubt.test"), " connect ")
	})
	for _, site := range []string{"mx:mx1.doubt.test,mx2.doubt.test", "mx1.doubt.test", "mx:mx2.doubt.test", "doubt.test", "*.doubt.test"} {
		if out := queue("hold", "--dry-run", "--site", site); !strings.HasPrefix(out, "would hold 1 recipient of 1 message\n") {
			t.Errorf("before the restart, at %s: %s", site, out)
		}
	}
	s.stop()
	startServer(t, dir, toml)
	if out := queue(); !strings.Contains(out, "\nmx:doubt.test (not looked up yet)  ") {
		t.Errorf("the sites after the restart:\n%s", out)
	}
	if out := queue("list"); !strings.Contains(out, " mx:doubt.test ") || strings.Contains(out, "tls=") {
		t.Errorf("the mail after the restart:\n%s", out)
	}
	for _, site := range []string{"doubt.test", "mx:doubt.test", "mx:doubt.test tls=opportunistic", "doubt.*"} {
		if out := queue("hold", "--dry-run", "--site", site); !strings.HasPrefix(out, "would hold 1 recipient of 1 message\n") {
			t.Errorf("after the restart, at %s: %s", site, out)
		}
	}
	if out := queue("list", "--site", "dout.test"); out != "Nothing matches. These sites have mail: mx:doubt.test\n" {
		t.Errorf("at no site: %s", out)
	}
	if out := queue("retry", "--site", "doubt.test"); out != "made 1 recipient of 1 message due now\n" {
		t.Errorf("retry: %s", out)
	}
}
