package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	mailload "github.com/holub-mail/holub/internal/load"
	"github.com/holub-mail/holub/smtp"
)

// maxDomains is how many domains --domains N makes at most.
const maxDomains = 1e6

// sourceFlags are the flags of `holub bench source`.
type sourceFlags struct {
	source  mailload.Source
	size    sizeFlag
	domains []string
	secure  bool
	json    bool
}

func benchSourceCommand() *cobra.Command {
	f := sourceFlags{size: 4096}
	cmd := &cobra.Command{
		Use:   "source --to HOST:PORT",
		Short: "Send messages to an SMTP server as fast as it takes them",
		Long: "Send messages to an SMTP server as fast as it takes them, in several sessions at once, and say how long it took.\n" +
			"A message counts from before its MAIL until after the reply to its final dot. What is refused is counted and not\n" +
			"tried again; a connection that breaks is made again, and its message sent again.\n\n" +
			"Exit codes: 0 all was accepted, 75 some was refused for now or could not be sent, 69 some was refused for good,\n" +
			"64 wrong usage.",
		Example: "  holub bench source --to 127.0.0.1:2525 --sessions 20 --messages 5000 --size 4KiB --pipelining\n" +
			"  holub bench source --to 127.0.0.1:2525 --sessions 1000 --idle 1m",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return benchSource(ctx, f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.source.Addr, "to", "127.0.0.1:2525", "server, HOST:PORT or unix:PATH")
	flags.IntVar(&f.source.Sessions, "sessions", 1, "sessions at once")
	flags.IntVar(&f.source.Messages, "messages", 1, "messages, all together")
	flags.Var(&f.size, "size", "octets of a message with its header, such as 4KiB")
	flags.IntVar(&f.source.Recipients, "recipients", 1, "recipients of each message")
	flags.StringSliceVar(&f.domains, "domains", nil, "domains of the recipients: names, or a number for d1.bench.example and so on")
	flags.StringVar(&f.source.From, "from", "", "reverse-path")
	flags.IntVar(&f.source.PerConn, "per-connection", 0, "messages on one connection; 0: all")
	flags.BoolVar(&f.source.Pipelining, "pipelining", false, "send MAIL, RCPT and DATA in one write where it is offered")
	flags.BoolVar(&f.secure, "tls", false, "STARTTLS first; the certificate is not verified")
	flags.DurationVar(&f.source.Idle, "idle", 0, "send nothing, but keep the sessions open for so long, such as 1m")
	flags.IntVar(&f.source.Retries, "retries", 3, "how often in a row a session connects again after a failure; 0: never")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

func benchSource(ctx context.Context, f sourceFlags, out, errOut io.Writer) error {
	s, err := f.complete(errOut)
	if err != nil {
		return exit(exUsage, err)
	}
	sent, err := s.Run(ctx)
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && sent.Elapsed == 0: // no address now, and maybe one later
		return exit(exTempFail, err)
	case err != nil && sent.Elapsed == 0: // nothing was begun
		return exit(exUsage, err)
	}
	report := newSourceReport(sent)
	if f.json {
		err = errors.Join(printJSON(out, report), exit(exTempFail, err))
	} else {
		err = errors.Join(printLines(out, report.lines(s)), exit(exTempFail, err))
	}
	if err == nil && sent.Failed+len(sent.Refused) > 0 {
		code := exTempFail
		for text := range sent.Refused {
			if strings.HasPrefix(text, "5") {
				code = exUnavailable
			}
		}
		return exit(code, fmt.Errorf("%s refused a part; %d of %d messages were accepted", s.Addr, sent.Messages, s.Messages))
	}
	return err
}

// complete checks the flags that the Source does not check.
func (f sourceFlags) complete(errOut io.Writer) (*mailload.Source, error) {
	s := f.source
	s.Size = int(f.size)
	var err error
	if s.Domains, err = benchDomains(f.domains); err != nil {
		return nil, fmt.Errorf("--domains: %w", err)
	}
	if s.From != "" {
		from, err := parseAddress(s.From)
		if err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
		s.From = strings.Trim(from.String(), "<>")
	}
	if s.PerConn < 0 || s.Idle < 0 {
		return nil, errors.New("--per-connection and --idle must be at least 0")
	}
	if s.Sessions < 1 || s.Messages < 1 || s.Recipients < 1 { // to a Source 0 is the default
		return nil, errors.New("--sessions, --messages and --recipients must be at least 1")
	}
	if s.Retries == 0 { // which is the default of a Source
		s.Retries = -1
	}
	if err := checkServer(s.Addr); err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	if f.secure {
		host, _, _ := net.SplitHostPort(s.Addr)
		s.TLS = &tls.Config{ServerName: host, InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	}
	if s.Idle > 0 {
		s.Opened = func() { fmt.Fprintln(errOut, "holub: the sessions are open") }
	}
	return &s, nil
}

// checkServer refuses what is no HOST:PORT or unix:PATH, whether there is such a host or not.
func checkServer(addr string) error {
	if strings.HasPrefix(addr, "unix:") {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("the server's address: %w", err)
	}
	return nil
}

// benchDomains gives the names of --domains, or as many as it says.
func benchDomains(names []string) ([]string, error) {
	if len(names) == 1 {
		if n, err := strconv.Atoi(names[0]); err == nil {
			if n < 1 || n > maxDomains {
				return nil, fmt.Errorf("%d is not from 1 to %d", n, int(maxDomains))
			}
			made := make([]string, n)
			for i := range made {
				made[i] = fmt.Sprintf("d%d.bench.example", i+1)
			}
			return made, nil
		}
	}
	for _, name := range names {
		if _, err := smtp.ParseDomain(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// sourceReport is the result as JSON.
type sourceReport struct {
	Messages   int            `json:"messages"`
	Recipients int            `json:"recipients"`
	Failed     int            `json:"failed"`
	Refused    map[string]int `json:"refused,omitempty"`
	Octets     int64          `json:"octets"`
	Sessions   int            `json:"connections"`
	Reconnects int            `json:"reconnects"`
	Doubtful   int            `json:"doubtful"`
	Elapsed    float64        `json:"elapsed_ms"`
	Rate       float64        `json:"messages_per_second"`
	P50        float64        `json:"p50_ms"`
	P90        float64        `json:"p90_ms"`
	P99        float64        `json:"p99_ms"`
	Longest    float64        `json:"max_ms"`
	FirstError string         `json:"first_error,omitempty"`
}

func newSourceReport(sent mailload.Sent) sourceReport {
	r := sourceReport{
		Messages: sent.Messages, Recipients: sent.Recipients, Failed: sent.Failed, Refused: sent.Refused, Octets: sent.Octets,
		Sessions: sent.Sessions, Reconnects: sent.Reconnects, Doubtful: sent.Doubtful, Elapsed: ms(sent.Elapsed),
		Rate: perSecond(sent.Messages, sent.Elapsed), P50: ms(sent.P50), P90: ms(sent.P90), P99: ms(sent.P99), Longest: ms(sent.Longest),
	}
	if sent.FirstError != nil {
		r.FirstError = sent.FirstError.Error()
	}
	return r
}

// lines is the result for people.
func (r sourceReport) lines(s *mailload.Source) []benchLine {
	lines := []benchLine{
		{"messages", fmt.Sprintf("%d of %d accepted, for %s, in %.0f ms", r.Messages, s.Messages, counted(r.Recipients, "recipient"), r.Elapsed)},
		{"rate", fmt.Sprintf("%.0f messages a second", r.Rate)},
		{"latency", fmt.Sprintf("p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", r.P50, r.P90, r.P99, r.Longest)},
	}
	if r.Messages == 0 {
		lines = lines[:1]
	}
	if s.Idle > 0 {
		lines = []benchLine{{"sessions", fmt.Sprintf("%d of %d opened, kept for %v", r.Sessions, s.Sessions, s.Idle)}}
	} else {
		lines = append(lines, benchLine{"connections", fmt.Sprint(r.Sessions)})
	}
	for _, text := range slices.SortedFunc(maps.Keys(r.Refused), func(a, b string) int {
		return cmp.Or(r.Refused[b]-r.Refused[a], strings.Compare(a, b))
	}) {
		lines = append(lines, benchLine{"refused", fmt.Sprintf("%d times: %s", r.Refused[text], text)})
	}
	if r.Reconnects+r.Doubtful > 0 {
		lines = append(lines, benchLine{"reconnects", fmt.Sprintf("%d, of them %d after a final dot", r.Reconnects, r.Doubtful)})
	}
	return append(lines, benchLine{"first error", r.FirstError})
}
