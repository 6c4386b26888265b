package sender

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// stories are whole sessions; the tests cut them off after each of the server's parts.
var stories = map[string]string{
	"pipelined": `
S: 220 mx.example.net
C: EHLO client.example.org
S: 250-mx.example.net
S: 250 PIPELINING
C: MAIL FROM:<a@example.org>
C: RCPT TO:<b@example.net>
C: DATA
S: 250 ok
*
S: 250 ok
*
S: 354 go on
C: Subject: hi
C:
C: Hello.
C: .
S: 250 taken
C: QUIT
S: 221 bye`,
	"lock step": `
S: 220 mx.example.net
C: EHLO client.example.org
S: 250 mx.example.net
C: MAIL FROM:<a@example.org>
S: 250 ok
C: RCPT TO:<b@example.net>
S: 250 ok
C: DATA
S: 354 go on
C: Subject: hi
C:
C: Hello.
C: .
S: 250 taken
C: QUIT
S: 221 bye`,
	"BDAT": `
S: 220 mx.example.net
C: EHLO client.example.org
S: 250-mx.example.net
S: 250-CHUNKING
S: 250 PIPELINING
C: MAIL FROM:<a@example.org>
C: RCPT TO:<b@example.net>
C: BDAT 23 LAST
C: Subject: hi
C:
C: Hello.
S: 250 ok
*
S: 250 ok
*
S: 250 taken
C: QUIT
S: 221 bye`,
	"BDAT in lock step": `
S: 220 mx.example.net
C: EHLO client.example.org
S: 250-mx.example.net
S: 250 CHUNKING
C: MAIL FROM:<a@example.org>
S: 250 ok
C: RCPT TO:<b@example.net>
S: 250 ok
C: BDAT 23 LAST
C: Subject: hi
C:
C: Hello.
S: 250 taken
C: QUIT
S: 221 bye`,
}

// stagesOf are those at which the server's parts of a story are due, in order.
func stagesOf(story string) []Stage {
	if strings.HasPrefix(story, "BDAT") {
		return []Stage{StageGreeting, StageHello, StageMail, StageRcpt, StageContent, StageQuit}
	}
	return []Stage{StageGreeting, StageHello, StageMail, StageRcpt, StageData, StageContent, StageQuit}
}

// inDoubt tells whether the message of a story is in doubt where it breaks at a stage: all of it has left by then.
func inDoubt(story string, at Stage) bool {
	return at == StageContent || story == "BDAT" && (at == StageMail || at == StageRcpt)
}

// cut gives the steps of a story before the server's n-th part.
func cut(t *testing.T, story string, n int) dialogue {
	t.Helper()
	d := parseDialogue(t, strings.ReplaceAll(story, "\n*\n", "\n* next\n"))
	var steps []step
	for _, s := range d.server {
		if s.kind == "next" {
			continue
		}
		if s.kind == "S" {
			if n == 0 {
				break
			}
			n--
		}
		steps = append(steps, s)
	}
	return dialogue{server: steps}
}

// runStory opens a session, sends one message, and quits. It gives the first error.
func runStory(ctx context.Context, conn net.Conn, opts Options, to smtp.Path, from smtp.Path) error {
	client, err := NewClient(ctx, conn, opts)
	if err != nil {
		return err
	}
	env := Envelope{From: from, To: []smtp.Path{to}}
	if _, err := client.Send(ctx, env, strings.NewReader("Subject: hi\r\n\r\nHello.\r\n")); err != nil {
		return err
	}
	return client.Quit(ctx)
}

// TestHangUp has the server hang up instead of each reply.
func TestHangUp(t *testing.T) {
	for name, story := range stories {
		for n, stage := range stagesOf(name) {
			t.Run(name+"/"+stage.String(), func(t *testing.T) {
				client, server := net.Pipe()
				d := cut(t, story, n)
				d.server = append(d.server, step{kind: "hang up"})
				served := make(chan error, 1)
				go func() { served <- d.serve(server, true) }()
				err := runStory(t.Context(), client, testOptions(t), path(t, "<b@example.net>"), path(t, "<a@example.org>"))
				if e := <-served; e != nil {
					t.Error(e)
				}
				checkEnded(t, err, stage, inDoubt(name, stage), io.EOF)
				if _, err := client.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the connection is not closed: %v", err)
				}
			})
		}
	}
}

// checkBroke looks at the error of a session that broke at a stage without a reply.
func checkBroke(t *testing.T, err error, stage Stage, cause error) {
	t.Helper()
	checkEnded(t, err, stage, stage == StageContent, cause)
}

// checkEnded is checkBroke with what must be said of doubt.
func checkEnded(t *testing.T, err error, stage Stage, doubt bool, cause error) {
	t.Helper()
	var broke *SessionError
	if !errors.As(err, &broke) {
		t.Fatalf("got %v; want a *SessionError", err)
	}
	if broke.Stage != stage || broke.InDoubt != doubt || !broke.Reply.IsZero() {
		t.Errorf("got stage %v, in doubt %v, reply %v; want stage %v, in doubt %v",
			broke.Stage, broke.InDoubt, broke.Reply, stage, doubt)
	}
	if !errors.Is(err, cause) {
		t.Errorf("got %v; want it to wrap %v", err, cause)
	}
	if _, ok := smtp.AsReply(err); ok {
		t.Errorf("%v carries a reply that nobody gave", err)
	}
}

// TestTimeouts has the server fall silent instead of each reply: the call ends at exactly the stage's timeout.
func TestTimeouts(t *testing.T) {
	want := map[Stage]time.Duration{
		StageGreeting: 5 * time.Minute, StageHello: 5 * time.Minute, StageMail: 5 * time.Minute,
		StageRcpt: 5 * time.Minute, StageData: 2 * time.Minute, StageContent: 10 * time.Minute,
		StageQuit: 10 * time.Second,
	}
	for name, story := range stories {
		for n, stage := range stagesOf(name) {
			t.Run(name+"/"+stage.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					took, err := silent(t, t.Context(), cut(t, story, n))
					checkEnded(t, err, stage, inDoubt(name, stage), os.ErrDeadlineExceeded)
					if took != want[stage] {
						t.Errorf("it took %v; want %v", took, want[stage])
					}
				})
			})
		}
	}
}

// TestCancel ends the context while the server is silent: the call ends at once.
func TestCancel(t *testing.T) {
	for name, story := range stories {
		for n, stage := range stagesOf(name) {
			t.Run(name+"/"+stage.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					time.AfterFunc(time.Second, cancel)
					took, err := silent(t, ctx, cut(t, story, n))
					checkEnded(t, err, stage, inDoubt(name, stage), context.Canceled)
					if took != time.Second {
						t.Errorf("it took %v; want 1s", took)
					}
				})
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					defer cancel()
					took, err := silent(t, ctx, cut(t, story, n))
					checkEnded(t, err, stage, inDoubt(name, stage), context.DeadlineExceeded)
					if took != 3*time.Second {
						t.Errorf("it took %v; want 3s", took)
					}
				})
			})
		}
	}
}

// silent runs a story against a server that says nothing after its last step, and takes the time.
func silent(t *testing.T, ctx context.Context, d dialogue) (time.Duration, error) {
	t.Helper()
	client, server := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- d.serve(server, true) }()
	start := time.Now()
	err := runStory(ctx, client, testOptions(t), path(t, "<b@example.net>"), path(t, "<a@example.org>"))
	took := time.Since(start)
	if e := <-served; e != nil {
		t.Error(e)
	}
	return took, err
}

// TestBlockTimeout has the server stop reading in the middle of the content.
func TestBlockTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		taken := make(chan time.Time, 1)
		go func() {
			d := cut(t, stories["pipelined"], 5)
			d.server = d.server[:len(d.server)-1] // without the content
			for _, s := range d.server {
				if s.kind == "S" {
					io.WriteString(server, s.text)
				} else {
					expect(server, s.text, true)
				}
			}
			io.ReadFull(server, make([]byte, 100_000))
			taken <- time.Now()
		}()
		c, err := NewClient(t.Context(), client, testOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		env := oneRecipient(t)
		_, err = c.Send(t.Context(), env, bytes.NewReader(make([]byte, 1<<20)))
		var broke *SessionError
		if !errors.As(err, &broke) || broke.Stage != StageContent || broke.InDoubt {
			t.Errorf("got %#v; want it broken in the content, not in doubt", err)
		}
		if got := time.Since(<-taken); got != 3*time.Minute {
			t.Errorf("it took %v; want 3m", got)
		}
	})
}

// TestContextEndsLater ends the context of a call after it: the next call is not disturbed, and the connection has no
// deadline in between.
func TestContextEndsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go lineServer(server, true, func(int) string { return "250 ok" })
		c, err := NewClient(t.Context(), client, testOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		env := oneRecipient(t)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			result, err := c.Send(ctx, env, strings.NewReader("x\r\n"))
			if err != nil || result.Outcomes[0].Reply.Code != 250 {
				t.Fatal(result, err)
			}
			cancel()
			synctest.Wait()
			<-time.After(24 * time.Hour) // of the bubble's clock
		}
		if err := c.Quit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestContentFails has the message's own reader fail, early and late: the server never sees an end of the content.
func TestContentFails(t *testing.T) {
	fault := errors.New("disk on fire")
	for name, before := range map[string]int{"at once": 0, "in the first write": 1000, "later": 300_000} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			got := make(chan []byte, 1)
			go func() {
				content, _ := lineServer(server, true, func(int) string { return "250 ok" })
				got <- content
			}()
			c, err := NewClient(t.Context(), client, testOptions(t))
			if err != nil {
				t.Fatal(err)
			}
			env := oneRecipient(t)
			content := io.MultiReader(strings.NewReader(strings.Repeat("line\r\n", before/6)), iotest.ErrReader(fault))
			_, err = c.Send(t.Context(), env, content)
			var broke *SessionError
			if !errors.As(err, &broke) || broke.InDoubt || !errors.Is(err, ErrContent) || !errors.Is(err, fault) {
				t.Errorf("got %v; want %v and %v, not in doubt", err, ErrContent, fault)
			}
			if !c.Broken() {
				t.Error("the session is not broken")
			}
			if content := <-got; bytes.HasSuffix(content, []byte(".\r\n")) {
				t.Errorf("the content was completed: ...%q", content[max(0, len(content)-20):])
			}
		})
	}
}

// TestRefusedInContent has the server refuse, and hang up, while the content still arrives: its reason is known.
func TestRefusedInContent(t *testing.T) {
	client, server := connections(t, true)
	server.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		defer server.Close()
		io.WriteString(server, "220 me\r\n")
		expect(server, "EHLO client.example.org\r\n", false)
		io.WriteString(server, "250-me\r\n250 PIPELINING\r\n")
		expect(server, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n", false)
		io.WriteString(server, "250 ok\r\n250 ok\r\n354 go on\r\n")
		io.CopyN(io.Discard, server, 100_000)
		io.WriteString(server, "552 5.3.4 too large\r\n")
	}()
	c, err := NewClient(t.Context(), client, testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	env := oneRecipient(t)
	result, err := c.Send(t.Context(), env, bytes.NewReader(make([]byte, 64<<20)))
	var broke *SessionError
	if !errors.As(err, &broke) || broke.Stage != StageContent || broke.InDoubt || broke.Reply.Code != 552 {
		t.Errorf("got %v; want it broken in the content with 552", err)
	}
	if o := result.Outcomes[0]; o.Reply.Text() != "552 5.3.4 too large" || o.Stage != StageContent {
		t.Errorf("got outcome %v", o)
	}
}

// TestIdle421 has the server give up an idle session: the next message gets its reason.
func TestIdle421(t *testing.T) {
	for _, ext := range []string{"PIPELINING", "HELP"} {
		client, server := connections(t, true)
		server.SetDeadline(time.Now().Add(20 * time.Second))
		opened, gone := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(gone)
			defer server.Close()
			io.WriteString(server, "220 me\r\n")
			expect(server, "EHLO client.example.org\r\n", false)
			io.WriteString(server, "250-me\r\n250 "+ext+"\r\n")
			<-opened
			io.WriteString(server, "421 4.4.2 idle\r\n")
		}()
		c, err := NewClient(t.Context(), client, testOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		close(opened)
		<-gone
		env := oneRecipient(t)
		result, err := c.Send(t.Context(), env, strings.NewReader("x"))
		if r, ok := smtp.AsReply(err); !ok || r.Code != 421 || !c.Broken() {
			t.Errorf("%s: got %v", ext, err)
		}
		if o := result.Outcomes[0]; o.Reply.Text() != "421 4.4.2 idle" || o.Stage != StageMail {
			t.Errorf("%s: got outcome %v", ext, o)
		}
	}
}

// TestClose closes the session from another goroutine while a call waits.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		go func() {
			io.WriteString(server, "220 me\r\n")
			expect(server, "EHLO client.example.org\r\n", true)
			io.WriteString(server, "250 me\r\n")
			io.Copy(io.Discard, server)
		}()
		c, err := NewClient(t.Context(), client, testOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { c.Close() })
		env := oneRecipient(t)
		start := time.Now()
		_, err = c.Send(t.Context(), env, strings.NewReader("x"))
		checkBroke(t, err, StageMail, io.ErrClosedPipe)
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v", took)
		}
		if err := c.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if err := c.Quit(t.Context()); err != nil {
			t.Errorf("Quit after Close: %v", err)
		}
	})
}
