//go:build !unix

package receiver

import "syscall"

// canAwait tells that awaitSocket works here.
const canAwait = false

// awaitSocket is not called where it cannot wait.
func awaitSocket(syscall.RawConn) error { return nil }
