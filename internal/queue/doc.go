// Package queue says which recipients are tried next, when, and how many at once per site. Plan is the pure part: it keeps
// jobs by site and by due time and decides, given the time. Schedule computes when a failed attempt is repeated. Queue is
// the short loop that asks the plan and runs attempts.
//
// It never reads the spool, knows no routes, and does not look into a message: a job is an id, some recipients and the
// name of a site. internal/mta hands in the function that makes the attempt and returns what is still owed.
//
//	q := queue.New(queue.Options{PerSite: 20, Total: 5000, Attempt: attempt})
//	q.Add(queue.Job{ID: id, Site: "mx:example.org", Recipients: []int{0, 1}})
//	q.Run(stop, ctx)
package queue
