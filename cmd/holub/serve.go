package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/mta"
)

func serveCommand() *cobra.Command {
	var file string
	var verbose bool
	var profile string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Run the server until it gets SIGINT or SIGTERM. Without a file it listens on 127.0.0.1:2525, takes mail from\n" +
			"this machine alone, delivers user@localhost into a Maildir under ./holub-data and everything else by MX.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("serve takes no arguments; name a file with -c %s", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			log, flush := newLogger(os.Stderr, verbose)
			defer flush()
			o := mta.Options{Config: cfg, Logger: log, Version: version()}
			if file != "" {
				o.Load = func() (*config.Config, error) { return config.Load(file) }
			}
			useProcessors()
			if err := calmMonitor(); err != nil {
				log.Debug("the runtime's monitor keeps its pace", "error", err)
			}
			stopProfile, err := startProfile(profile)
			if err != nil {
				return exit(exOSErr, err)
			}
			defer stopProfile()
			return serve(ctx, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file (default: none is needed)")
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write where the time of the processor goes to this file, for go tool pprof")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log the course of every session")
	return cmd
}

// loadConfig reads a file, or gives the configuration that needs none.
func loadConfig(file string) (*config.Config, error) {
	if file == "" {
		return config.Default(), nil
	}
	cfg, err := config.Load(file)
	return cfg, exit(exConfig, err)
}

func serve(ctx context.Context, o mta.Options, out io.Writer) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before anybody knows that this server is there
	defer signal.Stop(hangups)
	m, err := mta.New(o)
	if err != nil {
		return exit(exOSErr, err)
	}
	if err := m.Listen(); err != nil {
		return exit(exOSErr, err)
	}
	welcome(out, o.Config, m.Addrs())
	go giveBack(ctx)
	go func() {
		for {
			select {
			case <-hangups:
				m.Reload(ctx) // which says in the log what came of it
			case <-ctx.Done():
				return
			}
		}
	}()
	return exit(exSoftware, m.Run(ctx))
}

// processorsEach is how many of Go's processors there are for each of the machine's, and leastProcessors how many at least: the
// log's sync keeps one busy while the disk works, and with one for each of the machine's that many less would serve mail.
const (
	processorsEach  = 2
	leastProcessors = 4
)

// useProcessors sets how many goroutines run at once, unless GOMAXPROCS does.
func useProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(processorsEach*runtime.GOMAXPROCS(0), leastProcessors))
	}
}

// startProfile begins a profile of the processor's time; "" is none.
func startProfile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("make the file of the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("start the profile: %w", err), f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

// welcome says where the server listens, where its data is, and what to try where a mail to this machine would be taken.
func welcome(w io.Writer, cfg *config.Config, addrs []net.Addr) {
	var names []string
	for _, a := range addrs {
		names = append(names, addrName(a))
	}
	fmt.Fprintf(w, "holub listens on %s as %s\n", strings.Join(names, ", "), cfg.Hostname)
	data, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		data = cfg.DataDir
	}
	fmt.Fprintf(w, "Its data is in %s\n", data)
	addr := tryAddr(cfg, addrs)
	if addr == "" {
		return
	}
	fmt.Fprintf(w, "Try:\n  printf 'Subject: hello\\n\\nIt works.\\n' | %s send --server %s --from me@localhost --to you@localhost -\n",
		commandName(), addr)
	if len(cfg.Route) == 1 { // the built-in one
		fmt.Fprintf(w, "  cat %s\n", quote(filepath.Join(data, "mail", "you", "new"))+"/*")
	}
}

// tryAddr is a listener at which a program on this machine may send to everyone without TLS; "" where there is none.
func tryAddr(cfg *config.Config, addrs []net.Addr) string {
	for i, l := range cfg.Listen {
		tcp, ok := addrs[i].(*net.TCPAddr)
		if !ok || l.Role != config.RoleRelay || l.TLS == config.ListenImplicit || len(l.Proxy) > 0 {
			continue
		}
		ap := tcp.AddrPort()
		if ap.Addr().IsUnspecified() {
			ap = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port())
		}
		for _, network := range l.Networks {
			if network.Contains(ap.Addr().Unmap()) {
				return ap.String()
			}
		}
	}
	return ""
}

// addrName is an address as the configuration writes it.
func addrName(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// commandName is how this program can be called again from the same shell.
func commandName() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	if found, err := exec.LookPath("holub"); err == nil && found == path {
		return "holub"
	}
	// What `go run` built is gone when the server ends.
	if dir := filepath.ToSlash(filepath.Dir(path)); strings.Contains(dir, "/go-build") && strings.HasSuffix(dir, "/exe") {
		return "go run ./cmd/holub"
	}
	return quote(path)
}

// quote writes a word for a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
