package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	startTime = 60 * time.Second // until a server answers; a traced one is slow
	stopTime  = 15 * time.Second // for a server to end by itself
	pollTime  = 20 * time.Millisecond
)

// Running is a server that runs. Its methods may be called by several goroutines, but for Stop.
type Running struct {
	Name   string
	Addr   string // where it listens
	Config string // what it was configured with, as Server.Config shows it

	dir    string // of the run
	trace  string // the file with the syncs; empty without
	queued func(context.Context) (int, error)
	group  *group        // the processes
	ended  chan struct{} // closed when the first process has ended
	end    error         // of the first process, once it has ended
	over   bool          // Stop was called
}

// Usage is what the processes of a server have used.
type Usage struct {
	User, System time.Duration // CPU time since the start, of those that have ended too
	Memory       int64         // octets now: the sum of their proportional shares (Pss), so what they share counts once
	Processes    int           // now
}

// CPU is the time on all cores.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// Usage gives what the server has used so far. Memory takes some microseconds per page table to count: with thousands of
// processes don't ask often.
func (r *Running) Usage() (Usage, error) {
	u, err := r.group.usage()
	if err != nil {
		return u, fmt.Errorf("what %s uses: %w", r.Name, err)
	}
	return u, nil
}

// Pids gives the processes of the server, with the one or two that hold it; none when it has ended.
func (r *Running) Pids() []int {
	pids, err := r.group.pids()
	if err != nil {
		return nil
	}
	return pids
}

// Queued counts what waits on its disk, in the server's own unit: messages for Postfix, Exim and OpenSMTPD, messages per domain
// for Haraka, recipients for holub. 0 means the same for all: everything is delivered.
func (r *Running) Queued(ctx context.Context) (int, error) {
	n, err := r.queued(ctx)
	if err != nil {
		return 0, fmt.Errorf("what waits in %s: %w", r.Name, err)
	}
	return n, nil
}

// Syncs gives how often each system call that syncs was made since the start, by its name. It needs Setup.Trace, and may be
// asked while the server runs.
func (r *Running) Syncs() (map[string]int, error) {
	if r.trace == "" {
		return nil, fmt.Errorf("the syncs of %s were not traced: set Setup.Trace", r.Name)
	}
	f, err := os.Open(r.trace)
	if err != nil {
		return nil, fmt.Errorf("the syncs of %s: %w", r.Name, err)
	}
	defer f.Close()
	return readTrace(f)
}

// Log gives the end of what the server wrote into its log files.
func (r *Running) Log() string {
	var b strings.Builder
	names, _ := filepath.Glob(filepath.Join(r.dir, "log", "*")) // the pattern is good
	slices.Sort(names)
	for _, name := range names {
		text, err := lastOf(name, 16<<10)
		if err != nil {
			text = err.Error()
		}
		if text = tail(text); text != "" {
			fmt.Fprintf(&b, "%s:\n%s\n", filepath.Base(name), text)
		}
	}
	return strings.TrimSpace(b.String())
}

// lastOf gives the last octets of a file.
func lastOf(name string, most int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	skip := max(0, st.Size()-most)
	text := make([]byte, st.Size()-skip)
	n, err := f.ReadAt(text, skip)
	if n == len(text) {
		err = nil
	}
	return string(text[:n]), err
}

// Stop ends the server with everything it started, and returns when all is gone. It gives an error, with the server's log, where
// it had ended before or did not end when it was told to. A second Stop does nothing.
func (r *Running) Stop() error {
	if r.over {
		return nil
	}
	r.over = true
	var problem error
	select {
	case <-r.ended:
		problem = fmt.Errorf("%s had ended before it was told to (%v); its log:\n%s", r.Name, r.end, r.Log())
	default:
		problem = r.ask()
	}
	if err := r.group.finish(stopTime); err != nil {
		return errors.Join(problem, fmt.Errorf("end %s: %w", r.Name, err))
	}
	<-r.ended
	return problem
}

// ask tells the server to end, and gives it time.
func (r *Running) ask() error {
	if err := r.group.terminate(); err != nil {
		return fmt.Errorf("tell %s to end: %w", r.Name, err)
	}
	patience := time.NewTimer(stopTime)
	defer patience.Stop()
	select {
	case <-r.ended:
		return nil
	case <-patience.C:
		return fmt.Errorf("%s did not end within %v and was killed; its log:\n%s", r.Name, stopTime, r.Log())
	}
}

// await waits for the greeting.
func (r *Running) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		said := greets(ctx, r.Addr)
		if said == nil {
			return nil
		}
		select {
		case <-r.ended:
			return fmt.Errorf("it ended at once (%v); its log:\n%s", r.end, r.Log())
		case <-ctx.Done():
			return fmt.Errorf("it gives no 220 at %s: %w; its log:\n%s", r.Addr, said, r.Log())
		case <-tick.C:
		}
	}
}

// greets tells that a server answers with 220, and takes its leave.
func greets(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "220") {
		return fmt.Errorf("it says %q", strings.TrimSpace(line))
	}
	if _, err := conn.Write([]byte("QUIT\r\n")); err != nil {
		return err
	}
	_, err = in.ReadString('\n')
	return err
}
