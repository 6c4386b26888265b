package mta

import (
	"runtime"
	"testing"
)

// budgets are the most allocations and octets that the house may allocate for a message of 4 KiB with one recipient, on
// average, from its MAIL on. They only go down: who makes one smaller writes the new number here, with a little room for
// what the spool does at its own times (TestAllocations prints what it counts under -v).
var budgets = []struct {
	work        string
	relay       bool
	allocations float64
	octets      float64
	why         string
}{
	{"accept", false, 36, 9400, "two commands, the envelope, the trace field, a commit, lines of log and history, a job"},
	{"relay", true, 86, 8600, "the same and the attempt: load, route, transaction, outcome, its commit and its lines"},
}

// TestAllocations counts what the house allocates for each message and holds it against budgets. It does not depend on the
// speed of the machine.
func TestAllocations(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates too; the command ./test runs this test without it in a step of its own")
	}
	for _, b := range budgets {
		t.Run(b.work, func(t *testing.T) {
			const messages, sessions = 2000, 8
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // each processor has pools of its own to fill
			next := deadHost
			var host *canned
			if b.relay {
				host = startCanned(t)
				next = host.addr
			}
			h := startHouse(t, next)
			clients := h.clients(sessions)
			h.pass(clients, 200, b.relay) // until sessions, pools and buffers are there
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			h.pass(clients, messages, b.relay)
			runtime.ReadMemStats(&after)
			if b.relay && host.taken.Load() != 200+messages {
				t.Errorf("the next host took %d messages of %d", host.taken.Load(), 200+messages)
			}
			held(t, b.work, "allocations", float64(after.Mallocs-before.Mallocs)/messages, b.allocations, b.why)
			held(t, b.work, "allocated octets", float64(after.TotalAlloc-before.TotalAlloc)/messages, b.octets, b.why)
		})
	}
}

// held holds one number against its budget.
func held(t *testing.T, work, count string, got, most float64, why string) {
	t.Helper()
	t.Logf("%s: %.1f %s a message, of %.0f", work, got, count, most)
	if got > most {
		t.Errorf("%s: %.1f %s a message, the budget is %.0f (%s). Look at what allocates (-memprofile), or change the "+
			"table budgets in internal/mta/budget_test.go and say why", work, got, count, most, why)
	}
	if got < 1 {
		t.Errorf("%s: %.1f %s a message: so few that the count must be wrong", work, got, count)
	}
}
