package peers_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// scribe is a server that says yes to everything and writes down the lines that come, those of mails too.
type scribe struct {
	addr   string
	offers []string // the keywords after EHLO
	tls    *tls.Config
	mails  chan struct{} // one for each session with mail that ended by QUIT

	mu    sync.Mutex
	lines []string
}

func newScribe(t *testing.T, offers ...string) *scribe {
	t.Helper()
	certificate := httptest.NewTLSServer(nil)
	certificate.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scribe{addr: l.Addr().String(), offers: offers, mails: make(chan struct{}, 10),
		tls: &tls.Config{Certificates: certificate.TLS.Certificates}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := make(chan struct{})
			wg.Go(func() { s.session(c); close(stop) })
			wg.Go(func() {
				select {
				case <-stop:
				case <-t.Context().Done(): // a client that never hangs up
				}
				c.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return s
}

func (s *scribe) session(c net.Conn) {
	fmt.Fprint(c, "220 scribe ESMTP\r\n")
	in := bufio.NewScanner(c)
	mail := false
	for in.Scan() {
		line := in.Text()
		s.note(line)
		switch verb, _, _ := strings.Cut(line, " "); strings.ToUpper(verb) {
		case "PROXY":
		case "EHLO":
			fmt.Fprintf(c, "250-%s\r\n250 HELP\r\n", strings.Join(append([]string{"scribe"}, s.offers...), "\r\n250-"))
		case "AUTH":
			fmt.Fprint(c, "235 2.7.0 yes\r\n")
		case "STARTTLS":
			fmt.Fprint(c, "220 2.0.0 go on\r\n")
			c = tls.Server(c, s.tls)
			in = bufio.NewScanner(c)
		case "DATA":
			fmt.Fprint(c, "354 go on\r\n")
			mail = true
			for in.Scan() && in.Text() != "." {
				s.note(in.Text())
			}
			fmt.Fprint(c, "250 2.0.0 yes\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 2.0.0 bye\r\n")
			if mail {
				s.mails <- struct{}{}
			}
			return
		default:
			fmt.Fprint(c, "250 2.0.0 yes\r\n")
		}
	}
}

func (s *scribe) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

// heard gives the lines so far.
func (s *scribe) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// wants fails unless lines with these beginnings came in this order, with others in between or not.
func (s *scribe) wants(t *testing.T, beginnings ...string) {
	t.Helper()
	lines := s.heard()
	rest := lines
	for _, b := range beginnings {
		i := slices.IndexFunc(rest, func(line string) bool { return strings.HasPrefix(line, b) })
		if i < 0 {
			t.Errorf("no %q where it is due in\n%s", b, strings.Join(lines, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}
