package queue

// fifo is a line of values: first in, first out, at a constant cost for each on average.
type fifo[T any] struct {
	items []T // items[first:] wait
	first int
}

func (f *fifo[T]) len() int { return len(f.items) - f.first }

func (f *fifo[T]) empty() bool { return f.first == len(f.items) }

func (f *fifo[T]) push(v T) {
	if f.first > len(f.items)/2 { // move only when it frees more than it moves
		n := copy(f.items, f.items[f.first:])
		clear(f.items[n:])
		f.items, f.first = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

func (f *fifo[T]) pop() T {
	var zero T
	v := f.items[f.first]
	f.items[f.first] = zero
	f.first++
	return v
}
