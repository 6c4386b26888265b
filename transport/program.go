package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Times and sizes of programs.
const (
	DefaultGrace       = 2 * time.Second
	DefaultStderrLimit = 4 << 10

	settleTime = 500 * time.Millisecond // between the end of a program's output and the end of the program
)

// ProgramError says that a program ended before its connection was closed.
type ProgramError struct {
	Program Endpoint
	State   string // how it ended, such as "exit status 255"
	Stderr  string // the last of what it wrote to standard error
	Err     error  // an *exec.ExitError where the program failed, else what the read or write met
}

// Error tells the program, how it ended, and what it wrote to standard error, which is quoted.
func (e *ProgramError) Error() string {
	s := fmt.Sprintf("transport: the program of %q ended early (%s)", e.Program.String(), e.State)
	if e.Stderr != "" {
		s += fmt.Sprintf(", saying %q", e.Stderr)
	}
	return s
}

// Unwrap gives Err.
func (e *ProgramError) Unwrap() error { return e.Err }

// program is a connection to the input and output of a program of ours.
type program struct {
	*stream
	cmd     *exec.Cmd
	addr    Endpoint
	grace   time.Duration
	stderr  tail
	ended   chan struct{} // closed when the program is reaped; exitErr is set then
	exitErr error
	closing chan struct{}
	isClose atomic.Bool
}

// dialProgram starts e's program in a process group of its own. The context counts only for the start.
func dialProgram(ctx context.Context, e Endpoint, opts DialOptions) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		ourOut.Close()
		return nil, err
	}
	defer theirOut.Close()

	p := &program{
		addr: e, grace: orDefault(opts.Grace, DefaultGrace),
		ended: make(chan struct{}), closing: make(chan struct{}),
	}
	p.stderr.limit = orDefault(opts.StderrLimit, DefaultStderrLimit)
	p.cmd = exec.Command(e.Args[0], e.Args[1:]...)
	p.cmd.Dir, p.cmd.Env = opts.Dir, opts.Env
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirIn, theirOut, &p.stderr
	p.cmd.WaitDelay = settleTime // children of the program may keep its standard error open
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		ourIn.Close()
		ourOut.Close()
		return nil, fmt.Errorf("start the program: %w; is it installed, and in the PATH of this process?", err)
	}
	p.stream = newStream(ourIn, ourOut, e, e)
	go p.reap()
	return p, nil
}

func (p *program) reap() {
	if err := p.cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
		p.exitErr = err
	}
	close(p.ended)
}

func (p *program) Read(b []byte) (int, error) {
	n, err := p.stream.Read(b)
	if err == io.EOF {
		p.settle()
		if p.failed() {
			return n, p.early(err)
		}
	}
	return n, err
}

func (p *program) Write(b []byte) (int, error) {
	n, err := p.stream.Write(b)
	var late net.Error
	if err == nil || errors.Is(err, net.ErrClosed) || errors.As(err, &late) && late.Timeout() {
		return n, err
	}
	if p.settle() {
		err = p.early(err)
	}
	return n, err
}

// settle waits a little for the end of a program whose output has ended, and tells whether it came.
func (p *program) settle() bool {
	wait := time.NewTimer(settleTime)
	defer wait.Stop()
	select {
	case <-p.ended:
		return !p.isClose.Load()
	case <-p.closing:
	case <-wait.C:
	}
	return false
}

// failed tells that the program is over, was not ended by Close, and was not content.
func (p *program) failed() bool {
	select {
	case <-p.ended:
		return p.exitErr != nil && !p.isClose.Load()
	default:
		return false
	}
}

// early makes the error of a program that is over; met is what the read or write got.
func (p *program) early(met error) error {
	e := &ProgramError{Program: p.addr, State: p.cmd.ProcessState.String(), Stderr: p.stderr.String(), Err: p.exitErr}
	if e.Err == nil {
		e.Err = met
	}
	return e
}

// Close closes the program's input and output, waits for its end, kills its process group when it takes longer than
// the grace, and reaps it. A program that ends badly then is no error.
func (p *program) Close() error {
	if p.isClose.Swap(true) {
		return p.wrap("close", net.ErrClosed)
	}
	close(p.closing)
	err := p.stream.Close()
	wait := time.NewTimer(p.grace)
	defer wait.Stop()
	select {
	case <-p.ended:
	case <-wait.C:
		killGroup(p.cmd)
		<-p.ended
	}
	return err
}

// tail keeps the last octets written to it.
type tail struct {
	mu    sync.Mutex
	limit int
	data  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p[max(0, len(p)-t.limit):]...)
	t.data = t.data[max(0, len(t.data)-t.limit):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.data))
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
