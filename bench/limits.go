package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holub-mail/holub/bench/report"
	"github.com/holub-mail/holub/internal/load"
)

// limits measures what the machine does without any server: the source straight into the sink, and records appended to a
// file and synced. No server with the same promises can be faster on it.
func (h *harness) limits(ctx context.Context) ([]report.Limit, error) {
	var all []report.Limit
	for _, w := range []work{
		{name: "straight", title: "source straight into the sink, 4 KiB, 20 sessions, connections kept", sessions: 20,
			size: 4 * kib, warm: 300, relay: true},
		{name: "straight-conn", title: "the same with a connection for each message", sessions: 20, size: 4 * kib, warm: 300,
			relay: true, perConnection: true},
	} {
		l := report.Limit{Title: w.title, Unit: "msg/s"}
		for range h.rounds {
			rate, err := h.straight(ctx, w)
			if err != nil {
				return all, fmt.Errorf("%s: %w", l.Title, err)
			}
			l.Values = append(l.Values, rate)
		}
		fmt.Fprintf(h.log, "%s: %.0f %s\n", l.Title, report.Summarize(l.Values).Median, l.Unit)
		all = append(all, l)
	}
	for _, writers := range []int{20, 64} {
		l := report.Limit{Title: fmt.Sprintf("append and fdatasync, joined, records of 4 KiB, %d writers", writers), Unit: "records/s"}
		for range h.rounds {
			rate, err := load.AppendRate(ctx, h.dir, writers, 4*kib, min(time.Duration(h.seconds*float64(time.Second)), 5*time.Second))
			if err != nil {
				return all, fmt.Errorf("%s: %w", l.Title, err)
			}
			l.Values = append(l.Values, rate)
		}
		fmt.Fprintf(h.log, "%s: %.0f %s\n", l.Title, report.Summarize(l.Values).Median, l.Unit)
		all = append(all, l)
	}
	return all, nil
}

// straight gives the messages a second that the source gets into the sink.
func (h *harness) straight(ctx context.Context, w work) (rate float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.longest, errors.New("the time for a run is over"))
	defer cancel()
	st := &stage{harness: h, work: w, name: "sink", generator: h.generator(w)}
	hops, err := st.openSink(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.sink.stop()) }()
	st.addr = hops[""]
	if rate, err = st.warmUp(ctx); err != nil {
		return 0, err
	}
	n := st.count(w, rate)
	t, err := st.send(ctx, n)
	if err != nil {
		return 0, err
	}
	st.rates[st.key()] = float64(n) / t.whole.Seconds()
	return st.rates[st.key()], nil
}
