package peers

import (
	"context"
	"fmt"
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
	"curl":        {path: "usr/bin/curl"},
	"openssl":     {path: "usr/bin/openssl"},
	"haproxy":     {path: "usr/sbin/haproxy"},
	"node":        {path: "usr/bin/node"},
	"postfix":     {path: "usr/lib/postfix/sbin/master"}, // for Postfix
	"dovecot":     {path: "usr/sbin/dovecot"},            // for DovecotLMTP, and the next too
	"doveconf":    {path: "usr/bin/doveconf"},
}

// Command is a call of a peer: "smtp-source", "smtp-sink", "swaks", "python3", "curl", "openssl", "haproxy", "node" or
// "strace". The process is killed when the test ends. Its environment holds what the peer needs to run from the cache
// and PATH, nothing else of the caller's. As root, smtp-sink is told to become the user nobody, for it refuses to stay
// root. curl reads no .curlrc. node runs in a folder of the cache, so paths handed to it are absolute.
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
	if name == "curl" {
		args = append([]string{"-q"}, args...)
	}
	path, err := p.find(root)
	if err != nil {
		giveUp(t, err)
	}
	args = append(path, args...)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	if name == "node" {
		cmd.Dir = root // see moved
	}
	cmd.Env = environment(root)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Nodemailer is a call of node with a script, JavaScript in which require("nodemailer") works. The args are what the
// script finds from process.argv[1] on.
func Nodemailer(t testing.TB, script string, args ...string) *exec.Cmd {
	t.Helper()
	return Command(t, "node", append([]string{"-e", script, "--"}, args...)...)
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
		"LD_LIBRARY_PATH=" + list("usr/lib/postfix", "usr/lib/dovecot", "usr/lib/dovecot/modules/old-stats",
			"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"),
		"MAIL_CONFIG=" + filepath.Join(root, mailConfig),
		"PERL5LIB=" + list("usr/share/perl5", "usr/share/perl/5.*[0-9]", "usr/lib/*/perl5/5.*", "usr/lib/*/perl/5.*[0-9]",
			"usr/lib/*/perl-base"),
		"NODE_PATH=" + list("usr/share/nodejs"),
		"OPENSSL_CONF=" + filepath.Join(root, "etc/ssl/openssl.cnf"),
		"PYTHONHOME=" + filepath.Join(root, "usr"),
		"PYTHONDONTWRITEBYTECODE=1",
	}
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
