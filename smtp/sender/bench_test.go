package sender

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// cannedConn answers each read with the next of its replies, over and over, and swallows what is written.
type cannedConn struct {
	net.Conn
	replies []string
	next    int
	writes  int
}

func (c *cannedConn) Read(b []byte) (int, error) {
	if c.next == len(c.replies) {
		return 0, io.EOF
	}
	n := copy(b, c.replies[c.next])
	c.next++
	return n, nil
}

func (c *cannedConn) Write(b []byte) (int, error)      { c.writes++; return len(b), nil }
func (c *cannedConn) Close() error                     { return nil }
func (c *cannedConn) LocalAddr() net.Addr              { return nil }
func (c *cannedConn) SetDeadline(time.Time) error      { return nil }
func (c *cannedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cannedConn) SetWriteDeadline(time.Time) error { return nil }

// probedConn is a cannedConn that has nothing to say to a client that hardly waits.
type probedConn struct {
	cannedConn
	probed bool
}

func (c *probedConn) SetReadDeadline(at time.Time) error {
	c.probed = time.Until(at) < time.Second
	return nil
}

func (c *probedConn) Read(b []byte) (int, error) {
	if c.probed {
		return 0, os.ErrDeadlineExceeded
	}
	return c.cannedConn.Read(b)
}

func BenchmarkSend4KiB(b *testing.B) { benchmarkSend(b, 4<<10) }
func BenchmarkSend1MiB(b *testing.B) { benchmarkSend(b, 1<<20) }

func benchmarkSend(b *testing.B, size int) {
	data := []string{"250 2.1.0 ok\r\n", "250 2.1.5 ok\r\n", "354 go on\r\n", "250 2.0.0 taken\r\n"}
	chunks := []string{data[0], data[1]}
	for range size/contentPiece + 1 {
		chunks = append(chunks, data[3])
	}
	for _, way := range []struct {
		name, offers string
		replies      []string
	}{
		{"pipelined", "PIPELINING", data},
		{"lock step", "HELP", data},
		{"BDAT", "PIPELINING\r\n250 CHUNKING", chunks},
	} {
		b.Run(way.name, func(b *testing.B) {
			conn := &probedConn{}
			conn.replies = []string{"220 me\r\n", "250-me\r\n250-" + way.offers + "\r\n"}
			if way.name != "BDAT" {
				conn.replies[1] = "250-me\r\n250 " + way.offers + "\r\n"
			}
			c, err := NewClient(b.Context(), conn, Options{})
			if err != nil {
				b.Fatal(err)
			}
			conn.replies = way.replies
			env := Envelope{From: path(b, "<a@example.org>"), To: []smtp.Path{path(b, "<b@example.net>")}, Size: int64(size)}
			content := bytes.NewReader(bytes.Repeat([]byte("A line of the message, thirty-two\r\n"), size/35))
			conn.writes = 0
			b.ReportAllocs()
			b.SetBytes(content.Size())
			for b.Loop() {
				conn.next = 0
				content.Seek(0, io.SeekStart)
				if _, err := c.Send(b.Context(), env, content); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(conn.writes)/float64(b.N), "writes/op")
		})
	}
}
