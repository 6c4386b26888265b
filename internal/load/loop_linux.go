package load

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// canLoop tells that plain sessions can run in one loop.
const canLoop = true

// loop runs many dialogues in one goroutine. Its descriptors are its own, unknown to Go's poller, which would wake a
// thread for each reply and read in vain before it waits.
type loop struct {
	poll    int
	pipe    [2]int // an octet in it ends the loop
	peers   []*peer
	buf     []byte
	timeout time.Duration
	owner   loopOwner

	start time.Time
	now   time.Duration // when the events at hand came
	swept time.Duration
}

// loopOwner decides what the dialogues of a loop don't. Its methods are called in the loop's goroutine.
type loopOwner interface {
	accepted(fd int)                    // by a listening descriptor
	wants(p *peer, next action)         // startTLS or hold
	closed(d dialogue, err error)       // the connection is gone; nil where the dialogue wanted it
	turn() (most time.Duration, f bool) // called after each group of events: the longest wait, and whether all is done
}

// peer is one descriptor of a loop.
type peer struct {
	fd     int
	d      dialogue // nil: it listens
	carry  []byte   // what was read and not used
	busy   bool     // waits until it can write
	ending bool     // to be closed when all is written
	active time.Duration
}

const (
	sweepEvery = time.Second // looks for silent peers
	loopEvents = 128         // taken from the kernel at once
	maxAccepts = 64          // at once, so that those who are there get their turn
)

func newLoop(owner loopOwner, timeout time.Duration) (*loop, error) {
	l := &loop{owner: owner, timeout: timeout, buf: make([]byte, loopBuffer), start: time.Now()}
	var err error
	if l.poll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.Pipe2(l.pipe[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		syscall.Close(l.poll)
		return nil, os.NewSyscallError("pipe2", err)
	}
	if err := l.watch(syscall.EPOLL_CTL_ADD, l.pipe[0], syscall.EPOLLIN); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// close ends all connections, without a word to the owner.
func (l *loop) close() {
	for _, p := range l.peers {
		if p != nil {
			syscall.Close(p.fd)
		}
	}
	for _, fd := range []int{l.pipe[0], l.pipe[1], l.poll} {
		syscall.Close(fd)
	}
}

func (l *loop) watch(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(l.poll, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)}))
}

// add takes over a descriptor that does not block; d is nil for one that listens.
func (l *loop) add(fd int, d dialogue) (*peer, error) {
	if err := l.watch(syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	if fd >= len(l.peers) {
		l.peers = append(l.peers, make([]*peer, fd+64-len(l.peers))...)
	}
	l.peers[fd] = &peer{fd: fd, d: d, active: l.now}
	return l.peers[fd], nil
}

// run goes on until the owner says that all is done, or ctx is, whose error it gives then.
func (l *loop) run(ctx context.Context) error {
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		syscall.Write(l.pipe[1], []byte{0})
		close(told)
	})
	defer func() {
		if !stop() {
			<-told // else the pipe could be closed below it
		}
	}()
	events := make([]syscall.EpollEvent, loopEvents)
	for {
		most, done := l.owner.turn()
		if done {
			return nil
		}
		n, err := syscall.EpollWait(l.poll, events, int(min(most, sweepEvery).Milliseconds())+1)
		if err != nil && err != syscall.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		l.now = time.Since(l.start)
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.pipe[0] {
				return ctx.Err()
			}
			l.ready(int(e.Fd), e.Events)
		}
		if l.now-l.swept >= sweepEvery {
			l.sweep()
		}
	}
}

// sweep drops those who said nothing for too long.
func (l *loop) sweep() {
	l.swept = l.now
	for _, p := range l.peers {
		if p != nil && p.d != nil && l.now-p.active > l.timeout {
			l.drop(p, errSilent)
		}
	}
}

func (l *loop) ready(fd int, events uint32) {
	p := l.peers[fd]
	switch {
	case p == nil: // dropped for another reason
	case p.d == nil:
		l.accept(p)
	case p.busy:
		p.active = l.now
		l.flush(p)
	default:
		p.active = l.now
		l.read(p)
	}
}

func (l *loop) accept(p *peer) {
	for range maxAccepts {
		fd, _, err := syscall.Accept4(p.fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err == syscall.EINTR || err == syscall.ECONNABORTED {
			continue
		}
		if err != nil { // nobody else waits, or there are too many descriptors, which passes
			return
		}
		l.owner.accepted(fd)
	}
}

// read takes what came, and answers it.
func (l *loop) read(p *peer) {
	have := copy(l.buf, p.carry)
	n, err := syscall.Read(p.fd, l.buf[have:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return
	case err != nil:
		l.drop(p, os.NewSyscallError("read", err))
		return
	case n <= 0:
		l.drop(p, io.EOF)
		return
	}
	rest, next := p.d.feed(l.buf[:have+n])
	p.carry = append(p.carry[:0], rest...)
	l.act(p, next)
}

// act does what a dialogue wants after it was fed.
func (l *loop) act(p *peer, next action) {
	p.ending = next == hangUp
	if !l.flush(p) {
		return
	}
	if next == startTLS || next == hold {
		if p.busy { // a peer that takes not even one line
			l.drop(p, errors.New("the other side does not read"))
			return
		}
		l.owner.wants(p, next)
	}
}

// flush sends what is to be sent, as far as the other side takes it. False: the connection is gone.
func (l *loop) flush(p *peer) bool {
	out := p.d.outbox()
	for !out.empty() {
		n, err := syscall.Write(p.fd, out.head())
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			return l.writeLater(p, true)
		}
		if err != nil {
			l.drop(p, os.NewSyscallError("write", err))
			return false
		}
		out.sent(n)
	}
	if p.ending {
		l.drop(p, nil)
		return false
	}
	return l.writeLater(p, false)
}

// writeLater makes a peer wait until it can write, or read again.
func (l *loop) writeLater(p *peer, busy bool) bool {
	if p.busy == busy {
		return true
	}
	p.busy = busy
	events := uint32(syscall.EPOLLIN)
	if busy {
		events = syscall.EPOLLOUT
	}
	if err := l.watch(syscall.EPOLL_CTL_MOD, p.fd, events); err != nil {
		l.drop(p, err)
		return false
	}
	return true
}

// drop closes a connection and tells the owner.
func (l *loop) drop(p *peer, err error) {
	l.peers[p.fd] = nil
	syscall.Close(p.fd) // which takes it out of the poll too
	l.owner.closed(p.d, err)
}

// release gives a connection back to Go.
func (l *loop) release(p *peer) (net.Conn, error) {
	l.peers[p.fd] = nil
	err := l.watch(syscall.EPOLL_CTL_DEL, p.fd, 0)
	file := os.NewFile(uintptr(p.fd), "connection")
	defer file.Close() // the connection has a copy
	if err != nil {
		return nil, err
	}
	return net.FileConn(file)
}
