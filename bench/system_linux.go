package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/holub-mail/holub/bench/peer"
)

// fileSystems are the names of the more common ones by their magic numbers; see statfs(2).
var fileSystems = map[int64]string{
	0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x2fc12fc1: "zfs", 0x01021994: "tmpfs", 0x858458f6: "ramfs",
	0x794c7630: "overlayfs", 0x6969: "nfs", 0xf2f52010: "f2fs",
}

// fileSystem names the file system of a folder.
func fileSystem(dir string) (string, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "", fmt.Errorf("learn the file system of %s: %w", dir, err)
	}
	magic := int64(s.Type) & 0xffffffff
	if name, ok := fileSystems[magic]; ok {
		return name, nil
	}
	return fmt.Sprintf("file system %#x", magic), nil
}

// flushDisk writes out what all earlier runs left in memory, so that the next one does not pay for it.
func flushDisk() { syscall.Sync() }

// asNobody has a command run as a user without rights, and end with the thread that starts it. A program that changes its
// user itself would lose that bond.
func asNobody(cmd *exec.Cmd) {
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// enterRoot has a command run in another root; it takes root.
func enterRoot(cmd *exec.Cmd, root string) { cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root} }

// confine lets this process, and all that it starts from now on, use only the first n processors of those that it may use
// now; for 0, all of them. restore undoes that.
func confine(n int) (restore func() error, err error) {
	if n == 0 {
		return func() error { return nil }, nil
	}
	allowed, err := peer.Affinity()
	if err != nil {
		return nil, err
	}
	if n > len(allowed) {
		return nil, fmt.Errorf("%d processors are asked for, and this process may use %d", n, len(allowed))
	}
	restore = func() error { return setAffinity(allowed) }
	if err := setAffinity(allowed[:n]); err != nil {
		return nil, errors.Join(err, restore())
	}
	return restore, nil
}

// setAffinity lets all threads of this process use only these processors.
func setAffinity(processors []int) error {
	var mask [16]uint64 // 1,024 processors
	for _, p := range processors {
		mask[p/64] |= 1 << (p % 64)
	}
	for range 2 { // a thread that a thread not yet confined started meanwhile is found by the second pass
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("confine to processors %v: %w", processors, err)
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return fmt.Errorf("confine to processors %v: %w", processors, err)
			}
			_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(id), unsafe.Sizeof(mask),
				uintptr(unsafe.Pointer(&mask)))
			if errno != 0 && errno != syscall.ESRCH {
				return fmt.Errorf("confine to processors %v: %w", processors, errno)
			}
		}
	}
	return nil
}

// onLoopback keeps a listener of all addresses to those of this machine alone.
func onLoopback(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) { set = syscall.BindToDevice(int(fd), "lo") })
	return errors.Join(err, set)
}
