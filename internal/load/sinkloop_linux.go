package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// sinkLoop runs the plain sessions of a Sink in one loop.
type sinkLoop struct {
	sink  *Sink
	loop  *loop
	ctx   context.Context // for the sessions that leave the loop
	apart *sync.WaitGroup // those sessions
}

// serveLoop serves the listeners, which it takes over, until ctx is done.
func serveLoop(ctx context.Context, s *Sink, listeners []*net.TCPListener, apart *sync.WaitGroup) error {
	o := &sinkLoop{sink: s, ctx: ctx, apart: apart}
	l, err := newLoop(o, s.timeout())
	if err != nil {
		return err
	}
	o.loop = l
	defer o.end()
	for _, listener := range listeners {
		if err := o.listen(listener); err != nil {
			return fmt.Errorf("listen at %v: %w", listener.Addr(), err)
		}
	}
	if err := l.run(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// listen takes over the socket of a listener.
func (o *sinkLoop) listen(listener *net.TCPListener) error {
	file, err := listener.File() // a copy, which keeps the port when the listener is closed
	if err := errors.Join(err, listener.Close()); err != nil {
		return err
	}
	fd, err := syscall.Dup(int(file.Fd()))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return err
	}
	_, err = o.loop.add(fd, nil)
	return err
}

// end closes what is left.
func (o *sinkLoop) end() {
	for _, p := range o.loop.peers {
		if p != nil && p.d != nil {
			o.sink.left()
		}
	}
	o.loop.close()
}

func (o *sinkLoop) accepted(fd int) {
	o.sink.came()
	p, err := o.loop.add(fd, newServer(o.sink))
	if err != nil {
		o.sink.left()
		return
	}
	o.loop.flush(p)
}

// wants is called for a session that begins TLS.
func (o *sinkLoop) wants(p *peer, _ action) {
	session := p.d.(*server)
	conn, err := o.loop.release(p)
	if err != nil {
		o.sink.left()
		return
	}
	o.apart.Go(func() { o.sink.serveSecure(o.ctx, conn, session) })
}

func (o *sinkLoop) closed(dialogue, error) { o.sink.left() }

func (o *sinkLoop) turn() (most time.Duration, done bool) { return time.Hour, false }
