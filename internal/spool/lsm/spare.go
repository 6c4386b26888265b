package lsm

import "sync"

// spareSize bounds the octets of the buffers that wait to be used again.
const spareSize = 2 << 20

// spareStep is what the sizes of buffers are multiples of.
const spareStep = 1 << 10

// spare are buffers for the content that fresh keeps, to be used again. The capacity of a buffer tells where it belongs.
type spare struct {
	mu     sync.Mutex
	free   [smallContent/spareStep + 1][][]byte // by size in steps
	octets int
}

// take gives a buffer of size octets, from 1 to smallContent, that hold anything.
func (s *spare) take(size int) []byte {
	steps := (size + spareStep - 1) / spareStep
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.free[steps]
	if len(free) == 0 {
		return make([]byte, size, steps*spareStep)
	}
	last := len(free) - 1
	b := free[last]
	s.free[steps], free[last] = free[:last], nil
	s.octets -= cap(b)
	return b[:size]
}

// giveBack lets a buffer be used again that nobody reads any more: one of take, or a chunk.
func (s *spare) giveBack(b []byte) {
	if cap(b) == inlineSize {
		chunks.Put((*chunk)(b[:inlineSize]))
		return
	}
	steps := cap(b) / spareStep
	s.mu.Lock()
	defer s.mu.Unlock()
	if steps == 0 || steps >= len(s.free) || cap(b)%spareStep != 0 || s.octets+cap(b) > spareSize {
		return
	}
	s.free[steps] = append(s.free[steps], b)
	s.octets += cap(b)
}
