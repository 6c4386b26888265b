package admin

import (
	"fmt"
	"net"
	"syscall"
)

// peer says who is at the other end of a connection; "" where that is not known.
func peer(conn net.Conn) string {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return ""
	}
	return fmt.Sprintf("uid %d", cred.Uid)
}
