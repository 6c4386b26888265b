package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	mailload "github.com/holub-mail/holub/internal/load"
)

// sinkFlags are the flags of `holub bench sink`.
type sinkFlags struct {
	listen    []string
	count     int
	secure    bool
	cert, key string
	failAt    string
	sink      *mailload.Sink
	json      bool
}

func benchSinkCommand() *cobra.Command {
	f := sinkFlags{sink: &mailload.Sink{}}
	cmd := &cobra.Command{
		Use:   "sink [--listen HOST:PORT]",
		Short: "Take messages over SMTP, count them and forget them",
		Long: "Take messages over SMTP, count them and forget them, until --count of them came, or until SIGINT or SIGTERM; then\n" +
			"say what came. The rate is that from the first message to the last.\n\n" +
			"With --ids it also says which messages of `holub bench source` are missing and which came twice; that holds for one\n" +
			"run of one source.\n\n" +
			"Exit codes: 0 all is counted, 75 it ended before --count messages came, 71 it can't listen, 64 wrong usage.",
		Example: "  holub bench sink --listen 127.0.0.1:2626 --count 5000 --ids",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return benchSink(ctx, f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags, s := cmd.Flags(), f.sink
	flags.StringSliceVar(&f.listen, "listen", []string{"127.0.0.1:2626"}, "address, HOST:PORT or unix:PATH; may be given several times")
	flags.IntVar(&f.count, "count", 0, "end after so many messages; 0: never")
	flags.BoolVar(&f.secure, "tls", false, "offer STARTTLS, with a certificate that nobody knows unless --tls-cert names one")
	flags.StringVar(&f.cert, "tls-cert", "", "file of the certificate (PEM)")
	flags.StringVar(&f.key, "tls-key", "", "file of its key (PEM)")
	flags.BoolVar(&s.NoPipelining, "no-pipelining", false, "do not offer PIPELINING")
	flags.BoolVar(&s.Chunking, "chunking", false, "offer CHUNKING")
	flags.DurationVar(&s.Delay, "delay", 0, "wait so long before the reply to a message")
	flags.IntVar(&s.Fail.Every, "fail-every", 0, "refuse every so many; 0: none")
	flags.StringVar(&f.failAt, "fail-at", "rcpt", "what is refused: rcpt or dot")
	flags.BoolVar(&s.Fail.ForGood, "fail-for-good", false, "refuse with 5yz instead of 4yz")
	flags.BoolVar(&s.IDs, "ids", false, "look for lost and repeated messages")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

func benchSink(ctx context.Context, f sinkFlags, out, errOut io.Writer) error {
	if err := f.complete(); err != nil {
		return exit(exUsage, err)
	}
	var listeners []net.Listener
	for _, addr := range f.listen {
		l, err := listenAt(addr)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return exit(exOSErr, err)
		}
		listeners = append(listeners, l)
		fmt.Fprintln(errOut, "holub: the sink listens on", addrName(l.Addr()))
	}
	serving, done := context.WithCancel(ctx)
	defer done()
	if f.count > 0 {
		awaited := make(chan struct{})
		go func() {
			defer close(awaited)
			f.sink.Await(serving, f.count)
			done()
		}()
		defer func() { done(); <-awaited }()
	}
	err := f.sink.Serve(serving, listeners...)
	report := newSinkReport(f.sink.Counts())
	switch {
	case err != nil:
		err = exit(exOSErr, err)
	case report.Messages < f.count:
		err = exit(exTempFail, fmt.Errorf("%d of %d messages came", report.Messages, f.count))
	}
	if f.json {
		return errors.Join(printJSON(out, report), err)
	}
	return errors.Join(printLines(out, report.lines(f.sink.IDs)), err)
}

// complete checks the flags and reads the certificate.
func (f sinkFlags) complete() error {
	switch {
	case f.failAt != "rcpt" && f.failAt != "dot":
		return fmt.Errorf("--fail-at is %q, not rcpt or dot", f.failAt)
	case f.sink.Fail.Every < 0 || f.count < 0 || f.sink.Delay < 0:
		return errors.New("--fail-every, --count and --delay must be at least 0")
	case (f.cert == "") != (f.key == ""):
		return errors.New("--tls-cert and --tls-key go together")
	}
	f.sink.Fail.AtDot = f.failAt == "dot"
	if !f.secure && f.cert == "" {
		return nil
	}
	var cert tls.Certificate
	var err error
	if f.cert != "" {
		cert, err = tls.LoadX509KeyPair(f.cert, f.key)
	} else {
		cert, err = throwawayCertificate("sink.load.invalid")
	}
	if err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	f.sink.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	return nil
}

// listenAt listens on HOST:PORT or unix:PATH.
func listenAt(addr string) (net.Listener, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	return net.Listen(network, addr)
}

// sinkReport is the result as JSON.
type sinkReport struct {
	Connections int     `json:"connections"`
	Messages    int     `json:"messages"`
	Recipients  int     `json:"recipients"`
	Refused     int     `json:"refused"`
	Octets      int64   `json:"octets"`
	Elapsed     float64 `json:"elapsed_ms"`
	Rate        float64 `json:"messages_per_second"`
	Lost        int     `json:"lost"`
	Repeated    int     `json:"repeated"`
	Foreign     int     `json:"foreign"`
	First       string  `json:"first,omitempty"`
	Last        string  `json:"last,omitempty"`
}

func newSinkReport(c mailload.Counts) sinkReport {
	elapsed := c.Last.Sub(c.First)
	r := sinkReport{
		Connections: c.Connections, Messages: c.Messages, Recipients: c.Recipients, Refused: c.Refused, Octets: c.Octets,
		Elapsed: ms(elapsed), Rate: perSecond(c.Messages-1, elapsed), Lost: c.Lost, Repeated: c.Repeated, Foreign: c.Foreign,
	}
	if !c.First.IsZero() {
		r.First, r.Last = c.First.UTC().Format(time.RFC3339Nano), c.Last.UTC().Format(time.RFC3339Nano)
	}
	return r
}

// lines is the result for people.
func (r sinkReport) lines(ids bool) []benchLine {
	lines := []benchLine{
		{"messages", fmt.Sprintf("%d, for %s, %d octets, in %.0f ms", r.Messages, counted(r.Recipients, "recipient"), r.Octets, r.Elapsed)},
		{"connections", fmt.Sprint(r.Connections)},
	}
	if r.Rate > 0 {
		lines = append(lines, benchLine{"rate", fmt.Sprintf("%.0f messages a second", r.Rate)})
	}
	if r.Refused > 0 {
		lines = append(lines, benchLine{"refused", fmt.Sprint(r.Refused)})
	}
	if ids {
		lines = append(lines, benchLine{"ids", fmt.Sprintf("%d lost, %d repeated, %d of other sources", r.Lost, r.Repeated, r.Foreign)})
	}
	return lines
}
