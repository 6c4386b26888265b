// Package queue says which recipients are tried next, when, and how many at once at each site.
//
// A job is recipients of one message that go the same way (a lane, "the MX of example.org") and are due together. A site
// is where lanes lead (a set of hosts): a thousand domains at one provider are a thousand lanes and one site, with one
// cap, one window and one pause.
//
//	Add -> later (a heap by due time) -> lane -> site: classes 6:3:1 -> new 4:1 retries -> senders in turns
//	         |                            |       |
//	         |        asks Resolve where the      +-> the ring of sites, one turn each -> Attempt -> Done
//	         |        lane leads; keeps it        |                                                   |
//	         |        until it expires            +-> paused: untouched until its time, then one try  |
//	         +<----------------------- what is still owed -------------------------------------------+
//
// Plan is the pure part: it decides, given the time. Schedule computes when a failed attempt is repeated. Queue is the
// short loop that asks the plan, finds out where lanes lead and runs attempts.
//
// It never reads the spool, knows no routes, and does not look into a message. internal/mta hands in the functions that
// place a lane and make an attempt, and is its only caller.
//
//	q := queue.New(queue.Options{Total: 5000, Resolve: resolve, Attempt: attempt})
//	q.Add(queue.Job{ID: id, Lane: "mx:example.org", Recipients: []int{0, 1}, Fresh: true})
//	q.Run(stop, ctx)
//
// A waiting recipient of its own costs 56 bytes and, while it is not due, 16 more in the heap (with slack; the benchmark
// BenchmarkMemory prints the sum). Records hold no pointers, so the garbage collector does not look at them.
package queue
