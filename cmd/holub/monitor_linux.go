package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// monitorSlack is how much later than asked the thread that watches Go's scheduler may wake, in nanoseconds. It sleeps for 20
// microseconds at a time while there are pauses in the work, which with a server that waits for disks and clients is always,
// and took a tenth of the processor. With this slack it takes a hundredth; a goroutine in a long call of the system gives
// its processor back half a millisecond later, of which there are twice as many as needed (useProcessors). Threads that it
// starts inherit the slack, so timers of the whole server may be as late.
const monitorSlack = 500_000

// calmMonitor lets the thread that watches the scheduler sleep longer: it is the second that the runtime starts. Where that
// can't be done, or another thread is met, only the gain is lost.
func calmMonitor() error {
	thread, err := monitorThread()
	if err != nil {
		return err
	}
	return os.WriteFile(slackFile(thread), strconv.AppendInt(nil, monitorSlack, 10), 0)
}

// slackFile is where the system shows and takes the slack of a thread (proc_pid_timerslack_ns(5)).
func slackFile(thread int) string {
	return filepath.Join("/proc", strconv.Itoa(thread), "timerslack_ns")
}

func monitorThread() (thread int, err error) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, err
	}
	var threads []int
	for _, t := range tasks {
		if n, err := strconv.Atoi(t.Name()); err == nil {
			threads = append(threads, n)
		}
	}
	if len(threads) < 2 {
		return 0, os.ErrNotExist
	}
	slices.Sort(threads)
	return threads[1], nil
}
