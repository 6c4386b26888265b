package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holub-mail/holub/bench/peer"
	"github.com/holub-mail/holub/bench/report"
)

const usage = `bench holds holub beside other mail servers on this machine. Run it as root on Debian: Postfix, Exim and OpenSMTPD
are each installed into a root of its own, and nothing outside of the cache folder. Without root, leave them out with
--servers holub.

    go run ./bench [FLAGS]               install the servers, run them in turn, print the table
    go run ./bench curves [FLAGS]        how the cost of a message grows; files go below --out
    go run ./bench show FILE [FLAGS]     print a report again that --json wrote
    go run ./bench config [FLAGS]        print the configurations that servers run with
    go run ./bench help                  this text

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// command runs one command line. What is measured goes to out, how it goes on to log.
func command(ctx context.Context, args []string, out, log io.Writer) error {
	word := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		word, args = args[0], args[1:]
	}
	switch word {
	case "":
		return compareCommand(ctx, args, out, log)
	case "curves":
		return curvesCommand(ctx, args, out, log)
	case "show":
		return showCommand(args, out, log)
	case "config":
		return configCommand(args, out, log)
	case "help":
		return helpCommand(out)
	case "source", "sink": // not for people: see ourtools
		if len(args) != 1 {
			return fmt.Errorf("%s wants one argument; it is for this program itself, people have `holub bench %s`", word, word)
		}
		if word == "source" {
			return runSource(ctx, os.Stdin, out)
		}
		return runSink(ctx, args[0], os.Stdin, out)
	}
	return fmt.Errorf("there is no command %q; see go run ./bench help", word)
}

// settings are the values of all flags.
type settings struct {
	servers, works, curves string
	generator, dir, cache  string
	out                    string
	files                  outputs
	quick, noLimits        bool
	plan                   plan
}

// outputs are the files that a report is written to, besides standard output; "" for none.
type outputs struct{ json, svg, markdown string }

func newFlags(name string, log io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(log)
	f.Usage = func() {
		_ = overview(log) // there is no better place to tell of a failure
		fmt.Fprintf(log, "\nFlags of %s:\n", name)
		f.PrintDefaults()
	}
	return f
}

// running are the flags of the commands that measure.
func (s *settings) running(f *flag.FlagSet, servers string, rounds int, seconds float64) {
	f.StringVar(&s.servers, "servers", servers, "the servers, separated by commas, which must all be there; "+
		"\"all\" for every one that is known, without those that can't be installed; those of Debian need root")
	f.StringVar(&s.generator, "generator", "auto",
		"who sends and takes the mail: smtp-source (Postfix's tools), holub (those of internal/load), or auto, which is "+
			"smtp-source where it can do the work; works that it can't do are always holub's")
	f.StringVar(&s.dir, "dir", "", "folder on a real disk, in which the queues get a folder of their own that is removed at the end "+
		"(default: holub-bench/run in the user's cache folder)")
	f.StringVar(&s.cache, "cache", "", "folder that servers are installed into (default: holub-bench in the user's cache folder)")
	f.BoolVar(&s.plan.pipelining, "pipelining", false, "holub's source sends MAIL, RCPT and DATA in one write (smtp-source never does)")
	f.IntVar(&s.plan.rounds, "rounds", rounds, "how often each server does each work")
	f.Float64Var(&s.plan.seconds, "seconds", seconds, "how long a run should take; the number of messages follows from it")
	f.IntVar(&s.plan.messages, "messages", 0, "messages of a run, whatever it takes (default: by --seconds)")
	f.DurationVar(&s.plan.patience, "patience", 30*time.Second, "a run fails when no message arrives for so long")
	f.DurationVar(&s.plan.longest, "timeout", 5*time.Minute, "a run fails when it takes longer, with its start and warm-up")
}

func (o *outputs) flags(f *flag.FlagSet) {
	f.StringVar(&o.json, "json", "", "write every run to this file, for programs and for show")
	f.StringVar(&o.svg, "svg", "", "write a bar chart to this file")
	f.StringVar(&o.markdown, "markdown", "", "write the table to this file, for docs/performance.md")
}

func (s *settings) compareFlags(log io.Writer) *flag.FlagSet {
	f := newFlags("bench", log)
	s.running(f, "all", 5, 5)
	f.StringVar(&s.works, "works", "", "the works, separated by commas (default: all)")
	f.IntVar(&s.plan.trace, "trace", 500, "messages of the run whose syncs are counted; 0 leaves it out")
	f.BoolVar(&s.noLimits, "no-limits", false, "don't measure what the machine does without a server")
	s.files.flags(f)
	return f
}

func (s *settings) curvesFlags(log io.Writer) *flag.FlagSet {
	f := newFlags("bench curves", log)
	s.running(f, "holub", 3, 3)
	f.StringVar(&s.curves, "curves", "", "the curves, separated by commas (default: all)")
	f.BoolVar(&s.quick, "quick", false, "fewer points and short runs, some ten minutes all together")
	f.StringVar(&s.out, "out", filepath.Join("docs", "performance"), "folder for the files of each curve: NAME.json, NAME.svg, "+
		"NAME.md; with --quick they are written only where --out is given")
	return f
}

func (s *settings) showFlags(log io.Writer) *flag.FlagSet {
	f := newFlags("bench show", log)
	s.files.flags(f)
	return f
}

func (s *settings) configFlags(log io.Writer) *flag.FlagSet {
	f := newFlags("bench config", log)
	f.StringVar(&s.servers, "servers", "all", "the servers, separated by commas")
	f.StringVar(&s.works, "works", "relay", "the works whose configurations are shown, separated by commas")
	f.StringVar(&s.cache, "cache", "", "folder that servers are installed into")
	return f
}

func parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s takes no argument %q", f.Name(), f.Arg(0))
	}
	return nil
}

// overview lists the commands, the works and the curves.
func overview(out io.Writer) error {
	var b strings.Builder
	b.WriteString(usage + "Works:\n")
	for _, w := range works {
		fmt.Fprintf(&b, "  %-11s %s\n", w.name, w.title)
	}
	b.WriteString("\nCurves:\n")
	for _, c := range curves {
		fmt.Fprintf(&b, "  %-11s %s\n", c.name, c.title)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func helpCommand(out io.Writer) error {
	if err := overview(out); err != nil {
		return err
	}
	var s settings
	for _, f := range []*flag.FlagSet{s.compareFlags(out), s.curvesFlags(out), s.showFlags(out), s.configFlags(out)} {
		fmt.Fprintf(out, "\nFlags of %s:\n", f.Name())
		f.PrintDefaults()
	}
	return nil
}

// names cuts a list of flags; nil for an empty one.
func names(list string) []string {
	var all []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}

func pickServers(cache, list string) ([]peer.Server, error) {
	if list == "all" {
		return peer.All(cache), nil
	}
	picked, err := peer.ByName(cache, names(list)...)
	if err == nil && len(picked) == 0 {
		err = errors.New("name at least one server with --servers")
	}
	return picked, err
}

// check refuses numbers that make no sense.
func (p plan) check() error {
	if p.rounds < 1 || p.seconds <= 0 || p.messages < 0 || p.trace < 0 || p.patience <= 0 || p.longest <= 0 {
		return errors.New("--rounds, --seconds, --patience and --timeout have to be above 0, --messages and --trace not below")
	}
	return nil
}

// check refuses flags that make no sense, before anything is made.
func (s *settings) check() error {
	if !slices.Contains(generatorNames, s.generator) {
		return fmt.Errorf("there is no generator %q; there are %s", s.generator, strings.Join(generatorNames, ", "))
	}
	return s.plan.check()
}

// harness readies what all runs need. Its folder is there until its close.
func (s *settings) harness(ctx context.Context, log io.Writer) (h *harness, disk string, err error) {
	if err := s.check(); err != nil {
		return nil, "", err
	}
	generators, err := pickGenerators(ctx, s.cache, s.generator, log)
	if err != nil {
		return nil, "", err
	}
	if s.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, "", fmt.Errorf("find a folder for the queues (name one with --dir): %w", err)
		}
		s.dir = filepath.Join(cache, "holub-bench", "run")
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, "", err
	}
	made, disk, err := workFolder(s.dir)
	if err != nil {
		return nil, "", err
	}
	h = &harness{plan: s.plan, dir: made, generators: generators, log: log, rates: map[string]float64{}}
	if h.certs, err = makeCertificates(made); err != nil {
		return nil, "", errors.Join(err, h.close())
	}
	return h, disk, nil
}

// generatorNames are what --generator takes.
var generatorNames = []string{"auto", "smtp-source", "holub"}

// pickGenerators gives the pairs to choose from, the first choice first.
func pickGenerators(ctx context.Context, cache, name string, log io.Writer) ([]generator, error) {
	ours, err := newOurtools()
	if err != nil {
		return nil, err
	}
	if name == "holub" {
		return []generator{ours}, nil
	}
	theirs, err := newPosttools(ctx, cache)
	switch {
	case err == nil:
		return []generator{theirs, ours}, nil
	case name == "auto" && ctx.Err() == nil:
		fmt.Fprintf(log, "holub's source and sink do all works: %v\n", err)
		return []generator{ours}, nil
	}
	return nil, err
}

func adapted(peers []peer.Server) []server {
	var all []server
	for _, p := range peers {
		all = append(all, peerServer{p})
	}
	return all
}

func compareCommand(ctx context.Context, args []string, out, log io.Writer) (err error) {
	var s settings
	if err := parse(s.compareFlags(log), args); err != nil {
		return err
	}
	picked, err := pick("work", works, names(s.works))
	if err != nil {
		return err
	}
	peers, err := pickServers(s.cache, s.servers)
	if err != nil {
		return err
	}
	h, disk, err := s.harness(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	r := &report.Report{Began: time.Now(), Machine: machine(disk), Reference: "postfix"}
	for _, w := range picked {
		name := ""
		if g := h.generator(w); g != nil {
			name = g.name()
		}
		r.Works = append(r.Works, w.described(name))
	}
	ready, described := h.install(ctx, adapted(peers))
	if err := missing(described, s.servers != "all", r.Reference); err != nil {
		return err
	}
	r.Servers = described
	var limited error
	if !s.noLimits {
		r.Limits, limited = h.limits(ctx)
	}
	var measured error
	if r.Runs, r.Traces, measured = h.compare(ctx, picked, ready); measured != nil {
		measured = fmt.Errorf("the comparison ended early: %w", measured)
	}
	return errors.Join(limited, measured, s.files.write(r, out), lost(r))
}

// lost is an error where a run of holub failed.
func lost(r *report.Report) error {
	for _, row := range r.Rows() {
		if row.Server == "holub" && row.Failed > 0 {
			return fmt.Errorf("holub failed at %s: %s", row.Work.Name, row.Error)
		}
	}
	return nil
}

// write prints a report and writes the files that were asked for.
func (o outputs) write(r *report.Report, out io.Writer) error {
	err := r.Text(out)
	for _, f := range []struct {
		path string
		show func(io.Writer) error
	}{{o.json, r.JSON}, {o.svg, r.SVG}, {o.markdown, r.Markdown}} {
		if f.path != "" {
			err = errors.Join(err, writeFile(f.path, f.show))
		}
	}
	return err
}

func writeFile(path string, show func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return errors.Join(show(f), f.Close())
}
