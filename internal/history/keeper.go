package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// keeper is the goroutine that owns the closed segments: it syncs them, makes their keys and deletes the oldest.
type keeper struct {
	dir    string
	now    func() time.Time
	log    *slog.Logger
	limits func() (maxAge time.Duration, maxSize int64)

	in    chan closing  // from the writer; closed when it ends
	poked chan struct{} // the limits have changed
	done  chan struct{}

	unread []segment // found at the start, newest last; their keys were not looked at yet
	kept   []kept    // oldest first
	logged map[string]bool
	err    error // the first one of syncing and closing, for Close

	mu    sync.Mutex
	spare []uint32
}

// kept is a closed segment.
type kept struct {
	segment
	disk int64 // with its keys
	last int64 // microseconds: the time of its last event; 0: not known yet
}

func newKeeper(dir string, now func() time.Time, log *slog.Logger, all []segment,
	limits func() (time.Duration, int64)) *keeper {
	k := &keeper{
		dir: dir, now: now, log: log, limits: limits, unread: all, logged: map[string]bool{},
		in: make(chan closing, 1), poked: make(chan struct{}, 1), done: make(chan struct{}),
	}
	for _, s := range all {
		k.kept = append(k.kept, kept{segment: s, disk: s.size})
	}
	return k
}

// run works until the writer ends. What was found at the start is read between other things, newest first, for that is
// what people search.
func (k *keeper) run() {
	defer close(k.done)
	look := time.NewTicker(maxLook)
	defer look.Stop()
	k.sweep()
	k.prune()
	for {
		var idle chan struct{} // ready as long as something is unread
		if len(k.unread) > 0 {
			idle = make(chan struct{})
			close(idle)
		}
		select {
		case c, ok := <-k.in:
			if !ok {
				return
			}
			k.close(c)
			k.prune()
		case <-k.poked:
			k.prune()
		case <-look.C:
			k.prune()
		case <-idle:
			k.learn()
		}
	}
}

// close makes a segment durable and gives it its keys.
func (k *keeper) close(c closing) {
	if c.file != nil {
		err := errors.Join(c.file.Sync(), c.file.Close())
		if err != nil {
			err = fmt.Errorf("history: closing a segment: %w", err)
			k.note(err)
			if k.err == nil {
				k.err = err
			}
		}
	}
	set := newKeySet(c.set.keys, c.set.times)
	k.mu.Lock()
	k.spare = c.set.keys[:0]
	k.mu.Unlock()
	if info, err := os.Stat(c.path()); err == nil {
		c.size = info.Size() // after an error the writer may not know it
	} else {
		return // it was never made, or somebody took it away
	}
	var err error
	if !c.whole {
		if set, err = makeKeys(context.Background(), c.segment); err != nil {
			k.note(err)
		}
	}
	if err == nil {
		k.note(writeKeys(c.segment, set))
	}
	k.kept = append(k.kept, kept{c.segment, c.size + set.fileSize(), lastOf(c.segment, set)})
}

// lastOf gives the time of the last event. The name tells it only where there is none: it may be ahead of a clock
// that was set back.
func lastOf(s segment, set keySet) int64 {
	if set.span.some {
		return set.span.last
	}
	return s.start().UnixMicro()
}

// spareKeys gives memory that is not used any more.
func (k *keeper) spareKeys() []uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := k.spare
	k.spare = nil
	return keys
}

// learn reads the keys of one segment that was there at the start, and makes them if it must.
func (k *keeper) learn() {
	s := k.unread[len(k.unread)-1]
	k.unread = k.unread[:len(k.unread)-1]
	if !slices.ContainsFunc(k.kept, func(o kept) bool { return o.name == s.name }) {
		return // deleted meanwhile
	}
	set, err := readKeys(s)
	if err != nil {
		if set, err = makeKeys(context.Background(), s); err == nil {
			err = writeKeys(s, set)
		}
		k.note(err)
	}
	for i := range k.kept {
		if k.kept[i].name == s.name {
			k.kept[i].last = lastOf(s, set)
			k.kept[i].disk = s.size + set.fileSize()
		}
	}
	if len(k.unread) == 0 {
		k.prune()
	}
}

// prune deletes what is too old, and the oldest until the rest is small enough. What can't be deleted, because a reader
// has it open on Windows, is tried again at the next look.
func (k *keeper) prune() {
	maxAge, maxSize := k.limits()
	var total int64
	for _, s := range k.kept {
		total += s.disk
	}
	oldest := k.now().Add(-maxAge).UnixMicro()
	left := k.kept[:0]
	for _, s := range k.kept {
		tooOld := maxAge > 0 && s.last != 0 && s.last < oldest
		tooMuch := maxSize >= 0 && total > maxSize
		if tooOld || tooMuch {
			total -= s.disk
			err := s.remove()
			if err == nil {
				continue
			}
			k.note(err)
		}
		left = append(left, s)
	}
	k.kept = left
}

// sweep takes away keys whose segment is gone.
func (k *keeper) sweep() {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), keysExt)
		if _, err := time.Parse(nameLayout, name); !ok || err != nil {
			continue
		}
		s := segment{dir: k.dir, name: name}
		if _, err := os.Stat(s.path()); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(filepath.Join(k.dir, e.Name())) // tried again at the next start
		}
	}
}

// note logs an error, the same text once.
func (k *keeper) note(err error) {
	if err == nil || k.logged[err.Error()] || len(k.logged) > 100 {
		return
	}
	k.logged[err.Error()] = true
	k.log.Warn("the history has trouble with its files; mail is not touched by this", "err", err)
}
