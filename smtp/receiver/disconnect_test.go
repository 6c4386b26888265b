package receiver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holub-mail/holub/smtp/receiver"
)

const twoRecipients = "EHLO client.example\r\n" +
	"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nRCPT TO:<carol@example.net>\r\nDATA\r\n" +
	"Subject: hello\r\n\r\n..\r\nHi\r\n.\r\nQUIT\r\n"

// TestDisconnect: a client goes away behind every octet of a session. The Handler sees the end of the content only
// where the final dot arrived, and nothing stays behind: the bubble ends only when every goroutine has.
func TestDisconnect(t *testing.T) {
	dot := strings.Index(twoRecipients, "\r\n.\r\n") + len("\r\n.\r\n")
	content := strings.Index(twoRecipients, "DATA\r\n") + len("DATA\r\n")
	for n := range len(twoRecipients) + 1 {
		synctest.Test(t, func(t *testing.T) {
			h := &recorder{}
			srv := &receiver.Server{Hostname: "mx.example.org", Handler: h}
			near, far := net.Pipe()
			go srv.ServeConn(far)
			c := newClient(near)
			c.say(twoRecipients[:n])
			synctest.Wait()
			near.Close()
			synctest.Wait()
			if srv.Sessions() != 0 || h.gone != 1 {
				t.Fatalf("after %d octets: %d sessions are left, %d have ended", n, srv.Sessions(), h.gone)
			}
			want := 0
			if n >= dot {
				want = 1
			}
			if len(h.messages) != want {
				t.Errorf("after %d octets: %d messages are kept, want %d", n, len(h.messages), want)
			}
			if n >= content && n < dot && (len(h.ends) != 1 || !errors.Is(h.ends[0], io.ErrUnexpectedEOF)) {
				t.Errorf("after %d octets: the content ends with %v, want io.ErrUnexpectedEOF", n, h.ends)
			}
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDisconnectWhileAnswering: the client never reads, and goes away while the server writes.
func TestDisconnectWhileAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &receiver.Server{Hostname: "mx.example.org", Handler: &recorder{}}
		near, far := net.Pipe()
		go srv.ServeConn(far)
		synctest.Wait()
		if srv.Sessions() != 1 {
			t.Fatal("the session did not wait for its greeting to be read")
		}
		near.Close()
		synctest.Wait()
		if srv.Sessions() != 0 {
			t.Error("the session goes on without a client")
		}
	})
}
