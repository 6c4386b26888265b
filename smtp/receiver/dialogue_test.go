package receiver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// A dialogue is a file of testdata/dialogues; the README there says how to read and write one.
type dialogue struct {
	server   receiver.Server
	greeting smtp.Reply
	full     bool // the server serves as many sessions as it may
	down     bool // the server was shut down
	steps    []step
	kept     string // what the Handler must have kept
	handler  string // which of the tests' Handlers; "" is the recorder
}

// step is one act: the client's octets, the server's answer, or an event.
type step struct {
	line   int
	send   []byte
	expect string
	closed bool // the server hangs up after expect
	event  string
}

// readDialogue parses a file.
func readDialogue(name string) (*dialogue, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	d := &dialogue{server: receiver.Server{Hostname: "mx.example.org"}}
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if err := d.addLine(i+1, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: %q", name, i+1, err, line)
		}
	}
	return d, nil
}

func (d *dialogue) addLine(n int, line string) error {
	if line == "" {
		return nil
	}
	kind, text, _ := strings.Cut(line, " ")
	switch kind {
	case "#":
		return d.option(text)
	case "C:":
		return d.client(n, text+"\r\n")
	case "C!":
		raw, err := strconv.Unquote(`"` + text + `"`)
		if err != nil {
			return err
		}
		return d.client(n, raw)
	case "C*":
		count, text, _ := strings.Cut(text, " ")
		times, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		return d.client(n, strings.Repeat(text, times))
	case "S:":
		return d.serverSays(n, text)
	case "T:", "X:":
		d.steps = append(d.steps, step{line: n, event: text})
		return nil
	case "M:":
		d.kept += text + "\n"
		return nil
	}
	return errors.New("a line of no kind")
}

// option reads a comment that sets something; other comments are the story.
func (d *dialogue) option(text string) error {
	key, value, _ := strings.Cut(text, ": ")
	n, err := strconv.Atoi(value)
	switch key {
	case "max-size":
		d.server.MaxSize = int64(n)
	case "max-recipients":
		d.server.MaxRecipients = n
	case "max-errors":
		d.server.MaxErrors = n
	case "connect":
		_, err = d.greeting.AddLine([]byte(value))
	case "offer", "with":
		err = d.options(value)
	case "xclient":
		d.server.XClient, err = []netip.Prefix{netip.MustParsePrefix(value)}, nil
	case "handler":
		d.handler, err = value, nil
	case "server":
		d.full, d.down = value == "full", value == "down"
		err = nil
	default:
		err = nil
	}
	return err
}

// options switches on what the words name.
func (d *dialogue) options(words string) error {
	offer := &d.server.Offer
	for word := range strings.FieldsSeq(words) {
		switch word {
		case "SMTPUTF8":
			offer.UTF8 = true
		case "BINARYMIME":
			offer.BinaryMIME = true
		case "DSN":
			offer.DSN = true
		case "REQUIRETLS":
			offer.RequireTLS = true
		case "DELIVERBY":
			offer.DeliverBy, offer.MinDeliverBy = true, time.Minute
		case "FUTURERELEASE":
			offer.FutureRelease, offer.MaxHold = true, time.Hour
			offer.MaxHoldUntil = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		case "MT-PRIORITY":
			offer.Priority = true
		case "LIMITS":
			offer.Limits = &smtp.Limits{Mails: 2, RcptDomains: 2}
		case "lmtp":
			d.server.LMTP = true
		case "seven-bit":
			d.server.SevenBit = true
		case "lenient-space":
			d.server.LenientSpace = true
		case "auth":
			d.server.Auth = clerk{}
		case "auth-without-tls":
			d.server.AuthWithoutTLS = true
		case "tls-unready":
			d.server.TLS = &tls.Config{}
		default:
			return fmt.Errorf("no option %q", word)
		}
	}
	return nil
}

// last gives the step to which a line of the kind belongs: the last where it is of the same kind, else a new one.
func (d *dialogue) last(n int, client bool) *step {
	if len(d.steps) > 0 {
		if s := &d.steps[len(d.steps)-1]; s.event == "" && (s.send != nil) == client {
			return s
		}
	}
	d.steps = append(d.steps, step{line: n})
	return &d.steps[len(d.steps)-1]
}

func (d *dialogue) client(n int, octets string) error {
	s := d.last(n, true)
	s.send = append(s.send, octets...)
	return nil
}

func (d *dialogue) serverSays(n int, text string) error {
	s := d.last(n, false)
	if s.closed {
		return errors.New("the server speaks after it hung up")
	}
	if text == "<closed>" {
		s.closed = true
		return nil
	}
	s.expect += text + "\r\n"
	return nil
}

// has tells whether the dialogue has such an event: the end needs a transport that can be half closed, the others need
// the clock and the order of a bubble.
func (d *dialogue) has(event func(string) bool) bool {
	for _, s := range d.steps {
		if s.event != "" && event(s.event) {
			return true
		}
	}
	return false
}

func isEnd(event string) bool       { return event == "end" }
func needsBubble(event string) bool { return !isEnd(event) }

// splitter cuts what the client says at once into writes.
type splitter func([]byte) [][]byte

func asGiven(b []byte) [][]byte { return [][]byte{b} }

func octets(b []byte) (pieces [][]byte) {
	for i := range b {
		pieces = append(pieces, b[i:i+1])
	}
	return pieces
}

// chunks cuts at random; short pieces are as likely as long ones.
func chunks(rnd *rand.Rand) splitter {
	return func(b []byte) (pieces [][]byte) {
		for len(b) > 0 {
			n := min(len(b), 1+rnd.IntN(1<<rnd.IntN(10)))
			pieces = append(pieces, b[:n])
			b = b[n:]
		}
		return pieces
	}
}

func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			ways := map[string]splitter{"as given": asGiven, "octet by octet": octets}
			for seed := range uint64(3) {
				ways[fmt.Sprintf("chunks %d", seed)] = chunks(rand.New(rand.NewPCG(seed, 2)))
			}
			for way, split := range ways {
				t.Run(way, func(t *testing.T) { runOverPipe(t, file, split) })
			}
			t.Run("tcp", func(t *testing.T) { runOverTCP(t, file) })
		})
	}
}

func load(t *testing.T, file string) *dialogue {
	t.Helper()
	d, err := readDialogue(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.steps) == 0 {
		t.Fatalf("%s: nothing is said", file)
	}
	return d
}

// runOverPipe runs in a bubble of testing/synctest: the server has said all it will say when everything is blocked, and
// a goroutine that stays fails the test.
func runOverPipe(t *testing.T, file string, split splitter) {
	synctest.Test(t, func(t *testing.T) {
		d := load(t, file)
		if d.has(isEnd) { // a pipe cannot be half closed; TCP runs it
			return
		}
		h, near := d.serve(t)
		defer near.Close()
		c := newClient(near)
		for _, s := range d.steps {
			switch {
			case s.event == "shutdown":
				go d.server.Shutdown(context.Background())
			case s.event != "":
				wait(t, s.event)
			case s.send != nil:
				c.write(split(s.send))
			default:
				synctest.Wait()
				got, closed := c.take()
				compare(t, file, s, got, closed)
			}
		}
		synctest.Wait()
		if got, _ := c.take(); got != "" {
			t.Errorf("%s: the server says more: %q", file, got)
		}
		c.conn.Close()
		synctest.Wait()
		d.judge(t, file, h)
	})
}

// wait lets time pass.
func wait(t *testing.T, duration string) {
	d, err := time.ParseDuration(duration)
	if err != nil {
		t.Fatalf("no event: %q", duration)
	}
	<-time.After(d)
}

// serve starts the dialogue's server on one end of a pipe and gives the other.
func (d *dialogue) serve(t *testing.T) (*recorder, net.Conn) {
	h := &recorder{greeting: d.greeting}
	d.server.Handler = d.wrap(h)
	if d.full {
		d.server.MaxSessions = 1
		near, far := net.Pipe()
		go d.server.ServeConn(far)
		newClient(near)
		t.Cleanup(func() { near.Close() })
		synctest.Wait()
	}
	if d.down {
		d.server.Shutdown(context.Background())
	}
	near, far := net.Pipe()
	go d.server.ServeConn(localConn{far})
	return h, near
}

// localConn is a connection from this machine.
type localConn struct{ net.Conn }

func (localConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1025} }

// wrap gives the Handler that a dialogue asks for.
func (d *dialogue) wrap(h *recorder) receiver.Handler {
	switch d.handler {
	case "directory":
		return directory{h}
	case "each":
		return eachRecorder{h}
	}
	return h
}

// judge compares what the Handler kept, after the session.
func (d *dialogue) judge(t *testing.T, file string, h *recorder) {
	t.Helper()
	if got := h.kept(); got != d.kept {
		t.Errorf("%s: the Handler kept\n%s\nwant\n%s", file, got, d.kept)
	}
	if h.gone != 1 && !d.full && !d.down {
		t.Errorf("%s: Disconnect was called %d times", file, h.gone)
	}
}

func compare(t *testing.T, file string, s step, got string, closed bool) {
	t.Helper()
	if got != s.expect {
		t.Fatalf("%s:%d: the server says\n%s\nwant\n%s", file, s.line, got, s.expect)
	}
	if closed != s.closed {
		t.Fatalf("%s:%d: the server hung up: %v, want %v", file, s.line, closed, s.closed)
	}
}

// client is the other side of a server under test. It reads all the time, so that neither side waits for the other.
type client struct {
	conn net.Conn

	mu     sync.Mutex
	got    bytes.Buffer
	reads  int // from a net.Pipe: a write of the server each
	closed bool
}

func newClient(conn net.Conn) *client {
	c := &client{conn: conn}
	go func() {
		p := make([]byte, 64<<10)
		for {
			n, err := conn.Read(p)
			c.mu.Lock()
			c.got.Write(p[:n])
			if n > 0 {
				c.reads++
			}
			c.closed = err != nil
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

// write sends the pieces until the server hangs up.
func (c *client) write(pieces [][]byte) {
	for _, p := range pieces {
		if _, err := c.conn.Write(p); err != nil {
			return
		}
	}
}

func (c *client) say(text string) { c.write([][]byte{[]byte(text)}) }

// take gives what has come since the last take.
func (c *client) take() (got string, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got = c.got.String()
	c.got.Reset()
	return got, c.closed
}

// ask says something and gives the answer, under testing/synctest.
func (c *client) ask(text string) string {
	c.say(text)
	synctest.Wait()
	got, _ := c.take()
	return got
}

func runOverTCP(t *testing.T, file string) {
	d := load(t, file)
	if d.has(needsBubble) || d.full || d.down {
		return
	}
	h := &recorder{greeting: d.greeting}
	d.server.Handler = d.wrap(h)
	conn, done := overTCP(t, &d.server)
	for _, s := range d.steps {
		switch {
		case s.event == "end":
			conn.CloseWrite()
		case s.send != nil:
			conn.Write(s.send) // it fails where the server hung up before, which the next step sees
		default:
			got := make([]byte, len(s.expect))
			n, _ := io.ReadFull(conn, got)
			compare(t, file, step{line: s.line, expect: s.expect}, string(got[:n]), false)
			if rest := restOf(conn, s.closed); rest != "" {
				t.Fatalf("%s:%d: instead of hanging up the server says %q", file, s.line, rest)
			}
		}
	}
	conn.CloseWrite()
	if rest := restOf(conn, true); rest != "" {
		t.Errorf("%s: the server says more: %q", file, rest)
	}
	<-done
	d.judge(t, file, h)
}

// restOf reads to the end, where there must be one.
func restOf(conn net.Conn, closed bool) string {
	if !closed {
		return ""
	}
	rest, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "nothing, and does not end"
	}
	return string(rest)
}

// overTCP serves one connection and gives the client's end; done is closed when the session is over.
func overTCP(t *testing.T, srv *receiver.Server) (conn *net.TCPConn, done chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	done = make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeConn(far)
	}()
	return c.(*net.TCPConn), done
}
