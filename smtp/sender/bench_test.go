package sender

import (
	"bytes"
	"io"
	"net"
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

func BenchmarkSend4KiB(b *testing.B) {
	for name, ext := range map[string]string{"pipelined": "PIPELINING", "lock step": "HELP"} {
		b.Run(name, func(b *testing.B) {
			conn := &cannedConn{replies: []string{"220 me\r\n", "250-me\r\n250 " + ext + "\r\n"}}
			c, err := NewClient(b.Context(), conn, Options{})
			if err != nil {
				b.Fatal(err)
			}
			conn.replies = []string{"250 2.1.0 ok\r\n", "250 2.1.5 ok\r\n", "354 go on\r\n", "250 2.0.0 taken\r\n"}
			env := Envelope{From: path(b, "<a@example.org>"), To: []smtp.Path{path(b, "<b@example.net>")}, Size: 4096}
			content := bytes.NewReader(bytes.Repeat([]byte("A line of the message, thirty-two\r\n"), 4096/35))
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
