//go:build unix

package sender

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStaleSession hangs up on an idle session: the next message, though it would leave in one write, is not in doubt.
func TestStaleSession(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		client, server := connections(t, tcp)
		s := chunkServer{offers: "PIPELINING"}
		go s.serve(server)
		c, err := NewClient(t.Context(), client, testOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := c.Send(t.Context(), oneRecipient(t), strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
		}
		server.Close()
		if tcp { // until the end of the stream has come
			client.SetReadDeadline(time.Now().Add(10 * time.Second))
			waitReadable(t, client.(*net.TCPConn))
		}
		_, err = c.Send(t.Context(), oneRecipient(t), strings.NewReader("x"))
		checkBroke(t, err, StageMail, io.EOF)
	}
}

// waitReadable waits until a read would not block, and reads nothing.
func waitReadable(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return !errors.Is(err, syscall.EAGAIN)
	})
	if err != nil {
		t.Fatal(err)
	}
}
