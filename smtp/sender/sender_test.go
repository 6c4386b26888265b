package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// TestManyRecipients sends to 10,000 recipients through a connection without any buffer, to a server that answers each
// command before it reads the next.
func TestManyRecipients(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		t.Run(fmt.Sprintf("pipelining=%v", pipelining), func(t *testing.T) {
			client, server := net.Pipe()
			server.SetDeadline(time.Now().Add(time.Minute)) // of a test that hangs
			go lineServer(server, pipelining, func(n int) string {
				if n%10 == 3 {
					return fmt.Sprintf("550 5.1.1 no user %d", n)
				}
				return "250 2.1.5 ok"
			})
			c, err := NewClient(t.Context(), client, testOptions(t))
			if err != nil {
				t.Fatal(err)
			}
			env := Envelope{From: path(t, "<a@example.org>")}
			for i := range 10_000 {
				env.To = append(env.To, path(t, fmt.Sprintf("<user%d@example.net>", i)))
			}
			result, err := c.Send(t.Context(), env, strings.NewReader("Hello.\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range result.Outcomes {
				want := "250 2.0.0 taken"
				if i%10 == 3 {
					want = fmt.Sprintf("550 5.1.1 no user %d", i)
				}
				if o.Reply.Text() != want {
					t.Fatalf("recipient %d: got %v; want %q", i, o, want)
				}
			}
			if err := c.Quit(t.Context()); err != nil || !c.Broken() {
				t.Error(err)
			}
		})
	}
}

// TestLargeContent sends content of many writes and compares what arrives.
func TestLargeContent(t *testing.T) {
	var b strings.Builder
	for i := range 40_000 {
		b.WriteString(strings.Repeat(".", i%7) + strings.Repeat("\n", i%3) + "\r\n")
	}
	b.WriteString("end")
	client, server := net.Pipe()
	got := make(chan []byte, 1)
	go func() {
		content, _ := lineServer(server, false, func(int) string { return "250 ok" })
		got <- content
	}()
	c, err := NewClient(t.Context(), client, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	env := oneRecipient(t)
	if _, err := c.Send(t.Context(), env, strings.NewReader(b.String())); err != nil {
		t.Fatal(err)
	}
	c.Close()
	var enc smtp.DataEncoder
	want := enc.Close(enc.Append(nil, []byte(b.String())))
	if !slices.Equal(<-got, want) {
		t.Error("the content arrived changed")
	}
}

// TestTrace has the whole session told.
func TestTrace(t *testing.T) {
	client, server := net.Pipe()
	go lineServer(server, true, func(int) string { return "250 ok" })
	opts := testOptions(t)
	var got []string
	opts.Trace = func(dir Direction, line []byte) { got = append(got, fmt.Sprintf("%v: %s", dir, line)) }
	c, err := NewClient(t.Context(), client, opts)
	if err != nil {
		t.Fatal(err)
	}
	env := oneRecipient(t)
	if _, err := c.Send(t.Context(), env, strings.NewReader("Hello.\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"S: 220 ready", "C: EHLO client.example.org", "S: 250-me", "S: 250 PIPELINING",
		"C: MAIL FROM:<a@example.org>", "C: RCPT TO:<b@example.net>", "C: DATA",
		"S: 250 ok", "S: 250 ok", "S: 354 go on", "C: ... 12 octets", "C: .", "S: 250 2.0.0 taken",
		"C: QUIT", "S: 221 bye",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestHelloDefault says the literal of the connection's own address.
func TestHelloDefault(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		client, server := connections(t, tcp)
		d := parseDialogue(t, "S: 220 me\nC: EHLO [127.0.0.1]\nS: 250 me\nC: QUIT\nS: 221 bye")
		served := make(chan error, 1)
		go func() { served <- d.serve(server, !tcp) }()
		c, err := NewClient(t.Context(), client, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Quit(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			lineServer(conn, true, func(int) string { return "250 ok" })
		}
	}()
	c, err := Dial(t.Context(), l.Addr().String(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Extensions().Pipelining || c.Broken() {
		t.Errorf("got %+v, broken %v", c.Extensions(), c.Broken())
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Error(err)
	}
	l.Close()
	_, err = Dial(t.Context(), l.Addr().String(), Options{})
	var broke *SessionError
	if !errors.As(err, &broke) || broke.Stage != StageConnect || !broke.Reply.IsZero() {
		t.Errorf("got %v; want an error of the connection", err)
	}
	fault := errors.New("no way")
	opts := Options{Dialer: func(_ context.Context, network, addr string) (net.Conn, error) {
		if network != "tcp" || addr != "mx.example.net:25" {
			t.Errorf("dials %s %s", network, addr)
		}
		return nil, fault
	}}
	if _, err := Dial(t.Context(), "mx.example.net:25", opts); !errors.Is(err, fault) {
		t.Errorf("got %v; want %v", err, fault)
	}
}

// TestUnwritablePaths gives paths made by hand that would end a command: none of them reaches the wire.
func TestUnwritablePaths(t *testing.T) {
	domain, err := smtp.ParseDomain("example.net")
	if err != nil {
		t.Fatal(err)
	}
	byHand := func(local string) smtp.Path { return smtp.Path{Mailbox: smtp.Mailbox{Local: local, Domain: domain}} }
	good, evil := path(t, "<b@example.net>"), byHand("x>\r\nRSET\r\n")
	d := parseDialogue(t, `
S: 220 me
C: EHLO client.example.org
S: 250-me
S: 250 PIPELINING
C: MAIL FROM:<>
C: RCPT TO:<b@example.net>
C: DATA
S: 550 no
S: 550 no
S: 550 no`)
	client, server := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- d.serve(server, true) }()
	c, err := NewClient(t.Context(), client, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env  Envelope
		want []int
	}{
		{Envelope{From: evil, To: []smtp.Path{good}}, []int{553}},
		{Envelope{To: []smtp.Path{evil, {}, byHand("é"), byHand(strings.Repeat("x", 256))}}, []int{553, 553, 553, 553}},
		{Envelope{To: []smtp.Path{evil, good, evil}}, []int{553, 550, 553}},
		{Envelope{}, nil},
	} {
		result, err := c.Send(t.Context(), test.env, strings.NewReader("x"))
		var got []int
		for _, o := range result.Outcomes {
			got = append(got, o.Reply.Code)
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, %v; want %v", test.env, got, err, test.want)
		}
	}
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
