package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// AppendRate gives the records a second that writers append to a file, each waiting for a sync that covers its record:
// those that come while one sync runs share the next. Records have size octets. It goes on for about the time given, in a
// file in dir that it removes. No server that promises as much can take more messages of that size.
func AppendRate(ctx context.Context, dir string, writers, size int, lasting time.Duration) (rate float64, err error) {
	f, err := os.CreateTemp(dir, "append-")
	if err != nil {
		return 0, fmt.Errorf("load: make a file to append to: %w", err)
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
