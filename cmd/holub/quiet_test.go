package main

import "testing"

// Memory is given back once after each busy time, and never during one.
func TestQuiet(t *testing.T) {
	var q quiet
	total := uint64(0)
	looks := []struct {
		octets uint64
		want   bool
	}{
		{100 << 20, false}, {50 << 20, false}, {1000, true}, {1000, false}, {500 << 10, false}, {500 << 10, false},
		{5 << 20, false}, {0, true}, {0, false},
	}
	for i, l := range looks {
		total += l.octets
		if got := q.after(total); got != l.want {
			t.Errorf("look %d, after %d octets more: %v", i, l.octets, got)
		}
	}
	if before := allocated(); before == 0 || allocated() < before {
		t.Error("the runtime does not tell what was allocated")
	}
}
