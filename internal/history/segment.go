package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	segmentExt = ".jsonl"
	keysExt    = ".keys"
	nameLayout = "20060102T150405.000000Z" // sorts by time; no character that a file system forbids
)

// segment is one file of events.
type segment struct {
	dir  string
	name string // without extension: the time of its first event
	size int64  // when it was looked at
}

func (s segment) path() string     { return filepath.Join(s.dir, s.name+segmentExt) }
func (s segment) keysPath() string { return filepath.Join(s.dir, s.name+keysExt) }

func (s segment) start() time.Time {
	t, _ := time.Parse(nameLayout, s.name) // segments only has names that parse
	return t
}

// newSegment names a segment whose first event is at t and which sorts behind the one named last, whatever the clock
// did.
func newSegment(dir string, t time.Time, last string) segment {
	name := t.UTC().Format(nameLayout)
	if name <= last {
		after, _ := time.Parse(nameLayout, last)
		name = after.Add(time.Microsecond).Format(nameLayout)
	}
	return segment{dir: dir, name: name}
}

// segments lists a folder, oldest first. Other files are not looked at.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("history: reading the folder of segments: %w", err)
	}
	var all []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentExt)
		if _, err := time.Parse(nameLayout, name); !ok || err != nil || len(name) != len(nameLayout) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name())) // a folder's entry may show an old size on Windows
		if err == nil && info.Mode().IsRegular() {
			all = append(all, segment{dir, name, info.Size()})
		}
	}
	return all, nil
}

// readLines gives the whole lines of a file, without their ends. A line without an end is being written or was torn: it
// is not given. A line that can't be one of ours is counted by damaged. It stops when line returns false.
func readLines(ctx context.Context, r io.Reader, damaged func(), line func(b []byte) bool) error {
	br := bufio.NewReaderSize(r, maxLine)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := br.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
			if err == nil {
				damaged()
				continue
			}
			fallthrough
		case err != nil:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		b = b[:len(b)-1]
		if len(b) == 0 {
			continue // it ended a torn line that had its end after all
		}
		if len(b) < len(lineHead) || string(b[:len(lineHead)]) != lineHead || b[len(b)-1] != '}' {
			damaged()
			continue
		}
		if !line(b) {
			return nil
		}
	}
}

// remove deletes a segment with its keys. A segment that is gone already is no error.
func (s segment) remove() error {
	err := os.Remove(s.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("history: deleting an old segment; it is tried again: %w", err)
	}
	_ = os.Remove(s.keysPath()) // keys without a segment are not looked at, and are taken away at the next Open
	return nil
}
