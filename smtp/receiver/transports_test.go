package receiver_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
	"github.com/holub-mail/holub/transport"
)

// postbox keeps the one message it gets.
type postbox struct{ got chan string }

func (postbox) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }
func (postbox) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply { return smtp.Reply{} }
func (p postbox) Data(_ context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	b, err := io.ReadAll(content)
	if err != nil {
		return smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "Lost")
	}
	p.got <- s.Recipients()[0].To.String() + " " + string(b)
	return smtp.Reply{}
}

// TestWholeMailThroughEachTransport sends one mail, larger than any buffer, through everything that listens and dials in
// this process. Programs, standard input and systemd's sockets need a second process: cmd/holub tests them.
func TestWholeMailThroughEachTransport(t *testing.T) {
	text := "Subject: anything\r\n\r\n" + strings.Repeat("a line that is carried by whatever carries octets\r\n.dots\r\n", 5000)
	server, client := selfSigned(t)
	folder := t.TempDir()
	proxy := &transport.ProxyHeader{Source: netip.MustParseAddrPort("192.0.2.7:1234"), Destination: netip.MustParseAddrPort("192.0.2.8:25")}
	trusted := &transport.ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for name, way := range map[string]struct {
		endpoint string
		listen   transport.ListenOptions
		dial     transport.DialOptions
	}{
		"tcp4":           {endpoint: "127.0.0.1:0"},
		"tcp6":           {endpoint: "[::1]:0"},
		"unix":           {endpoint: "unix:" + filepath.Join(folder, "a.sock")},
		"tls":            {"127.0.0.1:0", transport.ListenOptions{TLS: server}, transport.DialOptions{TLS: client}},
		"tls on unix":    {"unix:" + filepath.Join(folder, "b.sock"), transport.ListenOptions{TLS: server}, transport.DialOptions{TLS: client}},
		"proxy":          {"127.0.0.1:0", transport.ListenOptions{Proxy: trusted}, transport.DialOptions{Proxy: proxy}},
		"tls in a proxy": {"127.0.0.1:0", transport.ListenOptions{Proxy: trusted, TLS: server}, transport.DialOptions{Proxy: proxy, TLS: client}},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint, err := transport.ParseEndpoint(way.endpoint)
			if err != nil {
				t.Fatal(err)
			}
			l, err := transport.Listen(t.Context(), endpoint, way.listen)
			if err != nil {
				t.Fatal(err)
			}
			if tcp, ok := l.Addr().(*net.TCPAddr); ok {
				endpoint.Port = uint16(tcp.Port)
			}
			carry(t, l, text, func() (net.Conn, error) { return transport.Dial(t.Context(), endpoint, way.dial) })
		})
	}
	t.Run("memory", func(t *testing.T) {
		l := transport.NewMemoryListener("test")
		carry(t, l, text, func() (net.Conn, error) { return l.Dial(t.Context()) })
	})
	t.Run("pipe", func(t *testing.T) {
		box := postbox{make(chan string, 1)}
		here, there := transport.Pipe()
		go (&receiver.Server{Hostname: "mx.example.org", Handler: box}).ServeConn(there)
		mail(t, here, text)
		check(t, box, text)
	})
}

// connects counts the clients that the Handler was asked about.
type connects struct {
	discard
	n *atomic.Int32
}

func (c connects) Connect(context.Context, *receiver.Session) smtp.Reply {
	c.n.Add(1)
	return smtp.Reply{}
}

// TestNoHeaderNoClient: behind a proxy nobody is asked about a connection whose client the proxy does not name.
func TestNoHeaderNoClient(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := transport.ProxyListener(inner, transport.ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	h := connects{n: new(atomic.Int32)}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: h}
	go srv.Serve(l)
	conn, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "EHLO client.example\r\n")
	if b, _ := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("the server said %q", b)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := h.n.Load(); n != 0 {
		t.Errorf("the Handler was asked %d times", n)
	}
}

// carry serves l and sends a mail to it.
func carry(t *testing.T, l net.Listener, text string, dial func() (net.Conn, error)) {
	t.Helper()
	box := postbox{make(chan string, 1)}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: box}
	go srv.Serve(l)
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	mail(t, conn, text)
	check(t, box, text)
	grace, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func mail(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	c, err := sender.NewClient(t.Context(), conn, sender.Options{})
	if err != nil {
		t.Fatal(err)
	}
	from, _ := smtp.ParsePath("<ann@example.org>")
	to, _ := smtp.ParsePath("<bob@example.net>")
	r, err := c.Send(t.Context(), sender.Envelope{From: from, To: []smtp.Path{to}}, strings.NewReader(text))
	if err != nil || !r.Outcomes[0].Reply.Positive() {
		t.Fatalf("send: %v %v", r, err)
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Errorf("quit: %v", err)
	}
}

func check(t *testing.T, box postbox, text string) {
	t.Helper()
	if got := <-box.got; got != "<bob@example.net> "+text {
		t.Errorf("%d octets came of %d, or others", len(got), len(text))
	}
}
