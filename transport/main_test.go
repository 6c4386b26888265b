package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/certtest"
)

// helperVar makes the test binary one of the programs below instead of running tests.
const helperVar = "HOLUB_TRANSPORT_HELPER"

func TestMain(m *testing.M) {
	mode, arg, _ := strings.Cut(os.Getenv(helperVar), " ")
	if mode == "" {
		os.Exit(m.Run())
	}
	if err := helper(mode, arg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// helper is the programs at the other end of the tests.
func helper(mode, arg string) error {
	switch mode {
	case "relay": // between standard input and output and a TCP address
		return relay(arg)
	case "who": // tells its addresses, and prints where nobody should see it
		conn, err := Stdio()
		if err != nil {
			return err
		}
		fmt.Println("stray text")
		fmt.Fprintf(conn, "%s %s\n", conn.LocalAddr(), conn.RemoteAddr())
		return conn.Close()
	case "fail":
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 5000), "Host key verification failed.")
		os.Exit(255)
	case "serve": // one connection of what systemd hands over, echoed
		return serveOne("systemd:" + arg)
	case "serve-stdio":
		return serveOne("stdio:")
	case "deaf": // never ends by itself
		forever()
	case "hold": // the same, with a connection that shows whether it lives
		conn, err := net.Dial("tcp", arg)
		if err != nil {
			return err
		}
		defer conn.Close()
		forever()
	case "family": // a child that holds, and then deaf
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperVar+"=hold "+arg)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		forever()
	}
	return fmt.Errorf("there is no helper %q", mode)
}

func forever() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	for range c {
	}
}

func relay(addr string) error {
	here, err := Stdio()
	if err != nil {
		return err
	}
	there, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(here, there); err != nil {
			there.Close()
		}
		closeWrite(here)
	}()
	if _, err := io.Copy(there, here); err != nil {
		return err
	}
	closeWrite(there)
	<-done
	return nil
}

func serveOne(endpoint string) error {
	e, err := ParseEndpoint(endpoint)
	if err != nil {
		return err
	}
	l, err := Listen(context.Background(), e, ListenOptions{})
	if err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	fmt.Fprintf(conn, "%s\n", e)
	if _, err := io.Copy(conn, conn); err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return err
	}
	if e.Kind == StdioKind {
		if _, err := l.Accept(); err == nil {
			return fmt.Errorf("stdio accepted twice")
		}
	}
	return l.Close()
}

// helperOptions are those of a program that is this test binary.
func helperOptions(mode string, env ...string) DialOptions {
	return DialOptions{Env: append(append(os.Environ(), helperVar+"="+mode, fastExit), env...)}
}

// fastExit takes away the second for which the race detector keeps an ending program.
const fastExit = "GORACE=atexit_sleep_ms=0"

// self is the endpoint of this test binary.
func self() Endpoint { return Endpoint{Kind: Exec, Args: []string{os.Args[0]}} }

// endpoint parses what must be right.
func endpoint(t *testing.T, s string) Endpoint {
	t.Helper()
	e, err := ParseEndpoint(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// mustListen listens until the test ends.
func mustListen(t *testing.T, e Endpoint, opts ListenOptions) net.Listener {
	t.Helper()
	l, err := Listen(t.Context(), e, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// connected dials where l listens and gives both ends.
func connected(t *testing.T, l net.Listener, e Endpoint, opts DialOptions) (client, server net.Conn) {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
		}
		accepted <- conn
	}()
	client, err := Dial(t.Context(), e, opts)
	if err != nil {
		t.Fatal(err)
	}
	if server = <-accepted; server == nil {
		t.FailNow()
	}
	if h, ok := server.(interface{ HandshakeContext(context.Context) error }); ok {
		if err := h.HandshakeContext(t.Context()); err != nil { // until then a deadline ends a TLS connection for good
			t.Fatal(err)
		}
	}
	return client, server
}

// tlsConfigs are those of a server and of a client that trusts it, for the name "mx.example.org" and 127.0.0.1.
func tlsConfigs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	cert := certtest.New(t, "mx.example.org", "127.0.0.1")
	return cert.Server(), &tls.Config{RootCAs: cert.Roots}
}
