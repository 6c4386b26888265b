package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asServer makes the test binary be a server, so that starting and stopping is tested without a peer.
const asServer = "HOLUB_TEST_RUN_AS_SERVER"

func TestMain(m *testing.M) {
	if addr := os.Getenv(asServer); addr != "" {
		fmt.Println("the server speaks:", serveGreetings(addr, os.Args[1:]))
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// serveGreetings is the server: it greets, leaves a child behind that outlives it, and ends as it is told to.
func serveGreetings(addr string, args []string) error {
	if args[0] == "end" {
		return fmt.Errorf("I end at once")
	}
	child := exec.Command("sleep", "300")
	if err := child.Start(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprint(conn, "220 hello\r\n")
		bufio.NewReader(conn).ReadString('\n')
		fmt.Fprint(conn, "221 goodbye\r\n")
		conn.Close()
	}
}

// fake is a Server whose program is this test.
func fake(t *testing.T, addr string, args ...string) Server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &store{}
	return &product{
		name:    "fake",
		install: func(context.Context) (string, error) { return "1", nil },
		plan: func(s Setup) (plan, error) {
			return plan{store: c, files: []file{{"etc/fake.conf", "listen '" + s.Addr + "'\n"}}, folders: []string{"queue"},
				prepare: "test -f etc/fake.conf", env: []string{asServer + "=" + addr}, args: append([]string{self}, args...),
				queued: func(context.Context) (int, error) { return 7, nil }}, nil
		},
	}
}

// TestStartAndStop looks that nothing is left of a server, not even the child that it did not wait for.
func TestStartAndStop(t *testing.T) {
	addr := freeAddr(t)
	r := begin(t, fake(t, addr, "serve"), Setup{Dir: t.TempDir(), Addr: addr, Cores: 1})
	u, err := r.Usage()
	if err != nil || u.Processes < 3 || u.Memory == 0 || u.CPU() <= 0 && r.group.dir != "" { // shell, server, child
		t.Errorf("%+v, %v", u, err)
	}
	if n, err := r.Queued(t.Context()); err != nil || n != 7 {
		t.Errorf("%d wait, %v", n, err)
	}
	if _, err := r.Syncs(); err == nil {
		t.Error("syncs are counted that were not traced")
	}
	finish(t, r)
	if _, err := r.Usage(); err == nil {
		t.Error("a stopped server uses something")
	}
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		conn.Close()
		t.Error("a stopped server answers")
	}
}

// TestServerThatEnds looks for the log of a server that ends before it answers.
func TestServerThatEnds(t *testing.T) {
	addr := freeAddr(t)
	r, err := fake(t, addr, "end").Start(t.Context(), Setup{Dir: t.TempDir(), Addr: addr})
	if err == nil {
		t.Fatal(r.Stop())
	}
	for _, want := range []string{"start fake", "exit status 3", "I end at once"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// TestAddressInUse looks that nobody else is taken for the server.
func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	if r, err := fake(t, addr, "serve").Start(t.Context(), Setup{Dir: t.TempDir(), Addr: addr}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("started at an address in use: %v, %v", r, err)
	}
}

// TestServerThatDies looks for the error of Stop when the server was gone before.
func TestServerThatDies(t *testing.T) {
	addr := freeAddr(t)
	r, err := fake(t, addr, "serve").Start(t.Context(), Setup{Dir: t.TempDir(), Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	pid, err := r.group.server()
	if err != nil {
		t.Fatal(err)
	}
	if err := signal(pid, os.Kill); err != nil {
		t.Fatal(err)
	}
	<-r.ended
	if err := r.Stop(); err == nil || !strings.Contains(err.Error(), "had ended before") {
		t.Errorf("Stop of a dead server: %v", err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
}

// TestQuote gives words to a shell and asks for them back.
func TestQuote(t *testing.T) {
	for _, word := range []string{"", "a b", "it's", "''", `"$HOME" \`, "a\nb", "`x`;&|"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q comes back as %q, %v", word, out, err)
		}
	}
}

// TestLay looks that the key of a server is not for everyone.
func TestLay(t *testing.T) {
	s := Setup{Dir: t.TempDir()}
	secrets(t, &s, true)
	if err := lay(s, plan{files: []file{{"a/b", "text"}}, folders: []string{"queue"}}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(s.Dir, "tls/key.pem"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if text := read(t, filepath.Join(s.Dir, "a/b")); text != "text" {
		t.Errorf("%q", text)
	}
}
