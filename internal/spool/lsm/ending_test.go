package lsm

import (
	"testing"

	"github.com/holub-mail/holub/internal/spool"
)

// Which commit may delete a message is a decision about commits under way, so it is tested without any.
func TestEndingOrder(t *testing.T) {
	id := spool.ID{1}
	type event struct {
		commit  int // 1, 2, 3; its ends
		settle  bool
		fails   bool
		leaves  leaving // wanted of a reserve
		removes bool    // wanted of a settle
	}
	tests := []struct {
		name   string
		open   int
		ends   map[int]int // of each commit
		events []event
		left   bool // the message is still counted at the end
	}{
		{"alone", 2, map[int]int{1: 2}, []event{
			{commit: 1, leaves: goesNow}, {commit: 1, settle: true}}, false},
		{"one after the other", 2, map[int]int{1: 1, 2: 1}, []event{
			{commit: 1, leaves: stays}, {commit: 1, settle: true},
			{commit: 2, leaves: goesNow}, {commit: 2, settle: true}}, false},
		{"side by side, the later returns last", 2, map[int]int{1: 1, 2: 1}, []event{
			{commit: 1, leaves: stays}, {commit: 2, leaves: goesAfter},
			{commit: 1, settle: true}, {commit: 2, settle: true, removes: true}}, false},
		{"side by side, the later returns first", 2, map[int]int{1: 1, 2: 1}, []event{
			{commit: 1, leaves: stays}, {commit: 2, leaves: goesAfter},
			{commit: 2, settle: true}, {commit: 1, settle: true, removes: true}}, false},
		{"three, one returns before the last begins", 3, map[int]int{1: 1, 2: 1, 3: 1}, []event{
			{commit: 1, leaves: stays}, {commit: 2, leaves: stays}, {commit: 1, settle: true},
			{commit: 3, leaves: goesAfter}, {commit: 3, settle: true}, {commit: 2, settle: true, removes: true}}, false},
		{"the other fails", 2, map[int]int{1: 1, 2: 1}, []event{
			{commit: 1, leaves: stays}, {commit: 2, leaves: goesAfter},
			{commit: 1, settle: true, fails: true}, {commit: 2, settle: true}}, true},
		{"some stay", 5, map[int]int{1: 2, 2: 2}, []event{
			{commit: 1, leaves: stays}, {commit: 2, leaves: stays},
			{commit: 1, settle: true}, {commit: 2, settle: true}}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &Engine{ending: map[spool.ID]*ending{id: {open: test.open}}}
			commits := map[int]*change{}
			for n, ends := range test.ends {
				commits[n] = &change{id: id, ends: ends, count: 9}
			}
			for i, ev := range test.events {
				c := commits[ev.commit]
				if ev.settle {
					if gone := e.settle([]*change{c}, !ev.fails); (len(gone) == 1) != ev.removes {
						t.Errorf("event %d: %d messages to remove, want %v", i, len(gone), ev.removes)
					}
					continue
				}
				if e.reserve([]*change{c}); c.leaves != ev.leaves {
					t.Errorf("event %d: leaves %d, want %d", i, c.leaves, ev.leaves)
				}
			}
			if _, there := e.ending[id]; there != test.left {
				t.Errorf("still counted: %v, want %v", there, test.left)
			}
		})
	}
}
