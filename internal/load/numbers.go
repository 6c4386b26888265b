package load

import "sync"

// numbers says which messages were seen. It takes one bit for each.
type numbers struct {
	mu       sync.Mutex
	seen     []uint64
	count    int64 // distinct
	repeated int64
	foreign  int64 // without a number
	end      int64 // one above the highest
}

// add notes a message; number is -1 for one that has none.
func (n *numbers) add(number int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if number < 0 || number >= maxMessages {
		n.foreign++
		return
	}
	word, bit := int(number/64), uint64(1)<<(number%64)
	if word >= len(n.seen) {
		n.seen = append(n.seen, make([]uint64, word+1-len(n.seen))...)
	}
	if n.seen[word]&bit != 0 {
		n.repeated++
		return
	}
	n.seen[word] |= bit
	n.count++
	n.end = max(n.end, number+1)
}

// sums gives how many messages were repeated, how many numbers below the highest are missing, and how many messages had
// none.
func (n *numbers) sums() (repeated, lost, foreign int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return int(n.repeated), int(n.end - n.count), int(n.foreign)
}
