package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// walkVectors are messages from other projects' tests.
const walkVectors = "../../shared/vectors/mime"

// walkMessages gives the messages of the corpus, by file name.
func walkMessages(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(walkVectors, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".msg", ".raw", ".golden", ".bin"}, filepath.Ext(name)) {
			return err
		}
		all[filepath.Base(name)], err = os.ReadFile(name)
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is not here", walkVectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 150 {
		t.Fatalf("only %d messages in %s", len(all), walkVectors)
	}
	return all
}

var kindNames = map[PieceKind]string{
	PieceHeader: "header", PieceBlank: "blank", PiecePreamble: "preamble", PieceDelimiter: "delimiter",
	PieceBody: "body", PieceClose: "close", PieceEpilogue: "epilogue", PieceEnd: "end",
}

// walkAll gives the pieces as lines, those of one kind in a row joined, and the octets.
func walkAll(t testing.TB, r io.Reader, limits Limits) (lines []string, octets []byte) {
	t.Helper()
	w := NewWalker(r, limits)
	var last string
	var text []byte
	flush := func() {
		if last != "" {
			lines = append(lines, fmt.Sprintf("%s %q", last, text))
		}
		last, text = "", nil
	}
	for {
		p, err := w.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		octets = append(octets, p.Data...)
		name := kindNames[p.Kind] + " " + p.Part.Path
		if p.Kind == PieceHeader || p.Kind == PieceEnd || name != last {
			flush()
		}
		last = name
		text = append(text, p.Data...)
		switch p.Kind {
		case PieceHeader:
			last += " " + p.Part.Type
			if p.Part.Opaque != 0 {
				last += " (" + p.Part.Opaque.String() + ")"
			}
		case PieceEnd:
			flush()
			lines[len(lines)-1] = fmt.Sprintf("end %s %v", p.Part.Path, p.Part.Closed)
			if p.Part.Opaque != 0 {
				lines[len(lines)-1] += " " + p.Part.Opaque.String()
			}
		}
	}
	flush()
	return lines, octets
}

// crlf writes a test's message: lines of a Go string become lines of mail.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestWalker(t *testing.T) {
	for _, tt := range []struct {
		name, message string
		limits        Limits
		want          []string
	}{
		{"nothing", "", Limits{}, []string{`header  text/plain ""`, "end  false"}},
		{"header alone", "A: b\r\n", Limits{}, []string{`header  text/plain "A: b\r\n"`, "end  false"}},
		{"plain", "A: b\n c\r\n\r\nbody", Limits{},
			[]string{`header  text/plain "A: b\n c\r\n"`, `blank  "\r\n"`, `body  "body"`, "end  false"}},
		{"no header", "hello there\nA: b\n", Limits{},
			[]string{`header  text/plain ""`, `body  "hello there\nA: b\n"`, "end  false"}},
		{"mbox line", "From joe\nA : b\n\n", Limits{},
			[]string{`header  text/plain "From joe\nA : b\n"`, `blank  "\n"`, "end  false"}},
		{"multipart", crlf("Content-Type: multipart/mixed; boundary=\"x y\"\n\nhi\n--x y \n\none\n\n" +
			"--x y\nA: b\n\n--x y--\nbye\n--x y\n"),
			Limits{}, []string{
				`header  multipart/mixed "Content-Type: multipart/mixed; boundary=\"x y\"\r\n"`, `blank  "\r\n"`,
				`preamble  "hi"`, `delimiter  "\r\n--x y \r\n"`,
				`header 1 text/plain ""`, `blank 1 "\r\n"`, `body 1 "one\r\n"`, "end 1 false",
				`delimiter  "\r\n--x y\r\n"`, `header 2 text/plain "A: b\r\n"`, `blank 2 "\r\n"`, "end 2 false",
				`close  "--x y--\r\n"`, `epilogue  "bye\r\n--x y\r\n"`, "end  true"}},
		{"boundary that starts with the outer one, inner end missing",
			"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/x; boundary=ab\n\n" +
				"--ab\n\n1\n--ab--x\n--a--",
			Limits{}, []string{
				`header  multipart/mixed "Content-Type: multipart/mixed; boundary=a\n"`, `blank  "\n"`, `delimiter  "--a\n"`,
				`header 1 multipart/x "Content-Type: multipart/x; boundary=ab\n"`, `blank 1 "\n"`, `delimiter 1 "--ab\n"`,
				`header 1.1 text/plain ""`, `blank 1.1 "\n"`, `body 1.1 "1\n--ab--x"`, "end 1.1 false", "end 1 false",
				`close  "\n--a--"`, "end  true"}},
		{"digest, and a header that a delimiter ends",
			"Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n\nhi\n--a\nB: c\n--a\n", Limits{}, []string{
				`header  multipart/digest "Content-Type: multipart/digest; boundary=a\n"`, `blank  "\n"`, `delimiter  "--a\n"`,
				`header 1 message/rfc822 ""`, `blank 1 "\n"`, `header 1.1 text/plain "Subject: x\n"`, `blank 1.1 "\n"`,
				`body 1.1 "hi"`, "end 1.1 false", "end 1 false", `delimiter  "\n--a\n"`,
				`header 2 message/rfc822 "B: c\n"`, `header 2.1 text/plain ""`, "end 2.1 false", "end 2 false",
				`delimiter  "--a\n"`, `header 3 message/rfc822 ""`, `header 3.1 text/plain ""`, "end 3.1 false",
				"end 3 false", "end  false"}},
		{"no boundary", "Content-Type: multipart/mixed\n\n--\n--a\n", Limits{}, []string{
			`header  multipart/mixed "Content-Type: multipart/mixed\n"`, `blank  "\n"`, `body  "--\n--a\n"`,
			"end  false it is a multipart without a boundary"}},
		{"long boundary", "Content-Type: multipart/mixed; boundary=abc\n\n--abc\n", Limits{Boundary: 2}, []string{
			`header  multipart/mixed "Content-Type: multipart/mixed; boundary=abc\n"`, `blank  "\n"`, `body  "--abc\n"`,
			"end  false its boundary is too long"}},
		{"depth", "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nA: b\n", Limits{Depth: 2}, []string{
			`header  message/rfc822 "Content-Type: message/rfc822\n"`, `blank  "\n"`,
			`header 1 message/rfc822 "Content-Type: message/rfc822\n"`, `blank 1 "\n"`, `body 1 "A: b\n"`,
			"end 1 false it is nested too deep", "end  false"}},
		{"parts", "Content-Type: multipart/mixed; boundary=a\n\n--a\n\n1\n--a\n\n2\n--a\n\n3\n--a--\n",
			Limits{Parts: 2}, []string{
				`header  multipart/mixed "Content-Type: multipart/mixed; boundary=a\n"`, `blank  "\n"`, `delimiter  "--a\n"`,
				`header 1 text/plain ""`, `blank 1 "\n"`, `body 1 "1"`, "end 1 false", `delimiter  "\n--a\n"`,
				`header 2 application/octet-stream (there are too many parts) ""`, `body 2 "\n2\n--a\n\n3\n--a--\n"`,
				"end 2 false there are too many parts", "end  false"}},
		{"header size", "A: b\nContent-Type: text/html\n\nx", Limits{Header: 20}, []string{
			`header  text/plain (its header is too long) "A: b\n"`, `body  "Content-Type: text/html\n\nx"`,
			"end  false its header is too long"}},
		{"encoded message", "Content-Type: message/rfc822\nContent-Transfer-Encoding: BASE64\n\nQQ==\n", Limits{}, []string{
			`header  message/rfc822 "Content-Type: message/rfc822\nContent-Transfer-Encoding: BASE64\n"`, `blank  "\n"`,
			`body  "QQ==\n"`, "end  false it is an enclosed message that is encoded"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range readers(tt.message) {
				got, octets := walkAll(t, r, tt.limits)
				if !slices.Equal(got, tt.want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
				if string(octets) != tt.message {
					t.Errorf("octets %q, want %q", octets, tt.message)
				}
			}
		})
	}
}

// readers gives the same content in different pieces.
func readers(s string) []io.Reader {
	return []io.Reader{strings.NewReader(s), iotest.HalfReader(strings.NewReader(s)),
		iotest.OneByteReader(strings.NewReader(s)), iotest.DataErrReader(strings.NewReader(s))}
}

func TestPart(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   Part
	}{
		{"", Part{Type: "text/plain", Encoding: "7bit"}},
		{"Content-Type: TEXT/HTML ; Charset=\"UTF-8\" (really)\nContent-Transfer-Encoding: 8Bit (sic)\n",
			Part{Type: "text/html", Charset: "utf-8", Encoding: "8bit"}},
		{"Content-Type: text\nContent-Type: text/html\n", Part{Type: "text/plain", Encoding: "7bit"}},
		{"Content-Type: (x(y)\\() multipart/mixed;\n boundary=\"a\\\"b \"; boundary=c", Part{Type: "multipart/mixed",
			Boundary: `a"b`, Encoding: "7bit"}},
		{"Content-Type: multipart/mixed; boundary=----=_1:2 charset=x", Part{Type: "multipart/mixed",
			Boundary: "----=_1:2", Encoding: "7bit", Charset: "x"}},
		{"Content-Type: image/png; name=\"a.png\"\nContent-Disposition: Attachment; filename*0*=utf-8''Gr%C3%BC;\n" +
			" filename*1=\"sse.png\"\n", Part{Type: "image/png", Encoding: "7bit", Disposition: "attachment",
			Filename: "Grüsse.png"}},
		{"Content-Disposition: inline; filename*=iso-8859-1'de'%fc.txt; filename=u.txt", Part{Type: "text/plain",
			Encoding: "7bit", Disposition: "inline", Filename: "ü.txt"}},
		{"Content-Type: text/plain; name==?utf-8?q?=C3=BC?=", Part{Type: "text/plain", Encoding: "7bit", Filename: "ü"}},
		{"Content-Type: text/plain; name=\"a\xff", Part{Type: "text/plain", Encoding: "7bit", Filename: "a\uFFFD"}},
	} {
		w := NewWalker(strings.NewReader(tt.header), Limits{})
		p, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		got := *p.Part
		got.typed, got.number = false, 0
		if got != tt.want {
			t.Errorf("%q:\ngot  %+v\nwant %+v", tt.header, got, tt.want)
		}
	}
}

func TestWalkerReadError(t *testing.T) {
	bad := errors.New("bad disk")
	for _, s := range []string{"", "A: b\n", "A: b\n\nx", "Content-Type: multipart/x; boundary=a\n\n--a\n\nx\n--a"} {
		w := NewWalker(io.MultiReader(strings.NewReader(s), iotest.ErrReader(bad)), Limits{})
		for range 20 {
			if _, err := w.Next(); err != nil {
				if !errors.Is(err, bad) {
					t.Errorf("%q: error %v, want %v", s, err, bad)
				}
				break
			}
		}
		if _, err := w.Next(); !errors.Is(err, bad) {
			t.Errorf("%q: then error %v, want %v", s, err, bad)
		}
	}
}

// repeat gives s again and again, n octets in all.
func repeat(s string, n int64) io.Reader {
	return io.LimitReader(&repeater{s: s}, n)
}

type repeater struct {
	s   string
	off int
}

func (r *repeater) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m := copy(b[n:], r.s[r.off:])
		n += m
		r.off = (r.off + m) % len(r.s)
	}
	return n, nil
}

// TestWalkerMemory: whatever comes, the window stays small.
func TestWalkerMemory(t *testing.T) {
	const size = 2 << 20
	multi := "Content-Type: multipart/mixed; boundary=a\n\n"
	for name, r := range map[string]io.Reader{
		"one line":         repeat("x", size),
		"one field":        io.MultiReader(strings.NewReader("A: "), repeat("x", size)),
		"fields":           repeat("A: b\n", size),
		"dashes":           io.MultiReader(strings.NewReader(multi), repeat("--\n", size)),
		"long dashes":      io.MultiReader(strings.NewReader(multi), repeat("-", size)),
		"CR":               io.MultiReader(strings.NewReader(multi), repeat("\r", size)),
		"empty lines":      io.MultiReader(strings.NewReader(multi+"--a\n\n"), repeat("\r\n", size)),
		"parts":            io.MultiReader(strings.NewReader(multi), repeat("--a\n", size)),
		"nested":           repeat("Content-Type: message/rfc822\n\n", size),
		"nested multipart": repeat("Content-Type: multipart/mixed; boundary=b\n\n--b\n", size),
		"delimiter":        io.MultiReader(strings.NewReader(multi+"--a"), repeat(" ", size)),
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWalker(r, Limits{})
			var total, parts int
			for {
				p, err := w.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				total += len(p.Data)
				if p.Kind == PieceHeader {
					parts++
				}
				if len(w.buf) > 2*(256<<10) || len(w.open) > 32 || parts > 10001 {
					t.Fatalf("window of %d octets, %d open, %d parts", len(w.buf), len(w.open), parts)
				}
			}
			if total < size {
				t.Errorf("%d octets, want %d at least", total, size)
			}
		})
	}
}

func TestWalkerVectors(t *testing.T) {
	leaves := 0
	for name, message := range walkMessages(t) {
		lines, octets := walkAll(t, bytes.NewReader(message), Limits{})
		if !bytes.Equal(octets, message) {
			t.Errorf("%s: the pieces are not the message", name)
		}
		again, _ := walkAll(t, iotest.OneByteReader(bytes.NewReader(message)), Limits{})
		if !slices.Equal(lines, again) {
			t.Errorf("%s: read by single octets it has another structure", name)
		}
		leaves += len(lines)
	}
	if leaves < 1000 {
		t.Errorf("only %d pieces in all", leaves)
	}
}

func FuzzWalker(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n"), 3)
	f.Add([]byte("Content-Type: multipart/x; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nA: b\n\n--a\n"), 0)
	f.Add([]byte("Content-Type: multipart/x; boundary=\"-\"\n\n---\r\n-\r\n----\r\n---\n\r\r\n---"), 1)
	f.Fuzz(func(t *testing.T, message []byte, small int) {
		limits := Limits{Depth: small & 7, Parts: small >> 3 & 7, Header: small >> 6 & 255, Boundary: small >> 14 & 7}
		lines, octets := walkAll(t, bytes.NewReader(message), limits)
		if !bytes.Equal(octets, message) {
			t.Fatalf("pieces %q of %q", octets, message)
		}
		again, _ := walkAll(t, iotest.OneByteReader(bytes.NewReader(message)), limits)
		if !slices.Equal(lines, again) {
			t.Fatalf("by octets\n%s\nelse\n%s", strings.Join(again, "\n"), strings.Join(lines, "\n"))
		}
		starts, ends := 0, 0
		for _, line := range lines {
			if strings.HasPrefix(line, "header ") {
				starts++
			}
			if strings.HasPrefix(line, "end ") {
				ends++
			}
		}
		if starts != ends || starts == 0 {
			t.Fatalf("%d headers and %d ends", starts, ends)
		}
	})
}

func BenchmarkWalker(b *testing.B) {
	message := benchmarkMail(10<<20, "Gr\xc3\xbc\xc3\x9fe aus Berlin, und so weiter, noch ein paar Worte dazu.\r\n")
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		w := NewWalker(bytes.NewReader(message), Limits{})
		for {
			if _, err := w.Next(); err != nil {
				break
			}
		}
	}
}

// benchmarkMail is a multipart/alternative of two parts of the same text.
func benchmarkMail(size int, line string) []byte {
	text := strings.Repeat(line, size/2/len(line))
	part := "--a\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
	return []byte("MIME-Version: 1.0\r\nSubject: x\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
		part + "\r\n" + part + "\r\n--a--\r\n")
}
