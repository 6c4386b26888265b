package peers

import (
	"os/exec"
	"syscall"
)

// tie makes a server the head of a process group that is killed when its context ends: what it has on disk is the
// test's and ends too. When the test's process dies, the server is asked to end with its children.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// sweep kills what is left of a server's process group.
func sweep(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // an empty group is as wanted
