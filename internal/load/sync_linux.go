package load

import (
	"os"
	"syscall"
)

// dataSync syncs what a file holds, and of its inode only what is needed to read that.
func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
