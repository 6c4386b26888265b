package transport

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holub-mail/holub/transport/transporttest"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// somebody is what a proxy says in tests.
var somebody = ProxyHeader{
	Source:      netip.MustParseAddrPort("192.0.2.7:4711"),
	Destination: netip.MustParseAddrPort("198.51.100.1:25"),
}

// layers are what can lie on a listener.
func layers(t *testing.T) map[string]struct {
	listen ListenOptions
	dial   DialOptions
} {
	server, client := tlsConfigs(t)
	client.ServerName = "mx.example.org"
	proxy := &ProxyOptions{Trusted: []netip.Prefix{loopback}, TrustUnnamed: true}
	return map[string]struct {
		listen ListenOptions
		dial   DialOptions
	}{
		"plain":         {},
		"tls":           {ListenOptions{TLS: server}, DialOptions{TLS: client}},
		"proxy":         {ListenOptions{Proxy: proxy}, DialOptions{Proxy: &somebody}},
		"proxy and tls": {ListenOptions{Proxy: proxy, TLS: server}, DialOptions{Proxy: &somebody, TLS: client}},
	}
}

// TestConns holds every kind of connection to the kit.
func TestConns(t *testing.T) {
	t.Parallel()
	for layer, opts := range layers(t) {
		t.Run("tcp/"+layer, func(t *testing.T) {
			t.Parallel()
			transporttest.Conn(t, func(t *testing.T) (net.Conn, net.Conn) {
				l := mustListen(t, endpoint(t, "127.0.0.1:0"), opts.listen)
				return connected(t, l, endpoint(t, l.Addr().String()), opts.dial)
			})
		})
		t.Run("unix/"+layer, func(t *testing.T) {
			t.Parallel()
			transporttest.Conn(t, func(t *testing.T) (net.Conn, net.Conn) {
				e := Endpoint{Kind: Unix, Path: filepath.Join(shortDir(t), "s")}
				return connected(t, mustListen(t, e, opts.listen), e, opts.dial)
			})
		})
	}
	t.Run("pipe", func(t *testing.T) {
		t.Parallel()
		transporttest.Conn(t, func(*testing.T) (net.Conn, net.Conn) { return Pipe() })
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		transporttest.Conn(t, func(t *testing.T) (net.Conn, net.Conn) {
			a, b := pipeFiles(t)
			return newStdio(a[0], a[1], noEnv), newStdio(b[0], b[1], noEnv)
		})
	})
	t.Run("files without deadlines", func(t *testing.T) {
		t.Parallel()
		transporttest.Conn(t, func(t *testing.T) (net.Conn, net.Conn) {
			a, b := pipeFiles(t)
			return pumped(a, lingerTime), newStdio(b[0], b[1], noEnv)
		})
	})
	t.Run("program", func(t *testing.T) { // its other end is Stdio in a process of its own
		t.Parallel()
		transporttest.Conn(t, func(t *testing.T) (net.Conn, net.Conn) {
			l := mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{})
			opts := helperOptions("relay " + l.Addr().String())
			opts.Grace = 200 * time.Millisecond // the relay waits for its other end
			return connected(t, l, self(), opts)
		})
	})
}

// TestListeners holds every kind of listener to the kit.
func TestListeners(t *testing.T) {
	t.Parallel()
	for layer, opts := range layers(t) {
		t.Run("tcp/"+layer, func(t *testing.T) {
			t.Parallel()
			transporttest.Listener(t, func(t *testing.T) (net.Listener, func(context.Context) (net.Conn, error)) {
				l := mustListen(t, endpoint(t, "127.0.0.1:0"), opts.listen)
				return l, func(ctx context.Context) (net.Conn, error) {
					return Dial(ctx, endpoint(t, l.Addr().String()), opts.dial)
				}
			})
		})
	}
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		transporttest.Listener(t, func(t *testing.T) (net.Listener, func(context.Context) (net.Conn, error)) {
			e := Endpoint{Kind: Unix, Path: filepath.Join(shortDir(t), "s")}
			return mustListen(t, e, ListenOptions{}), func(ctx context.Context) (net.Conn, error) {
				return Dial(ctx, e, DialOptions{})
			}
		})
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		transporttest.Listener(t, func(*testing.T) (net.Listener, func(context.Context) (net.Conn, error)) {
			l := NewMemoryListener("memory")
			return l, l.Dial
		})
	})
	t.Run("joined", func(t *testing.T) {
		t.Parallel()
		transporttest.Listener(t, func(t *testing.T) (net.Listener, func(context.Context) (net.Conn, error)) {
			first, second := NewMemoryListener("first"), NewMemoryListener("second")
			turn := make(chan *MemoryListener, 2)
			turn <- first
			turn <- second
			return join([]net.Listener{first, second}), func(ctx context.Context) (net.Conn, error) {
				l := <-turn
				defer func() { turn <- l }()
				return l.Dial(ctx)
			}
		})
	})
}

func noEnv(string) string { return "" }

// shortDir is a folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// pipeFiles gives two pairs of files, to read and to write, joined by pipes of the system.
func pipeFiles(t *testing.T) (a, b [2]*os.File) {
	t.Helper()
	for _, p := range []struct{ r, w **os.File }{{&a[0], &b[1]}, {&b[0], &a[1]}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		*p.r, *p.w = r, w
	}
	return a, b
}

// pumped makes a connection of files as if they had no deadlines.
func pumped(files [2]*os.File, linger time.Duration) net.Conn {
	addr := Endpoint{Kind: StdioKind}
	return &stream{in: newReadPump(files[0]), out: newWritePump(files[1], linger), local: addr, remote: addr}
}

// TestPipeHoldsNoBuffer: a connection that is idle costs no more than its structs.
func TestPipeHoldsNoBuffer(t *testing.T) {
	a, b := Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := a.Write(make([]byte, bufferSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, b, bufferSize); err != nil {
		t.Fatal(err)
	}
	if h := a.(*pipeConn).out; cap(h.data) != 0 {
		t.Errorf("an empty pipe holds %d octets", cap(h.data))
	}
}
