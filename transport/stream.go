package transport

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// lingerTime is how long Close waits for a file without deadlines to take what was written to it.
const lingerTime = 5 * time.Second

// reader and writer are the two sides of a stream: files that know deadlines, or pumps.
type (
	reader interface {
		io.ReadCloser
		SetReadDeadline(time.Time) error
	}
	writer interface {
		io.WriteCloser
		SetWriteDeadline(time.Time) error
	}
)

// stream makes a connection of a file to read from and another to write to. It owns both.
type stream struct {
	in            reader
	out           writer
	local, remote net.Addr
	closed        atomic.Bool
	closedWrite   atomic.Bool
}

// newStream takes the files over. One that knows no deadlines (a terminal, a plain file) gets a goroutine between.
func newStream(in, out *os.File, local, remote net.Addr) *stream {
	s := &stream{in: in, out: out, local: local, remote: remote}
	if err := in.SetReadDeadline(time.Time{}); err != nil {
		s.in = newReadPump(in)
	}
	if err := out.SetWriteDeadline(time.Time{}); err != nil {
		s.out = newWritePump(out, lingerTime)
	}
	return s
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	return n, s.wrap("read", err)
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	return n, s.wrap("write", err)
}

// CloseWrite closes the writing side: the reader at its other end gets the end of file.
func (s *stream) CloseWrite() error {
	if s.closedWrite.Swap(true) {
		return s.wrap("close", net.ErrClosed)
	}
	return s.wrap("close", s.out.Close())
}

func (s *stream) Close() error {
	if s.closed.Swap(true) {
		return s.wrap("close", net.ErrClosed)
	}
	var err error
	if !s.closedWrite.Swap(true) {
		err = s.out.Close()
	}
	if rerr := s.in.Close(); err == nil {
		err = rerr
	}
	return s.wrap("close", err)
}

func (s *stream) LocalAddr() net.Addr  { return s.local }
func (s *stream) RemoteAddr() net.Addr { return s.remote }

func (s *stream) SetDeadline(t time.Time) error { return setBoth(s, t) }

func (s *stream) SetReadDeadline(t time.Time) error {
	return s.wrap("set", s.in.SetReadDeadline(t))
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	if s.closedWrite.Load() && !s.closed.Load() {
		return nil
	}
	return s.wrap("set", s.out.SetWriteDeadline(t))
}

// wrap takes the file's name off an error: the connection's own says more.
func (s *stream) wrap(op string, err error) error {
	var inFile *fs.PathError
	if errors.As(err, &inFile) {
		err = inFile.Err
	}
	if errors.Is(err, fs.ErrClosed) {
		err = net.ErrClosed
	}
	return opError(op, s.remote, err)
}

// readPump gives deadlines to a file that has none: a goroutine reads ahead into a buffer. It ends with the file; where
// the file is one whose reads cannot be broken, such as a terminal, it ends with the process.
type readPump struct {
	*half
	file *os.File
}

func newReadPump(f *os.File) readPump {
	p := readPump{newHalf(), f}
	go func() {
		_, err := io.Copy(struct{ io.Writer }{p.half}, f)
		if err == nil {
			err = io.EOF
		}
		p.half.closeWrite(err)
		f.Close()
	}()
	return p
}

// Close ends the reading. The file is closed beside it, for some systems wait there for a read that is going on.
func (p readPump) Close() error {
	p.half.Close()
	go p.file.Close()
	return nil
}

// writePump gives deadlines to a file that has none: a goroutine writes what a buffer holds.
type writePump struct {
	*half
	ended  chan struct{}
	linger time.Duration // of Close
}

func newWritePump(f *os.File, linger time.Duration) writePump {
	p := writePump{newHalf(), make(chan struct{}), linger}
	go func() {
		defer close(p.ended)
		_, err := io.Copy(f, struct{ io.Reader }{p.half})
		if err == nil {
			err = io.ErrClosedPipe
		}
		p.half.closeRead(err)
		f.Close()
	}()
	return p
}

// Close waits until the file has taken everything, at most for the lingering time.
func (p writePump) Close() error {
	if err := p.half.closeWrite(io.EOF); err != nil {
		return err
	}
	late := time.NewTimer(p.linger)
	defer late.Stop()
	select {
	case <-p.ended:
		return nil
	case <-late.C:
		return os.ErrDeadlineExceeded
	}
}
