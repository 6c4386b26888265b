package lsm

import (
	"slices"
	"testing"

	"github.com/holub-mail/holub/internal/spool"
)

// Updates of one message in a group count together: the later one where both name a recipient.
func TestUpdatesTogether(t *testing.T) {
	states := func(of map[int]int) spool.Update {
		u := spool.Update{ID: spool.ID{1}, Recipients: map[int]spool.Recipient{}}
		for n, attempts := range of {
			u.Recipients[n] = spool.Recipient{Attempts: attempts}
		}
		return u
	}
	changes, err := group(nil, []spool.Op{states(map[int]int{5: 1, 2: 1, 9: 1}), states(map[int]int{9: 2, 0: 2}), states(map[int]int{0: 3, 7: 3})})
	if err != nil || len(changes) != 1 {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	var got [][2]int
	for _, s := range changes[0].new {
		got = append(got, [2]int{s.n, s.to.Attempts})
	}
	if want := [][2]int{{0, 3}, {2, 1}, {5, 1}, {7, 3}, {9, 2}}; !slices.Equal(got, want) {
		t.Errorf("recipients and attempts %v, want %v", got, want)
	}
}
