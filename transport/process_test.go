//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStdioAddresses: who is at the other end, and that nothing else reaches it.
func TestStdioAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
		want string
	}{
		{"pseudo", nil, "stdio: stdio:\n"},
		{"ssh", []string{"SSH_CONNECTION=192.0.2.7 50000 198.51.100.1 22"}, "198.51.100.1:22 192.0.2.7:50000\n"},
		{"ssh over IPv6", []string{"SSH_CONNECTION=2001:db8::7 50000 2001:db8::1 22"},
			"[2001:db8::1]:22 [2001:db8::7]:50000\n"},
		{"nonsense", []string{"SSH_CONNECTION=a b c d"}, "stdio: stdio:\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := Dial(t.Context(), self(), helperOptions("who", append([]string{"SSH_CONNECTION="}, tt.env...)...))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestInetd gives a program the socket as its descriptors 0, 1 and 2, as inetd does.
func TestInetd(t *testing.T) {
	l := mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{})
	client, server := connected(t, l, endpoint(t, l.Addr().String()), DialOptions{})
	defer client.Close()
	f, err := server.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = helperOptions("who", "SSH_CONNECTION=").Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got, err := io.ReadAll(client)
	if want := fmt.Sprintf("%s %s\n", l.Addr(), client.LocalAddr()); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestStdioListener: one connection, then the end.
func TestStdioListener(t *testing.T) {
	conn, err := Dial(t.Context(), self(), helperOptions("serve-stdio"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Error(err)
	}
	if err := closeWrite(conn); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "stdio:\nhello" { // an error would say how it ended
		t.Errorf("got %q, %v", got, err)
	}
}

// TestStdioFiles: standard input and output that are plain files, which know no deadlines.
func TestStdioFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = helperOptions("serve-stdio").Env
	cmd.Stdin, cmd.Stdout = in, out
	if err := errors.Join(cmd.Run(), in.Close(), out.Close()); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || string(got) != "stdio:\nhello" {
		t.Errorf("the output is %q, %v", got, err)
	}
}

// TestStdioSocketPair goes through a socket pair, as some builds of sshd make them.
func TestStdioSocketPair(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var files [2]*os.File
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "socket")
		defer files[i].Close()
	}
	in, out, err := adopt(fds[0], fds[0])
	if err != nil {
		t.Fatal(err)
	}
	conn := newStdio(in, out, noEnv)
	if _, ok := conn.(inetdConn); !ok {
		t.Errorf("one socket became a %T", conn)
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read gives %v", err)
	}
	if _, err := io.WriteString(conn, "bye"); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(files[1]); err != nil || string(got) != "bye" { // though files[0] is still open
		t.Errorf("got %q, %v", got, err)
	}
}

// TestProgramFails: what the program said and how it ended is in the error.
func TestProgramFails(t *testing.T) {
	conn, err := Dial(t.Context(), self(), helperOptions("fail"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	var failed *ProgramError
	var exit *exec.ExitError
	if !errors.As(err, &failed) || !errors.As(err, &exit) || exit.ExitCode() != 255 {
		t.Fatalf("the read gives %v", err)
	}
	if !strings.HasSuffix(failed.Stderr, "Host key verification failed.") || len(failed.Stderr) > DefaultStderrLimit ||
		failed.State != "exit status 255" || !strings.Contains(err.Error(), "Host key") {
		t.Errorf("the error is %+v", failed)
	}
	if _, err := conn.Write([]byte("x")); !errors.As(err, &failed) {
		t.Errorf("the write gives %v", err)
	}
}

func TestProgramMissing(t *testing.T) {
	before := openFiles(t)
	for _, in := range []string{"exec:no-such-program-here", "exec:/no/such/program"} {
		_, err := Dial(t.Context(), endpoint(t, in), DialOptions{})
		if err == nil || !strings.Contains(err.Error(), "installed") {
			t.Errorf("%s: got %v", in, err)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors are open, before it were %d", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skipf("cannot count descriptors: %v", err)
	}
	return len(entries)
}

// TestProgramIsKilled: one that does not end with its input is killed after the grace, and its children with it.
func TestProgramIsKilled(t *testing.T) {
	l := mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{})
	opts := helperOptions("family " + l.Addr().String())
	opts.Grace = 20 * time.Millisecond
	client, grandchild := connected(t, l, self(), opts)
	defer grandchild.Close()
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if client.(*program).cmd.ProcessState == nil {
		t.Error("the program is not reaped")
	}
	if err := grandchild.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := grandchild.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the program's child still lives: %v", err)
	}
}

// TestProgramIsReaped: whoever closes has no zombie, whether the program ends well, badly, or not at all.
func TestProgramIsReaped(t *testing.T) {
	for _, mode := range []string{"who", "fail", "deaf"} {
		opts := helperOptions(mode)
		opts.Grace = 500 * time.Millisecond
		conn, err := Dial(t.Context(), self(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("%s: close: %v", mode, err)
		}
		p := conn.(*program)
		if p.cmd.ProcessState == nil {
			t.Errorf("%s: not reaped", mode)
		}
		if err := syscall.Kill(p.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: the process is still there: %v", mode, err)
		}
	}
}

// TestSystemd starts a program as systemd does: sockets from descriptor 3 on, LISTEN_PID its own.
func TestSystemd(t *testing.T) {
	for _, tt := range []struct {
		name, names string
		reach       []int // which of the three sockets the program listens on
	}{
		{"", "smtp:smtp:submission", []int{0, 1, 2}},
		{"", "", []int{0, 1, 2}},
		{"smtp", "smtp:smtp:submission", []int{0, 1}},
		{"submission", "smtp:smtp:submission", []int{2}},
	} {
		for _, at := range tt.reach {
			t.Run(fmt.Sprintf("%q of %q at %d", tt.name, tt.names, at), func(t *testing.T) {
				testSystemd(t, tt.name, tt.names, at)
			})
		}
	}
}

func testSystemd(t *testing.T, name, names string, at int) {
	ls := []net.Listener{
		mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{}),
		mustListen(t, Endpoint{Kind: Unix, Path: filepath.Join(shortDir(t), "s")}, ListenOptions{}),
		mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{}),
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = helperOptions("serve "+name, "LISTEN_FDS=3", "LISTEN_FDNAMES="+names).Env
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	for _, l := range ls {
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial(ls[at].Addr().Network(), ls[at].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "hello")
	closeWrite(conn)
	r := bufio.NewReader(conn)
	if got, err := io.ReadAll(r); err != nil || string(got) != "systemd:"+name+"\nhello" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program: %v, saying %q", err, said.String())
	}
}

func TestInherited(t *testing.T) {
	for _, tt := range []struct {
		name, pid, fds, names string
		want                  []int
		reason                string
	}{
		{"", "42", "1", "", []int{3}, ""},
		{"", "42", "2", "a:b", []int{3, 4}, ""},
		{"b", "42", "3", "a:b:b", []int{4, 5}, ""},
		{"b", "42", "3", "a:b", []int{4}, ""},
		{"c", "42", "2", "a:b", nil, `no socket called "c"`},
		{"", "43", "1", "", nil, "handed no socket"},
		{"", "", "", "", nil, "handed no socket"},
		{"", "42", "0", "", nil, "LISTEN_FDS"},
		{"", "42", "-1", "", nil, "LISTEN_FDS"},
		{"", "42", "1000000", "", nil, "LISTEN_FDS"},
		{"", "42", "x", "", nil, "LISTEN_FDS"},
	} {
		env := map[string]string{"LISTEN_PID": tt.pid, "LISTEN_FDS": tt.fds, "LISTEN_FDNAMES": tt.names}
		got, err := inherited(tt.name, func(k string) string { return env[k] }, 42)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) ||
			err != nil && !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%+v: got %v, %v", tt, got, err)
		}
	}
}

// TestInheritedKinds: only listening stream sockets are taken, and the descriptor stays open.
func TestInheritedKinds(t *testing.T) {
	l := mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{})
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		again, err := inheritedListener(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		client, server := connected(t, again, endpoint(t, l.Addr().String()), DialOptions{})
		client.Close()
		server.Close()
		again.Close()
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	g, err := udp.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{g, null} {
		if _, err := inheritedListener(int(f.Fd())); err == nil || !strings.Contains(err.Error(), "ListenStream=") {
			t.Errorf("got %v", err)
		}
	}
}

// TestLockFolder: while one holds the lock another waits, and gives up with its context.
func TestLockFolder(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := lockFolder(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	unlock()
	unlock, err = lockFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
