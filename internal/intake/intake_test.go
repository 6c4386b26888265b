package intake

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// guarded is an engine whose commit a test can hold back or make fail, as well as its writes.
type guarded struct {
	spool.Engine
	failCreate, failWrite, failApply error
	applying                         chan struct{} // when set, gets a token when Apply begins
	release                          chan struct{} // when set, Apply waits for it
}

type guardedContent struct {
	spool.Content
	fail error
}

func (c guardedContent) Write(p []byte) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	return c.Content.Write(p)
}

func (g *guarded) Create(ctx context.Context, id spool.ID) (spool.Content, error) {
	if g.failCreate != nil {
		return nil, g.failCreate
	}
	c, err := g.Engine.Create(ctx, id)
	return guardedContent{c, g.failWrite}, err
}

func (g *guarded) Apply(ctx context.Context, ops ...spool.Op) error {
	if g.applying != nil {
		g.applying <- struct{}{}
		<-g.release
	}
	if g.failApply != nil {
		return g.failApply
	}
	put := ops[0].(spool.Put)
	put.Content = put.Content.(guardedContent).Content
	return g.Engine.Apply(ctx, put)
}

// house is an intake with a spool in memory, behind a server.
type house struct {
	t        *testing.T
	disk     *vfs.MemFS
	guarded  *guarded
	server   *receiver.Server
	accepted []*spool.Message
	logs     bytes.Buffer
}

func newHouse(t *testing.T, change func(*Options)) *house {
	t.Helper()
	h := &house{t: t, disk: vfs.NewMem()}
	engine, err := lsm.Open("spool", lsm.Options{FS: h.disk, MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	h.guarded = &guarded{Engine: engine}
	o := Options{
		Engine: h.guarded, IDs: spool.NewIDs(1), Hostname: "mx.example.net", MaxReceived: 5,
		Networks:  []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Strangers: true,
		Ours:      func(to smtp.Path) bool { return to.Domain.Key() == "example.net" || to.Domain.IsZero() },
		Refusal: func(to smtp.Path) smtp.Reply {
			if to.Domain.Key() == "closed.example" {
				return smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, "closed for good")
			}
			return smtp.Reply{}
		},
		Accepted: func(m *spool.Message) { h.accepted = append(h.accepted, m) },
		Logger:   slog.New(slog.NewTextHandler(&h.logs, nil)),
	}
	if change != nil {
		change(&o)
	}
	h.server = &receiver.Server{Hostname: "mx.example.net", Handler: New(o), MaxSize: 1 << 20}
	t.Cleanup(func() {
		if err := h.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// from is a connection of which the server sees a client's address.
type from struct {
	net.Conn
	addr net.Addr
}

func (c from) RemoteAddr() net.Addr { return c.addr }

// client speaks with the server over a pipe.
type client struct {
	t     *testing.T
	conn  net.Conn
	in    *bufio.Reader
	ended chan struct{} // closed when the server is done with it
}

// dial connects from an address and says EHLO.
func (h *house) dial(addr string) *client {
	h.t.Helper()
	c := h.dialAddr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	c.say("EHLO client.example.com", 250)
	return c
}

func (h *house) dialAddr(addr net.Addr) *client {
	h.t.Helper()
	near, far := net.Pipe()
	near.SetDeadline(time.Now().Add(30 * time.Second))
	c := &client{h.t, near, bufio.NewReader(near), make(chan struct{})}
	go func() {
		defer close(c.ended)
		h.server.ServeConn(from{far, addr})
	}()
	h.t.Cleanup(func() { near.Close(); <-c.ended })
	c.expect("greeting", 220)
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads a reply and gives it.
func (c *client) expect(what string, code int) smtp.Reply {
	c.t.Helper()
	var r smtp.Reply
	for last := false; !last; {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", what, err)
		}
		if last, err = r.AddLine([]byte(strings.TrimSuffix(line, "\r\n"))); err != nil {
			c.t.Fatal(err)
		}
	}
	if r.Code != code {
		c.t.Fatalf("%s: %s, want %d", what, r.Text(), code)
	}
	return r
}

func (c *client) say(command string, code int) smtp.Reply {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.expect(command, code)
}

// begin opens a transaction up to the 354.
func (c *client) begin(to ...string) {
	c.t.Helper()
	c.say("MAIL FROM:<ann@example.com>", 250)
	for _, rcpt := range to {
		c.say("RCPT TO:"+rcpt, 250)
	}
	c.say("DATA", 354)
}

const letter = "Subject: pigeons\r\nMessage-ID: <1@example.com>\r\n\r\nThey fly.\r\n"

// mail sends a message and gives the reply to its final dot.
func (c *client) mail(content string, code int, to ...string) smtp.Reply {
	c.t.Helper()
	c.begin(to...)
	c.send(content + ".\r\n")
	return c.expect("the final dot", code)
}

// stored reads the only message back: envelope and content.
func (h *house) stored() (*spool.Message, string) {
	h.t.Helper()
	ids := h.waiting()
	if len(ids) != 1 {
		h.t.Fatalf("%d messages are in the spool", len(ids))
	}
	m, err := h.guarded.Engine.Load(h.t.Context(), ids[0])
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := h.guarded.Engine.Open(h.t.Context(), m.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		h.t.Fatal(err)
	}
	return m, string(b)
}

// waiting lists the messages in the spool.
func (h *house) waiting() []spool.ID {
	h.t.Helper()
	var ids []spool.ID
	for p, err := range h.guarded.Engine.Pending(h.t.Context()) {
		if err != nil {
			h.t.Fatal(err)
		}
		if !slices.Contains(ids, p.ID) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

const (
	friend   = "192.0.2.7:4001"
	stranger = "198.51.100.7:4001"
)

// TestWhoMaySendToWhom is the law of relaying, a row for each case.
func TestWhoMaySendToWhom(t *testing.T) {
	for _, test := range []struct {
		client    string
		strangers bool // the role of the listener: mx takes mail of strangers, relay does not
		to        string
		want      string
	}{
		{friend, false, "<a@elsewhere.example>", "250"},
		{friend, false, "<a@example.net>", "250"},
		{friend, false, "<postmaster>", "250"},
		{friend, true, "<a@elsewhere.example>", "250"},
		{"[2001:db8::1]:4001", false, "<a@elsewhere.example>", "250"},
		{"[::ffff:192.0.2.7]:4001", false, "<a@elsewhere.example>", "250"}, // an IPv4 client of an IPv6 socket
		{"[2001:db9::1]:4001", false, "<a@elsewhere.example>", "550 5.7.1"},
		{stranger, true, "<a@example.net>", "250"},
		{stranger, true, "<a@EXAMPLE.net>", "250"},
		{stranger, true, "<postmaster>", "250"},
		{stranger, true, "<a@elsewhere.example>", "550 5.7.1"},
		{stranger, true, "<a%elsewhere.example@elsewhere.example>", "550 5.7.1"},
		{stranger, true, "<@example.net:a@elsewhere.example>", "550 5.7.1"},
		{stranger, true, `<"a@example.net"@elsewhere.example>`, "550 5.7.1"},
		{stranger, false, "<a@example.net>", "550 5.7.1"},
		{stranger, false, "<a@elsewhere.example>", "550 5.7.1"},
		{friend, true, "<a@closed.example>", "550 5.7.1 closed for good"},
		{stranger, true, "<a@closed.example>", "550 5.7.1 closed for good"},
		{stranger, false, "<a@closed.example>", "550 5.7.1 closed for good"},
	} {
		h := newHouse(t, func(o *Options) { o.Strangers = test.strangers })
		c := h.dial(test.client)
		c.say("MAIL FROM:<ann@example.com>", 250)
		c.send("RCPT TO:" + test.to + "\r\n")
		line, err := c.in.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, test.want) {
			t.Errorf("%s to %s, strangers %v: %q, %v, want %s", test.client, test.to, test.strangers, line, err, test.want)
		}
	}
}

// TestNoAddress has clients whose address is not known: they are strangers.
func TestNoAddress(t *testing.T) {
	h := newHouse(t, func(o *Options) {
		o.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	})
	c := h.dialAddr(&net.UnixAddr{Name: "/run/socket", Net: "unix"})
	c.say("EHLO client.example.com", 250)
	c.say("MAIL FROM:<ann@example.com>", 250)
	c.say("RCPT TO:<a@elsewhere.example>", 550)
	c.say("RCPT TO:<a@example.net>", 250)
}

// TestAccepted follows a message into the spool: one id in the reply, the field, the log and the envelope.
func TestAccepted(t *testing.T) {
	h := newHouse(t, nil)
	before := time.Now().Truncate(time.Millisecond)
	r := h.dial(friend).mail(letter, 250, "<Joe@example.net>")
	m, content := h.stored()
	id := m.ID.String()
	if want := "250 2.0.0 Ok: queued as " + id; r.Text() != want {
		t.Errorf("the reply is %q, want %q", r.Text(), want)
	}
	trace, rest, ok := strings.Cut(content, "Subject:")
	if !ok || "Subject:"+rest != letter {
		t.Errorf("the content is %q", content)
	}
	plain := strings.Join(strings.Fields(trace), " ") // unfolded
	want := "Received: from client.example.com ([192.0.2.7]) by mx.example.net (holub) with ESMTP id " + id +
		" for <Joe@example.net>; " + m.Arrived.In(time.Local).Format("Mon, 02 Jan 2006 15:04:05 -0700")
	if plain != want {
		t.Errorf("the trace is\n%q, want\n%q", plain, want)
	}
	if m.From.String() != "<ann@example.com>" || len(m.Recipients) != 1 || m.Recipients[0].To.String() != "<Joe@example.net>" {
		t.Errorf("the envelope is %+v", m)
	}
	if m.Kind != spool.Mail || m.Size != int64(len(content)) || m.EightBit || !m.Cause.IsZero() {
		t.Errorf("the envelope is %+v", m)
	}
	if m.Arrived.Before(before) || m.Arrived.After(time.Now()) || !m.Recipients[0].Next.Equal(m.Arrived) {
		t.Errorf("it arrived at %v and is due at %v", m.Arrived, m.Recipients[0].Next)
	}
	if m.Client != "192.0.2.7:4001 (client.example.com)" {
		t.Errorf("the client is %q", m.Client)
	}
	if len(h.accepted) != 1 || h.accepted[0].ID != m.ID {
		t.Errorf("Accepted was called for %v", h.accepted)
	}
	if log := h.logs.String(); strings.Count(log, "msg=accepted") != 1 || !strings.Contains(log, "id="+id) ||
		!strings.Contains(log, "message_id=<1@example.com>") {
		t.Errorf("the log is %s", log)
	}
}

// TestSeveralRecipients names none of them in the field, and gives mail once to whom is named twice.
func TestSeveralRecipients(t *testing.T) {
	h := newHouse(t, nil)
	h.dial(friend).mail(letter, 250, "<joe@example.net>", "<Joe@example.net>", "<joe@EXAMPLE.NET>", "<ann@example.org>", "<joe@example.net>")
	m, content := h.stored()
	var to []string
	for _, r := range m.Recipients {
		to = append(to, r.To.String())
	}
	if want := "[<joe@example.net> <Joe@example.net> <ann@example.org>]"; fmt.Sprint(to) != want {
		t.Errorf("the recipients are %v, want %v", to, want)
	}
	if strings.Contains(content, "for ") || strings.Contains(content, "joe@") { // RFC 5321 7.2
		t.Errorf("the content tells of a recipient: %q", content)
	}
}

// TestSameRecipientTwice is one recipient, who may be named.
func TestSameRecipientTwice(t *testing.T) {
	h := newHouse(t, nil)
	h.dial(friend).mail(letter, 250, "<joe@example.net>", "<joe@Example.net>")
	if m, content := h.stored(); len(m.Recipients) != 1 || !strings.Contains(content, "for <joe@example.net>") {
		t.Errorf("%d recipients, content %q", len(m.Recipients), content)
	}
}

// TestTraceOfOthers has other protocols, clients and contents.
func TestTraceOfOthers(t *testing.T) {
	h := newHouse(t, nil)
	c := h.dialAddr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::5]:99")))
	c.say("HELO [IPv6:2001:db8::5]", 250)
	c.mail("Subject: kůň\r\n\r\nbody\r\n", 250, "<postmaster>")
	m, content := h.stored()
	if !m.EightBit {
		t.Error("8-bit content counts as 7-bit")
	}
	plain := strings.Join(strings.Fields(content), " ")
	if !strings.HasPrefix(plain, "Received: from [IPv6:2001:db8::5] ([IPv6:2001:db8::5]) by mx.example.net (holub) with SMTP id ") ||
		!strings.Contains(plain, " for <postmaster>; ") {
		t.Errorf("the trace is %q", plain)
	}
}

// TestNoRoom: on a disk that is nearly full mail is refused for now, at MAIL, and taken when there is room again.
func TestNoRoom(t *testing.T) {
	var room atomic.Bool
	h := newHouse(t, func(o *Options) { o.Room = room.Load })
	c := h.dial(friend)
	c.say("EHLO client.example", 250)
	if r := c.say("MAIL FROM:<ann@example.org>", 452); r.Enhanced != (smtp.EnhancedCode{4, 3, 1}) {
		t.Errorf("got %s", r.Text())
	}
	room.Store(true)
	c.mail(letter, 250, "<joe@example.net>")
}

// TestLoop counts the Received fields that a message comes with, at the limit and one below.
func TestLoop(t *testing.T) {
	for count, code := range map[int]int{0: 250, 4: 250, 5: 554, 100: 554} {
		h := newHouse(t, nil)
		c := h.dial(friend)
		r := c.mail(strings.Repeat("Received: from a by b; Fri, 27 Mar 2026 12:00:00 +0000\r\n", count)+letter, code, "<joe@example.net>")
		if code == 554 && (r.Enhanced != smtp.EnhancedCode{5, 4, 6} || len(h.waiting()) != 0 || len(h.accepted) != 0) {
			t.Errorf("%d fields: %s, %d messages in the spool", count, r.Text(), len(h.waiting()))
		}
		c.mail(letter, 250, "<joe@example.net>") // the session goes on
	}
}

// TestNoReplyBeforeTheCommit holds the commit back: until it returns there is no word to the client, nor to the queue.
func TestNoReplyBeforeTheCommit(t *testing.T) {
	h := newHouse(t, nil)
	c := h.dial(friend)
	h.guarded.applying, h.guarded.release = make(chan struct{}), make(chan struct{})
	c.begin("<joe@example.net>")
	c.send(letter + ".\r\n")
	replied := make(chan byte, 1)
	go func() {
		b, _ := c.in.ReadByte()
		replied <- b
	}()
	<-h.guarded.applying
	select {
	case b := <-replied:
		t.Fatalf("a reply that begins with %q before the commit", b)
	case <-time.After(50 * time.Millisecond): // what would be wrong comes at once
	}
	if len(h.waiting()) != 0 {
		t.Error("the message is in the spool before its commit")
	}
	close(h.guarded.release)
	if b := <-replied; b != '2' {
		t.Errorf("the reply begins with %q", b)
	}
	if len(h.accepted) != 1 || len(h.waiting()) != 1 {
		t.Errorf("%d accepted, %d in the spool", len(h.accepted), len(h.waiting()))
	}
}

// duringTheCommit has a client that has sent its final dot, and a commit that waits for its release.
func duringTheCommit(t *testing.T) (*house, *client) {
	t.Helper()
	h := newHouse(t, nil)
	c := h.dial(friend)
	h.guarded.applying, h.guarded.release = make(chan struct{}), make(chan struct{})
	c.begin("<joe@example.net>")
	c.send(letter + ".\r\n")
	<-h.guarded.applying
	return h, c
}

// TestClientGoneDuringTheCommit hangs up between the dot and the reply: the mail is accepted all the same, for the client
// may have to send it again, but what was committed must be queued.
func TestClientGoneDuringTheCommit(t *testing.T) {
	h, c := duringTheCommit(t)
	c.conn.Close()
	close(h.guarded.release)
	<-c.ended
	if len(h.accepted) != 1 || len(h.waiting()) != 1 {
		t.Errorf("%d accepted, %d in the spool", len(h.accepted), len(h.waiting()))
	}
}

// TestCutOffDuringTheCommit ends the server while the commit runs: it is not given up for that, for the client will be told
// nothing and the mail is whole.
func TestCutOffDuringTheCommit(t *testing.T) {
	h, c := duringTheCommit(t)
	now, cancel := context.WithCancel(t.Context())
	cancel()
	down := make(chan error)
	go func() { down <- h.server.Shutdown(now) }()
	if b, err := c.in.ReadByte(); err == nil { // the contexts have ended when the connections do
		t.Errorf("a reply that begins with %q", b)
	}
	close(h.guarded.release)
	if err := <-down; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown gives %v", err)
	}
	if len(h.accepted) != 1 || len(h.waiting()) != 1 {
		t.Errorf("%d accepted, %d in the spool", len(h.accepted), len(h.waiting()))
	}
}

// TestSpoolFails breaks each step of storing: 451 4.3.0, nothing is left, and the session goes on.
func TestSpoolFails(t *testing.T) {
	broken := errors.New("no space left on device")
	for name, breakIt := range map[string]func(*guarded){
		"create": func(g *guarded) { g.failCreate = broken },
		"write":  func(g *guarded) { g.failWrite = broken },
		"commit": func(g *guarded) { g.failApply = broken },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			breakIt(h.guarded)
			c := h.dial(friend)
			// Longer than any buffer: the rest of it must not be taken for commands.
			r := c.mailAside("Subject: x\r\n\r\n"+strings.Repeat("QUIT\r\n", 40_000), 451, "<joe@example.net>")
			if r.Enhanced != (smtp.EnhancedCode{4, 3, 0}) || strings.Contains(r.Text(), "device") {
				t.Errorf("the reply is %q", r.Text())
			}
			if !strings.Contains(h.logs.String(), "no space left on device") {
				t.Errorf("the log does not say why:\n%s", &h.logs)
			}
			*h.guarded = guarded{Engine: h.guarded.Engine}
			if len(h.accepted) != 0 || len(h.waiting()) != 0 {
				t.Errorf("%d accepted, %d in the spool", len(h.accepted), len(h.waiting()))
			}
			c.mail(letter, 250, "<joe@example.net>")
		})
	}
}

// mailAside sends content while the reply is read: the server may speak before it has read all.
func (c *client) mailAside(content string, code int, to ...string) smtp.Reply {
	c.t.Helper()
	c.begin(to...)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c.conn, content+".\r\n")
		sent <- err
	}()
	r := c.expect("the final dot", code)
	if err := <-sent; err != nil {
		c.t.Error(err)
	}
	return r
}

// TestRefusedContent has content that the receiver refuses: it is not stored.
func TestRefusedContent(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		code    int
	}{
		"bare LF":   {"Subject: x\n\r\nbody\r\n", 554},
		"bare CR":   {"Subject: x\r\r\n\r\nbody\r\n", 554},
		"too large": {strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000), 552},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			c := h.dial(friend)
			c.mailAside(test.content, test.code, "<joe@example.net>")
			if len(h.accepted) != 0 || len(h.waiting()) != 0 {
				t.Errorf("%d accepted, %d in the spool", len(h.accepted), len(h.waiting()))
			}
			c.mail(letter, 250, "<joe@example.net>")
		})
	}
}

// TestDisconnectInData hangs up at several points of the content. Nothing is in the spool, nor after its next start.
func TestDisconnectInData(t *testing.T) {
	for _, sent := range []string{"", "Subject: x", letter, letter + ".", letter + ".\r", strings.Repeat(letter, 5_000)} {
		h := newHouse(t, nil)
		c := h.dial(friend)
		c.begin("<joe@example.net>")
		c.send(sent)
		c.conn.Close()
		<-c.ended
		if len(h.accepted) != 0 || len(h.waiting()) != 0 {
			t.Errorf("after %d octets: %d accepted, %d in the spool", len(sent), len(h.accepted), len(h.waiting()))
		}
		if log := h.logs.String(); !strings.Contains(log, "msg=aborted") || strings.Contains(log, "level=ERROR") {
			t.Errorf("the log is %s", log)
		}
		if err := h.guarded.Engine.Close(); err != nil {
			t.Fatal(err)
		}
		var swept bytes.Buffer
		again, err := lsm.Open("spool", lsm.Options{FS: h.disk, Logger: slog.New(slog.NewTextHandler(&swept, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(swept.String(), "dropped content") {
			t.Errorf("after %d octets, content was left behind: %s", len(sent), &swept)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}
