package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

func mustOpen(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// all reads everything in a folder.
func all(t testing.TB, dir string, stats *Stats) []Event {
	t.Helper()
	var events []Event
	for e, err := range Find(context.Background(), dir, Query{Stats: stats}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// notes gives the notes of events, by which the tests name them.
func notes(events []Event) string {
	var s []string
	for _, e := range events {
		s = append(s, e.Note)
	}
	return strings.Join(s, " ")
}

// names lists a folder.
func names(t testing.TB, dir, ext string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"+ext))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestWriteDelay(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, dir, Options{})
		j.Append(&Event{Kind: Operator, Note: "a"})
		time.Sleep(writeDelay - time.Millisecond)
		synctest.Wait()
		if got := all(t, dir, nil); len(got) != 0 {
			t.Errorf("written at once: %v", got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		got := all(t, dir, nil)
		if len(got) != 1 || !got[0].At.Equal(time.Now().Add(-writeDelay-time.Millisecond)) {
			t.Errorf("after the delay there is %v", got)
		}
		j.Append(&Event{Kind: Operator, Note: strings.Repeat("x", maxText)})
		j.Flush()
		if got := all(t, dir, nil); len(got) != 2 {
			t.Errorf("after Flush there are %d events", len(got))
		}
		for range 20 { // a full buffer does not wait
			j.Append(&Event{Kind: Operator, Note: strings.Repeat("x", maxText)})
		}
		synctest.Wait()
		if got := all(t, dir, nil); len(got) < 2+16 {
			t.Errorf("a full buffer waits: %d events", len(got))
		}
		mustClose(t, j)
		j.Append(&Event{Kind: Operator})
		j.Flush()
		if got := all(t, dir, nil); len(got) != 22 || j.Dropped() != 1 {
			t.Errorf("after Close there are %d events, %d dropped", len(got), j.Dropped())
		}
		mustClose(t, j)
	})
}

func TestNilJournal(t *testing.T) {
	var j *Journal
	j.Append(&Event{})
	j.Flush()
	j.Limit(0, 0)
	if j.Dropped() != 0 || j.Close() != nil {
		t.Error("a nil journal does something")
	}
}

func TestSizeLimit(t *testing.T) {
	dir := t.TempDir()
	const limit = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, dir, Options{MaxSize: limit})
		for i := range 4000 {
			j.Append(&Event{Kind: Operator, From: fmt.Sprintf("u%d@example.org", i), Note: strings.Repeat("x", 1000)})
			if i%50 == 0 {
				j.Flush()
				synctest.Wait()
			}
			if i%500 == 0 {
				if size := folderSize(t, dir); size > limit+fullBuffer {
					t.Fatalf("the folder has %d octets", size)
				}
			}
		}
		mustClose(t, j)
		events := all(t, dir, nil)
		if len(events) < 500 || events[len(events)-1].From != "u3999@example.org" {
			t.Errorf("%d events are left, up to %v", len(events), events[len(events)-1].From)
		}
		for i := range events[1:] {
			if events[i].At.After(events[i+1].At) {
				t.Fatal("not in order")
			}
		}

		j = mustOpen(t, dir, Options{MaxSize: limit / 4}) // a smaller limit counts at once
		synctest.Wait()
		if size := folderSize(t, dir); size > limit/4 {
			t.Errorf("after Open with a smaller limit the folder has %d octets", size)
		}
		j.Limit(0, 1)
		synctest.Wait()
		if n := len(names(t, dir, segmentExt)); n > 1 {
			t.Errorf("after Limit there are %d segments", n)
		}
		mustClose(t, j)
	})
}

func folderSize(t *testing.T, dir string) (size int64) {
	for _, name := range names(t, dir, "") {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

func TestAgeLimit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		j := mustOpen(t, dir, Options{MaxAge: 10 * day})
		for i := range 60 {
			j.Append(&Event{Kind: Operator, Note: fmt.Sprint(i)})
			time.Sleep(day / 2)
		}
		synctest.Wait()
		oldest := all(t, dir, nil)[0].At
		if age := time.Since(oldest); age < 9*day || age > 11*day {
			t.Errorf("the oldest event is %v old", age)
		}
		time.Sleep(12 * day) // nothing happens, and yet the last one goes
		synctest.Wait()
		if left := all(t, dir, nil); len(left) != 0 {
			t.Errorf("after a quiet time there is still %v", notes(left))
		}
		if left := names(t, dir, ""); len(left) != 0 {
			t.Errorf("files are left: %v", left)
		}
		j.Append(&Event{Kind: Operator, Note: "new"})
		mustClose(t, j)

		time.Sleep(11 * day)
		j = mustOpen(t, dir, Options{MaxAge: 10 * day, SegmentSize: 1}) // so that it does not go on in that one
		synctest.Wait()
		if left := all(t, dir, nil); len(left) != 0 {
			t.Errorf("after Open there is still %v", notes(left))
		}
		j.Append(&Event{Kind: Operator, Note: "newer"})
		j.Flush()
		synctest.Wait()
		time.Sleep(day)
		j.Limit(time.Hour, 0)
		synctest.Wait()
		if left := all(t, dir, nil); len(left) != 0 {
			t.Errorf("after Limit there is still %v", notes(left))
		}
		mustClose(t, j)
	})
}

func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 3 {
		j := mustOpen(t, dir, Options{SegmentSize: 1, Now: func() time.Time { return now }})
		j.Append(&Event{Kind: Operator, Note: fmt.Sprint(i)})
		mustClose(t, j)
		now = now.Add(-time.Hour)
	}
	back := Query{Until: now.Add(2 * time.Hour).Add(time.Minute)}
	for e, err := range Find(context.Background(), dir, back) {
		if err != nil || e.Note == "0" {
			t.Errorf("Find with Until gives %v (%v)", e, err)
		}
		back.Limit++
	}
	if back.Limit != 2 {
		t.Errorf("Find with Until gives %d events", back.Limit)
	}
	if got := notes(all(t, dir, nil)); got != "0 1 2" || len(names(t, dir, segmentExt)) != 3 {
		t.Errorf("events %q in %v", got, names(t, dir, segmentExt))
	}
}

// TestReopen: a process that ended leaves a segment that the next one goes on with, whatever its end looks like.
func TestReopen(t *testing.T) {
	for _, tt := range []struct {
		name    string
		spoil   func(whole []byte) []byte
		want    string
		damaged int
	}{
		{"closed", func(b []byte) []byte { return b }, "a b c", 0},
		{"torn in a line", func(b []byte) []byte { return b[:len(b)-10] }, "a c", 1},
		{"torn before the line end", func(b []byte) []byte { return b[:len(b)-1] }, "a b c", 0},
		{"torn to nothing", func([]byte) []byte { return nil }, "c", 0},
		{"zeros at the end", func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, "a b c", 1},
		{"two MiB of zeros", func(b []byte) []byte { return append(b, make([]byte, 2<<20)...) }, "a b c", 1},
		{"an octet is another", func(b []byte) []byte { b[idAt] = '!'; return b }, "b c", 1},
		{"a line is cut out in the middle", func(b []byte) []byte { return append(b[:50:50], b[80:]...) }, "b c", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			ids := spool.NewIDs(1)
			id := ids.New(time.Now())
			j := mustOpen(t, dir, Options{})
			j.Append(&Event{ID: id, Kind: Operator, Note: "a"})
			j.Append(&Event{ID: id, Kind: Operator, Note: "b"})
			mustClose(t, j)
			file := names(t, dir, segmentExt)[0]
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, tt.spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}

			j = mustOpen(t, dir, Options{})
			j.Append(&Event{ID: id, Kind: Operator, Note: "c"})
			j.Flush()
			for _, when := range []string{"open", "closed"} {
				var stats Stats
				if got := notes(all(t, dir, &stats)); got != tt.want || stats.Damaged != tt.damaged {
					t.Errorf("%s: events %q, %d damaged lines, want %q and %d", when, got, stats.Damaged, tt.want, tt.damaged)
				}
				lives, err := Lives(context.Background(), dir, id.String(), 0)
				if err != nil || len(lives) != 1 || notes(lives[0].Events) != tt.want {
					t.Errorf("%s: lives %v (%v), want %q", when, lives, err, tt.want)
				}
				if when == "open" {
					mustClose(t, j)
				}
			}
			if n := len(names(t, dir, segmentExt)); n != 1 {
				t.Errorf("%d segments", n)
			}
		})
	}
}

// TestKeysRebuilt: keys that are missing, damaged or of another state are made again, and searching works meanwhile.
func TestKeysRebuilt(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{SegmentSize: 1})
	for i := range 6 {
		j.Append(&Event{Kind: Refused, From: fmt.Sprintf("u%d@example.org", i), Note: fmt.Sprint(i)})
		j.Flush()
	}
	mustClose(t, j)
	keys := names(t, dir, keysExt)
	if len(keys) == 0 {
		t.Fatal("no keys")
	}
	good := map[string]string{}
	for i, name := range keys {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		good[name] = string(b)
		switch i % 3 {
		case 0:
			err = os.Remove(name)
		case 1:
			b[len(b)/2] ^= 1
			err = os.WriteFile(name, b, 0o600)
		case 2:
			err = os.WriteFile(name, b[:len(b)-3], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stray := filepath.Join(dir, "20200101T000000.000000Z.keys")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		var events []Event
		for e, err := range Find(context.Background(), dir, Query{Address: fmt.Sprintf("u%d@example.org", i)}) {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		if notes(events) != fmt.Sprint(i) {
			t.Errorf("without keys u%d has %v", i, events)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, dir, Options{SegmentSize: 1, MaxAge: -1}) // the clock here is that of the year 2000
		synctest.Wait()
		for name, want := range good {
			if b, err := os.ReadFile(name); err != nil || string(b) != want {
				t.Errorf("%s was not made again (%v)", filepath.Base(name), err)
			}
		}
		if _, err := os.Stat(stray); err == nil {
			t.Error("keys without a segment are still there")
		}
		mustClose(t, j)
	})
}

// brokenFile fails after some octets, in the middle of a line.
type brokenFile struct {
	file
	left *int // below 0: works
}

func (f brokenFile) Write(b []byte) (int, error) {
	if *f.left < 0 {
		return f.file.Write(b)
	}
	n := min(*f.left, len(b))
	*f.left -= n
	n, _ = f.file.Write(b[:n])
	return n, errors.New("disk full")
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		left := -1
		j := mustOpen(t, dir, Options{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			open: func(path string) (file, error) {
				f, err := openAppend(path)
				return brokenFile{f, &left}, err
			},
		})
		add := func(note string) {
			j.Append(&Event{Kind: Operator, Note: note})
			j.Flush()
		}
		add("a")
		left = 30
		for range 150 {
			add("lost")
			time.Sleep(time.Second)
		}
		left = -1
		add("b")
		if got := notes(all(t, dir, nil)); got != "a b" || j.Dropped() != 150 {
			t.Errorf("events %q, %d dropped", got, j.Dropped())
		}
		if n := strings.Count(log.String(), "\n"); n != 3 || !strings.Contains(log.String(), "disk full") {
			t.Errorf("%d lines in 150 s:\n%s", n, log.String())
		}
		mustClose(t, j)
	})
}

// TestSlowDisk: while the disk hangs, Append goes on and memory is bounded.
func TestSlowDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		j := mustOpen(t, dir, Options{open: func(path string) (file, error) {
			<-hang
			return openAppend(path)
		}})
		e := Event{Kind: Operator, Note: strings.Repeat("x", maxText)}
		for range 5000 {
			j.Append(&e)
		}
		if most := 2 * (maxBuffer + 2*maxText); len(j.in.buf) > most || j.Dropped() == 0 {
			t.Errorf("%d octets wait, %d events were dropped", len(j.in.buf), j.Dropped())
		}
		close(hang)
		mustClose(t, j)
		if n := int64(len(all(t, dir, nil))); n+j.Dropped() != 5000 {
			t.Errorf("%d events are there, %d were dropped", n, j.Dropped())
		}
	})
}

func TestFolderTakenAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	j := mustOpen(t, dir, Options{SegmentSize: 1})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	j.Append(&Event{Kind: Operator, Note: "a"})
	mustClose(t, j)
	if got := notes(all(t, dir, nil)); got != "a" {
		t.Errorf("events %q", got)
	}
}

func TestOpenFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name, Options{}); err == nil {
		t.Error("a file was opened as a folder")
	}
}

// TestManyWritersAndReaders: each reader sees whole events only, and every event of one writer up to some point in
// order.
func TestManyWritersAndReaders(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{SegmentSize: 50 << 10})
	const writers, each = 4, 1000
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				j.Append(&Event{Kind: Operator, From: fmt.Sprintf("w%d@example.org", w), Attempt: i + 1})
				if i%100 == 0 {
					j.Flush()
				}
			}
		})
	}
	stop := make(chan struct{})
	reading.Go(func() {
		for {
			var seen [writers]int
			var stats Stats
			for e, err := range Find(context.Background(), dir, Query{Address: "@example.org", Stats: &stats}) {
				if err != nil {
					t.Error(err)
					return
				}
				w := e.From[1] - '0'
				if seen[w]++; e.Attempt != seen[w] {
					t.Errorf("writer %d: event %d came as number %d", w, e.Attempt, seen[w])
					return
				}
			}
			if stats.Damaged > 0 {
				t.Errorf("%d damaged lines", stats.Damaged)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	writing.Wait()
	close(stop)
	reading.Wait()
	mustClose(t, j)
	if n := len(all(t, dir, nil)); n != writers*each || j.Dropped() != 0 {
		t.Errorf("%d events, %d dropped", n, j.Dropped())
	}
}
