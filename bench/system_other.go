//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
)

// fileSystem is not known here.
func fileSystem(string) (string, error) { return "", nil }

func dataSync(f *os.File) error { return f.Sync() }

func flushDisk() {}

// enterRoot is only for Linux: the peers are installed nowhere else.
func enterRoot(*exec.Cmd, string) {}

// confine is only for Linux.
func confine(n int) error {
	if n == 0 {
		return nil
	}
	return errors.New("processes can be confined to some processors only on Linux")
}
