package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// The slack is set on the second thread, and on no other.
func TestCalmMonitor(t *testing.T) {
	thread, err := monitorThread()
	if err != nil {
		t.Fatal(err)
	}
	if err := calmMonitor(); err != nil {
		t.Skipf("this system does not let a process set the slack of its threads: %v", err)
	}
	slack := func(thread int) int {
		text, err := os.ReadFile(slackFile(thread))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := slack(thread); got != monitorSlack {
		t.Errorf("the slack is %d ns, want %d", got, monitorSlack)
	}
	if got := slack(os.Getpid()); got == monitorSlack || thread == os.Getpid() {
		t.Errorf("the first thread got it too: %d ns", got)
	}
}
