package main

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writes keeps each write.
type writes struct {
	mu  sync.Mutex
	all []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(p))
	return len(p), nil
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

// Lines come together and in order, soon, and at once where there is much or something is wrong.
func TestLineBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		lines := &lineBuffer{out: &out}
		log := slog.New(prompt{slog.NewJSONHandler(lines, nil), lines}).With("from", "test")
		for range 3 {
			log.Info("one of three")
		}
		if out.count() != 0 {
			t.Errorf("%d writes at once", out.count())
		}
		time.Sleep(longHeldBack + time.Millisecond)
		if out.count() != 1 || strings.Count(out.all[0], "one of three") != 3 {
			t.Errorf("soon after three lines: %q", out.all)
		}
		log.Info("before")
		log.Warn("wrong")
		if out.count() != 2 || !strings.Contains(out.all[1], "before") || !strings.HasSuffix(out.all[1], "\n") ||
			strings.Index(out.all[1], "before") > strings.Index(out.all[1], "wrong") {
			t.Errorf("after a warning: %q", out.all)
		}
		line := append(bytes.Repeat([]byte("x"), maxHeldBack/4), '\n')
		for range 4 {
			if n, err := lines.Write(line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		if out.count() != 3 {
			t.Errorf("%d writes after %d octets", out.count(), 4*len(line))
		}
		lines.flush()
		lines.flush()
		time.Sleep(time.Second)
		if out.count() != 3 {
			t.Errorf("%d writes of nothing", out.count()-3)
		}
	})
}
