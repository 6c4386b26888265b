package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"unsafe"
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

// dataSync syncs what a file holds, and of its inode only what is needed to read that.
func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// flushDisk writes out what all earlier runs left in memory, so that the next one does not pay for it.
func flushDisk() { syscall.Sync() }

// enterRoot has a command run in another root; it takes root.
func enterRoot(cmd *exec.Cmd, root string) { cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root} }

// confine lets this process, and all that it starts from now on, use only the first n processors; for 0, all of them.
func confine(n int) error {
	var mask [16]uint64 // 1,024 processors
	for i := range mask {
		mask[i] = ^uint64(0)
	}
	if n > 0 {
		mask = [16]uint64{}
		for i := range n {
			mask[i/64] |= 1 << (i % 64)
		}
	}
	for range 2 { // a thread that a thread not yet confined started meanwhile is found by the second pass
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("confine to %d processors: %w", n, err)
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return fmt.Errorf("confine to %d processors: %w", n, err)
			}
			_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(id), unsafe.Sizeof(mask),
				uintptr(unsafe.Pointer(&mask)))
			if errno != 0 && errno != syscall.ESRCH {
				return fmt.Errorf("confine to %d processors: %w", n, errno)
			}
		}
	}
	return nil
}
