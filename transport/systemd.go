package transport

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

const (
	firstInherited = 3    // sd_listen_fds(3), SD_LISTEN_FDS_START
	maxInherited   = 1024 // more than any unit has
)

// errNotActivated says that systemd handed over nothing.
var errNotActivated = errors.New("systemd handed no socket to this process; " +
	"start it by its socket unit (systemctl start NAME.socket)")

// listenSystemd listens on the sockets of the name, or on all where it is "". Sockets may be listened on again after
// their listener is closed; connections wait in the kernel in between.
func listenSystemd(name string, getenv func(string) string, pid int) (net.Listener, error) {
	fds, err := inherited(name, getenv, pid)
	if err != nil {
		return nil, err
	}
	var ls []net.Listener
	for _, fd := range fds {
		l, err := inheritedListener(fd)
		if err != nil {
			for _, l := range ls {
				l.Close()
			}
			return nil, err
		}
		ls = append(ls, l)
	}
	if len(ls) == 1 {
		return ls[0], nil
	}
	return join(ls), nil
}

// inherited reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES as sd_listen_fds_with_names(3) describes them.
func inherited(name string, getenv func(string) string, pid int) ([]int, error) {
	if p, err := strconv.Atoi(getenv("LISTEN_PID")); err != nil || p != pid {
		return nil, errNotActivated
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 1 || n > maxInherited {
		return nil, fmt.Errorf("LISTEN_FDS is %q, no number of sockets: %w", getenv("LISTEN_FDS"), errNotActivated)
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	var fds []int
	for i := range n {
		if name == "" || i < len(names) && names[i] == name {
			fds = append(fds, firstInherited+i)
		}
	}
	if len(fds) == 0 {
		return nil, fmt.Errorf("systemd handed over no socket called %q, only %q; "+
			"set FileDescriptorName= in the socket unit", name, names)
	}
	return fds, nil
}

// joined is one listener made of several.
type joined struct {
	ls       []net.Listener
	accepted chan acceptance
	closed   chan struct{}
	once     sync.Once
}

type acceptance struct {
	conn net.Conn
	err  error
}

func join(ls []net.Listener) *joined {
	j := &joined{ls: ls, accepted: make(chan acceptance), closed: make(chan struct{})}
	for _, l := range ls {
		go j.accept(l)
	}
	return j
}

// accept hands over what l accepts, one at a time.
func (j *joined) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		select {
		case j.accepted <- acceptance{conn, err}:
		case <-j.closed:
			if conn != nil {
				conn.Close()
			}
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (j *joined) Accept() (net.Conn, error) {
	select {
	case <-j.closed:
		return nil, opError("accept", j.Addr(), net.ErrClosed)
	default:
	}
	select {
	case a := <-j.accepted:
		return a.conn, a.err
	case <-j.closed:
		return nil, opError("accept", j.Addr(), net.ErrClosed)
	}
}

// Close closes all listeners and gives the first error.
func (j *joined) Close() error {
	err := opError("close", j.Addr(), net.ErrClosed)
	j.once.Do(func() {
		close(j.closed)
		err = nil
		for _, l := range j.ls {
			if cerr := l.Close(); err == nil {
				err = cerr
			}
		}
	})
	return err
}

// Addr is the address of the first.
func (j *joined) Addr() net.Addr { return j.ls[0].Addr() }
