package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long a peer may take to start, or a mail to come.
const patience = 20 * time.Second

// Sink starts smtp-sink on a free port of the loopback, waits until it takes connections, and returns its host:port.
// The options go before its address; it ends with the test.
func Sink(t testing.TB, options ...string) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	serve(t, Command(t, "smtp-sink", append(options, addr, "100")...), addr, nil)
	return addr
}

// HAProxy starts haproxy with a configuration, in which the word LISTEN is replaced by a free port of the loopback,
// waits until it takes connections there, and returns that host:port. It ends with the test.
func HAProxy(t testing.TB, config string) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(config, "LISTEN", addr)), 0o644); err != nil {
		t.Fatalf("peers: %v", err)
	}
	serve(t, Command(t, "haproxy", "-db", "-f", path), addr, nil)
	return addr
}

// serve starts a server, waits until it takes connections at addr, and ends it, with all that it started, when the test
// ends or the test's process dies. What the server says is shown where it does not start, with what log gives.
func serve(t testing.TB, cmd *exec.Cmd, addr string, log func() string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out // a file, so that Wait does not wait for the children of a server
	name := filepath.Base(cmd.Path)
	said := func() string {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			return err.Error()
		}
		if log != nil {
			return string(text) + log()
		}
		return string(text)
	}
	tie(cmd)
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		defer close(ended)
		runtime.LockOSThread() // Linux ends the server with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("peers: start %s: %v", name, err)
	}
	t.Cleanup(func() { // the context of the test has ended by now, which tells the server to end
		for range ended { // until it is closed
		}
		sweep(cmd)
	})
	await(t, func() (bool, string) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return true, ""
		}
		select {
		case err := <-ended:
			t.Fatalf("peers: %s ended at once: %v\n%s", name, err, said())
		default:
		}
		return false, fmt.Sprintf("%s takes no connection at %s\n%s", name, addr, said())
	})
}

// await polls until done gives true; where that takes too long, the test fails with what done said last.
func await(t testing.TB, done func() (ok bool, missing string)) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		ok, missing := done()
		if ok {
			return
		}
		if now := <-tick.C; now.After(deadline) {
			t.Fatalf("peers: after %v, %s", patience, missing)
		}
	}
}

// freeAddr gives an address of the loopback where nothing listens now.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("peers: no free port: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// openFolder makes a folder that ends with the test and that other users may pass through, which those of testing are
// not.
func openFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "holub-peer-")
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("peers: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatalf("peers: %v", err)
	}
	return dir
}

// maildir waits until a Maildir holds at least n new mails and gives the text of all, in no order, with LF line ends.
func maildir(t testing.TB, dir string, n int, log func() string) []string {
	t.Helper()
	var files []string
	await(t, func() (bool, string) {
		var err error
		if files, err = filepath.Glob(filepath.Join(dir, "new", "*")); err != nil {
			return false, err.Error()
		}
		if len(files) >= n {
			return true, ""
		}
		return false, fmt.Sprintf("there are %d mails of %d\n%s", len(files), n, log())
	})
	mails := make([]string, 0, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("peers: %v", err)
		}
		mails = append(mails, string(text))
	}
	return mails
}
