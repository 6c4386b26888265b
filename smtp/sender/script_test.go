package sender

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
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
//	C! "raw"                        the client's octets, as a Go string
//	* hang up                       the server closes
//	> open | > send ... | > quit    what the client's user does
//	= text                          what the user is told
//
// "> send" has a sender, recipients, and options: `> send <a@x> <b@y> <c@y> SIZE=7 8bit content "Go string"`; options
// in front of the recipients are for all, NOTIFY and ORCPT behind one are his. "> open" has options of the session.
// "> auth" has the mechanism, `initial="..."` where there is one, and the answers to the challenges.
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
		case "C!":
			raw, err := strconv.Unquote(rest)
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			say("C", raw)
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
		u.client, err = NewClient(ctx, u.conn, openOptions(t, u.opts, rest))
		return told(nil, Result{}, err, err == nil && u.client.Broken())
	case "send":
		env, content := parseSend(t, rest)
		result, err := u.client.Send(ctx, env, strings.NewReader(content))
		return told(env.To, result, err, u.client.Broken())
	case "auth":
		return told(nil, Result{}, u.client.Auth(ctx, parseMechanism(t, rest)), u.client.Broken())
	case "exhausted":
		return []string{strconv.FormatBool(u.client.Exhausted())}
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
	for i, word := range strings.Fields(s) {
		switch {
		case i == 0:
			env.From = path(t, word)
		case strings.HasPrefix(word, "<"):
			env.To = append(env.To, path(t, word))
		default:
			sendOption(t, &env, word)
		}
	}
	return env, content
}

// sendOption reads an option of the envelope: its own, or a parameter of MAIL or RCPT as on the wire.
func sendOption(t *testing.T, env *Envelope, word string) {
	t.Helper()
	switch word {
	case "8bit":
		env.EightBit = true
		return
	case "binary":
		env.Binary = true
		return
	}
	if len(env.To) > 0 {
		r, err := smtp.ParseRcpt("TO:<x@y> " + word)
		if err != nil {
			t.Fatal(err)
		}
		for len(env.Params) < len(env.To) {
			env.Params = append(env.Params, RecipientParams{})
		}
		p := &env.Params[len(env.To)-1]
		p.Notify |= r.Notify
		if r.Original.Type != "" {
			p.Original = r.Original
		}
		if len(r.Other) == 0 {
			return
		}
	}
	m, err := smtp.ParseMail("FROM:<> " + word)
	if err != nil || len(m.Other) > 0 {
		t.Fatalf("%s: %v", word, err)
	}
	env.Size = max(env.Size, m.Size)
	env.UTF8 = env.UTF8 || m.UTF8
	env.RequireTLS = env.RequireTLS || m.RequireTLS
	env.Return = cmp.Or(env.Return, m.Return)
	env.EnvelopeID = cmp.Or(env.EnvelopeID, m.EnvelopeID)
	env.Submitter = cmp.Or(env.Submitter, m.Submitter)
	env.DeliverBy = cmp.Or(env.DeliverBy, m.DeliverBy)
	env.Priority = cmp.Or(env.Priority, m.Priority)
	env.HoldFor = cmp.Or(env.HoldFor, m.HoldFor)
	env.HoldUntil = cmp.Or(env.HoldUntil, m.HoldUntil)
}

// openOptions reads the options of a session.
func openOptions(t *testing.T, opts Options, s string) Options {
	t.Helper()
	for word := range strings.FieldsSeq(s) {
		switch word {
		case "lmtp":
			opts.LMTP = true
		case "7bit":
			opts.SevenBit = true
		case "nochunking":
			opts.NoChunking = true
		case "clear":
			opts.AuthInClear = true
		case "opportunistic":
			opts.TLS = TLSOpportunistic
		case "required":
			opts.TLS = TLSRequired
		case "auth":
			opts.Auth = func(offered []string, _ *tls.ConnectionState) (Mechanism, error) {
				if len(offered) == 0 {
					return nil, errors.New("nothing is offered")
				}
				return &scriptedMechanism{name: offered[0], initial: []byte("me"), has: true}, nil
			}
		default:
			t.Fatalf("no such option: %s", word)
		}
	}
	return opts
}

// scriptedMechanism says what a dialogue gave it, and fails when it has no answer left.
type scriptedMechanism struct {
	name    string
	initial []byte
	has     bool
	answers []string
	ended   error // of Finish
}

func (m *scriptedMechanism) Mechanism() string            { return m.name }
func (m *scriptedMechanism) Start() ([]byte, bool, error) { return m.initial, m.has, nil }
func (m *scriptedMechanism) Finish() error                { return m.ended }
func (m *scriptedMechanism) Next([]byte) ([]byte, error) {
	if len(m.answers) == 0 {
		return nil, errors.New("no answer to that")
	}
	answer := m.answers[0]
	m.answers = m.answers[1:]
	return []byte(answer), nil
}

func parseMechanism(t *testing.T, s string) *scriptedMechanism {
	t.Helper()
	words := strings.Fields(s)
	m := &scriptedMechanism{name: words[0]}
	for _, word := range words[1:] {
		initial, has := strings.CutPrefix(word, "initial=")
		switch n, err := strconv.Atoi(initial); {
		case has && err == nil: // so many octets
			m.initial, m.has = bytes.Repeat([]byte("x"), n), true
		case has:
			m.initial, m.has = []byte(initial), true
		case word == "impostor":
			m.ended = errors.New("the server did not prove itself")
		case word == "empty":
			m.answers = append(m.answers, "")
		default:
			m.answers = append(m.answers, word)
		}
	}
	return m
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
		if o.Local {
			text += " [local]"
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
		if errors.Is(err, ErrInjection) {
			line += ", injection"
		}
		if r, ok := smtp.AsReply(err); ok {
			line += ": " + r.Text()
		}
		if broke.Local {
			line += " [local]"
		}
		lines = append(lines, line)
	case errors.Is(err, ErrAuth):
		lines = append(lines, err.Error())
	case err != nil:
		if r, ok := smtp.AsReply(err); ok {
			lines = append(lines, "refused: "+r.Text())
			break
		}
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
