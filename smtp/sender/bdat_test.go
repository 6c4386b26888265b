package sender

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// chunkServer takes messages by BDAT and answers each chunk when it has read it.
type chunkServer struct {
	offers string
	lmtp   bool
	reply  func(n int, last bool) string // to chunk n of a message; nil: all are taken

	commands []string // every line it was told
	content  []byte   // of the last message
	sizes    []int    // of its chunks
}

func (s *chunkServer) serve(conn net.Conn) error {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 16)
	io.WriteString(conn, "220 me\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\r\n")
		s.commands = append(s.commands, line)
		verb, arg, _ := strings.Cut(line, " ")
		answer := "250 ok"
		switch verb {
		case "EHLO", "LHLO":
			answer = "250-me\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250 " + s.offers
		case "MAIL":
			s.content, s.sizes = nil, nil
		case "BDAT":
			if answer, err = s.chunk(in, arg); err != nil {
				return err
			}
		case "QUIT":
			answer = "221 bye"
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
			return err
		}
		if verb == "QUIT" || strings.HasPrefix(answer, "421") {
			return nil
		}
	}
}

func (s *chunkServer) chunk(in io.Reader, arg string) (string, error) {
	b, err := smtp.ParseBdat(arg)
	if err != nil {
		return "", err
	}
	octets := make([]byte, b.Size)
	if _, err := io.ReadFull(in, octets); err != nil {
		return "", err
	}
	s.content = append(s.content, octets...)
	s.sizes = append(s.sizes, len(octets))
	answer := "250 taken"
	if s.reply != nil {
		answer = s.reply(len(s.sizes)-1, b.Last)
	}
	if answer == "" {
		return "", errors.New("hangs up")
	}
	return answer, nil
}

// start serves one session over a connection without any buffer.
func (s *chunkServer) start(t *testing.T, opts Options) (*Client, <-chan error) {
	t.Helper()
	client, server := net.Pipe()
	server.SetDeadline(time.Now().Add(time.Minute)) // of a test that hangs
	done := make(chan error, 1)
	go func() { done <- s.serve(server) }()
	c, err := NewClient(t.Context(), client, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c, done
}

// chunkWays are the ways in which chunks leave.
var chunkWays = []struct {
	name string
	chunkServer
}{
	{"pipelined", chunkServer{offers: "PIPELINING"}},
	{"lock step", chunkServer{offers: "HELP"}},
	{"LMTP", chunkServer{offers: "PIPELINING", lmtp: true}},
}

// TestChunks sends content of many sizes around that of a chunk, and compares what arrives with what DATA would carry.
func TestChunks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 300_000)
	for i := range text {
		text[i] = "ab.\r\n\r\n."[random.IntN(9-1)]
	}
	for _, way := range chunkWays {
		t.Run(way.name, func(t *testing.T) {
			server := way.chunkServer
			opts := testOptions(t)
			opts.LMTP = server.lmtp
			c, done := server.start(t, opts)
			for _, size := range []int{0, 1, 8191, 8192, 8193, 40_000, 57_000, 65_536, 131_072, 300_000} {
				for _, kind := range []string{"text", "binary", "verbatim"} {
					env := oneRecipient(t)
					env.Binary, env.Verbatim = kind == "binary", kind == "verbatim"
					// A reader that ends with its last octets, and one that ends after them.
					content := io.Reader(bytes.NewReader(text[:size]))
					if size%2 == 0 {
						content = iotest.DataErrReader(content)
					}
					result, err := c.Send(t.Context(), env, content)
					if err != nil || result.Outcomes[0].Reply.Text() != "250 taken" {
						t.Fatalf("%d octets: %v, %v", size, result, err)
					}
					want := text[:size]
					if kind == "text" {
						want = canonical(want)
					}
					if !bytes.Equal(server.content, want) {
						t.Errorf("%d octets, %s: the content arrived changed", size, kind)
					}
					if n := len(server.sizes); n > 1 && server.sizes[n-1] == 0 {
						t.Errorf("%d octets: an empty last chunk", size)
					}
				}
			}
			if err := c.Quit(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if slices.Contains(server.commands, "RSET") {
				t.Error("RSET after a message that was taken")
			}
		})
	}
}

// TestLastChunkRefused has the last of many chunks refused: RSET comes in front of the next message.
func TestLastChunkRefused(t *testing.T) {
	for _, way := range chunkWays {
		server := way.chunkServer
		server.reply = func(n int, last bool) string {
			if last && n > 0 {
				return "554 5.6.0 spam"
			}
			return "250 taken"
		}
		opts := testOptions(t)
		opts.LMTP = server.lmtp
		c, done := server.start(t, opts)
		for i, want := range []int{554, 250} {
			content := bytes.NewReader(make([]byte, 200_000*(1-i)))
			result, err := c.Send(t.Context(), oneRecipient(t), content)
			if err != nil || result.Outcomes[0].Reply.Code != want {
				t.Errorf("%s: got %v, %v; want %d", way.name, result, err, want)
			}
		}
		c.Close()
		<-done
		if !slices.Contains(server.commands, "RSET") {
			t.Errorf("%s: no RSET: %q", way.name, server.commands)
		}
	}
}

// canonical gives text as DATA carries it, without dot-stuffing and final dot.
func canonical(text []byte) []byte {
	var enc smtp.DataEncoder
	wire := enc.Close(enc.Append(nil, text))
	var dec smtp.DataDecoder
	out := make([]byte, len(wire))
	n, _, _ := dec.Decode(out, wire)
	return out[:n]
}

// FuzzLineEnds compares the line ends of BDAT with those of DATA, however the content is cut.
func FuzzLineEnds(f *testing.F) {
	f.Add([]byte("a\r\nb\rc\nd\r\r\n\n"), uint8(3))
	f.Add([]byte("\r"), uint8(0))
	f.Add([]byte(".\r\n.."), uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, at uint8) {
		var l lineEnds
		n := min(int(at), len(text))
		out := l.append(nil, text[:n])
		if len(out) > 2*n+1 {
			t.Errorf("%d octets became %d", n, len(out))
		}
		out = l.close(l.append(out, text[n:]))
		if want := canonical(text); !bytes.Equal(out, want) {
			t.Errorf("%q became %q; want %q", text, out, want)
		}
	})
}

// TestChunkRefused has a chunk in the middle refused: no more are begun, the replies to those on their way are read,
// and the session goes on behind RSET.
func TestChunkRefused(t *testing.T) {
	for _, way := range chunkWays {
		t.Run(way.name, func(t *testing.T) {
			server := way.chunkServer
			refuse := true
			server.reply = func(n int, _ bool) string {
				switch {
				case !refuse || n < 2:
					return "250 taken"
				case n == 2:
					return "552 5.3.4 too large"
				}
				return "503 5.5.1 the transaction has failed"
			}
			opts := testOptions(t)
			opts.LMTP = server.lmtp
			c, done := server.start(t, opts)
			result, err := c.Send(t.Context(), oneRecipient(t), bytes.NewReader(make([]byte, 4<<20)))
			want := Outcome{Reply: smtp.NewReply(552, smtp.EnhancedCode{5, 3, 4}, "too large"), Stage: StageContent}
			if got := result.Outcomes[0]; err != nil || got.Reply.Text() != want.Reply.Text() || got.Stage != want.Stage {
				t.Fatalf("got %v, %v; want %v", got, err, want)
			}
			if n := len(server.sizes); n > 3+maxUnanswered+2 {
				t.Errorf("%d chunks were sent after the third was refused", n-3)
			}
			refuse = false
			if result, err = c.Send(t.Context(), oneRecipient(t), strings.NewReader("x")); err != nil ||
				result.Outcomes[0].Reply.Code != 250 {
				t.Errorf("the next message: %v, %v", result, err)
			}
			if err := c.Quit(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if !strings.Contains(strings.Join(server.commands, "\n"), "\nRSET\nMAIL FROM") {
				t.Errorf("no RSET in front of the next message: %q", server.commands)
			}
		})
	}
}

// TestChunkBreaks has the server say 421 or hang up instead of the reply to each of four chunks: only where the last
// one was sent the message is in doubt.
func TestChunkBreaks(t *testing.T) {
	for _, way := range chunkWays {
		for _, answer := range []string{"421 4.3.2 shutting down", ""} {
			for at := range 4 {
				t.Run(fmt.Sprintf("%s/%.3s/%d", way.name, answer, at), func(t *testing.T) {
					server := way.chunkServer
					server.reply = func(n int, last bool) string {
						if n == at || last {
							return answer
						}
						return "250 taken"
					}
					opts := testOptions(t)
					opts.LMTP = server.lmtp
					c, done := server.start(t, opts)
					content := bytes.NewReader(bytes.Repeat([]byte("octets\r\n"), 20_000))
					result, err := c.Send(t.Context(), oneRecipient(t), content)
					<-done
					var broke *SessionError
					if !errors.As(err, &broke) || broke.Stage != StageContent || !c.Broken() {
						t.Fatalf("got %v; want it broken in the content", err)
					}
					if got := result.Outcomes[0].Reply.Text(); answer != "" && got != answer {
						t.Errorf("got %q; want %q", got, answer)
					}
					if len(server.sizes) == 4 && at < 3 {
						t.Errorf("chunks after the one that ended the session: %v", server.sizes)
					}
					if want := answer == "" && at == 3; broke.InDoubt != want {
						t.Errorf("in doubt: %v; want %v", broke.InDoubt, want)
					}
				})
			}
		}
	}
}

// TestChunkContentFails has the content fail in the first chunk and later: the last chunk is never sent.
func TestChunkContentFails(t *testing.T) {
	fault := errors.New("disk on fire")
	for _, way := range chunkWays {
		for _, before := range []int{0, 1000, 300_000} {
			server := way.chunkServer
			opts := testOptions(t)
			opts.LMTP = server.lmtp
			c, done := server.start(t, opts)
			content := io.MultiReader(bytes.NewReader(make([]byte, before)), iotest.ErrReader(fault))
			_, err := c.Send(t.Context(), oneRecipient(t), content)
			<-done
			var broke *SessionError
			if !errors.As(err, &broke) || broke.InDoubt || !errors.Is(err, ErrContent) || !errors.Is(err, fault) {
				t.Errorf("%s, %d: got %v; want %v and %v, not in doubt", way.name, before, err, ErrContent, fault)
			}
			if strings.Contains(strings.Join(server.commands, "\n"), "LAST") {
				t.Errorf("%s, %d: the message was completed", way.name, before)
			}
		}
	}
}

// TestMessageTimeout has a server that moves on steadily, too slowly for the whole.
func TestMessageTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := chunkServer{offers: "PIPELINING"}
		server.reply = func(int, bool) string {
			<-time.After(time.Minute) // of the bubble's clock
			return "250 taken"
		}
		opts := testOptions(t)
		opts.MessageTimeout = 150 * time.Second
		client, conn := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- server.serve(conn) }()
		c, err := NewClient(t.Context(), client, opts)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = c.Send(t.Context(), oneRecipient(t), bytes.NewReader(make([]byte, 1<<20)))
		var broke *SessionError
		if !errors.As(err, &broke) || broke.InDoubt || !errors.Is(err, ErrMessageTimeout) {
			t.Errorf("got %v; want %v", err, ErrMessageTimeout)
		}
		if errors.Is(err, context.Canceled) {
			t.Errorf("%v: nobody cancelled", err)
		}
		if took := time.Since(start); took != opts.MessageTimeout {
			t.Errorf("it took %v; want %v", took, opts.MessageTimeout)
		}
		<-done
	})
}

// TestManyAndLarge sends a first chunk that does not fit into the write of its envelope.
func TestManyAndLarge(t *testing.T) {
	server := chunkServer{offers: "PIPELINING"}
	opts := testOptions(t)
	var traced []string
	opts.Trace = func(dir Direction, line []byte) {
		if dir == Sent {
			traced = append(traced, string(line))
		}
	}
	c, done := server.start(t, opts)
	env := Envelope{From: path(t, "<a@example.org>")}
	for i := range 1000 {
		env.To = append(env.To, path(t, fmt.Sprintf("<user%d@example.net>", i)))
	}
	content := bytes.Repeat([]byte("octets\r\n"), 5000)
	result, err := c.Send(t.Context(), env, bytes.NewReader(content))
	if err != nil || result.Outcomes[999].Reply.Code != 250 || !bytes.Equal(server.content, content) {
		t.Errorf("got %v for the last recipient, %v, and %d octets", result.Outcomes[999], err, len(server.content))
	}
	if got := traced[len(traced)-1]; got != "... 40000 octets" {
		t.Errorf("the trace ends with %q", got)
	}
	c.Close()
	<-done
}

// TestUnrewindable needs two transactions for content that can be read once: who has no place is told so here.
func TestUnrewindable(t *testing.T) {
	for name, test := range map[string]struct {
		content io.Reader
		code    int
	}{
		"a stream":       {iotest.OneByteReader(strings.NewReader("x")), 452},
		"a broken file":  {&badSeeker{Reader: strings.NewReader("x"), after: 1}, 0},
		"a pipe as file": {&badSeeker{Reader: strings.NewReader("x")}, 452},
	} {
		server := chunkServer{offers: "LIMITS RCPTMAX=1"}
		c, done := server.start(t, testOptions(t))
		env := oneRecipient(t)
		env.To = append(env.To, path(t, "<c@example.net>"))
		result, err := c.Send(t.Context(), env, test.content)
		first, second := result.Outcomes[0], result.Outcomes[1]
		if first.Reply.Code != 250 || second.Reply.Code != test.code || second.Local != (test.code > 0) {
			t.Errorf("%s: got %v and %v", name, first, second)
		}
		if errors.Is(err, ErrContent) != (test.code == 0) {
			t.Errorf("%s: got %v", name, err)
		}
		c.Close()
		<-done
	}
}

// badSeeker fails to seek after so many times.
type badSeeker struct {
	io.Reader
	after int
}

func (b *badSeeker) Seek(int64, int) (int64, error) {
	if b.after--; b.after < 0 {
		return 0, errors.New("cannot seek")
	}
	return 0, nil
}

// TestUnwritableParams gives parameters made by hand that would break a command: they are left out.
func TestUnwritableParams(t *testing.T) {
	evil := path(t, "<a@example.org>")
	evil.Local = "x\r\nRSET"
	env := oneRecipient(t)
	env.EnvelopeID, env.Submitter = "b\u00fc", &evil
	env.Params = []RecipientParams{{Original: smtp.OriginalRecipient{Type: "rfc822\r\nRSET", Address: "b"}}}
	ext := smtp.Extensions{DSN: true, Auth: []string{"PLAIN"}}
	if got := string(env.declare(&ext, false).Append(nil)); got != "MAIL FROM:<a@example.org>\r\n" {
		t.Errorf("got %q", got)
	}
	for _, original := range []smtp.OriginalRecipient{
		env.Params[0].Original,
		{Type: "rfc822", Address: "\u00fc"},
		{Type: "rfc822", Address: "x\r\nRSET"},
		{Type: "rfc822", Address: strings.Repeat("x", 500)},
		{Type: "", Address: "x"},
	} {
		env.Params[0].Original = original
		if got := string(env.rcpt(0, &ext, false).Append(nil)); got != "RCPT TO:<b@example.net>\r\n" {
			t.Errorf("got %q", got)
		}
	}
	submitter := path(t, "<x@b\u00fccher.example>")
	env.Submitter = &submitter
	want := "MAIL FROM:<a@example.org> AUTH=x@xn--bcher-kva.example\r\n"
	if got := string(env.declare(&ext, false).Append(nil)); got != want {
		t.Errorf("got %q", got)
	}
}
