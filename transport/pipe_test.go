package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestPipeDeadlines: to the moment, on the clock of a test.
func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		defer b.Close()
		begun := time.Now()
		a.SetReadDeadline(begun.Add(time.Minute))
		a.SetWriteDeadline(begun.Add(time.Hour))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("the read ends after %v with %v", time.Since(begun), err)
		}
		n, err := a.Write(make([]byte, bufferSize+1))
		if n != bufferSize || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Hour {
			t.Errorf("the write of %d octets ends after %v with %v", n, time.Since(begun), err)
		}
		// Several writers wait together and all go at the deadline.
		a.SetDeadline(time.Now().Add(time.Hour))
		begun = time.Now()
		errs := make(chan error)
		for range 3 {
			go func() {
				_, err := a.Write([]byte("x"))
				errs <- err
			}()
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Hour {
				t.Errorf("a writer ends after %v with %v", time.Since(begun), err)
			}
		}
		// Close leaves no timer behind that holds anything up.
		a.SetDeadline(time.Now().Add(time.Hour))
		a.Close()
		if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a deadline after Close gives %v", err)
		}
	})
}

func TestMemoryListenerLeavesNobodyWaiting(t *testing.T) {
	l := NewMemoryListener("memory")
	conn, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("who stood in line reads %v", err)
	}
	if _, err := l.Dial(context.Background()); !errors.Is(err, errRefused) {
		t.Errorf("dialing gives %v", err)
	}
	if addr := conn.RemoteAddr(); addr.Network() != "memory" || addr.String() != "memory" {
		t.Errorf("the address is %s %s", addr.Network(), addr)
	}
}

// TestWritePumpGivesUp: a file that takes nothing holds Close for the lingering time, no longer.
func TestWritePumpGivesUp(t *testing.T) {
	files, others := pipeFiles(t)
	defer others[0].Close()
	defer others[1].Close()
	const linger = 50 * time.Millisecond
	c := pumped(files, linger)
	if err := c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := c.Write(make([]byte, bufferSize)); err != nil {
			break
		}
	}
	begun := time.Now()
	if err := c.Close(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) < linger {
		t.Errorf("Close ends after %v with %v", time.Since(begun), err)
	}
}
