//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// wsaeConnRefused is what Windows says of a Unix socket on which nobody listens.
const wsaeConnRefused = 10061

func ownGroup(*exec.Cmd) {}

// killGroup kills the program alone: this system has no process groups that can be used from here.
func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }

func refused(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && (no == syscall.ECONNREFUSED || runtime.GOOS == "windows" && no == wsaeConnRefused)
}

// lockFolder locks nothing: folders have no locks on this system.
func lockFolder(context.Context, string) (unlock func(), err error) { return func() {}, nil }

func closeToOthers(_, _ string, _ syscall.RawConn) error { return nil }

func inheritedListener(int) (net.Listener, error) {
	return nil, errors.New("there is no systemd on this system")
}

// takeStdio gives the files as they are.
func takeStdio() (in, out *os.File, err error) { return os.Stdin, os.Stdout, nil }

// socketConn knows no sockets among this system's standard files.
func socketConn(_, _ *os.File) net.Conn { return nil }
