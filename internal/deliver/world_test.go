package deliver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/internal/dnstest"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// manners are what a host says; the zero values accept everything.
type manners struct {
	greeting smtp.Reply
	mail     smtp.Reply
	rcpt     func(s *receiver.Session, to string) smtp.Reply
	data     smtp.Reply
	hangUp   bool // after the content, without a reply
}

// nextHost is a mail server of a test. Its manners are changed in world.arrange.
type nextHost struct {
	manners
	w    *world
	name string // the address it listens at
	srv  *receiver.Server

	mu    sync.Mutex
	conns map[string]net.Conn // by the client's address
	total int                 // connections so far
	got   []got
}

// got is a message that a host has read to its end.
type got struct {
	to      string // recipients, joined by spaces
	content string
}

func (h *nextHost) now() manners {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.manners
}

func (h *nextHost) Connect(context.Context, *receiver.Session) smtp.Reply { return h.now().greeting }

func (h *nextHost) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply {
	return h.now().mail
}

func (h *nextHost) Rcpt(_ context.Context, s *receiver.Session, r smtp.Rcpt) smtp.Reply {
	rcpt := h.now().rcpt
	if rcpt == nil {
		return smtp.Reply{}
	}
	return rcpt(s, r.To.Local)
}

func (h *nextHost) Data(_ context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	b, err := io.ReadAll(content)
	if err != nil {
		return smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "Not read")
	}
	now := h.now()
	if now.hangUp {
		h.conn(s).Close()
		return smtp.Reply{}
	}
	if now.data.IsZero() || now.data.Positive() {
		var to []string
		for _, r := range s.Recipients() {
			to = append(to, r.To.Local)
		}
		h.mu.Lock()
		h.got = append(h.got, got{strings.Join(to, " "), string(b)})
		h.mu.Unlock()
	}
	return now.data
}

func (h *nextHost) conn(s *receiver.Session) net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns[s.RemoteAddr().String()]
}

// connections is how many there were so far.
func (h *nextHost) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

func (h *nextHost) messages() []got {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// drop ends all connections from the host's side, with a last word.
func (h *nextHost) drop(last string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		io.WriteString(c, last)
		c.Close()
	}
	clear(h.conns)
}

// listener notes the connections of a host.
type listener struct {
	net.Listener
	h *nextHost
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.h.mu.Lock()
	l.h.conns[c.RemoteAddr().String()] = c
	l.h.total++
	l.h.mu.Unlock()
	l.h.w.visit(l.h.name)
	return c, nil
}

// world is a DNS with hosts at 127.0.0.2 and so on, all at one port, and a Remote that delivers to them.
type world struct {
	t       *testing.T
	dns     *dnstest.Server
	port    int
	hosts   map[string]*nextHost // by the last number of their address
	remote  *Remote
	content string

	mu     sync.Mutex
	visits []string
}

func (w *world) visit(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.visits = append(w.visits, name)
}

// arrange changes the manners of hosts.
func (w *world) arrange(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *world) visited() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.visits, " ")
}

const letter = "Subject: pigeons\r\n\r\nThey fly.\r\n.dot\r\n"

// newWorld starts hosts, each named by the last number of its address. Nothing listens at other addresses of the port.
func newWorld(t *testing.T, zone, hosts string, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, dns: dnstest.New(t, zone), hosts: map[string]*nextHost{}, content: letter}
	w.listen(strings.Fields(hosts))
	resolver, err := dns.New(dns.Options{Servers: []string{w.dns.Addr}, Timeout: 5 * time.Second,
		HostsFile: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Hostname: "mx.example.net", Resolver: resolver, Port: w.port, ConnectTimeout: 10 * time.Second, IdleTime: time.Minute}
	if change != nil {
		change(&o)
	}
	w.remote = NewRemote(o)
	t.Cleanup(w.remote.Close)
	return w
}

// listen finds a port that is free at all addresses.
func (w *world) listen(hosts []string) {
	w.t.Helper()
	for range 50 {
		first, err := net.Listen("tcp", "127.0.0.99:0") // it keeps the port, and serves nobody
		if err != nil {
			w.t.Fatal(err)
		}
		w.port = int(first.Addr().(*net.TCPAddr).AddrPort().Port())
		var all []net.Listener
		for _, n := range hosts {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%s:%d", n, w.port))
			if err != nil {
				break
			}
			all = append(all, l)
		}
		if len(all) == len(hosts) {
			w.t.Cleanup(func() { first.Close() })
			for i, l := range all {
				w.serve(hosts[i], l)
			}
			return
		}
		for _, l := range append(all, first) {
			l.Close()
		}
	}
	w.t.Fatal("no port is free at all the addresses")
}

func (w *world) serve(name string, l net.Listener) {
	h := &nextHost{w: w, name: name, conns: map[string]net.Conn{}}
	h.srv = &receiver.Server{Hostname: "host" + name + ".example", Handler: h}
	w.hosts[name] = h
	go h.srv.Serve(listener{l, h})
	w.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nobody is to be waited for
		h.srv.Shutdown(ctx)
		l.Close()
	})
}

// task makes one for recipients such as "a b c".
func (w *world) task(to string) Task {
	w.t.Helper()
	m := &spool.Message{ID: spool.ID{11: 1}, Size: int64(len(w.content)), EightBit: strings.ContainsFunc(w.content, func(r rune) bool { return r > 127 })}
	m.From, _ = smtp.ParsePath("<ann@example.com>")
	t := Task{Message: m, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(w.content)), nil
	}}
	for i, name := range strings.Fields(to) {
		p, err := smtp.ParsePath("<" + name + "@example.org>")
		if err != nil {
			w.t.Fatal(err)
		}
		m.Recipients = append(m.Recipients, spool.Recipient{To: p})
		t.Recipients = append(t.Recipients, i)
	}
	return t
}

func domain(t *testing.T, s string) smtp.Domain {
	t.Helper()
	d, err := smtp.ParseDomain(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// send delivers to example.org by MX.
func (w *world) send(to string) []spool.Outcome {
	w.t.Helper()
	return w.remote.ToMX(w.t.Context(), "mx:example.org", domain(w.t, "example.org"), Manner{}, w.task(to))
}

// said puts outcomes in words: code, enhanced code, the reason where it will wait, the host where one spoke.
func said(outcomes []spool.Outcome) string {
	var all []string
	for i, o := range outcomes {
		s := fmt.Sprint(o.Reply.Code)
		if e := o.Reply.Enhanced.String(); e != "" {
			s += " " + e
		}
		if o.Hold {
			s += " hold"
		}
		if o.Reply.Temporary() {
			s += " " + o.Reason.String()
		}
		if _, addr, ok := strings.Cut(o.Host, "[127.0.0."); ok {
			addr, _, _ = strings.Cut(addr, "]")
			s += " by " + addr
		}
		if o.N != i {
			s += fmt.Sprintf(" (N is %d)", o.N)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// static is a resolver with fixed answers, for bubbles that no packet may leave.
type static map[string][]netip.Addr

func (s static) MX(context.Context, string) ([]dns.MX, error) { return nil, nil }
func (s static) Addrs(_ context.Context, host string) ([]netip.Addr, error) {
	return s[host], nil
}
