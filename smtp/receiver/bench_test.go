package receiver_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp/receiver"
)

// BenchmarkMessage is a message of 4 KiB to one recipient in a session that sends many.
func BenchmarkMessage(b *testing.B) {
	message := "MAIL FROM:<alice@example.org> SIZE=4096\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n" +
		strings.Repeat("a line of the content, with 64 octets in all, its CRLF included\r\n", 63) + ".\r\n"
	hello := strings.NewReader("EHLO client.example\r\n")
	conn := &scriptConn{in: io.MultiReader(hello, &again{text: message, times: b.N})}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	b.ResetTimer()
	srv.ServeConn(conn)
}

// BenchmarkChunk is the same message in one chunk.
func BenchmarkChunk(b *testing.B) {
	message := "MAIL FROM:<alice@example.org> SIZE=4096\r\nRCPT TO:<bob@example.net>\r\nBDAT 4096 LAST\r\n" +
		strings.Repeat("a line of the content, with 64 octets in all, its CRLF included\r\n", 63)
	message += strings.Repeat("x", 4096-(len(message)-strings.Index(message, "a line")))
	hello := strings.NewReader("EHLO client.example\r\n")
	conn := &scriptConn{in: io.MultiReader(hello, &again{text: message, times: b.N})}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	b.ResetTimer()
	srv.ServeConn(conn)
}

// turns gives one of its texts with each read, over and over, as a client does that waits for each reply; then io.EOF.
type turns struct {
	texts []string
	next  int
	left  int // reads
}

func (t *turns) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, t.texts[t.next])
	t.left--
	t.next = (t.next + 1) % len(t.texts)
	return n, nil
}

// BenchmarkTurns is a message of 4,000 octets from clients that wait for replies: to each command, or to a pipelined group
// of them. "writes/op" counts what the server writes.
func BenchmarkTurns(b *testing.B) {
	content := strings.Repeat("a line of the content, with 40 octets..\r\n", 100)[:3995] + "\r\n.\r\n"
	from, to := "MAIL FROM:<alice@example.org> SIZE=4096\r\n", "RCPT TO:<bob@example.net>\r\n"
	for name, texts := range map[string][]string{
		"lock step": {from, to, "DATA\r\n", content},
		"pipelined": {from + to + "DATA\r\n", content},
	} {
		b.Run(name, func(b *testing.B) {
			hello := strings.NewReader("EHLO client.example\r\n")
			conn := &scriptConn{in: io.MultiReader(hello, &turns{texts: texts, left: len(texts) * b.N})}
			srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
			b.SetBytes(int64(len(strings.Join(texts, ""))))
			b.ReportAllocs()
			b.ResetTimer()
			srv.ServeConn(conn)
			b.ReportMetric(float64(conn.writes)/float64(b.N), "writes/op")
		})
	}
}

// BenchmarkLoopback is the same message, pipelined, over TCP: what the sockets and the wake-ups add. The client allocates
// nothing.
func BenchmarkLoopback(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	go srv.Serve(l)
	defer srv.Shutdown(b.Context())
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	p := make([]byte, 4096)
	ask := func(text []byte, lines int) {
		if _, err := conn.Write(text); err != nil {
			b.Fatal(err)
		}
		for lines > 0 {
			n, err := conn.Read(p)
			if err != nil {
				b.Fatal(err)
			}
			lines -= bytes.Count(p[:n], []byte("\n"))
		}
	}
	ask(nil, 1)
	ask([]byte("HELO client.example\r\n"), 1) // one line in reply; groups are taken all the same
	group := []byte("MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
	content := []byte(strings.Repeat("a line of the content, with 40 octets..\r\n", 100)[:3995] + "\r\n.\r\n")
	b.SetBytes(int64(len(group) + len(content)))
	b.ReportAllocs()
	for b.Loop() {
		ask(group, 3)
		ask(content, 1)
	}
}

// TestContentInOneRead: a message of 4 KiB costs a client that waits for the 354 two reads, one of them for its commands.
func TestContentInOneRead(t *testing.T) {
	content := strings.Repeat("a line of the content, with 40 octets..\r\n", 100) + ".\r\n"
	group := "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
	in := &counted{Reader: groups("EHLO client.example\r\n", group, content, group, content, "QUIT\r\n")}
	conn := &scriptConn{in: in, keep: true}
	(&receiver.Server{Hostname: "mx.example.org", Handler: discard{}}).ServeConn(conn)
	if in.reads != 6 || strings.Count(conn.out.String(), "250 2.0.0 Ok\r\n") != 2 {
		t.Errorf("%d reads for two messages, EHLO and QUIT; the server says %q", in.reads, conn.out.String())
	}
}

// counted counts its reads.
type counted struct {
	io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// TestNoAllocationPerLine: a message of a hundred times the lines costs no more allocations.
func TestNoAllocationPerLine(t *testing.T) {
	cost := func(lines int) float64 {
		body := strings.Repeat("a line of the content\r\n", lines)
		data := toChunks + "DATA\r\n" + body + ".\r\n" +
			strings.TrimPrefix(toChunks, "EHLO client.example\r\n") + fmt.Sprintf("BDAT %d LAST\r\n", len(body)) + body
		srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
		return testing.AllocsPerRun(20, func() {
			conn := &scriptConn{in: strings.NewReader(data)}
			srv.ServeConn(conn)
			if conn.written < 200 {
				t.Fatalf("the server wrote %d octets only", conn.written)
			}
		})
	}
	if few, many := cost(100), cost(10_000); many > few+10 {
		t.Errorf("%.0f allocations for 100 lines, %.0f for 10000", few, many)
	}
}

// BenchmarkSession is a whole session without a message.
func BenchmarkSession(b *testing.B) {
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	b.ReportAllocs()
	for b.Loop() {
		srv.ServeConn(&scriptConn{in: strings.NewReader("EHLO client.example\r\nQUIT\r\n")})
	}
}

// idleMemory gives the octets of heap and stack that a session costs which has said EHLO, carried a message to a
// thousand recipients, and is silent; the pipe and the test's side of it are in the number.
func idleMemory(t testing.TB, sessions int) (perSession float64) {
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	hello := "EHLO client.example\r\nMAIL FROM:<alice@example.org>\r\n" +
		strings.Repeat("RCPT TO:<bob@example.net>\r\n", receiver.DefaultMaxRecipients) + "DATA\r\nHi\r\n.\r\n"
	conns := make([]net.Conn, sessions)
	before := inUse()
	for i := range conns {
		near, far := net.Pipe()
		conns[i] = near
		go srv.ServeConn(far)
		quiet := make(chan struct{})
		go func() { // takes all replies, up to the one for the message
			defer close(quiet)
			p := make([]byte, 512)
			last := ""
			for !strings.HasSuffix(last, "250 2.0.0 Ok\r\n") {
				n, err := near.Read(p)
				if err != nil {
					t.Error(err)
					return
				}
				last = (last + string(p[:n]))[max(0, len(last)+n-32):]
			}
		}()
		if _, err := io.WriteString(near, hello); err != nil {
			t.Fatal(err)
		}
		<-quiet
	}
	<-time.After(time.Minute)
	synctest.Wait()
	perSession = float64(inUse()-before) / float64(sessions)
	for _, c := range conns {
		c.Close()
	}
	synctest.Wait()
	return perSession
}

// inUse gives the octets of heap and stacks after a collection; twice, for a sync.Pool is emptied by the second.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestIdleSession keeps the law that an idle session holds no buffers, for with them it costs more than the limit.
func TestIdleSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 16 << 10 // 12 KiB over TCP: TestIdleTCPSession
		n := idleMemory(t, 200)
		t.Logf("%.0f octets for each idle session, its stack and a net.Pipe included", n)
		if n > limit {
			t.Errorf("an idle session costs %.0f octets, at most %d", n, limit)
		}
	})
}
