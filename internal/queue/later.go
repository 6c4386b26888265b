package queue

// laterHeap orders records by the time at which something happens to them: four children to a node, for a heap of a
// million then has half the levels, and the four lie side by side.
type laterHeap []laterEntry

type laterEntry struct {
	at     int64 // ns
	record uint32
}

func (e laterEntry) before(o laterEntry) bool {
	return e.at < o.at || e.at == o.at && e.record < o.record
}

func (h *laterHeap) push(e laterEntry) {
	*h = append(*h, e)
	k := len(*h) - 1
	for k > 0 {
		parent := (k - 1) / 4
		if !e.before((*h)[parent]) {
			break
		}
		(*h)[k] = (*h)[parent]
		k = parent
	}
	(*h)[k] = e
}

// pop takes the first out; there must be one.
func (h *laterHeap) pop() laterEntry {
	old := *h
	first, last := old[0], old[len(old)-1]
	*h = old[:len(old)-1]
	if len(*h) > 0 {
		h.down(0, last)
	}
	if n := len(*h); n < cap(*h)/4 && cap(*h) > 4096 { // a queue that was long gives its memory back
		*h = append(make(laterHeap, 0, 2*n), *h...)
	}
	return first
}

// down puts an entry where it belongs at or below a place.
func (h laterHeap) down(k int, e laterEntry) {
	for {
		child := 4*k + 1
		if child >= len(h) {
			break
		}
		for c, end := child+1, min(4*k+5, len(h)); c < end; c++ {
			if h[c].before(h[child]) {
				child = c
			}
		}
		if !h[child].before(e) {
			break
		}
		h[k] = h[child]
		k = child
	}
	h[k] = e
}

// keep drops the entries that are not wanted and makes a heap of the rest.
func (h *laterHeap) keep(wanted func(laterEntry) bool) {
	kept := (*h)[:0]
	for _, e := range *h {
		if wanted(e) {
			kept = append(kept, e)
		}
	}
	*h = kept
	for k := (len(kept) - 2) / 4; k >= 0 && len(kept) > 1; k-- {
		kept.down(k, kept[k])
	}
}
