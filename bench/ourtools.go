package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/holub-mail/holub/internal/load"
)

// sender is who all mail comes from.
const sender = "from@source.example"

// ourtools are the Source and the Sink of internal/load. Each runs as this same program with another first argument, so
// that its processor time is its own: "source" with a batch in JSON on its standard input, "sink" with sinkOptions as second argument.
type ourtools struct {
	program string // this program's file
}

func newOurtools() (*ourtools, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the file of this program: %w", err)
	}
	return &ourtools{program}, nil
}

func (o *ourtools) name() string { return "holub bench" }

func (o *ourtools) can(w work) bool { return !w.idle }

func (o *ourtools) send(ctx context.Context, b batch) (sent, error) {
	words, err := json.Marshal(b)
	if err != nil {
		return sent{}, fmt.Errorf("describe the mail to the source: %w", err)
	}
	cmd := exec.CommandContext(ctx, o.program, "source", "-")
	cmd.Stdin = bytes.NewReader(words) // ten thousand domains are too long for an argument
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return sent{}, fmt.Errorf("the source: %w: %s", err, short(said.String()))
	}
	var s sent
	if err := json.Unmarshal(out, &s); err != nil {
		return sent{}, fmt.Errorf("the source said %q: %w", short(string(out)), err)
	}
	s.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return s, nil
}

// runSource is the program of a source: it sends a batch and writes what became of it.
func runSource(ctx context.Context, in io.Reader, out io.Writer) error {
	var b batch
	if err := json.NewDecoder(in).Decode(&b); err != nil {
		return fmt.Errorf("understand what to send: %w", err)
	}
	source := &load.Source{Addr: b.Addr, Sessions: b.Sessions, Messages: b.Messages, Size: b.Size, Recipients: b.Recipients,
		Domains: b.Domains, From: sender, Pipelining: b.Pipelining, Retries: -1}
	if b.PerConnection {
		source.PerConn = 1
	}
	if b.TLS {
		source.TLS = &tls.Config{InsecureSkipVerify: true} // it is this machine, and verifying is not what is measured
	}
	s, err := source.Run(ctx)
	if err != nil {
		return fmt.Errorf("send (the first failure of a session: %w): %w", orNone(s.FirstError), err)
	}
	if s.Messages != b.Messages || s.Failed > 0 || len(s.Refused) > 0 {
		return fmt.Errorf("the server took %d of %d messages, and refused: %v", s.Messages, b.Messages, s.Refused)
	}
	return json.NewEncoder(out).Encode(sent{Elapsed: s.Elapsed, P50: s.P50, P99: s.P99})
}

func orNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

// oursink is a running sink. It answers each line on its standard input with its count, and ends with the input.
type oursink struct {
	cmd  *exec.Cmd
	ask  io.WriteCloser
	said *bufio.Reader
}

func (o *ourtools) sink(ctx context.Context, options sinkOptions) (sink, error) {
	words, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("describe the sink: %w", err)
	}
	s := &oursink{cmd: exec.CommandContext(ctx, o.program, "sink", string(words))}
	s.cmd.Stderr = os.Stderr
	s.cmd.WaitDelay = 5 * time.Second
	var out io.ReadCloser
	if s.ask, err = s.cmd.StdinPipe(); err == nil {
		out, err = s.cmd.StdoutPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the sink: %w", err)
	}
	s.said = bufio.NewReader(out)
	if _, err := s.recipients(); err != nil { // it answers when it listens
		return nil, errors.Join(fmt.Errorf("start the sink: %w", err), s.stop())
	}
	return s, nil
}

func (s *oursink) recipients() (int, error) {
	if _, err := io.WriteString(s.ask, "\n"); err != nil {
		return 0, fmt.Errorf("ask the sink: %w", err)
	}
	line, err := s.said.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the sink does not answer: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

func (s *oursink) cpu() (time.Duration, error) { return cpuTime(s.cmd.Process.Pid) }

func (s *oursink) stop() error {
	if err := errors.Join(s.ask.Close(), s.cmd.Wait()); err != nil {
		return fmt.Errorf("stop the sink: %w", err)
	}
	return nil
}

// runSink is the program of a sink: it serves until its input ends, and answers each line with its count of recipients.
func runSink(ctx context.Context, words string, in io.Reader, out io.Writer) error {
	var o sinkOptions
	if err := json.Unmarshal([]byte(words), &o); err != nil {
		return fmt.Errorf("understand where to listen: %w", err)
	}
	s := &load.Sink{}
	if o.TLS != nil {
		cert, err := tls.LoadX509KeyPair(o.TLS.Cert, o.TLS.Key)
		if err != nil {
			return fmt.Errorf("read the sink's certificate: %w", err)
		}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	var config net.ListenConfig
	if strings.HasPrefix(o.Addr, "0.0.0.0:") { // for many sites, all of which are on this machine
		config.Control = onLoopback
	}
	l, err := config.Listen(ctx, "tcp4", o.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	lines := bufio.NewScanner(in)
	for lines.Scan() && err == nil {
		_, err = fmt.Fprintln(out, s.Counts().Recipients)
	}
	cancel()
	return errors.Join(err, lines.Err(), <-served)
}
