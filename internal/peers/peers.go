package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// program says how a peer runs from the cache.
type program struct {
	path   string // below the unpacked root, as a pattern with one match
	interp string // the program that runs it, likewise; "" where it runs by itself
}

// programs are the peers by the name that tests use.
var programs = map[string]program{
	"smtp-source": {path: "usr/sbin/smtp-source"},
	"smtp-sink":   {path: "usr/sbin/smtp-sink"},
	"strace":      {path: "usr/bin/strace"},
	"swaks":       {path: "usr/bin/swaks", interp: "usr/bin/perl"},
	"python3":     {path: "usr/bin/python3.[0-9]*"},
}

// Command is a call of a peer: "smtp-source", "smtp-sink", "swaks" or "python3". The process is killed when the test
// ends. Its environment holds what the peer needs to run from the cache and PATH, nothing else of the caller's. As
// root, smtp-sink is told to become the user nobody, for it refuses to stay root.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	p, ok := programs[name]
	if !ok {
		t.Fatalf("peers: no peer is called %q", name)
	}
	root, err := ready(t.Context())
	if err != nil {
		giveUp(t, err)
	}
	if name == "smtp-sink" && os.Geteuid() == 0 && !slices.Contains(args, "-u") {
		args = append([]string{"-u", "nobody"}, args...)
	}
	path, err := p.find(root)
	if err != nil {
		giveUp(t, err)
	}
	args = append(path, args...)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = environment(root)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// giveUp ends a test that cannot have its peer.
func giveUp(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("peers: %v", err)
	}
	t.Skipf("left out, for its peer cannot be had: %v", err)
}

// find gives the words that start the program.
func (p program) find(root string) ([]string, error) {
	var words []string
	for _, pattern := range []string{p.interp, p.path} {
		if pattern == "" {
			continue
		}
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("%s is not in the unpacked packages; remove %s to fetch them again", pattern, root)
		}
		words = append(words, found[0])
	}
	return words, nil
}

// environment is what programs need to run from an unpacked root instead of from /.
func environment(root string) []string {
	list := func(patterns ...string) string {
		var dirs []string
		for _, p := range patterns {
			found, _ := filepath.Glob(filepath.Join(root, p)) // the patterns are constants and well formed
			dirs = append(dirs, found...)
		}
		return strings.Join(dirs, ":")
	}
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C",
		"LD_LIBRARY_PATH=" + list("usr/lib/postfix", "usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"),
		"MAIL_CONFIG=" + filepath.Join(root, mailConfig),
		"PERL5LIB=" + list("usr/share/perl5", "usr/share/perl/5.*[0-9]", "usr/lib/*/perl5/5.*", "usr/lib/*/perl/5.*[0-9]",
			"usr/lib/*/perl-base"),
		"PYTHONHOME=" + filepath.Join(root, "usr"),
		"PYTHONDONTWRITEBYTECODE=1",
	}
}

// Sink starts smtp-sink on a free port of the loopback, waits until it takes connections, and returns its host:port.
// The options go before its address; it ends with the test.
func Sink(t testing.TB, options ...string) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	cmd := Command(t, "smtp-sink", append(options, addr, "100")...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("peers: start smtp-sink: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		for range ended { // until it is closed
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
		select {
		case err := <-ended:
			t.Fatalf("peers: smtp-sink ended at once: %v\n%s", err, out.String())
		case now := <-tick.C:
			if now.After(deadline) {
				t.Fatal("peers: smtp-sink takes no connection within 20 s")
			}
		}
	}
}

// freeAddr gives an address of the loopback where nothing listens now.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("peers: no free port: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ready gives the folder of the unpacked packages, which it fetches where they are missing. After a fetch that failed,
// it gives that failure again for some minutes, so that the tests of one run do not all wait for the same dead network.
func ready(ctx context.Context) (root string, err error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("the peers are Debian packages and this is %s", runtime.GOOS)
	}
	c, err := openCache()
	if err != nil {
		return "", err
	}
	return c.fill(ctx, false)
}
