//go:build unix

package receiver

import "syscall"

// canAwait tells that awaitSocket works here.
const canAwait = true

// awaitSocket returns when the socket has something to read, is at its end or broken, or its read deadline has passed,
// which alone is an error. It looks before it waits, for the poller tells each arrival only once.
func awaitSocket(raw syscall.RawConn) error {
	return raw.Read(readable)
}

// readable peeks at one octet.
func readable(fd uintptr) bool {
	var octet [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), octet[:], syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}
