package mta

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/config"
)

// BenchmarkMessage is one message of 4 KiB on its whole way through the house, over loopback sockets and a real disk:
// "accept" until its 250, "relay" until the next host has it and its end is committed. Neither the client nor the next host
// allocates, so what is reported is the house.
func BenchmarkMessage(b *testing.B) {
	for _, sessions := range []int{1, 20} {
		b.Run(fmt.Sprintf("accept/sessions=%d", sessions), func(b *testing.B) {
			benchmarkMessage(b, sessions, deadHost)
		})
		b.Run(fmt.Sprintf("relay/sessions=%d", sessions), func(b *testing.B) {
			benchmarkMessage(b, sessions, startCanned(b).addr)
		})
	}
}

func benchmarkMessage(b *testing.B, sessions int, next string) {
	h := startHouse(b, next)
	clients := h.clients(sessions)
	h.pass(clients, 10*sessions, next != deadHost)
	b.SetBytes(int64(len(cannedContent)))
	b.ReportAllocs()
	b.ResetTimer()
	h.pass(clients, b.N, next != deadHost)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// deadHost is a next host that is not there: after its first attempt its site is left alone, and what is accepted waits
// without being touched.
const deadHost = "127.0.0.1:1"

// house is an MTA that runs and relays all mail to one host.
type house struct {
	tb   testing.TB
	m    *MTA
	addr string
}

// startHouse runs an MTA until the test ends.
func startHouse(tb testing.TB, next string) *house {
	tb.Helper()
	cfg, err := config.Parse("test.toml", fmt.Appendf(nil, `
hostname = "mx.example.org"
[[listen]]
address = "127.0.0.1:0"
networks = ["127.0.0.0/8"]
[[route]]
to = "smtp://%s"
`, next))
	if err != nil {
		tb.Fatal(err)
	}
	cfg.DataDir = tb.TempDir()
	// The lines of the log are made as the server makes them, and thrown away.
	m, err := New(Options{Config: cfg, Logger: slog.New(slog.NewTextHandler(nowhere{}, nil))})
	if err == nil {
		err = m.Listen()
	}
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	<-m.started
	return &house{tb, m, m.Addrs()[0].String()}
}

// nowhere swallows what is written.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// clients opens sessions, which end with the test before the house does.
func (h *house) clients(n int) []*cannedClient {
	h.tb.Helper()
	var all []*cannedClient
	for range n {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			h.tb.Fatal(err)
		}
		h.tb.Cleanup(func() { conn.Close() })
		c := &cannedClient{conn: conn, lines: bufio.NewReader(conn)}
		err = c.say(nil, "220 ")
		if err == nil {
			err = c.say([]byte("EHLO client.example\r\n"), "250 ")
		}
		if err != nil {
			h.tb.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// pass sends messages over the sessions and, where they are relayed, waits until none is left.
func (h *house) pass(clients []*cannedClient, messages int, relayed bool) {
	h.tb.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for next.Add(1) <= int64(messages) {
				if err := c.send(); err != nil {
					h.tb.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); relayed; {
		waiting, running := h.m.queue.Counts()
		if waiting+running == 0 {
			return
		}
		if now := <-tick.C; now.After(end) {
			h.tb.Fatalf("after a minute %d recipients wait and %d are in flight", waiting, running)
		}
	}
}

// What a canned client says for each message: one group, and the content of 4 KiB.
var (
	cannedGroup   = []byte("MAIL FROM:<alice@example.org> SIZE=4096\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
	cannedContent = []byte("Message-ID: <1@example.org>\r\nSubject: canned\r\n\r\n" +
		strings.Repeat(strings.Repeat("x", 62)+"\r\n", 63) + ".\r\n")
)

// cannedClient is a client that allocates nothing while it sends.
type cannedClient struct {
	conn  net.Conn
	lines *bufio.Reader
}

func (c *cannedClient) send() error {
	if err := c.say(cannedGroup, "354 "); err != nil {
		return err
	}
	return c.say(cannedContent, "250 ")
}

// say writes and reads replies up to the one that begins with last; one that refuses is an error.
func (c *cannedClient) say(text []byte, last string) error {
	if _, err := c.conn.Write(text); err != nil {
		return err
	}
	for {
		line, err := c.lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("4")) || bytes.HasPrefix(line, []byte("5")) {
			return fmt.Errorf("the server said %q", line)
		}
		// The 250s to MAIL and RCPT come before the 354; the 250 to the content comes alone.
		if bytes.HasPrefix(line, []byte(last)) {
			return nil
		}
	}
}

// canned is a next host that takes all mail and allocates nothing while it does. It offers PIPELINING alone.
type canned struct {
	addr  string
	taken atomic.Int64
}

// startCanned runs a next host until the test ends.
func startCanned(tb testing.TB) *canned {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	s := &canned{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// cannedReplies are by the first letter of the verb; other verbs get 250.
var cannedReplies = map[byte]string{
	'E': "250-sink.example\r\n250 PIPELINING\r\n", 'D': "354 go on\r\n", 'Q': "221 bye\r\n",
}

func (s *canned) serve(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 8192), bufio.NewWriterSize(conn, 1024)
	out.WriteString("220 sink.example\r\n")
	for content := false; ; {
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return
			}
		}
		line, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return
		case content && string(line) == ".\r\n":
			content = false
			s.taken.Add(1)
			out.WriteString("250 2.0.0 taken\r\n")
		case content:
		default:
			reply, ok := cannedReplies[line[0]]
			if !ok {
				reply = "250 2.1.0 ok\r\n"
			}
			content = line[0] == 'D'
			out.WriteString(reply)
			if line[0] == 'Q' {
				out.Flush()
				return
			}
		}
	}
}
