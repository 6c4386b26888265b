package lsm

import (
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// room knows how much space is free where the store is.
type room struct {
	disk vfs.FS
	dir  string

	mu    sync.Mutex
	asked time.Time
	free  uint64
	known bool
}

// askAgain is how long an answer of the file system counts.
const askAgain = time.Second

// space gives the free octets; known is false where the file system does not say.
func (r *room) space(now time.Time) (free uint64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.asked) >= askAgain {
		usage, err := r.disk.GetDiskUsage(r.dir)
		r.asked, r.free, r.known = now, usage.AvailBytes, err == nil
	}
	return r.free, r.known
}

// check refuses to open a store that would soon meet the end of its disk.
func (r *room) check(now time.Time) error {
	if free, known := r.space(now); known && free < roomForStart {
		return fmt.Errorf("only %d MiB are free on the disk of %s: free %d MiB at least", free>>20, r.dir, roomForStart>>20)
	}
	return nil
}

// Room tells whether there is space for more mail. It may be asked for each message: the answer is kept for a second.
func (e *Engine) Room() bool {
	free, known := e.room.space(time.Now())
	return !known || free >= roomForMail
}
