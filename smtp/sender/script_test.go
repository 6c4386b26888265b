package sender

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

// A dialogue is a file of lines:
//
//	# comment                       the first one tells the story
//	S: text                         the server's lines; a run of them leaves in one write
//	S! "raw\n"                      the server's octets, as a Go string
//	C: text                         the client's lines; a run of them must arrive in one read
//	* hang up                       the server closes
//	> open | > send ... | > quit    what the client's user does
//	= text                          what the user is told
//
// "> send" has a sender, recipients, and options: `> send <a@x> <b@y> <c@y> size 7 8bit content "Go string"`.
type dialogue struct {
	server []step
	user   []action
}

type step struct {
	kind string // "S", "C", "hang up"
	text string
}

type action struct {
	line int
	text string
	want []string
}

func readDialogue(t *testing.T, file string) dialogue {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseDialogue(t, string(text))
}

func parseDialogue(t *testing.T, text string) dialogue {
	t.Helper()
	var d dialogue
	last := "" // kind of the line before
	say := func(kind, text string) {
		if last == kind {
			d.server[len(d.server)-1].text += text
		} else {
			d.server = append(d.server, step{kind, text})
		}
		last = kind
	}
	for i, line := range strings.Split(text, "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		switch mark {
		case "", "#":
		case "S:":
			say("S", rest+"\r\n")
		case "S!":
			raw, err := strconv.Unquote(rest)
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			say("S", raw)
		case "C:":
			say("C", rest+"\r\n")
		case "*":
			say(rest, "")
		case ">":
			d.user = append(d.user, action{line: i + 1, text: rest})
			last = ">"
		case "=":
			a := &d.user[len(d.user)-1]
			a.want = append(a.want, rest)
		default:
			t.Fatalf("line %d is no line of a dialogue: %q", i+1, line)
		}
	}
	return d
}

// serve plays the server's part to its end. It returns an error where the client said anything else, or more.
func (d dialogue) serve(conn net.Conn, oneRead bool) error {
	defer conn.Close()
	for i, s := range d.server {
		switch s.kind {
		case "S":
			if _, err := io.WriteString(conn, s.text); err != nil {
				return fmt.Errorf("step %d: %q: %w", i, s.text, err)
			}
		case "C":
			if err := expect(conn, s.text, oneRead); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		case "hang up":
			return nil
		default:
			return fmt.Errorf("no such step: %q", s.kind)
		}
	}
	if rest, _ := io.ReadAll(conn); len(rest) > 0 {
		return fmt.Errorf("the client went on with %q", rest)
	}
	return nil
}

func expect(conn net.Conn, want string, oneRead bool) error {
	buf := make([]byte, 256<<10)
	var n int
	var err error
	if oneRead {
		n, err = conn.Read(buf)
	} else {
		n, err = io.ReadFull(conn, buf[:len(want)])
	}
	if got := string(buf[:n]); err != nil || got != want {
		return fmt.Errorf("the client said %q (%v); want %q", got, err, want)
	}
	return nil
}

// user plays the user's part and returns what he was told, action by action.
type user struct {
	conn   net.Conn
	client *Client
	opts   Options
}

func (u *user) do(ctx context.Context, t *testing.T, text string) []string {
	t.Helper()
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "open":
		var err error
		u.client, err = NewClient(ctx, u.conn, u.opts)
		return told(nil, Result{}, err, err == nil && u.client.Broken())
	case "send":
		env, content := parseSend(t, rest)
		result, err := u.client.Send(ctx, env, strings.NewReader(content))
		return told(env.To, result, err, u.client.Broken())
	case "quit":
		err := u.client.Quit(ctx)
		return told(nil, Result{}, err, false)
	}
	t.Fatalf("no such action: %q", text)
	return nil
}

func parseSend(t *testing.T, s string) (Envelope, string) {
	t.Helper()
	content := "Subject: hi\r\n\r\nHello.\r\n"
	if before, quoted, ok := strings.Cut(s, " content "); ok {
		var err error
		if content, err = strconv.Unquote(quoted); err != nil {
			t.Fatal(err)
		}
		s = before
	}
	var env Envelope
	words := strings.Fields(s)
	env.From = path(t, words[0])
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "8bit":
			env.EightBit = true
		case "size":
			i++
			n, err := strconv.ParseInt(words[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			env.Size = n
		default:
			env.To = append(env.To, path(t, words[i]))
		}
	}
	return env, content
}

func path(t testing.TB, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// told puts a call's result into lines.
func told(to []smtp.Path, result Result, err error, broken bool) []string {
	var lines []string
	for i, o := range result.Outcomes {
		text := "undecided"
		if !o.Reply.IsZero() {
			text = o.Reply.Text()
		}
		lines = append(lines, fmt.Sprintf("%v %v: %s", to[i], o.Stage, text))
	}
	var broke *SessionError
	switch {
	case errors.As(err, &broke):
		line := "broke at " + broke.Stage.String()
		if broke.InDoubt {
			line += ", in doubt"
		}
		if errors.Is(err, smtp.ErrReplySyntax) {
			line += ", garbage"
		}
		if r, ok := smtp.AsReply(err); ok {
			line += ": " + r.Text()
		}
		lines = append(lines, line)
	case err != nil:
		lines = append(lines, "error of another type: "+err.Error())
	case broken:
		lines = append(lines, "broken")
	}
	return lines
}

// connections gives both ends of a connection, in memory or over TCP.
func connections(t testing.TB, tcp bool) (client, server net.Conn) {
	t.Helper()
	if !tcp {
		return net.Pipe()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func testOptions(t testing.TB) Options {
	t.Helper()
	hello, err := smtp.ParseDomain("client.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return Options{Hello: hello}
}

// lineServer answers line by line through the smallest of buffers, and takes any content.
func lineServer(conn net.Conn, pipelining bool, rcpt func(n int) string) (content []byte, err error) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 16)
	say := func(s string) { io.WriteString(conn, s+"\r\n") }
	say("220 ready")
	for n := 0; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return content, err
		}
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case "EHLO":
			if pipelining {
				say("250-me\r\n250 PIPELINING")
			} else {
				say("250 me")
			}
		case "RCPT":
			say(rcpt(n))
			n++
		case "DATA":
			say("354 go on")
			content = nil
			for !bytes.HasSuffix(content, []byte("\r\n.\r\n")) {
				line, err := in.ReadSlice('\n')
				content = append(content, line...)
				if err != nil && err != bufio.ErrBufferFull {
					return content, err
				}
			}
			say("250 2.0.0 taken")
		case "QUIT":
			say("221 bye")
			return content, nil
		default:
			say("250 ok")
		}
	}
}
