package queue

import "sync"

// maxResting is how many goroutines of a crew wait for work. Above it they end when they have none.
const maxResting = 64

// crew are the goroutines that make attempts. One that is done rests and takes the next piece, so that its stack, which an
// attempt makes grow, is grown once and not for each piece.
type crew struct {
	run   func(Work) (next Work, ok bool) // makes an attempt and says what the same goroutine does next
	work  chan Work                       // taken by those that rest
	end   chan struct{}                   // closed by dismiss
	rests chan struct{}                   // one token for each that rests
	all   sync.WaitGroup
}

func newCrew(run func(Work) (Work, bool)) *crew {
	return &crew{run: run, work: make(chan Work), end: make(chan struct{}), rests: make(chan struct{}, maxResting)}
}

// hand gives a piece of work to one that rests, or to a new goroutine. It does not block, and is not called after dismiss.
func (c *crew) hand(w Work) {
	select {
	case c.work <- w:
	default:
		w := w // or each piece would be allocated, for the sake of this goroutine
		c.all.Go(func() { c.serve(w) })
	}
}

func (c *crew) serve(w Work) {
	for ok := true; ok; {
		if w, ok = c.run(w); !ok {
			w, ok = c.rest()
		}
	}
}

// rest waits for a piece of work; ok is false when the goroutine is not needed any more.
func (c *crew) rest() (w Work, ok bool) {
	select {
	case c.rests <- struct{}{}:
	default:
		return w, false
	}
	defer func() { <-c.rests }()
	select {
	case w = <-c.work:
		return w, true
	case <-c.end:
		return w, false
	}
}

// dismiss waits until all that run are done; those that rest end.
func (c *crew) dismiss() {
	close(c.end)
	c.all.Wait()
}
