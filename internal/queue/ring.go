package queue

// ring is a list of values that hold their own node, so that standing in it costs no memory and leaving it no search.
type ring[T any] struct {
	first, last *node[T]
	length      int
}

// node is a value's place; in is the ring it stands in, nil for none.
type node[T any] struct {
	value      T
	in         *ring[T]
	prev, next *node[T]
}

func (r *ring[T]) push(n *node[T]) {
	n.in, n.prev, n.next = r, r.last, nil
	if r.last == nil {
		r.first = n
	} else {
		r.last.next = n
	}
	r.last = n
	r.length++
}

// pop takes the first value out; there must be one.
func (r *ring[T]) pop() T {
	n := r.first
	n.leave()
	return n.value
}

// leave takes the node out of the ring it stands in, if any.
func (n *node[T]) leave() {
	r := n.in
	if r == nil {
		return
	}
	if n.prev == nil {
		r.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		r.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.in, n.prev, n.next = nil, nil, nil
	r.length--
}

// leaveIf takes the node out if it stands in that ring.
func (n *node[T]) leaveIf(r *ring[T]) {
	if n.in == r {
		n.leave()
	}
}
