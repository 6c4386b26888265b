package receiver_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

const timedOut = "421 4.4.2 Timeout while waiting for the client\r\n"

// begin serves a session in a bubble and takes its greeting.
func begin(t *testing.T, srv *receiver.Server) *client {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	go srv.ServeConn(far)
	c := newClient(near)
	if got := c.ask(""); !strings.HasPrefix(got, "220 ") {
		t.Fatalf("the greeting is %q", got)
	}
	return c
}

const toContent = "HELO client.example\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"

// drip sends one octet a minute until the server answers, and tells how long that took.
func drip(t *testing.T, c *client, octet string) (answer string, took time.Duration) {
	t.Helper()
	start := time.Now()
	for time.Since(start) < 24*time.Hour {
		if answer = c.ask(octet); answer != "" {
			return answer, time.Since(start)
		}
		<-time.After(time.Minute)
	}
	t.Fatal("the server waits for a day")
	return "", 0
}

// TestDrip: a client that is never silent for long is ended by the limits of a line and of a message.
func TestDrip(t *testing.T) {
	for _, tt := range []struct {
		name, before, octet string
		took                time.Duration
	}{
		{"command", "", "N", 5 * time.Minute},
		{"command in a transaction", "HELO client.example\r\nMAIL FROM:<alice@example.org>\r\n", "N", 5 * time.Minute},
		{"content", toContent, "x", time.Hour},
		{"content of empty lines", toContent, "\r\n", time.Hour},
		{"chunk", toChunks + "BDAT 100000 LAST\r\n", "x", time.Hour},
		{"chunk after it is refused", toChunks + "BDAT 100000 LAST\r\n\n", "x", time.Hour},
		{"chunk without a transaction", "BDAT 100000 LAST\r\n", "x", time.Hour},
		{"content after it is refused", toContent + "\n", "x", time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &recorder{}
				c := begin(t, &receiver.Server{Hostname: "mx.example.org", Handler: h})
				c.ask(tt.before)
				answer, took := drip(t, c, tt.octet)
				// The client looks once a minute.
				if answer != timedOut || took < tt.took || took > tt.took+time.Minute {
					t.Errorf("after %v the server says %q", took, answer)
				}
				synctest.Wait()
				if _, closed := c.take(); !closed || h.kept() != "" {
					t.Errorf("hung up: %v, kept: %q", closed, h.kept())
				}
			})
		})
	}
}

// TestIdleTimes: what the options say counts.
func TestIdleTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &receiver.Server{Hostname: "mx.example.org", Handler: &recorder{},
			IdleTimeout: 500 * time.Millisecond, MessageTimeout: 2 * time.Second}
		c := begin(t, srv)
		<-time.After(499 * time.Millisecond)
		if got := c.ask(""); got != "" {
			t.Errorf("too early: %q", got)
		}
		<-time.After(time.Millisecond)
		if got := c.ask(""); got != timedOut {
			t.Errorf("the server says %q", got)
		}
		c = begin(t, srv)
		c.ask(toContent)
		for range 4 {
			if got := c.ask("x"); got != "" {
				t.Errorf("too early: %q", got)
			}
			<-time.After(499 * time.Millisecond)
		}
		<-time.After(4 * time.Millisecond)
		if got := c.ask(""); got != timedOut {
			t.Errorf("the server says %q", got)
		}
	})
}

// TestUnreadReplies: a client that does not read its replies is given up after a minute, and seconds more at most,
// whenever it was that it read the last one.
func TestUnreadReplies(t *testing.T) {
	for _, read := range []time.Duration{0, 3 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			ended := make(chan struct{})
			go func() {
				(&receiver.Server{Hostname: "mx.example.org"}).ServeConn(far)
				close(ended)
			}()
			if read > 0 {
				near.Read(make([]byte, 512))
				<-time.After(read)
				io.WriteString(near, "NOOP\r\n")
			}
			start := time.Now()
			<-ended
			if took := time.Since(start); took < time.Minute || took > time.Minute+5*time.Second {
				t.Errorf("silent after %v: the session ended after %v", read, took)
			}
		})
	}
}

// waiter is a Handler whose Data waits for the end of the session.
type waiter struct{ *recorder }

func (waiter) Data(ctx context.Context, _ *receiver.Session, content io.Reader) smtp.Reply {
	io.Copy(io.Discard, content)
	<-ctx.Done()
	return smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "Interrupted")
}
