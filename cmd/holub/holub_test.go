package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// asHolub makes the test binary be holub, so that the tests run the real program in a process of its own, with the race
// detector in it.
const asHolub = "HOLUB_TEST_RUN_AS_HOLUB"

func TestMain(m *testing.M) {
	if os.Getenv(asHolub) != "" {
		os.Exit(run(os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){"holub": func() { os.Exit(run(os.Args[1:])) }})
}

// server is a holub that serves in a process of its own.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string // of its first listener
	log  *lockedBuffer
	done chan struct{} // closed when the process has ended
}

// startServer runs `holub serve -c` with a configuration, in front of which it may put another program (strace). The
// process ends with the test.
func startServer(t *testing.T, dir, toml string, wrapper ...string) *server {
	t.Helper()
	file := filepath.Join(dir, "holub.toml")
	if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(wrapper, os.Args[0], "serve", "-c", file)
	s := &server{t: t, cmd: exec.Command(args[0], args[1:]...), log: &lockedBuffer{}, done: make(chan struct{})}
	s.cmd.Dir = dir
	s.cmd.Env = append(os.Environ(), asHolub+"=1")
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	lines := bufio.NewReader(out)
	first, readErr := lines.ReadString('\n')
	go func() {
		io.Copy(io.Discard, lines)
		s.cmd.Wait()
		close(s.done)
	}()
	if _, err := fmt.Sscanf(first, "holub listens on %s", &s.addr); err != nil {
		<-s.done
		t.Fatalf("holub did not start: %v %q\n%s", errors.Join(err, readErr), first, s.log)
	}
	s.addr = strings.TrimSuffix(s.addr, ",")
	return s
}

// kill ends the process at once, with no chance to tidy up.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// end ends the process gently, or at once where it does not end within a second: attempts that hang get their grace.
func (s *server) end() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(time.Second):
		s.kill()
	}
}

// stop ends the process gently and fails the test unless it exits with 0.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		s.t.Fatalf("holub did not stop within 30 s\n%s", s.log)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Fatalf("holub ended with %d\n%s", code, s.log)
	}
}

// lockedBuffer is a buffer that a process writes while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually waits until a condition of another process holds.
func eventually(t *testing.T, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(limit)
	for !holds() {
		if now := <-tick.C; now.After(end) {
			t.Fatalf("after %v still not: %s", limit, what)
		}
	}
}

// taken is a message that a sink took.
type taken struct {
	from    smtp.Path
	to      []smtp.Path
	content string
}

// sink is a next host: it takes every message and tells the test. Local parts decide on refusals: "refuse..." gets 550.
type sink struct {
	addr string
	take func(taken)
	mu   sync.Mutex
	all  []taken
}

// startSink runs a sink on a loopback address; take, if any, is told of each message instead of keeping it.
func startSink(t *testing.T, address string, take func(taken)) *sink {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: l.Addr().String(), take: take}
	srv := &receiver.Server{Hostname: "sink.example", Handler: s}
	go srv.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
	})
	return s
}

func (s *sink) port() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// messages gives what was taken so far.
func (s *sink) messages() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]taken(nil), s.all...)
}

func (s *sink) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }

func (s *sink) Rcpt(_ context.Context, _ *receiver.Session, r smtp.Rcpt) smtp.Reply {
	if strings.HasPrefix(r.To.Local, "refuse") {
		return smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "No such mailbox here")
	}
	return smtp.Reply{}
}

func (s *sink) Data(_ context.Context, session *receiver.Session, content io.Reader) smtp.Reply {
	b, err := io.ReadAll(content)
	if err != nil {
		return smtp.Reply{}
	}
	m := taken{from: session.Mail().From, content: string(b)}
	for _, r := range session.Recipients() {
		m.to = append(m.to, r.To)
	}
	if s.take != nil {
		s.take(m)
		return smtp.Reply{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, m)
	return smtp.Reply{}
}
