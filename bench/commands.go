package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holub-mail/holub/bench/peer"
	"github.com/holub-mail/holub/bench/report"
)

func curvesCommand(ctx context.Context, args []string, out, log io.Writer) (err error) {
	var s settings
	f := s.curvesFlags(log)
	if err := parse(f, args); err != nil {
		return err
	}
	if s.quick {
		s.shorten(f)
	}
	picked, err := pick("curve", curves, names(s.curves))
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
	ready, described := h.install(ctx, adapted(peers))
	if err := missing(described, s.servers != "all", ""); err != nil {
		return err
	}
	if len(ready) == 0 {
		return errors.New("no server could be installed")
	}
	if s.out != "" {
		if err := os.MkdirAll(s.out, 0o755); err != nil {
			return fmt.Errorf("make the folder for the curves: %w", err)
		}
	}
	var tooFast []string
	for _, c := range picked {
		xs := c.full
		if s.quick {
			xs = c.quick
		}
		r := &report.Curve{Began: time.Now(), Machine: machine(disk), Name: c.name, Title: c.title, Axis: c.axis, Note: c.note,
			Limit: c.limit, Servers: described}
		var drawn error
		r.Points, drawn = h.draw(ctx, c, xs, ready)
		if err := errors.Join(drawn, writeCurve(r, s.out, out)); err != nil {
			return fmt.Errorf("curve %s: %w", c.name, err)
		}
		for _, v := range r.Verdicts() {
			if v.Judged && !v.OK {
				tooFast = append(tooFast, c.name+" of "+v.Server)
			}
		}
	}
	if len(tooFast) > 0 {
		return fmt.Errorf("the cost of a message grows too fast: %s", strings.Join(tooFast, ", "))
	}
	return nil
}

// shorten sets what --quick stands for, where no flag says otherwise.
func (s *settings) shorten(f *flag.FlagSet) {
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["rounds"] {
		s.plan.rounds = 1
	}
	if !given["seconds"] {
		s.plan.seconds = 1
	}
	if !given["out"] {
		s.out = ""
	}
}

// writeCurve prints a curve and writes its files, unless dir is "".
func writeCurve(c *report.Curve, dir string, out io.Writer) error {
	err := c.Text(out)
	fmt.Fprintln(out)
	if dir == "" {
		return err
	}
	for ending, show := range map[string]func(io.Writer) error{"json": c.JSON, "svg": c.SVG, "md": c.Markdown} {
		err = errors.Join(err, writeFile(filepath.Join(dir, c.Name+"."+ending), show))
	}
	return err
}

func showCommand(args []string, out, log io.Writer) error {
	var s settings
	if len(args) > 0 && strings.HasPrefix(args[0], "-") { // --help, or flags without a file
		if err := parse(s.showFlags(log), args); err != nil {
			return err
		}
		args = nil
	}
	if len(args) == 0 {
		return errors.New("name the file that --json wrote: go run ./bench show FILE [FLAGS]")
	}
	if err := parse(s.showFlags(log), args[1:]); err != nil {
		return err
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("read a report: %w", err)
	}
	defer f.Close()
	r, err := report.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return s.files.write(r, out)
}

func configCommand(args []string, out, log io.Writer) error {
	var s settings
	if err := parse(s.configFlags(log), args); err != nil {
		return err
	}
	picked, err := pick("work", works, names(s.works))
	if err != nil {
		return err
	}
	servers, err := pickServers(s.cache, s.servers)
	if err != nil {
		return err
	}
	for _, p := range servers {
		for _, w := range picked {
			if _, err := fmt.Fprintf(out, "# %s, %s\n%s\n", p.Name(), w.name, p.Config(shownSetup(w))); err != nil {
				return err
			}
		}
	}
	return nil
}

// shownSetup is the setup of a work with addresses for readers, and at most two sites.
func shownSetup(w work) peer.Setup {
	s := peer.Setup{Addr: "127.0.0.1:2525", Sessions: w.sessions, Cores: w.cores}
	if !w.kept { // where nothing relays, the host there is down
		s.Hops = map[string]string{"": "127.0.0.1:2526"}
	}
	if w.sites {
		for i := range min(w.domains, 2) {
			s.Hops[domain(i)] = host(i) + ":2526"
		}
	}
	if w.tls {
		s.TLS = &peer.TLS{Cert: "cert.pem", Key: "key.pem", CA: "ca.pem"}
	}
	return s
}
