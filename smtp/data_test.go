package smtp_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

// decoded is what came of a stream of octets.
type decoded struct {
	content string
	rest    string // what stands behind the final dot
	done    bool
	bare    bool
}

// decode runs the decoder with pieces of src and dst whose lengths the two functions choose.
func decode(src string, srcLen, dstLen func() int) decoded {
	var d smtp.DataDecoder
	var out []byte
	in := []byte(src)
	for len(in) > 0 {
		piece := in[:min(len(in), srcLen())]
		for len(piece) > 0 {
			dst := make([]byte, dstLen())
			nd, ns, done := d.Decode(dst, piece)
			out = append(out, dst[:nd]...)
			piece, in = piece[ns:], in[ns:]
			if done {
				return decoded{string(out), string(in), true, d.BareLineEnd}
			}
			if ns == 0 && nd == 0 {
				panic(fmt.Sprintf("the decoder stands still at %q", in))
			}
		}
	}
	return decoded{string(out), "", false, d.BareLineEnd}
}

func whole() int { return 256 } // more than any content of the tables has
func one() int   { return 1 }

func TestDataDecoder(t *testing.T) {
	for _, tt := range []struct {
		name string
		src  string
		want decoded
	}{
		{"empty", ".\r\n", decoded{"", "", true, false}},
		{"one line", "a\r\n.\r\n", decoded{"a\r\n", "", true, false}},
		{"pipelined behind it", "a\r\n.\r\nQUIT\r\n", decoded{"a\r\n", "QUIT\r\n", true, false}},
		{"stuffed", "..\r\n..a\r\n.b\r\n...\r\n.\r\n", decoded{".\r\n.a\r\nb\r\n..\r\n", "", true, false}},
		{"dots inside lines", "a.\r\n.\r\n", decoded{"a.\r\n", "", true, false}},
		{"blank lines", "\r\n\r\n.\r\n", decoded{"\r\n\r\n", "", true, false}},
		{"NUL and 8 bit", "\x00\xff\r\n.\r\n", decoded{"\x00\xff\r\n", "", true, false}},
		{"not ended", "a\r\n.", decoded{"a\r\n", "", false, false}},
		{"not ended behind the dot's CR", "a\r\n.\r", decoded{"a\r\n", "", false, false}},

		{"smuggling: LF dot LF", "a\n.\nMAIL\r\n.\r\n", decoded{"a\n.\nMAIL\r\n", "", true, true}},
		{"smuggling: LF dot CRLF", "a\n.\r\nMAIL\r\n.\r\n", decoded{"a\n.\r\nMAIL\r\n", "", true, true}},
		{"smuggling: CRLF dot LF", "a\r\n.\nMAIL\r\n.\r\n", decoded{"a\r\n\nMAIL\r\n", "", true, true}},
		{"smuggling: CRLF dot CR", "a\r\n.\rMAIL\r\n.\r\n", decoded{"a\r\n\rMAIL\r\n", "", true, true}},
		{"smuggling: CR dot CR", "a\r.\rMAIL\r\n.\r\n", decoded{"a\r.\rMAIL\r\n", "", true, true}},
		{"smuggling: CR dot CRLF", "a\r.\r\nMAIL\r\n.\r\n", decoded{"a\r.\r\nMAIL\r\n", "", true, true}},
		{"smuggling: LF dot CR", "a\n.\rMAIL\r\n.\r\n", decoded{"a\n.\rMAIL\r\n", "", true, true}},
		{"smuggling: CRLF dot CR CRLF", "a\r\n.\r\r\nMAIL\r\n.\r\n", decoded{"a\r\n\r\r\nMAIL\r\n", "", true, true}},
		{"smuggling: CR CRLF dot CRLF", "a\r\r\n.\r\nMAIL\r\n", decoded{"a\r\r\n", "MAIL\r\n", true, true}},
		{"smuggling: NUL in the end", "a\r\n.\x00\r\nMAIL\r\n.\r\n", decoded{"a\r\n\x00\r\nMAIL\r\n", "", true, false}},
		{"smuggling: LF at the start", "\n.\r\nMAIL\r\n.\r\n", decoded{"\n.\r\nMAIL\r\n", "", true, true}},
		{"smuggling: LF CR LF dot", "a\n\r\n.\r\nMAIL", decoded{"a\n\r\n", "MAIL", true, true}},
		{"bare CR inside a line", "a\rb\r\n.\r\n", decoded{"a\rb\r\n", "", true, true}},
		{"bare LF inside a line", "a\nb\r\n.\r\n", decoded{"a\nb\r\n", "", true, true}},
	} {
		if got := decode(tt.src, whole, whole); got != tt.want {
			t.Errorf("%s: %q\ngot  %+v\nwant %+v", tt.name, tt.src, got, tt.want)
		}
		for name, lens := range map[string][2]func() int{"src 1": {one, whole}, "dst 1": {whole, one}, "both 1": {one, one}} {
			if got := decode(tt.src, lens[0], lens[1]); got != tt.want {
				t.Errorf("%s, %s: got %+v, want %+v", tt.name, name, got, tt.want)
			}
		}
	}
}

// reference is the law in its plainest form: only <CRLF>.<CRLF> ends the content, with the start of the content
// standing behind a CRLF; a dot that starts a line and does not end the content is dropped.
func reference(src string) decoded {
	var out strings.Builder
	done, rest := false, ""
	for i := 0; i < len(src); {
		if i == 0 || strings.HasSuffix(src[:i], "\r\n") {
			if strings.HasPrefix(src[i:], ".\r\n") {
				done, rest = true, src[i+3:]
				break
			}
			if src[i] == '.' {
				i++
				if i < len(src) {
					out.WriteByte(src[i])
					i++
				}
				continue
			}
		}
		out.WriteByte(src[i])
		i++
	}
	content := out.String()
	bare := strings.ContainsAny(strings.ReplaceAll(content, "\r\n", ""), "\r\n")
	return decoded{content, rest, done, bare}
}

// randomData draws octets of which many matter to the codec.
func randomData(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "\r\n.\r\n.ab"[r.IntN(8)]
	}
	return string(b)
}

// TestDataDecoderAgreesWithTheLaw compares with the reference, in pieces of any length.
func TestDataDecoderAgreesWithTheLaw(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ended, bare := 0, 0
	for range 20000 {
		src := randomData(r, r.IntN(24))
		if r.IntN(2) == 0 {
			src = strings.ReplaceAll(src, "ab", "\r\n")
		}
		want := reference(src)
		if !want.done { // what hangs in the air is decided by the next octets
			src += "x\r\n.\r\nrest"
			want = reference(src)
		}
		upTo := func(n int) func() int { return func() int { return 1 + r.IntN(n) } }
		for _, lens := range [][2]func() int{{whole, whole}, {one, one}, {upTo(4), upTo(4)}, {upTo(8), whole}} {
			if got := decode(src, lens[0], lens[1]); got != want {
				t.Fatalf("%q\ngot  %+v\nwant %+v", src, got, want)
			}
		}
		ended += len(want.rest)
		if want.bare {
			bare++
		}
	}
	if ended == 0 || bare == 0 {
		t.Error("the random content never had the cases that matter")
	}
}

// encode runs the encoder in pieces.
func encode(content string, pieceLen func() int) string {
	var e smtp.DataEncoder
	var out []byte
	for in := []byte(content); len(in) > 0; {
		n := min(len(in), pieceLen())
		out = e.Append(out, in[:n])
		in = in[n:]
	}
	return string(e.Close(out))
}

func TestDataEncoder(t *testing.T) {
	for _, tt := range []struct{ content, want string }{
		{"", ".\r\n"},
		{"a", "a\r\n.\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"..\r\n.a\r\na.\r\n", "...\r\n..a\r\na.\r\n.\r\n"},
		{"a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"},
		{"a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"},
		{"a\r", "a\r\n.\r\n"},
		{"a\n", "a\r\n.\r\n"},
		{"\r\r\n\n", "\r\n\r\n\r\n.\r\n"},
		{"\x00\xff", "\x00\xff\r\n.\r\n"},
	} {
		if got := encode(tt.content, whole); got != tt.want {
			t.Errorf("%q is encoded as %q, want %q", tt.content, got, tt.want)
		}
		if got := encode(tt.content, one); got != tt.want {
			t.Errorf("%q is encoded octet by octet as %q, want %q", tt.content, got, tt.want)
		}
	}
}

// sendable is the content that arrives when content is sent: all line ends CRLF, the last line ended.
func sendable(content string) string {
	s := strings.ReplaceAll(content, "\r\n", "\n")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r", "\n"), "\n", "\r\n")
	if s != "" && !strings.HasSuffix(s, "\r\n") {
		s += "\r\n"
	}
	return s
}

// checkDataRoundTrip: whatever the content, what arrives is the content with clean line ends, and nothing behind it.
func checkDataRoundTrip(t *testing.T, content string, srcLen, dstLen func() int) {
	t.Helper()
	wire := encode(content, whole)
	if other := encode(content, srcLen); other != wire {
		t.Fatalf("%q is encoded as %q and in pieces as %q", content, wire, other)
	}
	want := decoded{sendable(content), "", true, false}
	if got := decode(wire, srcLen, dstLen); got != want {
		t.Fatalf("%q on the wire is %q\ngot  %+v\nwant %+v", content, wire, got, want)
	}
}

func TestDataRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	upTo4 := func() int { return 1 + r.IntN(4) }
	for range 20000 {
		checkDataRoundTrip(t, randomData(r, r.IntN(24)), upTo4, upTo4)
	}
}

func FuzzData(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nb"), uint8(1), uint8(1))
	f.Add([]byte("a\n.\nb\r.\r\n"), uint8(2), uint8(3))
	f.Add([]byte(".\r.\r\n\r\n..\r\n.\r\n"), uint8(7), uint8(1))
	f.Add([]byte("\x00\xff\r\r\n"), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, src, dst uint8) {
		srcLen, dstLen := func() int { return 1 + int(src) }, func() int { return 1 + int(dst) }
		checkDataRoundTrip(t, string(b), srcLen, dstLen)
		stream := string(b) + "x\r\n.\r\n"
		if got, want := decode(stream, srcLen, dstLen), reference(stream); got != want {
			t.Fatalf("%q\ngot  %+v\nwant %+v", stream, got, want)
		}
	})
}

// mailText is content of n octets in lines of 76, of which some start with a dot.
func mailText(n int) []byte {
	line := strings.Repeat("0123456789", 7) + "abcd\r\n"
	return bytes.Repeat([]byte(strings.Repeat(line, 19)+"."+line[1:]), n/(20*len(line))+1)[:n]
}

func BenchmarkDataDecode(b *testing.B) {
	wire := []byte(encode(string(mailText(64<<10)), whole))
	dst := make([]byte, 32<<10)
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		var d smtp.DataDecoder
		done := false
		for src := wire; !done; {
			var n int
			_, n, done = d.Decode(dst, src)
			src = src[n:]
		}
	}
}

func BenchmarkDataEncode(b *testing.B) {
	content := mailText(64 << 10)
	dst := make([]byte, 0, 80<<10)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		var e smtp.DataEncoder
		dst = e.Close(e.Append(dst[:0], content))
	}
}
