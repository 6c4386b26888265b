//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package transport

import "syscall"

// dupTo makes the descriptor to a copy of from.
func dupTo(from, to int) error { return syscall.Dup2(from, to) }
