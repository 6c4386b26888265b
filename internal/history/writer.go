package history

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

// writer is the goroutine that owns the open segment. It never syncs: the keeper does, when the segment is closed.
type writer struct {
	j      *Journal
	dir    string
	log    *slog.Logger
	open   func(path string) (file, error)
	keeper *keeper

	last  string // name of the newest segment there was
	seg   closing
	has   bool // seg is a segment
	torn  bool // the last line has no end
	spare chunk

	lost    int64 // of Journal.dropped, how many were logged
	logged  time.Time
	lastErr error
	err     error // of the end, for Close
}

// closing is a segment with all that is needed to close it.
type closing struct {
	segment
	file  file // nil: not open
	set   chunk
	whole bool // set has the keys of all of its lines
}

// first is the time of its first event.
func (c *closing) first() time.Time {
	if c.whole && c.set.times.some {
		return time.UnixMicro(c.set.times.first)
	}
	return c.start()
}

// resume goes on with the segment that an earlier process left.
func (w *writer) resume(s segment) {
	w.seg, w.has = closing{segment: s}, true
	if k, err := readKeys(s); err == nil || s.size == 0 {
		w.seg.set = chunk{keys: k.appendTo(nil), times: k.span}
		w.seg.whole = true
	}
	w.torn = s.size > 0
	f, err := os.Open(s.path())
	if err != nil {
		return
	}
	defer f.Close()
	end := make([]byte, 1)
	if n, _ := f.ReadAt(end, s.size-1); n == 1 && end[0] == '\n' {
		w.torn = false
	}
}

// run writes until the journal is closed.
func (w *writer) run() {
	defer close(w.j.done)
	look := time.NewTicker(min(maxLook, w.j.segmentSpan()))
	defer look.Stop()
	for {
		select {
		case <-w.j.wake:
			w.gather()
		case written := <-w.j.flush:
			w.write()
			close(written)
		case <-look.C:
			w.rotate()
			w.complain()
		case <-w.j.stop:
			w.finish()
			return
		}
	}
}

// gather waits until a buffer is full or the first event in it has waited long enough, and writes.
func (w *writer) gather() {
	delay := time.NewTimer(writeDelay)
	defer delay.Stop()
	select {
	case <-w.j.full:
	case <-delay.C:
	case written := <-w.j.flush:
		defer close(written)
	case <-w.j.stop: // run ends it
	}
	w.write()
}

// write takes what waits and writes it to the open segment. The error has been taken care of.
func (w *writer) write() (err error) {
	w.j.mu.Lock()
	c := w.j.in
	w.j.in = chunk{buf: w.spare.buf[:0], keys: w.spare.keys[:0]}
	w.j.mu.Unlock()
	w.spare = c
	if cap(c.buf) > 16*fullBuffer { // what a slow disk made grow is not kept
		w.spare = chunk{}
	}
	if len(c.buf) > 0 {
		if err = w.put(&c); err != nil {
			w.lastErr = err
			w.j.dropped.Add(c.events)
		}
		w.rotate()
	}
	w.complain()
	return err
}

// put writes a chunk. After an error the file is opened anew for the next one: whatever was wrong may be over then.
func (w *writer) put(c *chunk) error {
	if !w.has {
		w.seg = closing{segment: newSegment(w.dir, time.UnixMicro(c.times.first), w.last), whole: true}
		w.seg.set.keys = w.keeper.spareKeys()
		w.has, w.last, w.torn = true, w.seg.name, false
	}
	if err := w.reopen(); err != nil {
		return err
	}
	if w.torn {
		n, err := w.seg.file.Write([]byte("\n"))
		if err != nil {
			w.abandon()
			return fmt.Errorf("history: writing events: %w", err)
		}
		w.seg.size += int64(n)
		w.torn = false
	}
	n, err := w.seg.file.Write(c.buf)
	w.seg.size += int64(n)
	w.seg.set.keys = append(w.seg.set.keys, c.keys...) // too many after an error, which does no harm
	w.seg.set.times.join(c.times)
	if err != nil {
		w.torn = true
		w.abandon()
		return fmt.Errorf("history: writing events: %w", err)
	}
	return nil
}

// reopen opens the file of the segment if it is not open.
func (w *writer) reopen() error {
	if w.seg.file != nil {
		return nil
	}
	f, err := w.open(w.seg.path())
	if err != nil && os.MkdirAll(w.dir, 0o700) == nil { // somebody may have cleared it away
		f, err = w.open(w.seg.path())
	}
	if err != nil {
		return fmt.Errorf("history: opening a segment: %w", err)
	}
	w.seg.file = f
	return nil
}

// abandon closes a file that could not be written.
func (w *writer) abandon() {
	_ = w.seg.file.Close() // the error that counts is on its way to the log
	w.seg.file = nil
}

// rotate hands a segment that is full or old to the keeper. While that is busy with another one it grows on, for the
// disk is slow then and more files make it no faster.
func (w *writer) rotate() {
	if !w.has || w.seg.size == 0 {
		return
	}
	if w.seg.size < w.j.segmentSize() && w.j.now().Sub(w.seg.first()) < w.j.segmentSpan() {
		return
	}
	select {
	case w.keeper.in <- w.seg:
		w.seg, w.has = closing{}, false
	default:
	}
}

// complain logs dropped events, once a minute at most.
func (w *writer) complain() {
	lost, now := w.j.dropped.Load(), w.j.now()
	if lost == w.lost || now.Sub(w.logged) < logPause && now.After(w.logged) {
		return
	}
	if w.lastErr == nil {
		w.lastErr = fmt.Errorf("history: more than %d octets wait for the disk", maxBuffer)
	}
	w.log.Warn("events of the history were dropped; mail is not touched by this", "events", lost-w.lost, "err", w.lastErr)
	w.lost, w.logged, w.lastErr = lost, now, nil
}

// finish writes what is left and lets the keeper close the segment.
func (w *writer) finish() {
	w.err = w.write()
	w.logged = time.Time{} // what is not logged now never is
	w.complain()
	if w.has {
		w.keeper.in <- w.seg
	}
	close(w.keeper.in)
	<-w.keeper.done
}
