package transport

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// bufferSize is how many octets one direction of a connection in memory holds before its writer waits.
const bufferSize = 64 << 10

// half is one direction of a connection in memory: a bounded buffer with an end for the writer and one for the reader,
// each with a deadline. An empty half holds no buffer.
type half struct {
	mu      sync.Mutex
	changed sync.Cond // any of the fields below
	data    []byte
	off     int   // octets of data that are read already
	readErr error // what the reader gets after the data: io.EOF, or why it ended
	gone    error // what the writer gets: the reader's end is closed
	closedW bool  // the writer closed its own end
	closedR bool
	writing bool // one Write is under way; another waits, so that none is torn
	readBy  deadline
	writeBy deadline
}

// deadline is a moment after which one end waits no more.
type deadline struct {
	timer   *time.Timer
	set     int // counts settings, so that a late timer knows it is void
	expired bool
}

func newHalf() *half {
	h := &half{}
	h.changed.L = &h.mu
	return h
}

// Read waits for data, the end, or the deadline.
func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.closedR:
			return 0, net.ErrClosed
		case h.readBy.expired:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.off < len(h.data):
			n := copy(p, h.data[h.off:])
			if h.off += n; h.off == len(h.data) {
				h.data, h.off = nil, 0
			}
			h.changed.Broadcast()
			return n, nil
		case h.readErr != nil:
			return 0, h.readErr
		}
		h.changed.Wait()
	}
}

// Write waits until all of p has its place in the buffer, or for the other end's close, or the deadline.
func (h *half) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.writing {
		h.changed.Wait()
	}
	h.writing = true
	defer func() {
		h.writing = false
		h.changed.Broadcast()
	}()
	written := 0
	for {
		switch {
		case h.closedW:
			return written, net.ErrClosed
		case h.gone != nil:
			return written, h.gone
		case h.writeBy.expired:
			return written, os.ErrDeadlineExceeded
		case written == len(p):
			return written, nil
		}
		if free := bufferSize - (len(h.data) - h.off); free > 0 {
			if h.off > 0 {
				h.data, h.off = h.data[:copy(h.data, h.data[h.off:])], 0
			}
			n := min(free, len(p)-written)
			h.data = append(h.data, p[written:written+n]...)
			written += n
			h.changed.Broadcast()
			continue
		}
		h.changed.Wait()
	}
}

// closeWrite ends the writer's side: the reader gets what is buffered and then err, which is io.EOF in good order.
func (h *half) closeWrite(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closedW {
		return net.ErrClosed
	}
	h.closedW = true
	if h.readErr == nil {
		h.readErr = err
	}
	h.writeBy.stop()
	h.changed.Broadcast()
	return nil
}

// closeRead ends the reader's side: what is buffered is lost, and the writer gets err.
func (h *half) closeRead(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closedR = true
	if h.gone == nil {
		h.gone = err
	}
	h.data, h.off = nil, 0
	h.readBy.stop()
	h.changed.Broadcast()
}

// Close is the reader's end.
func (h *half) Close() error {
	h.closeRead(io.ErrClosedPipe)
	return nil
}

// SetReadDeadline sets the moment after which Read waits no more; the zero time takes it away.
func (h *half) SetReadDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closedR {
		return net.ErrClosed
	}
	h.arm(&h.readBy, t)
	return nil
}

// SetWriteDeadline is SetReadDeadline for Write. Once the writer's end is closed it has nothing to do.
func (h *half) SetWriteDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closedW {
		h.arm(&h.writeBy, t)
	}
	return nil
}

// arm sets one of h's deadlines; h.mu is held.
func (h *half) arm(d *deadline, t time.Time) {
	d.stop()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		h.changed.Broadcast()
		return
	}
	mine := d.set
	d.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if d.set == mine {
			d.expired = true
			h.changed.Broadcast()
		}
	})
}

// stop takes the deadline away.
func (d *deadline) stop() {
	d.set++
	d.expired = false
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
