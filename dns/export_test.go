package dns

// Waiting tells how many callers wait for a query that is under way.
func (r *Resolver) Waiting() int {
	r.flights.mu.Lock()
	defer r.flights.mu.Unlock()
	n := 0
	for _, f := range r.flights.running {
		n += f.waiting
	}
	return n
}
