package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holub-mail/holub/bench/report"
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
			rate, err := appendRate(ctx, h.dir, writers, 4*kib, min(time.Duration(h.seconds*float64(time.Second)), 5*time.Second))
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

// appendRate gives the records a second that writers append to a file, each waiting for a sync that covers its record:
// those that come while one sync runs share the next. It goes on for about the time given.
func appendRate(ctx context.Context, dir string, writers, size int, lasting time.Duration) (rate float64, err error) {
	f, err := os.Create(filepath.Join(dir, "append"))
	if err != nil {
		return 0, fmt.Errorf("make a file to append to: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	records := make(chan chan error, writers)
	var all sync.WaitGroup
	counts := make([]int, writers)
	failures := make([]error, writers)
	began := time.Now()
	for w := range writers {
		all.Go(func() {
			done := make(chan error, 1)
			for time.Since(began) < lasting && ctx.Err() == nil && failures[w] == nil {
				records <- done
				failures[w] = <-done
				counts[w]++
			}
		})
	}
	go func() { all.Wait(); close(records) }()
	joinSyncs(f, bytes.Repeat([]byte("x"), size), records)
	elapsed := time.Since(began)
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / elapsed.Seconds(), errors.Join(append(failures, ctx.Err())...)
}

// joinSyncs appends a record for each request and answers it when it is on the disk, until there are no more requests.
func joinSyncs(f *os.File, record []byte, records <-chan chan error) {
	var text []byte
	var waiting []chan error
	for done := range records {
		text, waiting = append(text[:0], record...), append(waiting[:0], done)
		for more := true; more; {
			select {
			case done, more = <-records:
				if more {
					text, waiting = append(text, record...), append(waiting, done)
				}
			default:
				more = false
			}
		}
		_, err := f.Write(text)
		if err == nil {
			err = dataSync(f)
		}
		for _, done := range waiting {
			done <- err
		}
	}
}
