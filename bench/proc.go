package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tick is the unit of processor times in /proc on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is the processor time of one running process, in steps of a tick.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("learn the processor time of process %d: %w", pid, err)
	}
	// The second field is the name in parentheses, in which there may be anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is not as it should be: %q", pid, stat)
	}
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(userErr, systemErr)
}

// A sampler looks at the memory of a server again and again and keeps the most.
type sampler struct {
	ask  func() (int64, error)
	stop chan struct{}
	done sync.WaitGroup
	peak int64
	err  error
}

// sample starts a sampler. It looks every step, and less often where one look costs more than a hundredth of that, so
// that looking slows no server, however many processes it has.
func sample(step time.Duration, ask func() (int64, error)) *sampler {
	s := &sampler{ask: ask, stop: make(chan struct{})}
	s.done.Go(func() {
		for {
			began := time.Now()
			n, err := s.ask()
			if err != nil {
				s.err = err
				return
			}
			s.peak = max(s.peak, n)
			wait := time.NewTimer(max(step, 100*time.Since(began)))
			select {
			case <-wait.C:
			case <-s.stop:
				wait.Stop()
				return
			}
		}
	})
	return s
}

// most ends the sampler and gives the largest value it saw.
func (s *sampler) most() (int64, error) {
	close(s.stop)
	s.done.Wait()
	return s.peak, s.err
}
