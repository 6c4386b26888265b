package receiver_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp/receiver"
)

// idleClients tells the test binary, in its environment, to be the clients of idleTCPMemory.
const idleClients = "HOLUB_TEST_IDLE_CLIENTS"

func TestMain(m *testing.M) {
	if to := os.Getenv(idleClients); to != "" {
		os.Exit(holdSessions(to))
	}
	os.Exit(m.Run())
}

// holdSessions opens sessions, "count address", carries a message in each, says so with one line, and holds them until
// its input ends.
func holdSessions(to string) int {
	count, address, _ := strings.Cut(to, " ")
	n, _ := strconv.Atoi(count)
	text := "EHLO client.example\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nBDAT 4 LAST\r\nHi\r\n"
	p := make([]byte, 1024)
	conns := make([]net.Conn, 0, n)
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
		conns = append(conns, conn)
		io.WriteString(conn, text)
		said := ""
		for !strings.HasSuffix(said, "250 2.0.0 Ok\r\n") {
			m, err := conn.Read(p)
			if err != nil {
				os.Stderr.WriteString(err.Error() + "\n")
				return 1
			}
			said += string(p[:m])
		}
	}
	os.Stdout.WriteString("ready\n")
	io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		c.Close()
	}
	return 0
}

// BenchmarkIdleSessions prints what one of 10,000 idle sessions over plain TCP costs in heap and stacks.
func BenchmarkIdleSessions(b *testing.B) {
	for b.Loop() {
		each := idleTCPMemory(b, 10_000)
		b.ReportMetric(each, "B/session")
		if each > 12<<10 {
			b.Errorf("an idle session costs %.0f octets; the aim is 12 KiB", each)
		}
	}
}

// TestIdleTCPSession keeps an idle session below 12 KiB.
func TestIdleTCPSession(t *testing.T) {
	if n := idleTCPMemory(t, 500); n > 12<<10 {
		t.Errorf("an idle session costs %.0f octets, at most %d", n, 12<<10)
	}
}

// idleTCPMemory gives the octets of heap and stacks that an idle session costs. The clients are another process.
func idleTCPMemory(t testing.TB, sessions int) float64 {
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := inUse()
	go srv.Serve(l)
	clients := exec.Command(os.Args[0])
	clients.Env = append(os.Environ(), idleClients+"="+strconv.Itoa(sessions)+" "+l.Addr().String())
	clients.Stderr = os.Stderr
	in, err := clients.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := clients.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	if ready, _ := io.ReadAll(io.LimitReader(out, 6)); string(ready) != "ready\n" || srv.Sessions() != sessions {
		t.Fatalf("%q, %d sessions", ready, srv.Sessions())
	}
	<-time.After(2 * time.Second) // until the sessions have given their buffers back
	perSession := float64(inUse()-before) / float64(sessions)
	in.Close()
	clients.Wait()
	srv.Shutdown(context.Background())
	return perSession
}

// TestIdleThenBusy: a session that waits without a buffer takes what comes then, and notices the end and the time-out.
func TestIdleThenBusy(t *testing.T) {
	t.Parallel()
	conn, done := overTCP(t, &receiver.Server{Hostname: "mx.example.org", Handler: discard{}, IdleTimeout: 3 * time.Second})
	a := newAsker(t, conn)
	a.exchange("", "220 mx.example.org ESMTP holub")
	<-time.After(1200 * time.Millisecond) // longer than buffers are kept
	a.exchange("NOOP\r\n", "250 2.0.0 Ok")
	<-time.After(1200 * time.Millisecond)
	a.exchange("NOOP\r\n", "250 2.0.0 Ok")
	a.exchange("", "421 4.4.2 Timeout while waiting for the client", "", "EOF")
	conn.Close()
	<-done

	conn, done = overTCP(t, &receiver.Server{Hostname: "mx.example.org", Handler: discard{}})
	newAsker(t, conn).exchange("", "220 mx.example.org ESMTP holub")
	<-time.After(1200 * time.Millisecond)
	conn.Close()
	<-done
}

// TestShutdownReachesWaiting: Shutdown wakes a session that waits without a buffer.
func TestShutdownReachesWaiting(t *testing.T) {
	t.Parallel()
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	conn, done := overTCP(t, srv)
	a := newAsker(t, conn)
	a.exchange("", "220 mx.example.org ESMTP holub")
	<-time.After(1200 * time.Millisecond)
	go srv.Shutdown(context.Background())
	a.exchange("", "421 4.3.2 mx.example.org is shutting down", "", "EOF")
	conn.Close()
	<-done
}
