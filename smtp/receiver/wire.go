package receiver

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// maxLine is the longest command line taken, CRLF included. RFC 5321 4.5.3.1.4 asks for 512 octets, and extensions
// for more.
const maxLine = 4096

// Errors of readLine after which the session goes on.
var (
	errLineTooLong = errors.New("the line is too long")
	errBareLF      = errors.New("the line ends with a bare LF")
)

// maxAuthLine is the longest line of an AUTH exchange taken, CRLF included (RFC 4954 4).
const maxAuthLine = 12288

// wire is the connection with its two buffers: octets that have arrived and replies that have not left yet. Replies leave
// when the session is about to wait for the client (RFC 2920 3.2), so a pipelined group is answered in one write.
type wire struct {
	conn  net.Conn // changed under mu
	limit int      // of a line: maxLine, or maxAuthLine

	in       *[]byte // from buffers or largeBuffers, or larger; nil when the client has said nothing for a while
	large    bool    // content is read: in is to be from largeBuffers
	start    int     // in[start:end] has arrived and was not read
	end      int
	out      []byte
	writeErr error     // the first failed write; the session ends at its next read
	writeBy  time.Time // the write deadline that is set
	first    [1]byte   // what an idle session reads into

	mu          sync.Mutex // guards what interrupt needs
	waiting     bool       // in a read that interrupt may end
	interrupted bool
}

// largeBuffer is the size of the buffer while content is read: a common message arrives in one read.
const largeBuffer = 16 << 10

var (
	buffers      = sync.Pool{New: func() any { b := make([]byte, maxLine); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}
)

// giveBack returns a buffer to the pool it is from.
func giveBack(b *[]byte) {
	switch len(*b) {
	case maxLine:
		buffers.Put(b)
	case largeBuffer:
		largeBuffers.Put(b)
	}
}

// readLine reads one line and returns it without CRLF; it stays valid until the next read. The deadline is for the whole
// line. A line that is too long is read to its end before errLineTooLong is returned.
func (w *wire) readLine(deadline time.Time, interruptible bool) ([]byte, error) {
	tooLong, cr := false, false // cr: what was thrown away of a line that is too long ends with CR
	scanned := 0
	for {
		if w.in != nil {
			pending := (*w.in)[w.start:w.end]
			if lf := bytes.IndexByte(pending[scanned:], '\n'); lf >= 0 {
				line := pending[:scanned+lf]
				w.start += scanned + lf + 1
				if len(line) > 0 {
					cr = line[len(line)-1] == '\r'
				}
				switch {
				case !cr:
					return nil, errBareLF
				case tooLong || scanned+lf+1 > w.limit:
					return nil, errLineTooLong
				}
				return line[:len(line)-1], nil
			}
			scanned = len(pending)
			if scanned >= w.limit {
				tooLong, cr = true, pending[scanned-1] == '\r'
				w.start, w.end, scanned = 0, 0, 0
			}
		}
		var err error
		if scanned == 0 && !tooLong {
			err = w.await(deadline, interruptible)
		} else {
			err = w.fill(deadline)
		}
		if err != nil {
			return nil, err
		}
	}
}

// keepBuffer is how long a silent client keeps its buffer: an idle session holds none, a busy one reads large pieces.
const keepBuffer = time.Second

// await reads the start of a line.
func (w *wire) await(deadline time.Time, interruptible bool) error {
	soon := time.Now().Add(keepBuffer)
	if !soon.Before(deadline) {
		return w.fillUntil(deadline, interruptible)
	}
	if err := w.fillUntil(soon, interruptible); !isTimeout(err) || w.writeErr != nil {
		return err
	}
	w.release()
	if err, can := w.waitReadable(deadline, interruptible); can {
		if err != nil {
			return err
		}
		return w.fillUntil(deadline, interruptible)
	}
	n, err := w.read(w.first[:], deadline, interruptible)
	if n == 0 {
		return err
	}
	w.in = buffers.Get().(*[]byte)
	w.start, w.end = 0, copy(*w.in, w.first[:n])
	return nil
}

// waitReadable waits without a buffer until something can be read. It can where the connection is a bare socket; what
// wraps one may hold octets of its own.
func (w *wire) waitReadable(deadline time.Time, interruptible bool) (err error, can bool) {
	var raw syscall.RawConn
	switch c := w.conn.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if raw == nil || err != nil || !canAwait {
		return nil, false
	}
	if err := w.arm(deadline, interruptible); err != nil {
		return err, true
	}
	defer w.disarm()
	return awaitSocket(raw), true
}

// fill reads what there is, at least one octet, after sending the replies that wait.
func (w *wire) fill(deadline time.Time) error { return w.fillUntil(deadline, false) }

func (w *wire) fillUntil(deadline time.Time, interruptible bool) error {
	if err := w.flush(); err != nil {
		return err
	}
	if w.in == nil {
		w.in = buffers.Get().(*[]byte)
		w.start, w.end = 0, 0
	}
	w.makeRoom()
	n, err := w.read((*w.in)[w.end:], deadline, interruptible)
	w.end += n
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom moves what was not read to the buffer's start, and swaps the buffer for one that fits the longest line.
func (w *wire) makeRoom() {
	pending := (*w.in)[w.start:w.end]
	switch {
	case len(*w.in) > maxLine && w.limit == maxLine && len(pending) < maxLine && !w.large: // AUTH or content is over
		w.swap(buffers.Get().(*[]byte))
	case len(pending) == len(*w.in):
		larger := make([]byte, max(w.limit, len(pending)+maxLine))
		w.swap(&larger)
	default:
		w.start, w.end = 0, copy(*w.in, pending)
	}
}

// swap moves what was not read into another buffer, which has room for it.
func (w *wire) swap(b *[]byte) {
	w.start, w.end = 0, copy(*b, w.buffered())
	if w.in != nil {
		giveBack(w.in)
	}
	w.in = b
}

// enlarge makes room for content, until shrink.
func (w *wire) enlarge() {
	w.large = true
	w.swap(largeBuffers.Get().(*[]byte))
}

// shrink gives the large buffer back, as soon as what was not read fits into a smaller one.
func (w *wire) shrink() {
	w.large = false
	if len(w.buffered()) == 0 && w.in != nil {
		giveBack(w.in)
		w.in, w.start, w.end = nil, 0, 0
	}
}

// read is one read of the connection.
func (w *wire) read(p []byte, deadline time.Time, interruptible bool) (int, error) {
	if err := w.arm(deadline, interruptible); err != nil {
		return 0, err
	}
	defer w.disarm()
	return w.conn.Read(p)
}

// arm sets the deadline of the next read. errInterrupted: interrupt came first.
func (w *wire) arm(deadline time.Time, interruptible bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if interruptible && w.interrupted {
		return errInterrupted
	}
	w.waiting = interruptible
	return w.conn.SetReadDeadline(deadline)
}

func (w *wire) disarm() {
	w.mu.Lock()
	w.waiting = false
	w.mu.Unlock()
}

var errInterrupted = errors.New("interrupted by the server's shutdown")

// interrupt ends a read that waits for the first octet of a command, now or when it comes to it.
func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	if w.waiting {
		w.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (w *wire) wasInterrupted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.interrupted
}

// maxOut bounds the replies that wait while a client pipelines without end.
const maxOut = 8 << 10

// put queues a reply; it leaves with the next flush.
func (w *wire) put(r smtp.Reply) {
	w.out = r.Append(w.out)
	if len(w.out) >= maxOut {
		w.flush()
	}
}

// challenge queues a challenge of AUTH. Unlike a reply it must stay one line, however long (RFC 4954 4).
func (w *wire) challenge(text []byte) {
	w.out = base64.StdEncoding.AppendEncode(append(w.out, "334 "...), text)
	w.out = append(w.out, '\r', '\n')
}

// A client may take writeTimeout to read its replies, and up to writeSlack more: a deadline that is far enough ahead is
// not set anew for each write.
const (
	writeTimeout = time.Minute
	writeSlack   = 5 * time.Second
)

func (w *wire) flush() error {
	if len(w.out) == 0 || w.writeErr != nil {
		return w.writeErr
	}
	if now := time.Now(); w.writeBy.Sub(now) < writeTimeout {
		w.writeBy = now.Add(writeTimeout + writeSlack)
		w.conn.SetWriteDeadline(w.writeBy)
	}
	_, w.writeErr = w.conn.Write(w.out)
	w.out = w.out[:0]
	return w.writeErr
}

// buffered is what has arrived and was not read.
func (w *wire) buffered() []byte {
	if w.in == nil {
		return nil
	}
	return (*w.in)[w.start:w.end]
}

// Bounds of a lingering close.
const (
	lingerTime   = time.Second
	lingerOctets = 1 << 20
)

// linger lets the last reply arrive though the client goes on sending: a socket that is closed with octets unread resets
// the connection, and with it a reply on its way.
func (w *wire) linger() {
	err := w.flush()
	half, ok := w.conn.(interface{ CloseWrite() error })
	if !ok || err != nil || half.CloseWrite() != nil {
		return
	}
	if w.in == nil {
		w.in = buffers.Get().(*[]byte)
	}
	w.conn.SetReadDeadline(time.Now().Add(lingerTime))
	for read := 0; read < lingerOctets; {
		n, err := w.conn.Read(*w.in)
		if read += n; err != nil {
			return
		}
	}
}

// secure puts TLS in the place of the connection that it runs over. Its handshake had a deadline of its own.
func (w *wire) secure(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = conn
	w.writeBy = time.Time{}
}

// close closes the connection; it may be called from elsewhere, to end a session.
func (w *wire) close() {
	w.mu.Lock()
	conn := w.conn
	w.mu.Unlock()
	conn.Close()
}

// release gives the buffers back.
func (w *wire) release() {
	if w.in != nil {
		giveBack(w.in)
	}
	w.in, w.start, w.end, w.out = nil, 0, 0, nil
}
