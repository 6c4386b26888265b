package mail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func opener(message []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(message)), nil }
}

// convertAll gives the whole converted message.
func convertAll(t testing.TB, message []byte, to Target, o ConvertOptions) ([]byte, *Conversion, error) {
	t.Helper()
	c, err := Convert(opener(message), to, o)
	if err != nil {
		var u *Unconvertible
		if !errors.As(err, &u) || u.Reason == 0 || u.Detail == "" {
			t.Fatalf("Convert of %.2000q: %v, want an Unconvertible", message, err)
		}
		return nil, nil, err
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading the conversion of %.2000q: %v", message, err)
	}
	return out, c, nil
}

// leafOf is what must be the same before and after.
type leafOf struct {
	path, kind, filename, disposition string
	content                           string // decoded
}

// leaves walks through a message and decodes its leaves.
func leaves(t testing.TB, message []byte) []leafOf {
	t.Helper()
	w := newConvertWalker(bytes.NewReader(message), Limits{})
	var all []leafOf
	var content []byte
	var d *Decoder
	for {
		p, err := w.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch p.Kind {
		case PieceHeader:
			d, content = NewDecoder(p.Part.Encoding), content[:0]
		case PieceBody:
			content = d.Append(content, p.Data)
		case PieceEnd:
			if p.Part.isLeaf(w) {
				content = d.Close(content)
			}
			text := content
			if p.Part.isText() {
				text = canonical(text)
			}
			kind := p.Part.Type + " " + p.Part.Charset
			if p.Part.Type == "text/plain" && p.Part.Charset == "" {
				kind += unknownCharset
			}
			all = append(all, leafOf{p.Part.Path, kind, p.Part.Filename, p.Part.Disposition, string(text)})
			content = content[:0]
		}
	}
}

// canonical makes CRLF of each line end.
func canonical(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}

// isClean looks at octets alone. A CR within base64 means nothing and may stay.
func isClean(message []byte, to Target) error {
	crAllowed := bytes.Contains(bytes.ToLower(message), []byte("base64"))
	for i, line := range bytes.SplitAfter(message, []byte("\n")) {
		text := trimLineEnd(line)
		if len(text) > 998 {
			return fmt.Errorf("line %d has %d octets", i+1, len(text))
		}
		for _, c := range text {
			if c == 0 || c == '\r' && !crAllowed || c > 127 && to == SevenBit {
				return fmt.Errorf("line %d has octet %#x: %.200q", i+1, c, text)
			}
		}
	}
	return nil
}

// checkConversion is the law of the converter, for any message.
func checkConversion(t testing.TB, message []byte, to Target) (*Conversion, error) {
	t.Helper()
	out, c, err := convertAll(t, message, to, ConvertOptions{})
	if err != nil {
		return nil, err
	}
	if c.Unchanged != bytes.Equal(out, message) {
		t.Fatalf("Unchanged is %v:\n%.3000q\nbecame\n%.3000q", c.Unchanged, message, out)
	}
	if int64(len(out)) != c.Size {
		t.Fatalf("%d octets, planned %d:\n%.3000q\nbecame\n%.3000q", len(out), c.Size, message, out)
	}
	if err := isClean(out, to); err != nil {
		t.Fatalf("not clean: %v:\n%.3000q\nbecame\n%.3000q", err, message, out)
	}
	if to == SevenBit && hasEightBit(out) {
		t.Fatalf("8-bit octets are left:\n%.3000q\nbecame\n%.3000q", message, out)
	}
	before, after := leaves(t, message), leaves(t, out)
	for i := range before {
		if i >= len(after) || !sameLeaf(before[i], after[i]) {
			t.Fatalf("%.3000q\nbecame\n%.3000q\nits leaves\n%.3000q\nbecame\n%.3000q", message, out, before, after)
		}
	}
	if len(before) != len(after) {
		t.Fatalf("%.3000q\nbecame\n%.3000q with %d parts, not %d", message, out, len(after), len(before))
	}
	again, _, err := convertAll(t, out, to, ConvertOptions{})
	if err != nil || !bytes.Equal(again, out) {
		t.Fatalf("%.3000q\nbecame\n%.3000q\nand then\n%.3000q, %v", message, out, again, err)
	}
	checkPieces(t, message, to, out)
	return c, nil
}

// sameLeaf: a file name that was no UTF-8 has become something that can be read.
func sameLeaf(a, b leafOf) bool {
	if strings.ContainsRune(a.filename, '\uFFFD') {
		a.filename, b.filename = "", ""
	}
	return a == b
}

// checkPieces: how the content is cut makes no difference.
func checkPieces(t testing.TB, message []byte, to Target, want []byte) {
	t.Helper()
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(iotest.OneByteReader(bytes.NewReader(message))), nil
	}
	if len(message) > 50000 {
		return
	}
	c, err := Convert(open, to, ConvertOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, r); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("read by octets %.3000q became\n%.3000q, not\n%.3000q, %v", message, out.Bytes(), want, err)
	}
}

func TestConvert(t *testing.T) {
	const mimeText = "MIME-Version: 1.0\n" +
		"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nA: b\n\n"
	for _, tt := range []struct {
		name, message, seven, eight string // "" means unchanged
	}{
		{"ASCII", "A: b\n\nhello\n", "", ""},
		{"8bit label on ASCII", mimeText + "hello\n", "", ""},
		{"text", mimeText + "Gr\xc3\xbc\xc3\x9fe = \n.\nand here is the last \n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\nA: b\n\n" +
				"Gr=C3=BC=C3=9Fe =3D=20\n.\nand here is the last=20\n", ""},
		{"base64 is shorter", mimeText + "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\nA: b\n\n" +
				"0J/RgNC40LLQtdGCDQo=\n", ""},
		{"no MIME (RFC 1428)", "A: b\n\nsch\xf6n, aber\n",
			"A: b\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n" +
				"Content-Transfer-Encoding: quoted-printable\n\nsch=F6n, aber\n", ""},
		{"no header", "sch\xf6n, aber\n", "MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n" +
			"Content-Transfer-Encoding: quoted-printable\n\nsch=F6n, aber\n", ""},
		{"no charset", "Mime-version: 1.0\nContent-Type: text/plain; \n\nsch\xf6n, aber\n",
			"Mime-version: 1.0\nContent-Type: text/plain;\n charset=unknown-8bit\n" +
				"Content-Transfer-Encoding: quoted-printable\n\nsch=F6n, aber\n", ""},
		{"said to be 7bit, twice", "MIME-Version: 1.0\nContent-Transfer-Encoding:7bit\nContent-Type: text/html\n" +
			"Content-transfer-encoding: binary\n\nsch\xf6n, aber\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\nContent-Type: text/html\n\nsch=F6n, aber\n", ""},
		{"long line", "MIME-Version: 1.0\n\n" + strings.Repeat("abc ", 250) + "\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n" + longQuoted(), "both"},
		{"file name", "Content-Type: text/plain; name=\"f\xc3\xbcr.txt\"; charset=x\n\nhello\n",
			"Content-Type: text/plain; name*=utf-8''f%C3%BCr.txt; charset=x\n\nhello\n", ""},
		{"multipart", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: 8bit\n\n" +
			"pr\xc3\xa4\n--a\n\nplain\n--a\nContent-Type: application/x\nContent-Transfer-Encoding: 8bit\n\n\xff\xfe\n--a\n" +
			"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n" +
			"Content-Type: text/x; charset=y\n\nh\xfc, ascii\n--a--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: 7bit\n\n" +
				"pr??\n--a\n\nplain\n--a\nContent-Type: application/x\nContent-Transfer-Encoding: base64\n\n//4=\n--a\n" +
				"Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nContent-Type: text/x; charset=y\n" +
				"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nh=FC, ascii\n--a--\n", ""},
		{"already encoded and not clean", "Content-Transfer-Encoding: quoted-printable\n\na=\xfc=C3=BC=\nb \n",
			"Content-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\na=3D=FC=C3=BCb\n", ""},
		{"base64 and not clean", "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n\xffQU\x80JD\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nQUJD\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			message := []byte(crlf(tt.message))
			for to, want := range map[Target]string{SevenBit: tt.seven, EightBit: tt.eight} {
				if want == "both" {
					want = tt.seven
				} else if want == "" {
					want = tt.message
				}
				out, c, err := convertAll(t, message, to, ConvertOptions{})
				if err != nil || string(out) != crlf(want) {
					t.Errorf("to %v: got\n%s\nwant\n%s\n%v", to, out, want, err)
				} else if c.Unchanged != (want == tt.message) {
					t.Errorf("to %v: Unchanged is %v", to, c.Unchanged)
				}
			}
			checkConversion(t, message, SevenBit)
			checkConversion(t, message, EightBit)
		})
	}
}

// longQuoted is the long line of TestConvert in quoted-printable.
func longQuoted() string {
	s := strings.TrimSuffix(strings.Repeat("abc ", 250), " ") + "=20"
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:75] + "=\n")
		s = s[75:]
	}
	return b.String() + s + "\n"
}

func TestConvertFields(t *testing.T) {
	for _, tt := range []struct{ field, want string }{ // want "" for a field that can't be converted
		{"Subject: Re: sch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe aus", "Subject: Re: =?utf-8?b?c2Now7ZuZSBHcsO8w59l?= aus"},
		{"SUBJECT:\xfc", "SUBJECT: =?unknown-8bit?b?/A==?="},
		{"X-Any: a\n b \xff\xfe", "X-Any: a b =?unknown-8bit?b?//4=?="},
		{"Subject: =?utf-8?q?a?= \xc3\xbc =?utf-8?q?b?=", "Subject: =?utf-8?q?a?= =?utf-8?q?_=C3=BC_?= =?utf-8?q?b?="},
		{"From: \"J\xf6rg M\" <a@b> (f\xfcr)", "From: =?unknown-8bit?b?SvZyZyBN?= <a@b> (=?unknown-8bit?b?Zvxy?=)"},
		{"To: J\xc3\xb6rg M\xc3\xbc <a@b>, x@y", "To: =?utf-8?b?SsO2cmcgTcO8?= <a@b>, x@y"},
		{"To: Grou\xc3\xbe: a@b;", "To: =?utf-8?b?R3JvdcO+?=: a@b;"},
		{"To: j\xc3\xb6@b", ""},
		{"To: \"j\xc3\xb6\"@b", ""},
		{"To: X <j\xc3\xb6@b>", ""},
		{"Date: Mon, 23 Nov 2026 15:00:00 +0000 (\xc3\x9c)", "Date: Mon, 23 Nov 2026 15:00:00 +0000 (=?utf-8?b?w5w=?=)"},
		{"Message-ID: <\xc3\xb6@b>", ""},
		{"\tno field \xc3\xb6", ""},
		{"Content-Type: text/plain; name=\"f \\\"\xc3\xbc.txt\"; charset=x",
			"Content-Type: text/plain; name*=utf-8''f%20%22%C3%BC.txt; charset=x"},
		{"Content-Disposition: attachment; filename=\"\xfc.txt\"; filename*=utf-8''%c3%bc.txt",
			"Content-Disposition: attachment; filename*=utf-8''%c3%bc.txt"},
		{"Content-Type: multipart/mixed; boundary=\"\xfc\"", ""},
		{"Content-Type: t\xfc/plain", ""},
		{"Subject: nul\x00 and cr\r here", "Subject: =?utf-8?q?nul=00?= and =?utf-8?b?Y3IN?= here"},
		{"References: " + strings.Repeat("<abcdefghi@example.org> ", 60),
			"References: <abcdefghi@example.org> <abcdefghi@example.org>" + strings.Repeat(
				"\n <abcdefghi@example.org> <abcdefghi@example.org> <abcdefghi@example.org>", 19) +
				"\n <abcdefghi@example.org>"},
		{"X-Long: " + strings.Repeat("a", 1000), ""},
	} {
		out, c, err := convertAll(t, []byte(crlf(tt.field+"\n\nhello\n")), SevenBit, ConvertOptions{})
		var u *Unconvertible
		if tt.want == "" {
			if !errors.As(err, &u) || u.Reason != ReasonHeader {
				t.Errorf("%q became %q, %v", tt.field, out, err)
			}
			continue
		}
		if want := crlf(tt.want + "\n\nhello\n"); err != nil || string(out) != want {
			t.Errorf("%q became\n%s\nwant\n%s\n%v", tt.field, out, want, err)
		} else if int64(len(out)) != c.Size || c.Unchanged {
			t.Errorf("%q: size %d, planned %d", tt.field, len(out), c.Size)
		}
	}
}

func TestUnconvertible(t *testing.T) {
	multi := func(kind, content string) string {
		return "MIME-Version: 1.0\nContent-Type: " + kind + "; boundary=a\n\n" + content
	}
	for _, tt := range []struct {
		name, message string
		o             ConvertOptions
		reason        Reason
		part          string
	}{
		{"partial", "Content-Type: message/partial; id=x\n\n\xfc\n", ConvertOptions{}, ReasonType, ""},
		{"external body", multi("multipart/mixed", "--a\nContent-Type: message/external-body\n\n\xfc\n--a--\n"),
			ConvertOptions{}, ReasonType, "1"},
		{"unknown encoding", "Content-Transfer-Encoding: x-gzip\n\n\xfc\n", ConvertOptions{}, ReasonEncoding, ""},
		{"no boundary", "Content-Type: multipart/mixed\n\n\xfc\n", ConvertOptions{}, ReasonDamaged, ""},
		{"no part", multi("multipart/mixed", "--b\n\xfc\n"), ConvertOptions{}, ReasonDamaged, ""},
		{"too deep", multi("multipart/mixed", "--a\nContent-Type: multipart/x; boundary=b\n\n--b\n\n\xfc\n"),
			ConvertOptions{Limits: Limits{Depth: 2}}, ReasonLimit, "1"},
		{"too many parts", multi("multipart/mixed", "--a\n\n--a\n\n\xfc\n"), ConvertOptions{Limits: Limits{Parts: 2}},
			ReasonLimit, "2"},
		{"DKIM", "DKIM-Signature: v=1\n\n\xfc\n", ConvertOptions{Refuse: DKIM}, ReasonSigned, ""},
		{"signed", multi("multipart/signed", "--a\n\n\xfc\n--a--\n"),
			ConvertOptions{Refuse: DKIM | SignedPart}, ReasonSigned, ""},
		{"encrypted", multi("multipart/encrypted", "--a\n\n\xfc\n--a--\n"),
			ConvertOptions{Refuse: EncryptedPart}, ReasonSigned, ""},
	} {
		_, _, err := convertAll(t, []byte(crlf(tt.message)), SevenBit, tt.o)
		var u *Unconvertible
		if !errors.As(err, &u) || u.Reason != tt.reason || u.Part != tt.part {
			t.Errorf("%s: %v (%+v)", tt.name, err, u)
		}
		clean := strings.ReplaceAll(tt.message, "\xfc", "u")
		if _, c, err := convertAll(t, []byte(crlf(clean)), SevenBit, tt.o); err != nil || !c.Unchanged {
			t.Errorf("%s, but clean: %v", tt.name, err)
		}
	}
}

func TestConvertBreaks(t *testing.T) {
	for _, tt := range []struct {
		message string
		want    Signature
	}{
		{"DKIM-Signature: v=1\n\n\xfc\n", DKIM},
		{"DKIM-Signature: v=1\nSubject: \xfc\n\nhello\n", DKIM},
		{"Subject: a\n\n\xfc\n", 0},
		{"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/signed; boundary=b\n\n" +
			"--b\n\nx\n--b--\n--a\n\n\xfc\n--a--\n", 0},
		{"DKIM-Signature: v=1\nContent-Type: multipart/mixed; boundary=a\n\n--a\n" +
			"Content-Type: multipart/signed; boundary=b\n\n" +
			"--b\n\n\xfc\n--b--\n--a--\n", DKIM | SignedPart},
	} {
		_, c, err := convertAll(t, []byte(crlf(tt.message)), SevenBit, ConvertOptions{})
		if err != nil || c.Breaks != tt.want {
			t.Errorf("%q: %v, breaks %b, want %b", tt.message, err, c.Breaks, tt.want)
		}
	}
}

// TestConvertBinary: what a hop without BINARYMIME takes (RFC 3030 3).
func TestConvertBinary(t *testing.T) {
	head := "MIME-Version: 1.0\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	text := strings.Replace(head, "application/x", "text/plain; charset=x", 1)
	for _, tt := range []struct{ message, want string }{
		{head + "\xff lines\r\n", head + "\xff lines\r\n"},
		{head + "no line end", strings.Replace(head, "binary", "quoted-printable", 1) + "no line end=\r\n"},
		{head + "a\r\nb\nc\rd", strings.Replace(head, "binary", "base64", 1) + "YQ0KYgpjDWQ=\r\n"},
		{text + "some more words\r\nb\nc\x00\r\n", strings.Replace(text, "binary", "quoted-printable", 1) +
			"some more words\r\nb=0Ac=00\r\n"},
		{text + "more words\nb\r\n", strings.Replace(text, "binary", "quoted-printable", 1) + "more words=0Ab\r\n"},
		{strings.Replace(text, "binary", "8bit", 1) + "some more words\r\nb\nc\x00\r\n",
			strings.Replace(text, "binary", "quoted-printable", 1) + "some more words\r\nb\r\nc=00\r\n"},
		{strings.Replace(text, "binary", "8bit", 1) + "\xfcb\n", strings.Replace(text, "binary", "8bit", 1) + "\xfcb\n"},
		{strings.Replace(head, "application", "Multipart; boundary=a\r\nX", 1) + "\r\n--a\r\n\r\n\x00\r\n--a--", ""},
	} {
		out, _, err := convertAll(t, []byte(tt.message), EightBit, ConvertOptions{})
		if err != nil || tt.want != "" && string(out) != tt.want {
			t.Errorf("%q became\n%q\nwant\n%q\n%v", tt.message, out, tt.want, err)
		}
		checkConversion(t, []byte(tt.message), EightBit)
		checkConversion(t, []byte(tt.message), SevenBit)
	}
	multi := strings.NewReplacer("application/x", "multipart/mixed; boundary=a").Replace(head)
	out, _, err := convertAll(t, []byte(multi+"--a\r\n\r\nx\x00\r\n--a--\r\n"), EightBit, ConvertOptions{})
	if err != nil || !strings.Contains(string(out), "Content-Transfer-Encoding: 8bit\r\n\r\n--a") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestConvertChanged: a content that is another one the second time is an error, never a mix.
func TestConvertChanged(t *testing.T) {
	contents := []string{"A: b\r\n\r\n\xfc\r\n", "A: b\r\n\r\n\xfc and more\r\n"}
	n := 0
	open := func() (io.ReadCloser, error) {
		n++
		return io.NopCloser(strings.NewReader(contents[min(n-1, 1)])), nil
	}
	c, err := Convert(open, SevenBit, ConvertOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(r); !errors.Is(err, errContentChanged) {
		t.Errorf("read %q, %v", out, err)
	}
	bad := errors.New("bad disk")
	closed := func() (io.ReadCloser, error) { return nil, bad }
	if _, err := Convert(closed, SevenBit, ConvertOptions{}); !errors.Is(err, bad) {
		t.Errorf("open fails: %v", err)
	}
	broken := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("A: b\r\n\r\nx"), iotest.ErrReader(bad))), nil
	}
	if _, err := Convert(broken, SevenBit, ConvertOptions{}); !errors.Is(err, bad) {
		t.Errorf("read fails: %v", err)
	}
}

func TestConvertVectors(t *testing.T) {
	changed, refused, read := 0, map[Reason]int{}, 0
	messages := walkMessages(t)
	for name, message := range maps.Clone(messages) { // most of them have LF alone
		messages[name+" with CRLF"] = canonical(message)
	}
	for name, message := range messages {
		for _, to := range []Target{SevenBit, EightBit} {
			c, err := checkConversion(t, message, to)
			var u *Unconvertible
			if errors.As(err, &u) {
				refused[u.Reason]++
				t.Logf("%s: %v", name, err)
				continue
			}
			if c.Unchanged {
				continue
			}
			changed++
			out, _, _ := convertAll(t, message, to, ConvertOptions{})
			if before, ok := stdRead(message); ok {
				read++
				if after, ok := stdRead(out); !ok || !maps.Equal(before, after) {
					t.Errorf("%s: net/mail and mime/multipart read %d parts of %q, and of the original %d", name, len(after),
						slices.Sorted(maps.Keys(after)), len(before))
				}
			}
		}
	}
	t.Logf("%d changed, %d of them read by the standard library; refused %v", changed, read, refused)
	if changed < 20 || read < 10 {
		t.Errorf("only %d changed, %d read", changed, read)
	}
}

// TestConvertMemory: what a conversion allocates does not grow with the message.
func TestConvertMemory(t *testing.T) {
	const size = 4 << 20
	head := "MIME-Version: 1.0\r\nContent-Type: multipart/x; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\n"
	for _, body := range []string{
		"gr\xc3\xbc\xc3\x9fe, and some words\r\n", "\xff", "\xfc and no line end ", "\n\xff", "\r\x00",
	} {
		open := func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(head), repeat(body, size))), nil
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := Convert(open, SevenBit, ConvertOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Open()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n != c.Size || n < size {
			t.Fatalf("%q: %d octets, planned %d, %v", body, n, c.Size, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
			t.Errorf("%q: %d octets allocated", body, n)
		}
	}
}

// stdRead reads a message with the standard library: its decoded leaves by path. ok is false for what that can't read.
func stdRead(message []byte) (map[string]string, bool) {
	m, err := netmail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return nil, false
	}
	for name := range m.Header {
		if !isASCII(name) { // such a line ends the header here
			return nil, false
		}
	}
	all := map[string]string{}
	return all, stdPart(all, "", m.Header.Get, m.Body)
}

func stdPart(all map[string]string, path string, get func(string) string, body io.Reader) bool {
	kind, params, err := mime.ParseMediaType(get("Content-Type"))
	if get("Content-Type") == "" {
		kind, err = "text/plain", nil
	}
	if err != nil {
		return false
	}
	if strings.HasPrefix(kind, "multipart/") {
		r := multipart.NewReader(body, params["boundary"])
		for i := 1; ; i++ {
			p, err := r.NextRawPart()
			if err != nil {
				return err == io.EOF
			}
			if !stdPart(all, fmt.Sprint(path, ".", i), p.Header.Get, p) {
				return false
			}
		}
	}
	encoding := strings.ToLower(strings.TrimSpace(get("Content-Transfer-Encoding")))
	switch {
	case kind == "message/rfc822" && encoding != "base64" && encoding != "quoted-printable":
		m, err := netmail.ReadMessage(body)
		return err == nil && stdPart(all, path+".m", m.Header.Get, m.Body)
	case encoding == "quoted-printable":
		body = quotedprintable.NewReader(body)
	case encoding == "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	if strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "message/") {
		content = canonical(content)
	}
	all[path+" "+kind+" "+get("Content-Disposition")] = string(content)
	return err == nil
}

// mailMaker puts messages together from pieces that matter to the converter.
type mailMaker struct {
	*rand.Rand
	b    strings.Builder
	ends []string
}

func (m *mailMaker) one(of ...string) string { return of[m.IntN(len(of))] }

func (m *mailMaker) line(s string) { m.b.WriteString(s + m.one(m.ends...)) }

func (m *mailMaker) part(depth int, boundaries []string) {
	kind := m.one("text/plain", "text/plain; charset=utf-8", "TEXT/html; name=\"\xc3\xbc.html\"", "application/x",
		"message/rfc822",
		"message/global", "message/delivery-status", "text/plain; charset=utf-16", "message/rfc822", "multipart/mixed",
		"multipart/mixed", "multipart/signed", "multipart/digest", "nonsense", "")
	boundary := m.one("a", "b", "ab", "a--", "=_1", "\\\"")
	if strings.HasPrefix(kind, "multipart/") && m.IntN(20) > 0 {
		kind += "; boundary=\"" + boundary + "\""
		boundary = strings.ReplaceAll(boundary, `\"`, `"`)
	}
	for range m.IntN(4) {
		m.line(m.one("A: b", "MIME-Version: 1.0", "Subject: \xc3\xbc \xff", "X: y\r\n z", "From: \"\xfc\" <a@b>", "A:",
			"Content-Disposition: x; filename=a", "DKIM-Signature: x"))
	}
	if kind != "" {
		m.line("Content-Type: " + kind)
	}
	for range m.IntN(3) {
		m.line("Content-transfer-encoding: " +
			m.one("7bit", "8bit", "8bit", "binary", "base64", "quoted-printable", "x-a", "8-bit"))
	}
	if m.IntN(10) > 0 {
		m.line("")
	}
	switch {
	case strings.HasPrefix(kind, "multipart/") && depth < 4:
		boundaries = append(boundaries, boundary)
		if m.IntN(3) == 0 {
			m.body(boundaries)
		}
		for range m.IntN(4) {
			m.line("--" + boundary + m.one("", "", " \t"))
			m.part(depth+1, boundaries)
		}
		if m.IntN(4) > 0 {
			m.line("--" + boundary + "--")
			if m.IntN(3) == 0 {
				m.body(boundaries)
			}
		}
	case kind == "message/rfc822" && depth < 4:
		m.part(depth+1, boundaries)
	default:
		m.body(boundaries)
	}
}

func (m *mailMaker) body(boundaries []string) {
	for range m.IntN(6) {
		switch m.IntN(12) {
		case 0:
			m.line(strings.Repeat(m.one("x", " ", "\xfc", "ab ", "=3D", "QUJD"), m.IntN(1200)))
		case 1:
			m.line("--" + m.one(append(boundaries, "", "x", "--")...) + m.one("", "--", "x"))
		case 2:
			m.b.WriteString(m.one("\r", "\n", "\x00", " ", "-", "\xff"))
		default:
			m.line(m.one("hello", "gr\xc3\xbc\xc3\x9fe", "a ", "=", "=C3=BC=", "QUJDRA==", ".", "A: b", "From x", "", "\t"))
		}
	}
}

// TestConvertMade tries the law on messages that reach every corner of it.
func TestConvertMade(t *testing.T) {
	refused, changed := map[Reason]int{}, 0
	n := 1500
	if testing.Short() {
		n = 200
	}
	for seed := range n {
		m := &mailMaker{Rand: rand.New(rand.NewPCG(uint64(seed), 1)), ends: []string{"\r\n"}}
		if seed%4 == 0 {
			m.ends = []string{"\r\n", "\r\n", "\n"}
		}
		m.part(0, nil)
		for _, to := range []Target{SevenBit, EightBit} {
			c, err := checkConversion(t, []byte(m.b.String()), to)
			var u *Unconvertible
			if errors.As(err, &u) {
				refused[u.Reason]++
			} else if !c.Unchanged {
				changed++
			}
		}
	}
	t.Logf("%d changed, refused %v", changed, refused)
	if changed < n/2 || refused[ReasonDamaged] == 0 || refused[ReasonEncoding] == 0 {
		t.Errorf("only %d changed, refused %v", changed, refused)
	}
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte("Subject: \xfc\r\n\r\n\xfc\r\n"), true)
	f.Add([]byte("Content-Type: multipart/x; boundary=a\r\n\r\n\xfc\r\n--a\r\n\r\n\x00\n--a\r\n"+
		"Content-Type: message/rfc822\r\n"+
		"Content-Transfer-Encoding: binary\r\n\r\n\xfc"), false)
	f.Add([]byte("Content-Transfer-Encoding: quoted-printable\n\n=\xfc=\r\n = \r\n=0"), true)
	f.Add([]byte("Content-Transfer-Encoding: base64\nContent-Type: message/global\n\n=\xfcQ=UI\r\n"), true)
	f.Fuzz(func(t *testing.T, message []byte, seven bool) {
		to := EightBit
		if seven {
			to = SevenBit
		}
		checkConversion(t, message, to)
	})
}

func BenchmarkConvert(b *testing.B) {
	for name, line := range map[string]string{
		"german":  "Gr\xc3\xbc\xc3\x9fe aus Berlin, und so weiter, noch ein paar Worte dazu, mehr nicht.\r\n",
		"russian": strings.Repeat("\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 ", 6) + "\r\n",
		"long":    strings.Repeat("Gr\xc3\xbc\xc3\x9fe aus Berlin, und so weiter. ", 100) + "\r\n",
		"binary":  "\x00\x01\x02\x03\xff\xfe\xfd\xfc\x80\x81\x82\x83\xa1\xa2\xa3",
		"ascii":   "Greetings from Berlin, and so on, and some more words to fill a line.\r\n",
	} {
		message := benchmarkMail(10<<20, line)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				c, err := Convert(opener(message), SevenBit, ConvertOptions{})
				if err != nil {
					b.Fatal(err)
				}
				r, _ := c.Open()
				if n, err := io.Copy(io.Discard, r); err != nil || n != c.Size {
					b.Fatal(n, c.Size, err)
				}
			}
		})
	}
}
