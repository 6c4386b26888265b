package main

import (
	"context"
	"fmt"

	"github.com/holub-mail/holub/bench/report"
)

// A curve is a work that is done again and again while one thing of it grows.
type curve struct {
	name, title, axis, note string
	limit                   float64 // see report.Curve
	full, quick             []int   // the values of what grows
	at                      func(x int) work
}

// base is the work that all curves vary: what is named is as in the work relay.
func base() work {
	return work{sessions: 20, size: 4 * kib, warm: 200, relay: true}
}

// curves are those of `bench curves`.
var curves = []curve{
	{name: "sessions", title: "Cost of a message by the number of sessions that send at once", axis: "sessions",
		note: "Relay, 4 KiB; a run has at least three messages for each session, so connections weigh more to the right.",
		full: []int{1, 3, 10, 30, 100, 300, 1000, 3000, 10000}, quick: []int{1, 10, 100, 1000},
		at: func(x int) work { w := base(); w.sessions, w.least = x, 3*x; return w }},
	{name: "size", title: "Cost of a message by its size", axis: "octets", limit: 1,
		note: "Relay, 20 sessions.",
		full: []int{kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib, 20 * mib}, quick: []int{kib, 16 * kib, 256 * kib, 4 * mib},
		at: func(x int) work {
			w := base()
			w.size, w.warm, w.most = x, min(max(16*mib/x, 4), 200), max(2048*mib/x, 40)
			return w
		}},
	{name: "recipients", title: "Cost of a message by the number of its recipients", axis: "recipients", limit: 1,
		note: "Relay, 4 KiB, 20 sessions, all recipients at one domain.",
		full: []int{1, 3, 10, 30, 100, 300, 1000}, quick: []int{1, 10, 100, 1000},
		at: func(x int) work { w := base(); w.recipients, w.warm = x, min(max(2000/x, 4), 200); return w }},
	{name: "queue", title: "Cost of a message by the recipients that wait in the queue", axis: "recipients that wait",
		note: "Relay, 4 KiB, 20 sessions, past recipients of a host that is dead. The leftmost point is the empty queue.",
		full: []int{0, 1000, 10_000, 100_000, 1_000_000}, quick: []int{0, 1000, 10_000, 100_000},
		at: func(x int) work { w := base(); w.waiting = x; return w }},
	{name: "sites", title: "Cost of a message by the number of sites that mail goes to", axis: "sites",
		note: "Relay, 4 KiB, 20 sessions; each domain has a host of its own, and at least three messages.",
		full: []int{1, 10, 100, 1000, 10_000}, quick: []int{1, 10, 100, 1000},
		at: func(x int) work {
			w := base()
			w.sites, w.domains, w.warm, w.least = true, x, max(200, x), 3*x
			return w
		}},
	{name: "cores", title: "Cost of a message by the cores that server, source and sink may use", axis: "cores", limit: -1,
		note: "Relay, 4 KiB, 20 sessions. See msg/s for what a core brings.",
		full: []int{1, 2}, quick: []int{1, 2},
		at: func(x int) work { w := base(); w.cores = x; return w }},
}

func (c curve) String() string { return c.name }

// draw measures one curve: at each x all servers in turn, round after round. A server that failed at two points running is
// left out at the later ones. It ends early only when ctx does.
func (h *harness) draw(ctx context.Context, c curve, xs []int, servers []server) ([]report.Point, error) {
	var points []report.Point
	failed := map[string]int{}
	for _, x := range xs {
		w := c.at(x)
		w.name = fmt.Sprintf("%s %d", c.name, x)
		at := make([]report.Point, len(servers))
		for i, s := range servers {
			at[i] = report.Point{Server: s.Name(), X: float64(x)}
		}
		for round := range h.rounds {
			for i, s := range servers {
				if failed[s.Name()] >= 2 || at[i].Error != "" {
					continue
				}
				r := h.run(ctx, w, s)
				if ctx.Err() != nil {
					return points, context.Cause(ctx)
				}
				r.Round = round + 1
				h.tell(w, r)
				if r.Error != "" {
					at[i].Error = r.Error
					continue
				}
				at[i].Micros = append(at[i].Micros, r.ServerCPU*1e6/float64(r.Messages))
				at[i].Rate = append(at[i].Rate, r.Value)
			}
		}
		for i, s := range servers {
			switch {
			case failed[s.Name()] >= 2:
				at[i].Error = "left out, for it failed at the two points before"
			case at[i].Error != "":
				failed[s.Name()]++
			default:
				failed[s.Name()] = 0
			}
		}
		points = append(points, at...)
	}
	return points, nil
}
