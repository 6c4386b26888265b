package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// TestLargeMessages sends 20 messages of 50 MB side by side through the real server, in and out, and looks at the most
// memory it ever had: content streams, so it stays flat.
func TestLargeMessages(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of another process's memory is read from /proc, which is Linux's")
	}
	const count, size, limit = 20, 50_000_000, 200 << 20
	host := newGate(count)
	config := discardAll[:strings.Index(discardAll, "[[route]]")]
	for n := range count { // a site of its own for each: a site is tried with few messages at once before it is trusted
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go (&receiver.Server{Hostname: "sink.example", Handler: host, MaxSize: 2 * size}).Serve(l)
		config += fmt.Sprintf("[[route]]\nmatch = { domain = [\"d%d.example\"] }\nto = \"smtp://%s\"\n", n, l.Addr())
	}
	dir := t.TempDir()
	s := startServer(t, dir, config)
	start := peakMemory(t, s)

	from, _ := smtp.ParsePath("<from@example.org>")
	var clients sync.WaitGroup
	begun := newBarrier(count)
	for n := range count {
		clients.Go(func() {
			to, _ := smtp.ParsePath(fmt.Sprintf("<to@d%d.example>", n))
			c, err := sender.Dial(t.Context(), s.addr, sender.Options{})
			if err != nil {
				t.Error(err)
				begun.pass()
				return
			}
			defer c.Close()
			// Each stops in its middle until all have come as far, so that all are under way at once.
			content := io.MultiReader(largeText(n, size/2), onRead(begun.pass), largeText(n, size-size/2))
			result, err := c.Send(t.Context(), sender.Envelope{From: from, To: []smtp.Path{to}}, content)
			if err != nil || !result.Outcomes[0].Reply.Positive() {
				t.Errorf("message %d: %v %v", n, result, err)
			}
		})
	}
	clients.Wait()
	accepted := peakMemory(t, s)
	eventually(t, "all messages reach the next host", 2*time.Minute, func() bool { return host.taken.Load() >= count })
	if n, size := host.taken.Load(), host.octets.Load(); n != count || size < count*50_000_000 {
		t.Errorf("%d messages with %d octets reached the next host", n, size)
	}
	if most := host.most.Load(); most != count {
		t.Errorf("only %d messages were sent on at once", most)
	}
	bodies := filepath.Join(dir, "data", "spool", "bodies")
	eventually(t, "the content leaves the disk", 20*time.Second, func() bool {
		left, err := os.ReadDir(bodies)
		return err == nil && len(left) == 0
	})
	sent := peakMemory(t, s)
	t.Logf("%d messages of %d octets at once: at most %d MiB at the start, %d MiB when all were accepted, %d MiB when all were sent",
		count, size, start>>20, accepted>>20, sent>>20)
	if sent >= limit {
		t.Errorf("at most %d MiB of memory, want less than %d", sent>>20, limit>>20)
	}
	s.stop()
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakMemory is the most memory, in octets, that a server had until now.
func peakMemory(t *testing.T, s *server) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	found := peakLine.FindSubmatch(b)
	if found == nil {
		t.Fatalf("no peak in %s", b)
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// largeText gives size octets of mail text that is made while it is read.
func largeText(seed int, size int64) io.Reader {
	line := fmt.Appendf(nil, "%072d of a long story\r\n", seed)
	return io.LimitReader(&repeated{line: bytes.Repeat(line, 100)}, size/int64(len(line))*int64(len(line))+int64(len(line)))
}

type repeated struct {
	line []byte
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.line[r.at:])
	r.at = (r.at + n) % len(r.line)
	return n, nil
}

// onRead is an empty reader that calls itself when it is read.
type onRead func()

func (f onRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// barrier lets all pass when the last has come, or after a minute.
type barrier struct {
	left atomic.Int32
	open chan struct{}
}

func newBarrier(n int32) *barrier {
	b := &barrier{open: make(chan struct{})}
	b.left.Store(n)
	return b
}

func (b *barrier) pass() {
	if b.left.Add(-1) == 0 {
		close(b.open)
	}
	select {
	case <-b.open:
	case <-time.After(time.Minute):
	}
}

// gate is a next host that counts octets and goes on with none of so many messages before all have begun.
type gate struct {
	all           *barrier
	now, most     atomic.Int32
	taken, octets atomic.Int64
}

func newGate(n int32) *gate { return &gate{all: newBarrier(n)} }

func (g *gate) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }
func (g *gate) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply { return smtp.Reply{} }

func (g *gate) Data(_ context.Context, _ *receiver.Session, content io.Reader) smtp.Reply {
	now := g.now.Add(1)
	defer g.now.Add(-1)
	for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); most = g.most.Load() {
	}
	head, err := io.CopyN(io.Discard, content, 1<<20)
	if err != nil {
		return smtp.Reply{}
	}
	g.all.pass()
	rest, err := io.Copy(io.Discard, content)
	if err != nil {
		return smtp.Reply{}
	}
	g.octets.Add(head + rest)
	g.taken.Add(1)
	return smtp.Reply{}
}
