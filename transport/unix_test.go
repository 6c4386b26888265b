package transport

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// stale leaves a socket behind as a process does that is killed.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnixSocketIsRemoved(t *testing.T) {
	e := Endpoint{Kind: Unix, Path: filepath.Join(shortDir(t), "s"), Mode: 0o600}
	for range 2 {
		l := mustListen(t, e, ListenOptions{})
		if info, err := os.Lstat(e.Path); err != nil || info.Mode().Type() != fs.ModeSocket {
			t.Fatalf("the socket: %v, %v", info, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(e.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close the socket is still there: %v", err)
		}
	}
}

func TestUnixSocketMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such modes on Windows")
	}
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666, 0o777} {
		e := Endpoint{Kind: Unix, Path: filepath.Join(shortDir(t), "s"), Mode: mode}
		mustListen(t, e, ListenOptions{})
		if info, err := os.Lstat(e.Path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("the mode is %v, %v; want %v", info.Mode(), err, mode)
		}
	}
}

func TestUnixSocketInTheWay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		put     func(t *testing.T, path string)
		allowed bool
	}{
		{"a stale socket", stale, true},
		{"nothing", func(*testing.T, string) {}, true},
		{"a live socket", func(t *testing.T, path string) {
			mustListen(t, Endpoint{Kind: Unix, Path: path}, ListenOptions{})
		}, false},
		{"a plain file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a link to a stale socket", func(t *testing.T, path string) {
			stale(t, path+"2")
			if err := os.Symlink(path+"2", path); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "s")
			tt.put(t, path)
			before, _ := os.Lstat(path)
			l, err := Listen(t.Context(), Endpoint{Kind: Unix, Path: path}, ListenOptions{})
			if tt.allowed {
				if err != nil {
					t.Fatal(err)
				}
				l.Close()
				return
			}
			if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, %v; want ErrInUse", l, err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was there is gone: %v", err)
			}
		})
	}
}

// TestUnixSocketOfAnother: Close leaves what someone else put in the socket's place.
func TestUnixSocketOfAnother(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := mustListen(t, Endpoint{Kind: Unix, Path: path}, ListenOptions{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

// TestUnixSocketRace: of many that start at once over a stale socket one listens, and it can be reached.
func TestUnixSocketRace(t *testing.T) {
	e := Endpoint{Kind: Unix, Path: filepath.Join(shortDir(t), "s")}
	stale(t, e.Path)
	var all sync.WaitGroup
	won := make(chan net.Listener, 10)
	for range cap(won) {
		all.Go(func() {
			l, err := Listen(t.Context(), e, ListenOptions{})
			if err == nil {
				won <- l
			} else if !errors.Is(err, ErrInUse) {
				t.Errorf("a loser gets %v", err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Fatalf("%d listen, want 1", len(won))
	}
	l := <-won
	defer l.Close()
	client, server := connected(t, l, e, DialOptions{})
	client.Close()
	server.Close()
}

func TestListenErrors(t *testing.T) {
	taken := mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{}).Addr().String()
	long := "unix:" + filepath.Join(shortDir(t), strings.Repeat("x", 200))
	for in, advice := range map[string]string{
		taken:                        "another program listens there",
		"unix:/no/such/folder/s":     "make the folder first",
		long:                         "about 100 octets",
		"systemd:":                   "start it by its socket unit",
		"no-such-host.invalid:25252": "no-such-host.invalid",
	} {
		if runtime.GOOS != "linux" && in != taken {
			continue // other systems say it in other words
		}
		l, err := Listen(t.Context(), endpoint(t, in), ListenOptions{})
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), advice) || !strings.Contains(err.Error(), "listen on") {
			t.Errorf("%s: got %v, want advice with %q", in, err, advice)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, in := range []string{taken, "unix:" + filepath.Join(shortDir(t), "s"), "exec:cat"} {
		if conn, err := Dial(ended, endpoint(t, in), DialOptions{}); !errors.Is(err, context.Canceled) && err == nil {
			conn.Close()
			t.Errorf("%s: an ended context does not end Dial", in)
		}
	}
}

// TestFamilies: both wildcard addresses can be listened on at once, for each is of its own family.
func TestFamilies(t *testing.T) {
	four := mustListen(t, endpoint(t, "0.0.0.0:0"), ListenOptions{})
	port := uint16(four.Addr().(*net.TCPAddr).Port)
	six, err := Listen(t.Context(), Endpoint{Kind: TCP, Host: "::", Port: port}, ListenOptions{})
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	defer six.Close()
	client, server := connected(t, six, Endpoint{Kind: TCP, Host: "::1", Port: port}, DialOptions{})
	defer client.Close()
	defer server.Close()
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Error(err)
	}
}
