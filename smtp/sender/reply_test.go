package sender

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

func reader(in io.Reader) *replyReader {
	return &replyReader{in: bufio.NewReaderSize(in, maxReplyLine), octets: replyOctets}
}

func TestReadReply(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     string // the reply's text
		err      error
	}{
		{"one line", "250 2.1.0 ok\r\n", "250 2.1.0 ok", nil},
		{"lines", "250-a\r\n250-\r\n250 c\r\n", "250 a  c", nil},
		{"bare LF", "250-a\n250 b\n", "250 a b", nil},
		{"code alone", "354\r\n", "354 ", nil},
		{"longest line", "250 " + strings.Repeat("x", 4090) + "\r\n", "250 " + strings.Repeat("x", 4090), nil},
		{"too long a line", "250 " + strings.Repeat("x", 4091) + "\r\n", "", smtp.ErrReplySyntax},
		{"no line end ever", strings.Repeat("2", 1<<20), "", smtp.ErrReplySyntax},
		{"most lines", strings.Repeat("250-\r\n", 999) + "250 x\r\n", "250 " + strings.Repeat(" ", 999) + "x", nil},
		{"too many lines", strings.Repeat("250-\r\n", 1000) + "250 x\r\n", "", smtp.ErrReplySyntax},
		{"too much text", strings.Repeat("250-"+strings.Repeat("x", 4000)+"\r\n", 17) + "250 x\r\n", "", smtp.ErrReplySyntax},
		{"changing code", "250-a\r\n251 b\r\n", "", smtp.ErrReplySyntax},
		{"not a code", "hello\r\n", "", smtp.ErrReplySyntax},
		{"code 1yz", "150 a\r\n", "", smtp.ErrReplySyntax},
		{"empty line", "\r\n", "", smtp.ErrReplySyntax},
		{"end in a line", "250 a", "", io.ErrUnexpectedEOF},
		{"end between lines", "250-a\r\n", "", io.EOF},
		{"nothing", "", "", io.EOF},
	} {
		reply, err := reader(strings.NewReader(test.in)).read()
		if !errors.Is(err, test.err) {
			t.Errorf("%s: got error %.200v; want %v", test.name, err, test.err)
		}
		if err == nil && reply.Text() != test.want {
			t.Errorf("%s: got %.200q; want %.200q", test.name, reply.Text(), test.want)
		}
	}
}

// FuzzReadReply holds that any octets end in an error or in replies that are within the limits and survive a round
// trip.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{
		"220 mx.example.net ESMTP\r\n", "250-a\r\n250-SIZE 1\r\n250 PIPELINING\r\n", "250 a\n354\r\n",
		"550-5.1.1 a\r\n550 5.1.1 b\r\n",
		"421 x\r\n421 y", "250 a\r250 b\n", "2", "", "HTTP/1.1 400\r\n", "250-\x00\xff\r\n250 \t\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := reader(bytes.NewReader(in))
		for {
			reply, err := r.read()
			if err != nil {
				if !reply.IsZero() {
					t.Fatalf("a reply %v beside the error %v", reply, err)
				}
				return
			}
			checkReply(t, reply)
		}
	})
}

func checkReply(t *testing.T, reply smtp.Reply) {
	t.Helper()
	if reply.Code < 200 || reply.Code > 599 || len(reply.Lines) == 0 || len(reply.Lines) > maxReplyLines {
		t.Fatalf("not a reply: %v", reply)
	}
	octets := 0
	for _, line := range reply.Lines {
		octets += len(line)
		if strings.ContainsRune(line, '\n') || len(line) > 490 || strings.ContainsFunc(line, unprintable) {
			return // folded or replaced when written
		}
	}
	if octets > replyOctets {
		t.Fatalf("a reply of %d octets", octets)
	}
	again, err := reader(bytes.NewReader(reply.Append(nil))).read()
	if err != nil || again.Text() != reply.Text() {
		t.Fatalf("%q becomes %q, %v", reply.Text(), again.Text(), err)
	}
}

func unprintable(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }
