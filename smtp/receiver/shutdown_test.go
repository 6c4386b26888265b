package receiver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp/receiver"
)

const shuttingDown = "421 4.3.2 mx.example.org is shutting down\r\n"

// TestShutdown: every session comes to its own end, and Shutdown waits for the last.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &recorder{}
		srv := &receiver.Server{Hostname: "mx.example.org", Handler: h}
		fresh, silent, typing := begin(t, srv), begin(t, srv), begin(t, srv)
		<-time.After(2 * time.Second) // long enough for silent sessions to give their buffers back
		recipients, content := begin(t, srv), begin(t, srv)
		silent.ask("HELO client.example\r\n")
		typing.ask("HELO client.ex")
		recipients.ask(strings.TrimSuffix(toContent, "DATA\r\n"))
		content.ask(toContent)

		var done error = errors.New("Shutdown has not returned")
		go func() { done = srv.Shutdown(context.Background()) }()
		for name, c := range map[string]*client{"fresh": fresh, "silent": silent} {
			if got := c.ask(""); got != shuttingDown {
				t.Errorf("the %s session is told %q", name, got)
			}
		}
		for name, c := range map[string]*client{"typing": typing, "recipients": recipients, "content": content} {
			if got := c.ask(""); got != "" {
				t.Errorf("the %s session is told %q", name, got)
			}
		}
		if got := typing.ask("ample\r\n"); got != shuttingDown {
			t.Errorf("the next command is answered %q", got)
		}
		if got := content.ask("Hi\r\n.\r\n"); got != "250 2.0.0 Kept as 1\r\n"+shuttingDown {
			t.Errorf("the content is answered %q", got)
		}
		<-time.After(time.Minute)
		if done == nil {
			t.Error("Shutdown returned while a transaction was open")
		}
		if got := recipients.ask("DATA\r\n"); !strings.HasPrefix(got, "354 ") {
			t.Errorf("DATA is answered %q", got)
		}
		if got := recipients.ask("Hi\r\n.\r\n"); got != "250 2.0.0 Kept as 2\r\n"+shuttingDown {
			t.Errorf("the content is answered %q", got)
		}
		if done != nil || srv.Sessions() != 0 {
			t.Errorf("Shutdown: %v with %d sessions", done, srv.Sessions())
		}
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
	})
}

// TestShutdownCuts: what does not end in time is cut, and the Handler that waits is told by its context.
func TestShutdownCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &recorder{}
		srv := &receiver.Server{Hostname: "mx.example.org", Handler: waiter{h}}
		inData, inHandler := begin(t, srv), begin(t, srv)
		inData.ask(toContent + "half a mess")
		inHandler.ask(toContent + "Hi\r\n.\r\n")
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		start := time.Now()
		err := srv.Shutdown(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("Shutdown: %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		_, closed1 := inData.take()
		_, closed2 := inHandler.take()
		if srv.Sessions() != 0 || h.gone != 2 || h.kept() != "" || !closed1 || !closed2 {
			t.Errorf("%d sessions, %d ended, kept %q, closed %v %v", srv.Sessions(), h.gone, h.kept(), closed1, closed2)
		}
	})
}

// TestShutdownListener: Serve returns ErrServerClosed, and so does one that comes too late.
func TestShutdownListener(t *testing.T) {
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: &recorder{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	greeting := make([]byte, len("220 mx.example.org ESMTP holub\r\n"))
	if _, err := io.ReadFull(conn, greeting); err != nil {
		t.Fatal(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, receiver.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	if rest, err := io.ReadAll(conn); string(rest) != shuttingDown || err != nil {
		t.Errorf("the session is told %q, %v", rest, err)
	}
	late, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(late); !errors.Is(err, receiver.ErrServerClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	if _, err := late.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve after Shutdown leaves the listener open: %v", err)
	}
}

// TestListenerFails: Serve returns when somebody else closes the listener, and passes over errors that pass.
func TestListenerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &brokenListener{errs: []error{errors.New("no file descriptor"), errors.New("no file descriptor"), net.ErrClosed}}
		start := time.Now()
		err := (&receiver.Server{}).Serve(l)
		if !errors.Is(err, net.ErrClosed) || time.Since(start) != 15*time.Millisecond || !l.closed {
			t.Errorf("Serve: %v after %v, closed: %v", err, time.Since(start), l.closed)
		}
	})
}

type brokenListener struct {
	errs   []error
	closed bool
}

func (l *brokenListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}
func (l *brokenListener) Close() error   { l.closed = true; return nil }
func (l *brokenListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestConcurrency: many sessions at once over TCP, while others ask the server how it is and shut it down.
func TestConcurrency(t *testing.T) {
	const sessions, each = 32, 8
	h := &recorder{}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: h}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	var clients sync.WaitGroup
	for range sessions {
		clients.Go(func() {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			message := strings.TrimPrefix(toContent, "HELO client.example\r\n") + "Hi\r\n.\r\n"
			io.WriteString(conn, "HELO client.example\r\n"+strings.Repeat(message, each)+"QUIT\r\n")
			got, err := io.ReadAll(conn)
			if n := strings.Count(string(got), "Kept as"); err != nil || n != each {
				t.Errorf("%d messages were accepted: %v", n, err)
			}
			srv.Sessions()
		})
	}
	clients.Wait()
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, receiver.ErrServerClosed) {
		t.Error(err)
	}
	if len(h.messages) != sessions*each || h.gone != sessions {
		t.Errorf("%d messages of %d sessions", len(h.messages), h.gone)
	}
}
