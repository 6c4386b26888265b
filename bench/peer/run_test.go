package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/certtest"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// messages is how many are sent to each server.
const messages = 20

// TestServers installs each server, and sends mail through it: to hops, and to be kept, with TLS and without.
//
// HOLUB_BENCH=1 turns it on, as it fetches some hundred megabytes at its first run; HOLUB_BENCH=postfix,exim names the servers.
func TestServers(t *testing.T) {
	which := os.Getenv("HOLUB_BENCH")
	if which == "" {
		t.Skip("set HOLUB_BENCH=1 to install and try the servers of the comparison (Linux and root; fetches packages)")
	}
	servers := All("")
	if which != "1" {
		var err error
		if servers, err = ByName("", strings.Split(which, ",")...); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range servers {
		t.Run(s.Name(), func(t *testing.T) {
			version, err := s.Install(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s", s.Name(), version)
			if version == "" {
				t.Error("no version")
			}
			for _, secure := range []bool{false, true} {
				if secure && s.Name() == "opensmtpd" && strings.HasPrefix(version, "6.") {
					t.Run("no tls", func(t *testing.T) { tryCannot(t, s) })
					continue
				}
				t.Run(fmt.Sprintf("relay,tls=%t", secure), func(t *testing.T) { tryRelay(t, s, secure) })
				t.Run(fmt.Sprintf("keep,tls=%t", secure), func(t *testing.T) { tryKeep(t, s, secure) })
			}
		})
	}
}

// tryCannot asks for TLS where there is none to be had.
func tryCannot(t *testing.T, s Server) {
	setup := Setup{Dir: t.TempDir(), Addr: freeAddr(t)}
	secrets(t, &setup, true)
	r, err := s.Start(t.Context(), setup)
	if !errors.Is(err, ErrCannot) {
		t.Errorf("started with TLS: %v, %v; want ErrCannot", r, err)
	}
}

// tryRelay sends to three domains, two of which have hops of their own.
func tryRelay(t *testing.T, s Server, secure bool) {
	setup := Setup{Dir: t.TempDir(), Addr: freeAddr(t), Sessions: 20}
	secret := secrets(t, &setup, secure)
	k := startSinks(t, secret, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	setup.Hops = map[string]string{"d1.example": k.addr("127.0.0.1"), "d2.example": k.addr("127.0.0.2"), "": k.addr("127.0.0.3")}
	r := begin(t, s, setup)
	ways := map[string]string{"d1.example": "127.0.0.1", "d2.example": "127.0.0.2", "other.example": "127.0.0.3"}
	want := map[string]string{}
	for i := range messages {
		domain := []string{"d1.example", "d2.example", "other.example"}[i%3]
		to := fmt.Sprintf("u%d@%s", i, domain)
		want[to] = ways[domain]
		send(t, r, to, secure)
	}
	eventually(t, r, "all mail at its hop", func() (bool, string) {
		got := k.taken()
		return len(got) >= messages, fmt.Sprintf("%d of %d messages arrived", len(got), messages)
	})
	for to, hop := range want {
		m, ok := k.taken()[to]
		if !ok || m.hop != hop || m.secure != secure {
			t.Errorf("mail for %s: %+v; want it at %s, TLS %t", to, m, hop, secure)
		}
	}
	eventually(t, r, "an empty queue", func() (bool, string) {
		n, err := r.Queued(t.Context())
		return err == nil && n == 0, fmt.Sprintf("%d wait, %v", n, err)
	})
	usage(t, r)
	finish(t, r)
}

// tryKeep sends mail that stays, under strace.
func tryKeep(t *testing.T, s Server, secure bool) {
	dir := t.TempDir()
	setup := Setup{Dir: filepath.Join(dir, "run"), Addr: freeAddr(t), Sessions: 20, Cores: 1, Trace: filepath.Join(dir, "syncs")}
	if err := os.Mkdir(setup.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	secrets(t, &setup, secure)
	r := begin(t, s, setup)
	before, err := r.Syncs()
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		send(t, r, fmt.Sprintf("u%d@d%d.example", i, i), secure)
	}
	eventually(t, r, "all mail in the queue", func() (bool, string) {
		n, err := r.Queued(t.Context())
		return err == nil && n == messages, fmt.Sprintf("%d of %d wait, %v", n, messages, err)
	})
	usage(t, r)
	finish(t, r)
	after, err := r.Syncs()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name := range after {
		n += after[name] - before[name]
	}
	t.Logf("syncs for %d messages, one after the other: %v before, %v after", messages, before, after)
	if durable := s.Name() != "opensmtpd"; durable != (n >= messages) { // every message waits for a sync of its own
		t.Errorf("%d syncs for %d messages one after the other; durable: %t", n, messages, durable)
	}
}

// begin starts a server and keeps it from outliving its test.
func begin(t *testing.T, s Server, setup Setup) *Running {
	t.Helper()
	mounts := read(t, "/proc/self/mountinfo")
	r, err := s.Start(t.Context(), setup)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if now := read(t, "/proc/self/mountinfo"); now != mounts {
			t.Errorf("mounts are left:\n%s", now)
		}
	})
	if r.Config != s.Config(setup) {
		t.Errorf("the configuration that is shown is another one than\n%s", r.Config)
	}
	return r
}

// finish stops a server and looks for what is left of it.
func finish(t *testing.T, r *Running) {
	t.Helper()
	pids := r.Pids()
	if len(pids) == 0 {
		t.Error("a running server has no processes")
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		// A process that takes the number over would not be in the folder of this run.
		if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && strings.HasPrefix(dir, r.dir) {
			t.Errorf("process %d still runs in %s", pid, dir)
		}
	}
	if left := r.Pids(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if _, err := os.Stat(r.group.dir); r.group.dir != "" && err == nil {
		t.Errorf("the control group %s is left", r.group.dir)
	}
}

// usage looks whether the numbers can be true.
func usage(t *testing.T, r *Running) {
	t.Helper()
	u, err := r.Usage()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d processes, %d KiB, %v user and %v system", u.Processes, u.Memory>>10, u.User, u.System)
	if u.Processes < 1 || u.Memory < 1<<20 || u.Memory > 1<<30 || u.CPU() <= 0 || u.CPU() > time.Minute {
		t.Errorf("usage %+v", u)
	}
}

// secrets makes the certificate of a run.
func secrets(t *testing.T, setup *Setup, secure bool) *certtest.Certificate {
	t.Helper()
	if !secure {
		return nil
	}
	cert := certtest.New(t, greeting, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	certFile, keyFile := cert.Write(t, t.TempDir())
	setup.TLS = &TLS{Cert: certFile, Key: keyFile, CA: certFile}
	return cert
}

// send sends one message in a session of its own.
func send(t *testing.T, r *Running, to string, secure bool) {
	t.Helper()
	o := sender.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	if secure {
		o.TLS = sender.TLSRequired
	}
	text := "From: <a@example.org>\r\nTo: <" + to + ">\r\nSubject: try\r\n\r\n" + strings.Repeat("It is a line of a message.\r\n", 150)
	if err := sender.SendMail(t.Context(), r.Addr, "a@example.org", []string{to}, strings.NewReader(text), o); err != nil {
		t.Fatalf("%v\n%s", err, r.Log())
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, r *Running, what string, holds func() (bool, string)) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := holds()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("not %s: %s\n%s", what, state, r.Log())
		}
	}
}

// sinks take mail at several addresses with one port.
type sinks struct {
	port string
	mu   sync.Mutex
	got  map[string]arrival // by recipient
}

type arrival struct {
	hop    string
	secure bool
}

func startSinks(t *testing.T, secret *certtest.Certificate, hosts ...string) *sinks {
	t.Helper()
	k := &sinks{got: map[string]arrival{}}
	_, k.port, _ = net.SplitHostPort(freeAddr(t))
	for _, host := range hosts {
		l, err := net.Listen("tcp", k.addr(host))
		if err != nil {
			t.Fatal(err)
		}
		srv := &receiver.Server{Hostname: "sink.example", Handler: k}
		if secret != nil {
			srv.TLS = secret.Server()
		}
		go srv.Serve(l)
		t.Cleanup(func() {
			now, cancel := context.WithCancel(context.Background())
			cancel()
			srv.Shutdown(now)
		})
	}
	return k
}

func (k *sinks) addr(host string) string { return net.JoinHostPort(host, k.port) }

func (k *sinks) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }

func (k *sinks) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply { return smtp.Reply{} }

func (k *sinks) Data(_ context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return smtp.Reply{}
	}
	host, _, _ := net.SplitHostPort(s.LocalAddr().String())
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, to := range s.Recipients() {
		k.got[strings.Trim(to.To.String(), "<>")] = arrival{host, s.TLS() != nil}
	}
	return smtp.Reply{}
}

func (k *sinks) taken() map[string]arrival {
	k.mu.Lock()
	defer k.mu.Unlock()
	got := make(map[string]arrival, len(k.got))
	for to, a := range k.got {
		got[to] = a
	}
	return got
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
