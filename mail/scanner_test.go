package mail

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// facts are all that a Scanner tells.
type facts struct {
	received         int
	eightBit         bool
	high             bool // in the header
	id               string
	header, size, ln int64
}

func factsOf(s *Scanner) facts {
	return facts{s.Received(), s.EightBit(), s.EightBitHeader(), s.MessageID(), s.HeaderSize(), s.Size(), s.LongestLine()}
}

func TestScanner(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name, msg string
		want      facts
	}{
		{"empty", "", facts{}},
		{"plain", "Received: a\r\nSubject: b\r\n\r\nbody\r\n", facts{1, false, false, "", 25, 33, 13}},
		{"no body", "RECEIVED: a\r\nreceived :b\r\n", facts{2, false, false, "", 26, 26, 13}},
		{"body is no header", "A: b\r\n\r\nReceived: a\r\nMessage-ID: <x>\r\n", facts{0, false, false, "", 6, 38, 17}},
		{"no header", "\r\nReceived: a\r\n", facts{0, false, false, "", 0, 15, 13}},
		{"folded is no field", "A: b\r\n Received: a\r\n\tReceived: b\r\n\r\n", facts{0, false, false, "", 34, 36, 14}},
		{"longer names", "X-Received: a\r\nReceived-SPF: b\r\nReceivedx: c\r\n", facts{0, false, false, "", 46, 46, 17}},
		{"no name", "Rec eived: a\r\nReceived\r\n: b\r\n: Received: x\r\n", facts{0, false, false, "", 44, 44, 15}},
		{"id", "Message-ID: <a@b>\r\nMESSAGE-ID: <c@d>\r\n", facts{0, false, false, "<a@b>", 38, 38, 19}},
		{"folded id", "Message-Id:\r\n <a@\r\n\tb>\r\nX: y\r\n", facts{0, false, false, "<a@b>", 30, 30, 13}},
		{"odd id", "Message-ID: <\x00\xff@b>\r\n", facts{0, true, true, "<??@b>", 20, 20, 20}},
		{"long id", "Message-ID: " + long + "\r\n", facts{0, false, false, long[:250], 5014, 5014, 5014}},
		{"second id is not the first", "Message-ID:\r\nMessage-ID: x\r\n", facts{0, false, false, "", 28, 28, 15}},
		{"8-bit in the header", "A: \x80\r\n\r\n", facts{0, true, true, "", 6, 8, 6}},
		{"8-bit in the body", "\r\n" + long + "\xfc", facts{0, true, false, "", 0, 5003, 5001}},
		{"bare LF", "Received: a\nMessage-ID: b\n\nReceived: c\n", facts{1, false, false, "b", 26, 39, 14}},
		{"bare CR", "Received: a\rReceived: b\r\rReceived: c\r\n", facts{1, false, false, "", 38, 38, 38}},
		{"CR at the line start", "A: b\r\n\rReceived: c\r\n\r\r\nReceived: d\r\n", facts{1, false, false, "", 36, 36, 14}},
		{"unfinished CR", "A: b\r\n\r", facts{0, false, false, "", 7, 7, 6}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Scanner
			io.WriteString(&s, tt.msg)
			if got := factsOf(&s); got != tt.want {
				t.Errorf("%q:\ngot  %+v\nwant %+v", tt.msg, got, tt.want)
			}
			for cut := range len(tt.msg) {
				var s Scanner
				io.WriteString(&s, tt.msg[:cut])
				io.WriteString(&s, tt.msg[cut:])
				if got := factsOf(&s); got != tt.want {
					t.Fatalf("cut at %d:\ngot  %+v\nwant %+v", cut, got, tt.want)
				}
			}
		})
	}
}

// reference says the same as a Scanner, slowly, with the message in memory.
func reference(msg []byte) facts {
	f := facts{size: int64(len(msg)), header: int64(len(msg))}
	inHeader, inID, foundID := true, false, false
	pos := 0
	for line := range bytes.SplitAfterSeq(msg, []byte("\n")) {
		f.ln = max(f.ln, int64(len(line)))
		if inHeader && (string(line) == "\r\n" || string(line) == "\n") {
			f.header = int64(pos)
			inHeader = false
		}
		pos += len(line)
		if !inHeader || len(line) == 0 {
			continue
		}
		text := line
		if line[0] != ' ' && line[0] != '\t' {
			name, body, ok := strings.Cut(string(line), ":")
			name = strings.ToLower(strings.TrimRight(name, " \t"))
			inID = ok && name == "message-id" && !foundID
			foundID = foundID || inID
			if ok && name == "received" {
				f.received++
			}
			text = []byte(body)
		}
		if inID {
			f.id += referenceID(text)
			f.id = f.id[:min(len(f.id), maxMessageID)]
		}
	}
	f.eightBit = bytes.ContainsFunc(msg, func(r rune) bool { return r > 127 })
	f.high = bytes.ContainsFunc(msg[:f.header], func(r rune) bool { return r > 127 })
	return f
}

func referenceID(text []byte) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// FuzzScanner compares with the reference, for content cut into pieces at random.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("Received: a\r\nMessage-ID: <b>\r\n c\r\n\r\nbody \xff\r\n"), uint64(1))
	f.Add([]byte("received\t:\n\rReceived: x\r\r\nMessage-ID\r\nmessage-id: 1\n"), uint64(2))
	f.Add(bytes.Repeat([]byte("Received: a\r\n"), 30), uint64(3))
	f.Fuzz(func(t *testing.T, msg []byte, seed uint64) {
		var s Scanner
		rng := rand.New(rand.NewPCG(seed, 0))
		for rest := msg; len(rest) > 0; {
			n := 1 + rng.IntN(min(len(rest), 40))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		if got, want := factsOf(&s), reference(msg); got != want {
			t.Errorf("%q:\ngot  %+v\nwant %+v", msg, got, want)
		}
		for _, limit := range []int{0, 1, 10, 100, len(msg)} {
			checkReadHeader(t, msg, limit)
		}
	})
}

// TestScannerRandomLines runs the line meter over lines of all kinds of lengths.
func TestScannerRandomLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		var msg []byte
		most := 1 + rng.IntN(300)
		for range rng.IntN(40) {
			msg = append(msg, bytes.Repeat([]byte("y"), rng.IntN(most))...)
			msg = append(msg, '\r', '\n')
		}
		msg = append(msg, bytes.Repeat([]byte("z"), rng.IntN(most))...)
		var s Scanner
		for rest := msg; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		if got, want := factsOf(&s), reference(msg); got != want {
			t.Fatalf("%q:\ngot  %+v\nwant %+v", msg, got, want)
		}
	}
}

func TestScannerAllocatesNothing(t *testing.T) {
	header := bytes.Repeat([]byte("Received: from a by b; date\r\nMessage-ID: <x@y>\r\n\tfolded\r\n"), 100)
	line := bytes.Repeat([]byte("a line without end "), 1000)
	var s Scanner
	if n := testing.AllocsPerRun(10, func() { s.Write(header); s.Write(line) }); n != 0 {
		t.Errorf("%v allocations for each piece", n)
	}
}

func checkReadHeader(t *testing.T, msg []byte, limit int) {
	t.Helper()
	want := msg[:reference(msg).header]
	r := &countingReader{r: bytes.NewReader(msg)}
	got, truncated, err := ReadHeader(r, limit)
	if err != nil {
		t.Fatal(err)
	}
	if r.n > limit+2 {
		t.Errorf("limit %d: %d octets read", limit, r.n)
	}
	if truncated {
		if len(want) <= limit || len(got) > limit || !bytes.HasPrefix(want, got) {
			t.Errorf("limit %d: header %q of %q", limit, got, want)
		}
		if next := bytes.IndexByte(want[len(got):], '\n'); next >= 0 && len(got)+next < limit {
			t.Errorf("limit %d: one more line would have fitted behind %q", limit, got)
		}
		if len(got) > 0 && got[len(got)-1] != '\n' {
			t.Errorf("limit %d: cut within a line: %q", limit, got)
		}
	} else if !bytes.Equal(got, want) {
		t.Errorf("limit %d: header %q, want %q", limit, got, want)
	}
}

func TestReadHeader(t *testing.T) {
	msg := []byte("Received: a\r\n\tb\r\nSubject: c\r\n\r\n" + strings.Repeat("body\r\n", 10000))
	for limit := range 60 {
		checkReadHeader(t, msg, limit)
	}
	for _, s := range []string{"", "\r\n", "\n", "a", "a\r\n", "a\r\n\r", strings.Repeat("a: b\r\n", 20000)} {
		for _, limit := range []int{-1, 0, 1, 2, 3, 4, 5, 4095, 4096, 1 << 20} {
			if limit >= 0 {
				checkReadHeader(t, []byte(s), limit)
			} else if got, _, err := ReadHeader(strings.NewReader(s), limit); len(got) > 0 || err != nil {
				t.Errorf("limit %d: %q, %v", limit, got, err)
			}
		}
	}
}

func TestReadHeaderError(t *testing.T) {
	r := io.MultiReader(strings.NewReader("a: b\r\n"), brokenReader{})
	if _, _, err := ReadHeader(r, 100); err == nil || !strings.Contains(err.Error(), "octet 6") {
		t.Errorf("got %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, fmt.Errorf("the disk is gone") }

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func BenchmarkScanner(b *testing.B) {
	header := []byte("Received: from a.example (a.example [192.0.2.1]) by b.example with ESMTP id 1\r\n" +
		"\tfor <x@example>; Mon, 23 Nov 2026 15:00:00 +0000\r\nMessage-ID: <1@a.example>\r\nSubject: x\r\n\r\n")
	long, half := strings.Repeat("b", 998)+"\r\n", strings.Repeat("c", 505)+"\r\n"
	pieces := map[string][]byte{
		"body-76":    bytes.Repeat([]byte(strings.Repeat("b", 76)+"\r\n"), 840),
		"body-mixed": bytes.Repeat([]byte(long+strings.Repeat(half, 9)), 12), // the line meter at its slowest
		"body-short": bytes.Repeat([]byte("b\r\n"), 21000),
		"one-line":   bytes.Repeat([]byte("b"), 64<<10),
	}
	for name, p := range pieces {
		b.Run(name, func(b *testing.B) {
			var s Scanner
			s.Write(header)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				s.Write(p)
			}
		})
	}
	b.Run("header", func(b *testing.B) {
		b.SetBytes(int64(len(header)))
		b.ReportAllocs()
		for b.Loop() {
			var s Scanner
			s.Write(header)
		}
	})
}
