package peer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// syncCalls are the system calls that wait for a disk.
const syncCalls = "fsync,fdatasync,sync_file_range,sync,syncfs,msync"

// tracer gives the command that runs another one and notes its syncs in a file, a line each, at once: so they can be counted
// between two moments. Only these calls stop at strace (--seccomp-bpf).
func tracer(ctx context.Context, c *store, to string) ([]string, error) {
	args := []string{"-f", "--seccomp-bpf", "-qqq", "-e", "signal=none", "-e", "trace=" + syncCalls, "-o", to}
	if path, err := exec.LookPath("strace"); err == nil {
		return append([]string{path}, args...), nil
	}
	dir, err := unpacked(ctx, c, "strace", "libunwind8", "liblzma5")
	if err != nil {
		return nil, fmt.Errorf("get strace: %w", err)
	}
	libraries, err := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu*"))
	if err != nil {
		return nil, err
	}
	low, err := filepath.Glob(filepath.Join(dir, "lib/*-linux-gnu*"))
	if err != nil {
		return nil, err
	}
	// The libraries are for strace alone: what it runs gets an environment without them.
	found := []string{"env", "LD_LIBRARY_PATH=" + strings.Join(append(libraries, low...), ":"), filepath.Join(dir, "usr/bin/strace"),
		"-E", "LD_LIBRARY_PATH"}
	return append(found, args...), nil
}

// syncBegins matches the line of a call when it begins. One that other lines come between has a second line, "<... fsync
// resumed>", which is not counted.
var syncBegins = regexp.MustCompile(`^\d+ +(` + strings.ReplaceAll(syncCalls, ",", "|") + `)\(`)

// readTrace counts the calls in the notes of strace, by name. A last line that is not whole yet counts as soon as the name is
// there.
func readTrace(in io.Reader) (map[string]int, error) {
	counts := map[string]int{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if m := syncBegins.FindStringSubmatch(lines.Text()); m != nil {
			counts[m[1]]++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the notes of strace: %w", err)
	}
	return counts, nil
}
