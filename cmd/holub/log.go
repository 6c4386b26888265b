package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// newLogger logs text on a terminal and JSON elsewhere. Call flush before the process ends.
func newLogger(w *os.File, verbose bool) (log *slog.Logger, flush func()) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if term.IsTerminal(int(w.Fd())) {
		return slog.New(slog.NewTextHandler(w, options)), func() {}
	}
	lines := &lineBuffer{out: w}
	return slog.New(prompt{slog.NewJSONHandler(lines, options), lines}), lines.flush
}

// Bounds of what a lineBuffer holds back.
const (
	maxHeldBack  = 32 << 10 // octets
	longHeldBack = 20 * time.Millisecond
)

// lineBuffer writes several lines of a log at once: a busy server has some for each message, and each write costs a call of
// the system.
type lineBuffer struct {
	out   io.Writer
	mu    sync.Mutex
	held  []byte
	armed bool // flush is on its way
}

// Write takes a line.
func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, line...)
	switch {
	case len(b.held) >= maxHeldBack:
		return len(line), b.write()
	case !b.armed:
		b.armed = true
		time.AfterFunc(longHeldBack, b.flush)
	}
	return len(line), nil
}

// flush writes what is held back.
func (b *lineBuffer) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed = false
	_ = b.write() // there is nobody left to tell
}

func (b *lineBuffer) write() error {
	if len(b.held) == 0 {
		return nil
	}
	_, err := b.out.Write(b.held)
	b.held = b.held[:0]
	return err
}

// prompt is a handler that holds back nothing from warnings on: what comes next may be the end of the process.
type prompt struct {
	slog.Handler
	lines *lineBuffer
}

func (p prompt) Handle(ctx context.Context, r slog.Record) error {
	err := p.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		p.lines.flush()
	}
	return err
}

func (p prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{p.Handler.WithAttrs(attrs), p.lines}
}

func (p prompt) WithGroup(name string) slog.Handler {
	return prompt{p.Handler.WithGroup(name), p.lines}
}
