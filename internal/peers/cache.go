package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	fetchTime  = 5 * time.Minute  // for all packages
	retryAfter = 10 * time.Minute // how long a failure is remembered
	mailConfig = "holub-test/postfix"
)

// roots are the packages that hold the peers; what they need comes along.
var roots = []string{"postfix", "strace", "swaks", "libnet-ssleay-perl", "python3-minimal", "libpython3-stdlib", "curl",
	"openssl", "haproxy", "nodejs", "node-nodemailer", "dovecot-lmtpd"}

// wanted are the packages taken from all that the roots depend on: libraries, and what Perl, Python and node are made
// of.
var wanted = regexp.MustCompile(`^(postfix|strace|swaks|perl|perl-base|perl-modules-[0-9.]+|python3[a-z0-9.-]*|` +
	`curl|openssl|haproxy|nodejs|node-[a-z0-9-]+|dovecot-[a-z]+|lib[a-z0-9+.-]+|zlib1g)$`)

// unwanted are those of them that every machine with apt has and that only fit the machine's own loader, those that
// belong to the setting up of a machine, and those that stand in for another one.
var unwanted = regexp.MustCompile(`^lib(c6|c-bin|gcc-s1|crypt1|pam.*|semanage.*|audit.*|debian-installer.*|elogind.*)$`)

// ballast is what no peer reads.
var ballast = []string{"usr/share/doc", "usr/share/man", "usr/share/locale"}

// moved are the files with a path below /usr built in that no setting changes: with the second slash after usr instead
// of before it, the path keeps its length and starts at the working directory, which is the unpacked root or has a link
// to its usr.
var moved = []struct{ file, path string }{
	{"usr/lib/*/libnode.so.*", "/usr/share/nodejs/"},
	{"usr/lib/dovecot/libdovecot.so.*", "/usr/lib/dovecot/modules"},
}

// cache is the folder for the packages of this machine's release.
type cache struct {
	base string // for all releases
	root string // the unpacked packages; there only when it is complete
}

func openCache() (*cache, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb", "ldd"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("the peers are Debian packages and this machine has no %s", tool)
		}
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find a folder for the peers (set HOME or XDG_CACHE_HOME): %w", err)
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, fmt.Errorf("learn the release of this machine: %w", err)
	}
	h := sha256.New()
	fmt.Fprintln(h, roots, wanted, unwanted, ballast, moved, string(release))
	base := filepath.Join(user, "holub-test", "peers")
	return &cache{base, filepath.Join(base, fmt.Sprintf("%s-%x", runtime.GOARCH, h.Sum(nil)[:6]))}, nil
}

// Fetch fills the cache where it is empty, whatever earlier tries came to, and returns its folder.
func Fetch(ctx context.Context) (root string, err error) {
	c, err := openCache()
	if err != nil {
		return "", err
	}
	return c.fill(ctx, true)
}

// fill gives the folder of the unpacked packages, which it fetches where they are missing: once, while other processes
// that want the same wait.
func (c *cache) fill(ctx context.Context, again bool) (root string, err error) {
	if c.complete() {
		return c.root, nil
	}
	if err := os.MkdirAll(c.base, 0o755); err != nil {
		return "", fmt.Errorf("make a folder for the peers: %w", err)
	}
	unlock, err := lockFile(filepath.Join(c.base, "lock"))
	if err != nil {
		return "", fmt.Errorf("lock the folder of the peers: %w", err)
	}
	defer unlock()
	if c.complete() {
		return c.root, nil
	}
	failure := c.root + ".failed"
	if st, err := os.Stat(failure); err == nil && !again && time.Since(st.ModTime()) < retryAfter {
		text, err := os.ReadFile(failure)
		return "", errors.Join(fmt.Errorf("some minutes ago: %s", bytes.TrimSpace(text)), err)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if err := c.fetch(ctx); err != nil {
		return "", errors.Join(err, os.WriteFile(failure, []byte(err.Error()), 0o644))
	}
	if err := os.Remove(failure); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return c.root, nil
}

// complete tells that the packages are there. The marker is written last.
func (c *cache) complete() bool {
	_, err := os.Stat(filepath.Join(c.root, "complete"))
	return err == nil
}

// fetch downloads and unpacks into a folder beside the final one, tries what is in it, and moves it there. The caller
// holds the lock, so what is left of an earlier try belongs to nobody.
func (c *cache) fetch(ctx context.Context) error {
	work := c.root + ".new"
	if err := errors.Join(os.RemoveAll(work), os.RemoveAll(c.root)); err != nil {
		return fmt.Errorf("clear the folder of the peers: %w", err)
	}
	defer os.RemoveAll(work)
	unpacked := filepath.Join(work, "root")
	if err := download(ctx, work); err != nil {
		return err
	}
	if err := unpack(ctx, work, unpacked); err != nil {
		return err
	}
	if err := checkLibraries(ctx, unpacked); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(unpacked, "complete"), nil, 0o644); err != nil {
		return err
	}
	return os.Rename(unpacked, c.root)
}

// download puts the packages into work/debs by an apt that keeps its lists and its cache below work.
func download(ctx context.Context, work string) error {
	debs, status := filepath.Join(work, "debs"), filepath.Join(work, "status")
	for _, dir := range []string{debs, filepath.Join(work, "state/lists/partial"), filepath.Join(work,
		"cache/archives/partial")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// To this apt nothing is installed, so it takes all from the sources: a package that the machine got elsewhere, which
	// it could not download, does not stand in the way.
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return err
	}
	options := []string{
		"-o", "Dir::State=" + filepath.Join(work, "state"), "-o", "Dir::State::status=" + status,
		"-o", "Dir::Cache=" + filepath.Join(work, "cache"), "-o", "APT::Sandbox::User=",
		"-o", "Acquire::Languages=none", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20",
	}
	// A source of the machine that is out of reach does no harm as long as the packages are found elsewhere.
	_, updateErr := run(ctx, debs, "apt-get", append(slices.Clone(options), "update")...)
	list, err := run(ctx, debs, "apt-cache", slices.Concat(options, []string{"depends", "--recurse", "--no-recommends",
		"--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}, roots)...)
	if err != nil {
		return errors.Join(updateErr, err)
	}
	var names []string
	for name := range strings.Lines(list) { // a package at the start of a line, what it needs indented below it
		if name = strings.TrimSuffix(name, "\n"); wanted.MatchString(name) && !unwanted.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	_, err = run(ctx, debs, "apt-get", slices.Concat(options, []string{"download"}, slices.Compact(names))...)
	if err != nil {
		return errors.Join(updateErr, err)
	}
	return nil
}

// unpack takes the files out of work/debs; no script of a package runs.
func unpack(ctx context.Context, work, root string) error {
	if err := os.MkdirAll(filepath.Join(root, mailConfig), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, mailConfig, "main.cf"), nil, 0o644); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(work, "debs", "*.deb"))
	if err != nil || len(packages) == 0 {
		return errors.Join(errors.New("apt-get downloaded nothing"), err)
	}
	for _, p := range packages {
		if _, err := run(ctx, work, "dpkg-deb", "-x", p, root); err != nil {
			return err
		}
	}
	for _, dir := range ballast {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return move(root)
}

// move rewrites the files with built-in paths.
func move(root string) error {
	for _, m := range moved {
		files, err := filepath.Glob(filepath.Join(root, m.file))
		if err != nil {
			return err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("rewrite the paths in a peer: %w", err)
			}
			relative := "usr/" + strings.TrimPrefix(m.path, "/usr")
			content = bytes.ReplaceAll(content, []byte(m.path), []byte(relative))
			if err := os.WriteFile(file, content, 0o644); err != nil {
				return fmt.Errorf("rewrite the paths in a peer: %w", err)
			}
		}
	}
	return nil
}

// checkLibraries fails where a program lacks a library, which else would show as a strange failure in a test.
func checkLibraries(ctx context.Context, root string) error {
	patterns := []string{"usr/lib/python3.*/lib-dynload/_ssl.*.so", "usr/bin/perl", "usr/lib/postfix/sbin/smtpd",
		"usr/lib/*/perl5/5.*/auto/Net/SSLeay/SSLeay.so", "usr/lib/dovecot/lmtp", "usr/lib/dovecot/auth"}
	for _, p := range programs {
		if p.interp == "" {
			patterns = append(patterns, p.path)
		}
	}
	for _, pattern := range patterns {
		words, err := program{path: pattern}.find(root)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "ldd", words[0])
		cmd.Env = environment(root)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "not found") {
			return fmt.Errorf("%s does not find its libraries (%v):\n%s", pattern, err, out)
		}
	}
	return nil
}

// run gives what a program prints; the error carries what it said.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s %s: %w\n%s", name, args[len(args)-1], err, bytes.TrimSpace(said.Bytes()))
	}
	return out.String(), nil
}
