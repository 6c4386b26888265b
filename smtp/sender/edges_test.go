package sender

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// oneRecipient is the envelope of most tests.
func oneRecipient(t testing.TB) Envelope {
	t.Helper()
	return Envelope{From: path(t, "<a@example.org>"), To: []smtp.Path{path(t, "<b@example.net>")}}
}

// TestAnswersBeforeReading has a server answer an envelope that it never reads: the call ends all the same.
func TestAnswersBeforeReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		go func() {
			io.WriteString(server, "220 me\r\n")
			expect(server, "EHLO client.example.org\r\n", true)
			io.WriteString(server, "250-me\r\n250 PIPELINING\r\n")
			io.WriteString(server, "250 ok\r\n250 ok\r\n354 go on\r\n")
		}()
		c, err := NewClient(t.Context(), client, testOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = c.Send(t.Context(), oneRecipient(t), strings.NewReader("x"))
		checkBroke(t, err, StageData, io.ErrClosedPipe)
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("it took %v; want 2m", took)
		}
	})
}

// lateConn takes a second to set a deadline of the past.
type lateConn struct{ net.Conn }

func (c lateConn) SetDeadline(at time.Time) error {
	if !at.IsZero() && at.Before(time.Now()) {
		<-time.After(time.Second) // of the bubble's clock
	}
	return c.Conn.SetDeadline(at)
}

// TestCancelAtTheEnd cancels a call's context as its last reply comes: the call succeeds, and the interruption, which
// is on its way by then, does not fall into the next call.
func TestCancelAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go lineServer(server, true, func(int) string {
			<-time.After(2 * time.Second) // of the bubble's clock
			return "250 ok"
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		opts := testOptions(t)
		opts.Trace = func(_ Direction, line []byte) {
			if string(line) == "250 2.0.0 taken" {
				cancel()
			}
		}
		c, err := NewClient(t.Context(), lateConn{client}, opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send(ctx, oneRecipient(t), strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send(t.Context(), oneRecipient(t), strings.NewReader("x")); err != nil {
			t.Error(err)
		}
		if err := c.Quit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// noDeadlines is a connection that keeps none.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// TestNoDeadlines refuses a connection on which a silent server could hold us for ever.
func TestNoDeadlines(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	_, err := NewClient(t.Context(), noDeadlines{client}, Options{})
	checkBroke(t, err, StageGreeting, os.ErrNoDeadline)
}

// emptyReader gives neither an octet nor an error.
type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

func TestContentWithoutProgress(t *testing.T) {
	client, server := net.Pipe()
	go lineServer(server, true, func(int) string { return "250 ok" })
	c, err := NewClient(t.Context(), client, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), oneRecipient(t), emptyReader{}); !errors.Is(err, ErrContent) {
		t.Errorf("got %v; want %v", err, ErrContent)
	}
}

func TestSessionErrorText(t *testing.T) {
	refusal := smtp.NewReply(421, smtp.EnhancedCode{4, 3, 2}, "busy")
	for _, test := range []struct {
		err  *SessionError
		want string
	}{
		{&SessionError{Stage: StageGreeting, Reply: refusal},
			"SMTP session broke at the greeting: the server said 421 4.3.2 busy"},
		{&SessionError{Stage: StageContent, Err: io.EOF, InDoubt: true},
			"SMTP session broke at the content: EOF; the message may have been delivered"},
		{&SessionError{Stage: StageQuit + 1, Err: io.EOF, Reply: refusal},
			"SMTP session broke at stage 11: EOF: the server said 421 4.3.2 busy"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q; want %q", got, test.want)
		}
	}
}
