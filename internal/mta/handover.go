package mta

import (
	"errors"
	"net"
	"sync"
)

// handover is a socket that changes hands: when the configuration does, another server accepts from it, and no connection is
// refused in between.
type handover struct {
	raw   net.Listener
	next  chan accepted
	ended chan struct{} // closed when raw is
	once  sync.Once
}

type accepted struct {
	conn net.Conn
	err  error
}

// newHandover takes a socket over.
func newHandover(raw net.Listener) *handover {
	h := &handover{raw: raw, next: make(chan accepted), ended: make(chan struct{})}
	go h.accept()
	return h
}

func (h *handover) accept() {
	for {
		conn, err := h.raw.Accept()
		if errors.Is(err, net.ErrClosed) {
			h.close()
			return
		}
		select {
		case h.next <- accepted{conn, err}:
		case <-h.ended:
			if conn != nil {
				conn.Close()
			}
			return
		}
	}
}

// close closes the socket, for whoever has it.
func (h *handover) close() {
	h.once.Do(func() {
		close(h.ended)
		h.raw.Close()
	})
}

// closed tells that nobody has the socket any more.
func (h *handover) closed() bool {
	select {
	case <-h.ended:
		return true
	default:
		return false
	}
}

// hold gives a listener on the socket. To close it lets the socket go and leaves it open for the next holder.
func (h *handover) hold() net.Listener { return &holder{h: h, done: make(chan struct{})} }

type holder struct {
	h    *handover
	done chan struct{}
	once sync.Once
}

func (l *holder) Accept() (net.Conn, error) {
	select { // one that has let go takes nothing that the next one should have
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case a := <-l.h.next:
		return a.conn, a.err
	case <-l.done:
	case <-l.h.ended:
	}
	return nil, net.ErrClosed
}

func (l *holder) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *holder) Addr() net.Addr { return l.h.raw.Addr() }
