package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// serve puts a desk behind a socket and gives a client of it.
func serve(t *testing.T, desk Desk, change func(*Server)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := Listen(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	s := NewServer(desk, nil)
	if change != nil {
		change(s)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := NewClient(path)
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(s.Close(ctx), <-served); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the file of the socket is left")
		}
	})
	return c
}

// TestClient has each answer come through the socket as it was given.
func TestClient(t *testing.T) {
	w := newWorld(t)
	c := serve(t, w.live, nil)
	m := w.put("ann@example.com", nil, "a@example.org", "\"two words\"@example.org")
	w.put("", nil, "c@example.com")
	same := func(what string, near, far any, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		// Zones and empty lists differ in memory, and not for who reads them.
		a, _ := json.Marshal(near)
		b, _ := json.Marshal(far)
		if string(a) != string(b) {
			t.Errorf("%s: %s here, %s there", what, a, b)
		}
	}
	if err := c.Ping(w.ctx); err != nil {
		t.Error(err)
	}
	s1, e1 := w.live.Status(w.ctx)
	s2, e2 := c.Status(w.ctx)
	same("status", s1, s2, e1, e2)
	l1, e1 := w.live.Sites(w.ctx)
	l2, e2 := c.Sites(w.ctx)
	same("sites", l1, l2, e1, e2)
	m1, e1 := w.live.Show(w.ctx, m.ID)
	m2, e2 := c.Show(w.ctx, m.ID)
	same("show", m1, m2, e1, e2)
	t1, e1 := w.live.Trace(w.ctx, "ann@example.com", 3)
	t2, e2 := c.Trace(w.ctx, "ann@example.com", 3)
	same("trace", t1, t2, e1, e2)
	if len(t2) != 1 || len(t2[0].Waiting) != 2 {
		t.Errorf("trace %+v", t2)
	}
	r1, e1 := w.live.Reload(w.ctx)
	r2, e2 := c.Reload(w.ctx)
	same("reload", r1, r2, e1, e2)
	for _, selector := range []Selector{{}, {Domain: "example.org", OlderThan: time.Nanosecond, State: "waiting"}, {Sender: "<>"}} {
		near, e1 := collect(w.live.List(w.ctx, selector, 2))
		far, e2 := collect(c.List(w.ctx, selector, 2))
		same(fmt.Sprintf("list %+v", selector), near, far, e1, e2)
		if len(far) == 0 {
			t.Errorf("%+v lists nothing", selector)
		}
	}
	if r, err := c.Act(w.ctx, Action{Verb: Hold, Selector: Selector{Recipient: `"two words"@example.org`}, Who: "somebody else"}); err != nil || r.Recipients != 1 {
		t.Errorf("act: %+v, %v", r, err)
	}
	if want := fmt.Sprintf("held by uid %d", os.Getuid()); len(w.events) != 1 || runtime.GOOS == "linux" && w.events[0].Note != want {
		t.Errorf("events %+v, want %q", w.events, want)
	}
}

func collect(list iter.Seq2[Entry, error]) (all []Entry, err error) {
	for e, e1 := range list {
		if e1 != nil {
			err = errors.Join(err, e1)
			continue
		}
		all = append(all, e)
	}
	return all, err
}

// TestClientErrors has errors keep what they are, with their text.
func TestClientErrors(t *testing.T) {
	w := newWorld(t)
	c := serve(t, w.live, nil)
	gone := w.ids.New(time.Now())
	_, notFound := c.Show(w.ctx, gone)
	_, missing := collect(c.List(w.ctx, Selector{IDs: []string{gone.String()}}, 0))
	_, wrongList := collect(c.List(w.ctx, Selector{Class: "first"}, 0))
	_, wrong := c.Act(w.ctx, Action{Verb: Hold})
	_, wrongTrace := c.Trace(w.ctx, "", 0)
	w.reloaded = errors.New("holub.toml:3:1: unknown key \"colour\"")
	_, refused := c.Reload(w.ctx)
	for _, tt := range []struct {
		err, is error
		text    string
	}{
		{notFound, spool.ErrNotFound, gone.String()},
		{missing, spool.ErrNotFound, gone.String()},
		{wrongList, ErrWrong, `"first" is not known; there are urgent, normal, bulk`},
		{wrong, ErrWrong, "hold what?"},
		{wrongTrace, ErrWrong, "nothing to search for"},
		{refused, ErrRefused, `holub.toml:3:1: unknown key "colour"`},
	} {
		if !errors.Is(tt.err, tt.is) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("error %v, want %v with %q", tt.err, tt.is, tt.text)
		}
	}
	if err := NewClient(filepath.Join(t.TempDir(), "none")).Ping(w.ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
}

// TestPartDone has the result of an action that failed midway come through beside its error.
func TestPartDone(t *testing.T) {
	var broken *brokenEngine
	w := newWorldOver(t, func(e spool.Engine) spool.Engine {
		broken = &brokenEngine{Engine: e}
		return broken
	})
	for range commitMessages + 1 {
		w.put("ann@example.com", nil, "a@example.org")
	}
	broken.left.Store(1)
	c := serve(t, w.live, nil)
	r, err := c.Act(w.ctx, Action{Verb: Retry, Selector: Selector{All: true}})
	if err == nil || r.Recipients != commitMessages || !strings.Contains(err.Error(), errBroken.Error()) {
		t.Errorf("%+v, %v", r, err)
	}
}

// slowDesk lists without end, and acts until it is told to go away.
type slowDesk struct {
	Desk
	ended chan error
	began chan struct{}
}

func (d slowDesk) List(ctx context.Context, _ Selector, _ int) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for ctx.Err() == nil && yield(Entry{ID: strings.Repeat("x", 1000)}, nil) {
		}
		d.ended <- ctx.Err()
	}
}

func (d slowDesk) Act(ctx context.Context, _ Action) (Result, error) {
	close(d.began)
	<-ctx.Done()
	d.ended <- ctx.Err()
	return Result{}, ctx.Err()
}

// TestCancelledClients has clients that go away in the middle, and another that is served meanwhile.
func TestCancelledClients(t *testing.T) {
	w := newWorld(t)
	desk := slowDesk{w.live, make(chan error, 1), make(chan struct{})}
	c := serve(t, desk, nil)
	n := 0
	for range c.List(w.ctx, Selector{}, 0) { // the loop ends, and with it the listing over there
		if n++; n == 10 {
			break
		}
	}
	<-desk.ended
	ctx, cancel := context.WithCancel(w.ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := c.Act(ctx, Action{}); !errors.Is(err, context.Canceled) {
			t.Errorf("act: %v", err)
		}
	})
	<-desk.began
	if _, err := c.Status(w.ctx); err != nil {
		t.Errorf("a second client: %v", err)
	}
	cancel()
	waiting.Wait()
	if err := <-desk.ended; err == nil {
		t.Error("the server does not see that its client is gone")
	}
}

// patientDesk acts for longer than a request may take to come in.
type patientDesk struct {
	Desk
	wait time.Duration
}

func (d patientDesk) Act(ctx context.Context, _ Action) (Result, error) {
	select {
	case <-time.After(d.wait):
		return Result{Recipients: 1}, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// TestTimes has a request that takes long to carry out be carried out, and one that does not come be given up.
func TestTimes(t *testing.T) {
	const short = 100 * time.Millisecond
	w := newWorld(t)
	c := serve(t, patientDesk{w.live, 3 * short}, func(s *Server) { s.readTime, s.http.ReadHeaderTimeout = short, short })
	if r, err := c.Act(w.ctx, Action{}); err != nil || r.Recipients != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for what, text := range map[string]string{
		"nothing":       "",
		"half a header": "GET /v1/status HT",
		"half a body":   "POST /v1/act HTTP/1.1\r\nHost: holub\r\nContent-Length: 100\r\n\r\n{",
	} {
		conn, err := net.Dial("unix", c.path)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, text)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: the server does not hang up: %v", what, err)
		}
		conn.Close()
	}
}

// TestRequests has requests that are not of this client.
func TestRequests(t *testing.T) {
	w := newWorld(t)
	w.put("ann@example.com", nil, "a@example.org")
	c := serve(t, w.live, nil)
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/v1/act", `{"verb":"remove","selector":{"domian":"example.org","all":true}}`, "domian"}, // a slip must not widen it
		{"POST", "/v1/act", `{"verb"`, "can't be read"},
		{"POST", "/v1/act", strings.Repeat(" ", maxRequest+1), "too large"},
		{"GET", "/v1/messages/xyz", "", "not a queue id"},
		{"POST", "/v1/list?limit=-1", "{}", "limit"},
		{"GET", "/v1/trace?what=a&limit=x", "", "limit"},
	} {
		got := raw(t, c, tt.method, tt.path, tt.body)
		if !strings.Contains(got, tt.want) || !strings.Contains(got, `"kind":"wrong"`) {
			t.Errorf("%s %s %.40s: %s", tt.method, tt.path, tt.body, got)
		}
	}
	w.checkQueue()
	if waiting, _ := w.owed(); len(waiting) != 1 {
		t.Errorf("%d wait", len(waiting))
	}
}

// raw sends a request as it is.
func raw(t *testing.T, c *Client, method, path, body string) string {
	t.Helper()
	conn, err := net.Dial("unix", c.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: holub\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// TestListen has the file of a dead server replaced, and that of a live one never.
func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := Listen(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(t.Context(), path, 0o600); !errors.Is(err, ErrInUse) {
		t.Errorf("the second server: %v", err)
	}
	if err := os.WriteFile(path+"x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path+"x", 0o600); err == nil {
		t.Error("a file of another kind was replaced")
	}
}
