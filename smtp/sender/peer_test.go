package sender

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// mailbox is a Handler that keeps what it is told, and refuses recipients whose name starts with "no".
type mailbox struct {
	mu      sync.Mutex
	mails   []smtp.Mail
	rcpts   []smtp.Rcpt
	content []byte
}

func (m *mailbox) Mail(_ context.Context, _ *receiver.Session, mail smtp.Mail) smtp.Reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mails, m.rcpts, m.content = append(m.mails, mail), nil, nil
	return smtp.Reply{}
}

func (m *mailbox) Rcpt(_ context.Context, _ *receiver.Session, r smtp.Rcpt) smtp.Reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	if strings.HasPrefix(r.To.Local, "no") {
		return smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "no such user")
	}
	m.rcpts = append(m.rcpts, r)
	return smtp.Reply{}
}

func (m *mailbox) Data(_ context.Context, _ *receiver.Session, content io.Reader) smtp.Reply {
	b, err := io.ReadAll(content)
	if reply, ok := smtp.AsReply(err); ok {
		return reply
	}
	if err != nil {
		return smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "unread")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.content = b
	return smtp.Reply{}
}

// withPeer opens a session with the real server side.
func withPeer(t *testing.T, server *receiver.Server, opts Options) (*Client, *mailbox) {
	t.Helper()
	box := new(mailbox)
	server.Handler = box
	client, conn := connections(t, true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ServeConn(conn)
	}()
	t.Cleanup(func() { client.Close(); <-done })
	c, err := NewClient(t.Context(), client, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c, box
}

// TestPeer sends messages of every kind to the real server side, over TLS, in one session.
func TestPeer(t *testing.T) {
	cert, roots := certificate(t)
	everything := smtp.Extensions{UTF8: true, BinaryMIME: true, DSN: true, RequireTLS: true, DeliverBy: true,
		FutureRelease: true, MaxHold: time.Hour, MaxHoldUntil: time.Now().Add(time.Hour), Priority: true}
	for _, noChunking := range []bool{false, true} {
		server := &receiver.Server{Hostname: "mx.example.net", Offer: everything,
			TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
		opts := testOptions(t)
		opts.NoChunking = noChunking
		opts.TLS, opts.TLSConfig = TLSRequired, &tls.Config{RootCAs: roots, ServerName: "mx.example.net"}
		c, box := withPeer(t, server, opts)
		lines := bytes.Repeat([]byte(".a line\r\n"), 30_000)
		for _, line := range []string{
			"<a@example.org> <b@example.net>",
			"<> <no@example.net> <b@example.net> <nobody@example.net>",
			"<> <no@example.net>",
			"<a@example.org> SIZE=270000 8bit RET=HDRS ENVID=x+2By BY=60;R HOLDFOR=5 MT-PRIORITY=3 REQUIRETLS" +
				" <b@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B@example.net",
			"<björn@bücher.example> SMTPUTF8 8bit <ünal@example.net> ORCPT=utf-8;ünal@example.net",
			"<a@example.org> binary <b@example.net>",
		} {
			if noChunking && strings.Contains(line, "binary") {
				continue
			}
			env, _ := parseSend(t, line)
			content := lines
			if env.Binary {
				content = bytes.Repeat([]byte("a\rb\nc\x00"), 30_000)
			}
			result, err := c.Send(t.Context(), env, bytes.NewReader(content))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			sent := checkPeer(t, box, env, result)
			if sent && !bytes.Equal(box.content, content) {
				t.Errorf("%s: the content arrived changed", line)
			}
		}
		if err := c.Quit(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// checkPeer compares what the server was told with the envelope, and tells whether anybody got the message.
func checkPeer(t *testing.T, box *mailbox, env Envelope, result Result) bool {
	t.Helper()
	box.mu.Lock()
	defer box.mu.Unlock()
	taken := 0
	for i, o := range result.Outcomes {
		switch no := strings.HasPrefix(env.To[i].Local, "no"); {
		case no && (o.Reply.Code != 550 || o.Stage != StageRcpt), !no && (o.Reply.Code != 250 || o.Stage != StageContent):
			t.Errorf("%v: got %v", env.To[i], o)
		case !no:
			if got, want := box.rcpts[taken], env.rcpt(i, &smtp.Extensions{DSN: true}, env.UTF8); got.To != want.To ||
				got.Notify != want.Notify || got.Original != want.Original {
				t.Errorf("the server was told %+v; want %+v", got, want)
			}
			taken++
		}
	}
	got := box.mails[len(box.mails)-1]
	if got.From != env.From || got.Size != env.Size || got.UTF8 != env.UTF8 || got.EnvelopeID != env.EnvelopeID ||
		got.Return != env.Return || got.RequireTLS != env.RequireTLS || got.HoldFor != env.HoldFor ||
		(got.DeliverBy == nil) != (env.DeliverBy == nil) || (got.Priority == nil) != (env.Priority == nil) {
		t.Errorf("the server was told %+v of %+v", got, env)
	}
	return taken > 0
}

// TestPeerLMTP delivers over LMTP.
func TestPeerLMTP(t *testing.T) {
	opts := testOptions(t)
	opts.LMTP = true
	c, _ := withPeer(t, &receiver.Server{Hostname: "mx.example.net", LMTP: true}, opts)
	for range 2 {
		env, content := parseSend(t, "<a@example.org> <b@example.net> <no@example.net> <c@example.net>")
		result, err := c.Send(t.Context(), env, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{250, 550, 250} {
			if got := result.Outcomes[i].Reply.Code; got != want {
				t.Errorf("%v: got %v; want %d", env.To[i], result.Outcomes[i], want)
			}
		}
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPeerTooLarge has the real server refuse chunks in the middle, and the session go on.
func TestPeerTooLarge(t *testing.T) {
	c, _ := withPeer(t, &receiver.Server{Hostname: "mx.example.net", MaxSize: 100_000}, testOptions(t))
	for _, size := range []int{1 << 20, 1000, 120_000, 0} {
		result, err := c.Send(t.Context(), oneRecipient(t), bytes.NewReader(make([]byte, size)))
		want := 250
		if size > 100_000 {
			want = 552
		}
		if err != nil || result.Outcomes[0].Reply.Code != want {
			t.Fatalf("%d octets: got %v, %v; want %d", size, result, err, want)
		}
	}
	if err := c.Quit(t.Context()); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
