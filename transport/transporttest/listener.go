package transporttest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Listen makes a listener and a function that dials it.
type Listen func(t *testing.T) (l net.Listener, dial func(ctx context.Context) (net.Conn, error))

// Listener runs the tests of a listener that takes any number of connections.
func Listener(t *testing.T, listen Listen) {
	t.Helper()
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, l net.Listener, dial func(ctx context.Context) (net.Conn, error))
	}{
		{"many", many},
		{"idle client", idleClient},
		{"close ends accept", closeEndsAccept},
		{"connections outlive it", outlive},
		{"refuses when closed", refuses},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, dial := listen(t)
			t.Cleanup(func() { l.Close() })
			if l.Addr() == nil {
				t.Error("the address is nil")
			}
			within(t, func() { l.Close() }, func() { tt.run(t, l, dial) })
		})
	}
}

// many has several clients at once, each of whom gets its own words back.
func many(t *testing.T, l net.Listener, dial func(ctx context.Context) (net.Conn, error)) {
	const clients = 20
	var all sync.WaitGroup
	all.Go(func() {
		for range clients {
			conn, err := l.Accept()
			if err != nil {
				t.Errorf("accept: %v", err)
				return
			}
			all.Go(func() {
				defer conn.Close()
				if _, err := io.Copy(conn, conn); err != nil {
					t.Errorf("echo: %v", err)
				}
			})
		}
	})
	for i := range clients {
		all.Go(func() {
			conn, err := dial(t.Context())
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			defer conn.Close()
			word := string(rune('a' + i))
			send(t, conn, word)
			closeWrite(t, conn)
			if got, err := io.ReadAll(conn); string(got) != word || err != nil {
				t.Errorf("client %d got %q, %v", i, got, err)
			}
		})
	}
	all.Wait()
}

// idleClient connects and says nothing more than it must to be connected: the next one is served all the same.
func idleClient(t *testing.T, l net.Listener, dial func(ctx context.Context) (net.Conn, error)) {
	accepted := make(chan net.Conn, 2)
	go func() {
		for range 2 {
			conn, err := l.Accept()
			if err != nil {
				t.Errorf("accept: %v", err)
				return
			}
			accepted <- conn
			go func() {
				io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	go func() {
		if idle, err := dial(t.Context()); err == nil {
			t.Cleanup(func() { idle.Close() })
		}
	}()
	first := <-accepted
	talker, err := dial(t.Context())
	if err != nil {
		t.Errorf("dial: %v", err)
		return
	}
	defer talker.Close()
	send(t, talker, "hello")
	expect(t, talker, "hello")
	first.Close()
	(<-accepted).Close()
}

func closeEndsAccept(t *testing.T, l net.Listener, _ func(ctx context.Context) (net.Conn, error)) {
	got := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := l.Accept()
			got <- err
		}()
	}
	must(t, "close", l.Close())
	wantClosed(t, "accept", <-got)
	wantClosed(t, "accept", <-got)
	_, err := l.Accept()
	wantClosed(t, "accept", err)
	if err := l.Close(); err != nil {
		wantClosed(t, "close again", err)
	}
}

func outlive(t *testing.T, l net.Listener, dial func(ctx context.Context) (net.Conn, error)) {
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
			go io.Copy(conn, conn)
		}
	}()
	client, err := dial(t.Context())
	if err != nil {
		t.Errorf("dial: %v", err)
		return
	}
	defer client.Close()
	server := <-accepted
	defer server.Close()
	must(t, "close", l.Close())
	send(t, client, "still here")
	expect(t, client, "still here")
}

func refuses(t *testing.T, l net.Listener, dial func(ctx context.Context) (net.Conn, error)) {
	must(t, "close", l.Close())
	if conn, err := dial(t.Context()); err == nil {
		conn.Close()
		t.Error("a closed listener takes a connection")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dial(ctx); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("dialing with an ended context gives %v", err)
	}
}
