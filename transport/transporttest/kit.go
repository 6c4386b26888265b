// Package transporttest is the kit of tests that every connection and every listener of package transport passes, and
// that others can run against their own.
//
// It never makes a connection itself and never sleeps: the caller gives it a function that makes one. Tests call it:
//
//	transporttest.Conn(t, func(t *testing.T) (client, server net.Conn) { return transport.Pipe() })
package transporttest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

const (
	patience  = 20 * time.Second // after which a test that waits has failed
	largeSize = 3 << 20
	shortTime = 30 * time.Millisecond
	tooMuch   = 256 << 20 // octets that no transport may buffer
)

// Connect makes both ends of a new connection. It may register clean-ups; the kit closes both ends itself.
type Connect func(t *testing.T) (client, server net.Conn)

// Conn runs the tests of a connection. Both ends must have deadlines and CloseWrite.
func Conn(t *testing.T, connect Connect) {
	t.Helper()
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, near, far net.Conn)
	}{
		{"exchange", exchange},
		{"large", large},
		{"records stay whole", records},
		{"read deadline", readDeadline},
		{"read broken off", readBroken},
		{"write deadline", writeDeadline},
		{"write broken off", writeBroken},
		{"close ends read", closeEndsRead},
		{"close ends write", closeEndsWrite},
		{"closed", closed},
		{"peer closes", peerCloses},
		{"peer is gone", peerGone},
		{"half-close", halfClose},
		{"all at once", allAtOnce},
	} {
		for _, way := range []string{"client", "server"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				near, far := connect(t)
				if way == "server" {
					near, far = far, near
				}
				end := func() { // at once: where much is unread, one may wait for the other
					var both sync.WaitGroup
					both.Go(func() { near.Close() })
					both.Go(func() { far.Close() })
					both.Wait()
				}
				defer end()
				within(t, end, func() { tt.run(t, near, far) })
			})
		}
	}
}

// within fails the test where f does not return in time; end must make it return then.
func within(t *testing.T, end, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("it hangs; what follows is from breaking it off")
		end()
		<-done
	}
}

func exchange(t *testing.T, near, far net.Conn) {
	if near.LocalAddr() == nil || near.RemoteAddr() == nil {
		t.Error("an address is nil")
	}
	for range 50 {
		send(t, near, "MAIL FROM:<a@example.org>\r\n")
		expect(t, far, "MAIL FROM:<a@example.org>\r\n")
		send(t, far, "250 2.1.0 Ok\r\n")
		expect(t, near, "250 2.1.0 Ok\r\n")
	}
	if n, err := near.Write(nil); n != 0 || err != nil {
		t.Errorf("an empty write gives %d, %v", n, err)
	}
	send(t, near, "x")
	expect(t, far, "x")
}

// large sends much both ways at once, in pieces of many sizes, and ends each way with CloseWrite.
func large(t *testing.T, near, far net.Conn) {
	there, back := noise(1), noise(2)
	var all sync.WaitGroup
	for _, c := range []struct {
		conn     net.Conn
		out, in  []byte
		from, to string
	}{{near, there, back, "near", "far"}, {far, back, there, "far", "near"}} {
		all.Go(func() {
			for at, size := 0, 1; at < len(c.out); size = size*3 + 1 {
				end := min(at+size, len(c.out))
				if n, err := c.conn.Write(c.out[at:end]); n != end-at || err != nil {
					t.Errorf("%s: write at %d gives %d, %v; want %d", c.from, at, n, err, end-at)
					break
				}
				if at = end; size > 1<<18 {
					size = 1
				}
			}
			closeWrite(t, c.conn)
		})
		all.Go(func() {
			got, err := io.ReadAll(c.conn)
			if err != nil || !bytes.Equal(got, c.in) {
				t.Errorf("%s read %d octets (%v), not the %d that %s sent", c.from, len(got), err, len(c.in), c.to)
			}
		})
	}
	all.Wait()
}

// noise is data in which every octet depends on its place.
func noise(seed uint32) []byte {
	data := make([]byte, largeSize)
	for i := range data {
		seed = seed*1664525 + 1013904223
		data[i] = byte(seed >> 24)
	}
	return data
}

// records has several writers at once; no write may be torn by another.
func records(t *testing.T, near, far net.Conn) {
	const writers, each, size = 5, 40, 700
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for range each {
				if _, err := near.Write(bytes.Repeat([]byte{byte('a' + w)}, size)); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	count := make(map[byte]int)
	record := make([]byte, size)
	for range writers * each {
		if _, err := io.ReadFull(far, record); err != nil {
			t.Errorf("read a record: %v", err)
			near.Close() // lets the writers go
			break
		}
		if bytes.Count(record, record[:1]) != size {
			t.Errorf("a record is torn: %.80q", record)
			near.Close()
			break
		}
		count[record[0]]++
	}
	all.Wait()
	for w := range writers {
		if count[byte('a'+w)] != each {
			t.Errorf("%d records of writer %d, want %d", count[byte('a'+w)], w, each)
		}
	}
}

func readDeadline(t *testing.T, near, far net.Conn) {
	for _, set := range []func(time.Time) error{near.SetReadDeadline, near.SetDeadline} {
		for _, wait := range []time.Duration{-time.Hour, 0, shortTime} {
			begun := time.Now()
			must(t, "set the deadline", set(time.Now().Add(wait)))
			wantTimeout(t, "read", readOne(near))
			if took := time.Since(begun); took < wait {
				t.Errorf("a read with %v to go ended after %v", wait, took)
			}
			wantTimeout(t, "read again", readOne(near))
			must(t, "take the deadline away", set(time.Time{}))
		}
		// Nothing is lost and nothing is broken by a deadline.
		send(t, far, "late")
		expect(t, near, "late")
		send(t, near, "ok")
		expect(t, far, "ok")
		// A deadline that is put off in time has no effect.
		must(t, "set the deadline", set(time.Now().Add(shortTime)))
		must(t, "put the deadline off", set(time.Now().Add(time.Hour)))
		time.AfterFunc(2*shortTime, func() { far.Write([]byte("later")) })
		expect(t, near, "later")
		must(t, "take the deadline away", set(time.Time{}))
	}
}

func readBroken(t *testing.T, near, far net.Conn) {
	got := make(chan error, 1)
	go func() { got <- readOne(near) }()
	must(t, "set the deadline", near.SetReadDeadline(time.Now().Add(shortTime)))
	wantTimeout(t, "read", <-got)
	// A read deadline is none for writing.
	send(t, near, "ok")
	expect(t, far, "ok")
}

func writeDeadline(t *testing.T, near, far net.Conn) {
	must(t, "set the deadline", near.SetWriteDeadline(time.Now().Add(-time.Second)))
	_, err := near.Write([]byte("x"))
	wantTimeout(t, "write", err)
	// A write deadline is none for reading.
	send(t, far, "ok")
	expect(t, near, "ok")
}

func writeBroken(t *testing.T, near, far net.Conn) {
	must(t, "set the deadline", near.SetWriteDeadline(time.Now().Add(5*shortTime)))
	wantTimeout(t, "write", fill(t, near))
	// What was taken arrives, and the other way is open.
	send(t, far, "ok")
	expect(t, near, "ok")
	if _, err := io.CopyN(io.Discard, far, 100); err != nil {
		t.Errorf("read what was written: %v", err)
	}
}

func closeEndsRead(t *testing.T, near, _ net.Conn) {
	got := make(chan error, 1)
	go func() { got <- readOne(near) }()
	time.AfterFunc(shortTime, func() { near.Close() })
	wantClosed(t, "read", <-got)
}

func closeEndsWrite(t *testing.T, near, far net.Conn) {
	got := make(chan error, 1)
	go func() { got <- fill(t, near) }()
	if _, err := io.CopyN(io.Discard, far, 1<<20); err != nil { // the writer is at work
		t.Errorf("read: %v", err)
	}
	time.AfterFunc(shortTime, func() { near.Close() })
	wantClosed(t, "write", <-got)
}

func closed(t *testing.T, near, _ net.Conn) {
	must(t, "close", near.Close())
	wantClosed(t, "read", readOne(near))
	_, err := near.Write([]byte("x"))
	wantClosed(t, "write", err)
	if err := near.Close(); err != nil {
		wantClosed(t, "close again", err)
	}
}

func peerCloses(t *testing.T, near, far net.Conn) {
	send(t, near, "221 2.0.0 Bye\r\n")
	must(t, "close", near.Close())
	got, err := io.ReadAll(far)
	if err != nil || string(got) != "221 2.0.0 Bye\r\n" {
		t.Errorf("the other end read %q, %v", got, err)
	}
	if err := readOne(far); err != io.EOF {
		t.Errorf("a read after the end gives %v, want io.EOF", err)
	}
}

// peerGone writes to an end that is closed: sooner or later that fails, and not by the deadline.
func peerGone(t *testing.T, near, far net.Conn) {
	must(t, "close", far.Close())
	must(t, "set the deadline", near.SetWriteDeadline(time.Now().Add(patience/2)))
	err := fill(t, near)
	var late net.Error
	if err == nil || errors.Is(err, net.ErrClosed) || errors.As(err, &late) && late.Timeout() {
		t.Errorf("writing to one who is gone gives %v", err)
	}
}

func halfClose(t *testing.T, near, far net.Conn) {
	send(t, near, "a question")
	closeWrite(t, near)
	got, err := io.ReadAll(far)
	if err != nil || string(got) != "a question" {
		t.Errorf("the other end read %q, %v", got, err)
	}
	if _, err := near.Write([]byte("more")); err == nil {
		t.Error("a write after CloseWrite succeeds")
	}
	must(t, "set both deadlines after CloseWrite", near.SetDeadline(time.Now().Add(patience)))
	send(t, far, "an answer")
	must(t, "close", far.Close())
	got, err = io.ReadAll(near)
	if err != nil || string(got) != "an answer" {
		t.Errorf("the answer is %q, %v", got, err)
	}
	must(t, "close", near.Close())
}

// allAtOnce uses every method from several goroutines while the connection goes; the race detector looks on.
func allAtOnce(t *testing.T, near, far net.Conn) {
	var all sync.WaitGroup
	for _, c := range []net.Conn{near, far} {
		for range 2 {
			all.Go(func() { io.Copy(io.Discard, c) })
			all.Go(func() {
				for range 200 {
					if _, err := c.Write(make([]byte, 512)); err != nil {
						return
					}
				}
			})
			all.Go(func() {
				for range 50 {
					c.SetDeadline(time.Now().Add(patience))
					c.SetReadDeadline(time.Time{})
					c.SetWriteDeadline(time.Time{})
					_, _ = c.LocalAddr().String(), c.RemoteAddr().String()
				}
			})
		}
	}
	time.AfterFunc(shortTime, func() {
		for _, c := range []net.Conn{near, far} {
			go closeWriteOf(c)
			go c.Close()
			go c.Close()
		}
	})
	all.Wait()
	near.Close()
	if err := readOne(near); err != io.EOF { // which may have been read before
		wantClosed(t, "read", err)
	}
}

// fill writes until that fails.
func fill(t *testing.T, c net.Conn) error {
	block := make([]byte, 32<<10)
	for sent := 0; sent < tooMuch; sent += len(block) {
		if n, err := c.Write(block); err != nil {
			return err
		} else if n != len(block) {
			t.Errorf("a write of %d octets gives %d and no error", len(block), n)
		}
	}
	t.Errorf("%d octets found a place though nobody reads", tooMuch)
	return nil
}

func readOne(c net.Conn) error {
	n, err := c.Read(make([]byte, 1))
	if n != 0 {
		return errors.New("there was something to read")
	}
	return err
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := io.WriteString(c, s); n != len(s) || err != nil {
		t.Errorf("write %q: %d octets, %v", s, n, err)
	}
}

func expect(t *testing.T, c net.Conn, s string) {
	t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != s {
		t.Errorf("read %q, %v; want %q", got[:n], err, s)
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func wantTimeout(t *testing.T, what string, err error) {
	t.Helper()
	late, ok := err.(net.Error)
	if !ok || !late.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s after the deadline gives %v (%T), want a time-out", what, err, err)
	}
}

func wantClosed(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("%s after Close gives %v (%T), want net.ErrClosed", what, err, err)
	}
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	must(t, "CloseWrite", closeWriteOf(c))
}

func closeWriteOf(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("it has no CloseWrite")
	}
	return half.CloseWrite()
}
