package transport

import "syscall"

// dupTo makes the descriptor to a copy of from. Not every Linux has dup2.
func dupTo(from, to int) error { return syscall.Dup3(from, to, 0) }
