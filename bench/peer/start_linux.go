package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// start runs a server and waits until it answers. As root it gets its own mounts and process ids, so that nothing of it can stay
// behind.
func (r *Running) start(ctx context.Context, s Setup, p plan) error {
	var args []string
	if s.Trace != "" {
		trace, err := filepath.Abs(s.Trace)
		if err != nil {
			return err
		}
		r.trace = trace
		if args, err = tracer(ctx, p.store, trace); err != nil {
			return err
		}
	}
	if os.Geteuid() == 0 {
		args = append(args, "unshare", "--mount", "--pid", "--fork", "--kill-child")
	}
	use, err := processors(s.Cores)
	if err != nil {
		return err
	}
	args = append(args, "sh", "-c", script(s, p, use))
	said, err := os.Create(filepath.Join(s.Dir, "log", "said"))
	if err != nil {
		return err
	}
	defer said.Close()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = said, said // a file, so that Wait does not wait for the children of a server
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r.group = &group{proc: "/proc"}
	if s.Trace != "" {
		r.group.aside = "strace"
	}
	if dir, err := newGroup(); err == nil { // else the tree of processes must do
		r.group.dir = dir
		f, err := os.Open(dir)
		if err != nil {
			return errors.Join(err, os.Remove(dir))
		}
		defer f.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	}
	if err := r.spawn(cmd); err != nil {
		return errors.Join(err, r.group.finish(stopTime))
	}
	if err := r.await(ctx); err != nil {
		return errors.Join(err, r.group.finish(stopTime))
	}
	return nil
}

// spawn starts the first process and waits for its end in the background.
func (r *Running) spawn(cmd *exec.Cmd) error {
	r.ended = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Linux ends the server with the thread that started it
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		r.group.first = cmd.Process.Pid
		started <- nil
		r.end = cmd.Wait()
		close(r.ended)
	}()
	return <-started
}

// newGroup makes a control group below our own, and gives its folder.
func newGroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	at := ""
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			at = fields[4]
		}
	}
	if at == "" {
		return "", errors.New("no control groups of version 2")
	}
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			dir := filepath.Join(at, path, fmt.Sprintf("holub-bench-%d-%d", os.Getpid(), time.Now().UnixNano()))
			return dir, os.Mkdir(dir, 0o755)
		}
	}
	return "", errors.New("this process is in no control group of version 2")
}

// script is what the shell does that holds the server: it makes the mounts, prepares, runs the server on the processors to
// use and ends with it. The shell stays, as the parent of all whose parent ends.
func script(s Setup, p plan, use string) string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	line("set -e")
	line(`ulimit -n "$(ulimit -Hn)"`)
	if use != "" {
		line("taskset -cp", use, "$$ >/dev/null")
	}
	enter := ""
	if p.root != "" {
		line("mount --bind", quote(s.Dir), quote(filepath.Join(p.root, seenDir)))
		for _, b := range p.binds {
			line("mount --bind", quote(filepath.Join(s.Dir, b.from)), quote(filepath.Join(p.root, b.to)))
		}
		line("mount -t proc proc", quote(filepath.Join(p.root, "proc")))
		enter = strings.Join(inRoot(quote(p.root)), " ") + " "
	}
	if p.prepare != "" {
		line(enter+"sh -ec", quote(p.prepare))
	}
	var words []string
	for _, w := range slices.Concat(p.env, p.args) {
		words = append(words, quote(w))
	}
	line(enter+"env", strings.Join(words, " "), "&& code=0 || code=$?")
	line("exit $code")
	return b.String()
}

// quote makes one word of a text for the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
