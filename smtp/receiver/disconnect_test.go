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

const inChunks = "EHLO client.example\r\n" +
	"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nRCPT TO:<carol@example.net>\r\nBDAT 6\r\n" +
	"Hell\r\nBDAT 0\r\nNOOP\r\nBDAT 3 LAST\r\n.\r\nQUIT\r\n"

// TestDisconnect: a client goes away behind every octet of a session. The Handler sees the end of the content only
// where the final dot or the last chunk arrived, and nothing stays behind: the bubble ends only when every goroutine has.
func TestDisconnect(t *testing.T) {
	for _, tt := range []struct{ name, text, begin, end string }{
		{"DATA", twoRecipients, "DATA\r\n", "\r\n.\r\n"},
		{"BDAT", inChunks, "BDAT 6\r\n", "LAST\r\n.\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begin := strings.Index(tt.text, tt.begin) + len(tt.begin)
			end := strings.Index(tt.text, tt.end) + len(tt.end)
			for n := range len(tt.text) + 1 {
				synctest.Test(t, func(t *testing.T) { disconnectAfter(t, tt.text, n, begin, end) })
			}
		})
	}
}

// disconnectAfter lets the client go after n octets; the content stands between begin and end.
func disconnectAfter(t *testing.T, text string, n, begin, end int) {
	h := &recorder{}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: h}
	near, far := net.Pipe()
	go srv.ServeConn(far)
	c := newClient(near)
	c.say(text[:n])
	synctest.Wait()
	near.Close()
	synctest.Wait()
	if srv.Sessions() != 0 || h.gone != 1 {
		t.Fatalf("after %d octets: %d sessions are left, %d have ended", n, srv.Sessions(), h.gone)
	}
	want := 0
	if n >= end {
		want = 1
	}
	if len(h.messages) != want {
		t.Errorf("after %d octets: %d messages are kept, want %d", n, len(h.messages), want)
	}
	if n >= begin && n < end && (len(h.ends) != 1 || !errors.Is(h.ends[0], io.ErrUnexpectedEOF)) {
		t.Errorf("after %d octets: the content ends with %v, want io.ErrUnexpectedEOF", n, h.ends)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
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
