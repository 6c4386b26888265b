//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package transport

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// takeStdio moves the descriptors 0 and 1 elsewhere and puts the null device and standard error in their places. A
// copy with a high number is also no longer one whose broken pipe ends the process with SIGPIPE.
func takeStdio() (in, out *os.File, err error) {
	in, out, err = adopt(0, 1)
	if err != nil {
		return nil, nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, closeAll(err, in, out)
	}
	defer null.Close()
	if sameSocket(1, 2) {
		// inetd gives the client's socket three times: what goes to standard error must not reach the client.
		if err := dupTo(int(null.Fd()), 2); err != nil {
			return nil, nil, closeAll(err, in, out)
		}
	}
	if err := dupTo(2, 1); err != nil {
		err = dupTo(int(null.Fd()), 1)
		if err != nil {
			return nil, nil, closeAll(err, in, out)
		}
	}
	if err := dupTo(int(null.Fd()), 0); err != nil {
		return nil, nil, closeAll(err, in, out)
	}
	return in, out, nil
}

// adopt makes files of copies of two descriptors, with deadlines where pipes and sockets allow them. Terminals stay in
// blocking mode, for others use them too.
func adopt(infd, outfd int) (in, out *os.File, err error) {
	var fds [2]int
	for i, fd := range []int{infd, outfd} {
		if fds[i], err = dup(fd); err != nil {
			if i == 1 {
				syscall.Close(fds[0])
			}
			return nil, nil, fmt.Errorf("descriptor %d: %w; is it open?", fd, err)
		}
	}
	for _, fd := range fds {
		if kind := fileKind(fd); kind == syscall.S_IFIFO || kind == syscall.S_IFSOCK {
			syscall.SetNonblock(fd, true) // where it fails, newStream sees a file without deadlines
		}
	}
	return os.NewFile(uintptr(fds[0]), "standard input"), os.NewFile(uintptr(fds[1]), "standard output"), nil
}

// socketConn gives the connection itself where both files are one socket, as inetd makes them; else nil. It closes
// the files then.
func socketConn(in, out *os.File) net.Conn {
	infd, outfd := -1, -1
	withFd(in, func(fd int) { infd = fd })
	withFd(out, func(fd int) { outfd = fd })
	if !sameSocket(infd, outfd) {
		return nil
	}
	conn, err := net.FileConn(in)
	if err != nil {
		return nil
	}
	in.Close()
	out.Close()
	return conn
}

// withFd calls f with the file's descriptor. File.Fd would put it into blocking mode.
func withFd(file *os.File, f func(fd int)) {
	if c, err := file.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { f(int(fd)) })
	}
}

func fileKind(fd int) uint32 {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return 0
	}
	return uint32(st.Mode) & syscall.S_IFMT
}

// sameSocket tells that two descriptors are one socket.
func sameSocket(a, b int) bool {
	var sa, sb syscall.Stat_t
	if syscall.Fstat(a, &sa) != nil || syscall.Fstat(b, &sb) != nil {
		return false
	}
	return uint32(sa.Mode)&syscall.S_IFMT == syscall.S_IFSOCK && sa.Dev == sb.Dev && sa.Ino == sb.Ino
}

func closeAll(err error, files ...*os.File) error {
	for _, f := range files {
		f.Close()
	}
	return err
}
