//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// lockRetry is the pause between two tries to lock a folder, lockWait the time for all of them.
const (
	lockRetry = 10 * time.Millisecond
	lockWait  = 5 * time.Second
)

// ownGroup makes cmd the head of a process group, so that its children can be ended with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the process group of a program that is not reaped yet.
func killGroup(cmd *exec.Cmd) {
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		cmd.Process.Kill()
	}
}

// refused tells the error of a Unix socket on which nobody listens.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// lockFolder keeps other processes of ours from exchanging sockets in the folder until unlock.
func lockFolder(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the folder %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock the folder %s: another process holds its lock: %w", dir, ctx.Err())
		case <-time.After(lockRetry):
		}
	}
}

// closeToOthers takes the socket's mode down before it is bound, so that there is no moment in which it is open to more
// than its final mode says. Linux takes the mode of the file from it; where it has no effect, chmod follows soon.
func closeToOthers(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { syscall.Fchmod(int(fd), 0o600) })
}

// inheritedListener makes a listener of a copy of the descriptor, which itself stays open as systemd's own does: so a
// listener may be closed and made anew, and the number never comes to mean another file.
func inheritedListener(fd int) (net.Listener, error) {
	copied, err := dup(fd)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(copied), fmt.Sprintf("descriptor %d", fd))
	defer f.Close()
	listens, err := syscall.GetsockoptInt(copied, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil || listens == 0 {
		return nil, fmt.Errorf("descriptor %d is not a listening stream socket; "+
			"the socket unit needs ListenStream= and Accept=no", fd)
	}
	return net.FileListener(f)
}

// dup copies a descriptor, closed on exec.
func dup(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	copied, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(copied)
	}
	return copied, err
}
