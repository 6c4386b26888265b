package history

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Journal. The zero value works.
type Options struct {
	MaxAge      time.Duration    // what is older is deleted, at most a 30th of it later; 0: 30 days, below 0: never
	MaxSize     int64            // octets of the folder; 0: 2 GiB, below 0: no limit
	SegmentSize int64            // octets of a segment; 0: 16 MiB, or less where MaxSize asks for it
	Logger      *slog.Logger     // nil: no logs
	Now         func() time.Time // nil: time.Now

	open func(path string) (file, error) // for tests; nil: the file system
}

// file is what the writer needs of a file.
type file interface {
	io.WriteCloser
	Sync() error
}

const (
	defaultAge     = 30 * 24 * time.Hour
	defaultSize    = 2 << 30
	defaultSegment = 16 << 20
	minSegment     = 64 << 10
	fullBuffer     = 64 << 10               // octets that are written at once
	maxBuffer      = 8 << 20                // octets that wait for a slow disk; what comes then is dropped
	writeDelay     = 200 * time.Millisecond // how long an event waits for company
	logPause       = time.Minute            // between two lines about dropped events
	maxLook        = time.Hour              // between two looks at the limits
)

// Journal writes the history of one folder. Its methods may be called from many goroutines. A nil Journal takes events
// and keeps none.
type Journal struct {
	now     func() time.Time
	segSize int64
	maxAge  atomic.Int64
	maxSize atomic.Int64
	dropped atomic.Int64

	mu     sync.Mutex
	in     chunk // what waits for the writer
	closed bool

	wake  chan struct{} // something waits
	full  chan struct{} // a full buffer waits
	flush chan chan struct{}
	stop  chan struct{}
	done  chan struct{} // the writer has ended

	w writer
}

// chunk is some events on their way to a segment, and the keys of them.
type chunk struct {
	buf    []byte
	keys   []uint32
	times  span
	events int64
}

// Open opens the journal of a folder, which is made if it is missing, and starts to write. What an earlier process
// left is gone on with: in its last segment, behind the last whole line, if there is room in it.
func Open(dir string, o Options) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("history: making its folder: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.open == nil {
		o.open = openAppend
	}
	all, err := segments(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		now: o.Now, segSize: o.SegmentSize,
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1), flush: make(chan chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	j.Limit(o.MaxAge, o.MaxSize)
	j.w = writer{j: j, dir: dir, log: o.Logger, open: o.open}
	if n := len(all) - 1; n >= 0 {
		j.w.last = all[n].name
		if all[n].size < j.segmentSize() {
			j.w.resume(all[n])
			all = all[:n]
		}
	}
	j.w.keeper = newKeeper(dir, o.Now, o.Logger, all, j.limits)
	go j.w.keeper.run()
	go j.w.run()
	return j, nil
}

func openAppend(path string) (file, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// Append notes an event. It copies what it keeps, costs about a microsecond, never waits for the disk and never
// fails: when the disk is too slow or full, events are dropped and counted.
func (j *Journal) Append(e *Event) {
	if j == nil {
		return
	}
	at := e.At
	if !writable(at) {
		at = j.now()
	}
	j.mu.Lock()
	c := &j.in
	if j.closed || len(c.buf) > maxBuffer {
		j.mu.Unlock()
		j.dropped.Add(1)
		return
	}
	first, wasFull := len(c.buf) == 0, len(c.buf) >= fullBuffer
	c.add(e, at)
	isFull := len(c.buf) >= fullBuffer
	j.mu.Unlock()
	if first {
		poke(j.wake)
	}
	if isFull && !wasFull {
		poke(j.full)
	}
}

// add encodes an event into the chunk.
func (c *chunk) add(e *Event, at time.Time) {
	c.events++
	c.times.add(at)
	c.keys = appendKeys(c.keys, e)
	if len(e.To) <= 1 {
		c.buf = appendLine(c.buf, e, at, e.To, e.Recipients, e.Part)
		return
	}
	parts(e.To, func(part int, to []string) {
		if len(to) == len(e.To) {
			c.buf = appendLine(c.buf, e, at, to, e.Recipients, e.Part)
		} else {
			c.buf = appendLine(c.buf, e, at, to, len(e.To), part)
		}
	})
}

// poke wakes who waits for c, now or when it looks next.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Flush returns when what was appended before is visible to readers, or was dropped. It is not on disk then.
func (j *Journal) Flush() {
	if j == nil {
		return
	}
	written := make(chan struct{})
	select {
	case j.flush <- written:
		<-written
	case <-j.done:
	}
}

// Limit changes the limits; its arguments are those of Options. What is too old or too much is deleted soon after.
func (j *Journal) Limit(maxAge time.Duration, maxSize int64) {
	if j == nil {
		return
	}
	j.maxAge.Store(int64(cmp.Or(maxAge, defaultAge)))
	j.maxSize.Store(cmp.Or(maxSize, defaultSize))
	if j.w.keeper != nil { // not while Open builds it
		poke(j.w.keeper.poked)
	}
}

// Dropped gives the number of events that were lost since Open, for a metric.
func (j *Journal) Dropped() int64 {
	if j == nil {
		return 0
	}
	return j.dropped.Load()
}

// limits gives what closed segments may take and how old they may be; below 0: any.
func (j *Journal) limits() (maxAge time.Duration, maxSize int64) {
	maxAge, maxSize = time.Duration(j.maxAge.Load()), j.maxSize.Load()
	if maxSize > 0 {
		maxSize = max(0, maxSize-j.segmentSize()) // the open segment counts too
	}
	return maxAge, maxSize
}

// segmentSize is when a segment is full: small enough for 8 of them below MaxSize.
func (j *Journal) segmentSize() int64 {
	size := cmp.Or(j.segSize, defaultSegment)
	if most := j.maxSize.Load(); most > 0 {
		size = min(size, max(minSegment, most/8))
	}
	return size
}

// segmentSpan is for how long a segment is written at most, so that old events don't stay because of young ones.
func (j *Journal) segmentSpan() time.Duration {
	if maxAge := time.Duration(j.maxAge.Load()); maxAge > 0 {
		return max(maxAge/30, time.Minute)
	}
	return defaultAge
}

// Close writes what was appended, syncs it and ends. Events that come later are dropped. The error is the first of the
// writer's last steps; the folder can be opened again all the same.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	again := j.closed
	j.closed = true
	j.mu.Unlock()
	if again {
		<-j.done
		return nil
	}
	close(j.stop)
	<-j.done
	return errors.Join(j.w.err, j.w.keeper.err)
}
