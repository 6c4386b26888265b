package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// store is the folder in which the servers are installed, each in a folder of its own.
type store struct {
	base string // "" until it is asked for
}

// folder gives the path of what is installed under a name.
func (c *store) folder(name string) (string, error) {
	base := c.base
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder for the servers (set HOME or XDG_CACHE_HOME): %w", err)
		}
		base = filepath.Join(user, "holub-bench")
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	return filepath.Join(base, runtime.GOARCH+"-"+name), nil
}

// once gives the folder of a name, which fill makes where it is missing: once, while other processes that want the same
// wait. What an earlier try left behind is cleared away first; the mark that all is there is written last.
func (c *store) once(name string, fill func(dir string) error) (dir string, err error) {
	dir, err = c.folder(name)
	if err != nil {
		return "", err
	}
	mark := filepath.Join(dir, "complete")
	if _, err := os.Stat(mark); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make a folder for the servers: %w", err)
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return "", fmt.Errorf("lock %s: %w", dir, err)
	}
	defer unlock()
	if _, err := os.Stat(mark); err == nil {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("clear %s: %w", dir, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := fill(dir); err != nil {
		return "", err
	}
	return dir, os.WriteFile(mark, nil, 0o644)
}

// need fails where a program is missing, and says what for.
func need(what string, programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s needs the program %s, which this machine does not have", what, p)
		}
	}
	return nil
}

// run gives what a program prints; the error carries the end of what it said.
func run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w\n%s", strings.Join(args, " "), err, tail(out.String()+said.String()))
	}
	return out.String(), nil
}

// tail gives the last lines of a text.
func tail(text string) string {
	const most = 20
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// countFiles counts the files below a folder that a condition holds for. Files come and go meanwhile, so one that is gone
// is no error.
func countFiles(ctx context.Context, dir string, counts func(path string) bool) (int, error) {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.Type().IsRegular() && counts(path):
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count what waits: %w", err)
	}
	return n, nil
}
