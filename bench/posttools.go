package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/holub-mail/holub/bench/peer"
)

// posttools are Postfix's smtp-source and smtp-sink, run in the root that the server Postfix is installed in.
type posttools struct{ root string }

// newPosttools installs Postfix into the cache where it is not there yet.
func newPosttools(ctx context.Context, cache string) (*posttools, error) {
	all, err := peer.ByName(cache, "postfix")
	if err == nil {
		_, err = all[0].Install(ctx)
	}
	if err == nil && cache == "" {
		cache, err = os.UserCacheDir()
		cache = filepath.Join(cache, "holub-bench")
	}
	p := &posttools{filepath.Join(cache, runtime.GOARCH+"-postfix", "root")}
	if err == nil {
		_, err = os.Stat(filepath.Join(p.root, "usr/sbin/smtp-source"))
	}
	if err != nil {
		return nil, fmt.Errorf("get smtp-source and smtp-sink (or use --generator holub): %w", err)
	}
	return p, nil
}

func (p *posttools) name() string { return "smtp-source" }

// can: they know no TLS and send to one domain, and the sink counts messages and not recipients.
func (p *posttools) can(w work) bool {
	return !w.tls && !w.idle && w.recipients <= 1 && w.domains <= 1 && !w.sites
}

// command is a call of one of the tools.
func (p *posttools) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/usr/sbin/"+name, args...)
	cmd.Env, cmd.Dir = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin"}, "/"
	enterRoot(cmd, p.root)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (p *posttools) send(ctx context.Context, b batch) (sent, error) {
	args := []string{"-s", strconv.Itoa(b.Sessions), "-m", strconv.Itoa(b.Messages), "-l", strconv.Itoa(b.Size),
		"-f", sender, "-t", "user1@" + b.Domains[0]}
	if !b.PerConnection {
		args = append(args, "-d")
	}
	cmd := p.command(ctx, "smtp-source", append(args, b.Addr)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	err := cmd.Run()
	elapsed := time.Since(began)
	if err == nil && said.Len() > 0 { // it tells of refusals, and goes on
		err = errors.New("it complained")
	}
	if err != nil {
		return sent{}, fmt.Errorf("smtp-source: %w: %s", err, short(said.String()))
	}
	return sent{Elapsed: elapsed, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// postsink is a running smtp-sink. It writes its counters to a file after every message, in memory where there is such a
// file system: a reader of a pipe would be woken for each.
type postsink struct {
	cmd    *exec.Cmd
	counts *os.File
	said   *bytes.Buffer
	ended  chan struct{} // closed at its end
}

func (p *posttools) sink(ctx context.Context, o sinkOptions) (sink, error) {
	if o.TLS != nil {
		return nil, errors.New("smtp-sink knows no TLS")
	}
	counts, err := inMemory()
	if err != nil {
		return nil, fmt.Errorf("make a file for the counts of smtp-sink: %w", err)
	}
	s := &postsink{cmd: p.command(ctx, "smtp-sink", "-c", o.Addr, "1000"), counts: counts, said: &bytes.Buffer{}}
	s.cmd.Stdout, s.cmd.Stderr = counts, s.said
	asNobody(s.cmd) // it refuses to stay root
	if err := s.spawn(); err != nil {
		return nil, errors.Join(fmt.Errorf("start smtp-sink: %w", err), s.forget())
	}
	if err := answers(ctx, o.Addr); err != nil {
		return nil, errors.Join(fmt.Errorf("start smtp-sink: %w", err), s.stop(), errors.New(short(s.said.String())))
	}
	return s, nil
}

// spawn starts the sink and waits for its end in the background.
func (s *postsink) spawn() error {
	s.ended = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Linux ends the sink with the thread that started it
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // it is always killed
			close(s.ended)
		}
	}()
	return <-started
}

// inMemory makes a file that no disk is asked for, where the system has such a place.
func inMemory() (*os.File, error) {
	if f, err := os.CreateTemp("/dev/shm", "holub-bench-*"); err == nil {
		return f, nil
	}
	return os.CreateTemp("", "holub-bench-*")
}

// recipients reads the last counters that the sink wrote: "sess=3 quit=3 mesg=20", each ended by CR.
func (s *postsink) recipients() (int, error) {
	end, err := s.counts.Seek(0, io.SeekCurrent) // where the sink writes: the place is shared with it
	if err != nil {
		return 0, fmt.Errorf("read the counters of smtp-sink: %w", err)
	}
	tail := make([]byte, min(end, 256))
	if _, err := s.counts.ReadAt(tail, end-int64(len(tail))); err != nil && err != io.EOF {
		return 0, fmt.Errorf("read the counters of smtp-sink: %w", err)
	}
	return countedMessages(string(tail))
}

// countedMessages finds the number of messages in the last whole counters of the text; 0 before there are any.
func countedMessages(text string) (int, error) {
	end := strings.LastIndexByte(text, '\r')
	if end < 0 {
		return 0, nil
	}
	last := text[strings.LastIndexByte(text[:end], '\r')+1 : end]
	_, digits, _ := strings.Cut(last, "mesg=")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("smtp-sink counts in a way that is not known: %q", last)
	}
	return n, nil
}

func (s *postsink) cpu() (time.Duration, error) { return cpuTime(s.cmd.Process.Pid) }

// stop ends the sink, which knows no better way than a signal.
func (s *postsink) stop() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop smtp-sink: %w", err)
	}
	<-s.ended
	return s.forget()
}

// forget removes the file of the counts.
func (s *postsink) forget() error { return errors.Join(s.counts.Close(), os.Remove(s.counts.Name())) }

// short is the first part of what a program said.
func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), 400)], "")
}

// lastOf is the last part of a text, in one line and at most n octets long.
func lastOf(text string, n int) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[max(0, len(text)-n):], "")
}
