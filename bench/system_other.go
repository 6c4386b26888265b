//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"syscall"
)

// fileSystem is not known here.
func fileSystem(string) (string, error) { return "", nil }

func flushDisk() {}

// enterRoot is only for Linux: the peers are installed nowhere else.
func enterRoot(*exec.Cmd, string) {}

// asNobody is only for Linux, as enterRoot.
func asNobody(*exec.Cmd) {}

// onLoopback is only for Linux: elsewhere only 127.0.0.1 is there, and no run has sites.
func onLoopback(string, string, syscall.RawConn) error { return nil }

// confine is only for Linux.
func confine(n int) (restore func() error, err error) {
	if n == 0 {
		return func() error { return nil }, nil
	}
	return nil, errors.New("processes can be confined to some processors only on Linux")
}
