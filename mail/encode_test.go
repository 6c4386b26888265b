package mail

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// encodeAll encodes in pieces of the given length, or at once for 0.
func encodeAll(e encoder, src []byte, piece int) []byte {
	var dst []byte
	for piece > 0 && len(src) > piece {
		dst = e.append(dst, src[:piece])
		src = src[piece:]
	}
	return e.close(e.append(dst, src))
}

func TestQuotedEncoder(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		ends     lineEnds
		in, want string
	}{
		{crlfLines, "", ""},
		{crlfLines, "a=b\t\r\nc ", "a=3Db=09\r\nc=20"},
		{crlfLines, "a \rb\nc\r", "a=20=0Db=0Ac=0D"},
		{lfLines, "a \nb\r\n\n\x00", "a=20\r\nb\r\n\r\n=00"},
		{noLines, "a \r\nb ", "a=20=0D=0Ab=20"},
		{crlfLines, x(76) + "\r\n" + x(77), x(76) + "\r\n" + x(75) + "=\r\nxx"},
		{crlfLines, x(73) + "\xff\r\n", x(73) + "=FF\r\n"},
		{crlfLines, x(74) + "\xff\r\n", x(74) + "=\r\n=FF\r\n"},
		{crlfLines, x(73) + "\xffy", x(73) + "=\r\n=FFy"},
		{crlfLines, x(75) + " \r\n", x(75) + "=\r\n=20\r\n"},
		{crlfLines, x(76) + " y", x(75) + "=\r\nx y"},
	} {
		for _, piece := range []int{0, 1, 2, 75} {
			if got := encodeAll(&quotedEncoder{ends: tt.ends}, []byte(tt.in), piece); string(got) != tt.want {
				t.Errorf("%q in pieces of %d: got\n%q, want\n%q", tt.in, piece, got, tt.want)
			}
		}
	}
}

// checkEncoders is the law of both encoders and decoders, beside those of the standard library.
func checkEncoders(t testing.TB, src []byte, piece int) {
	t.Helper()
	for _, ends := range []lineEnds{noLines, crlfLines, lfLines} {
		want := src
		if ends == lfLines {
			want = canonical(src)
		}
		encoders := map[string]encoder{"quoted-printable": &quotedEncoder{ends: ends}, "base64": &base64Encoder{ends: ends}}
		for name, e := range encoders {
			enc := encodeAll(e, src, 0)
			if again := encodeAll(e, src, piece); !bytes.Equal(enc, again) {
				t.Fatalf("%s of %q: %q, and in pieces of %d %q", name, src, enc, piece, again)
			}
			for line := range bytes.SplitSeq(enc, []byte("\r\n")) {
				if len(line) > maxEncoded || bytes.ContainsAny(line, "\r\n\x00") || hasEightBit(line) {
					t.Fatalf("%s of %q has the line %q", name, src, line)
				}
				if n := len(line); n > 0 && isSpace(line[n-1]) {
					t.Fatalf("%s of %q has a line that ends with space: %q", name, src, line)
				}
			}
			d := NewDecoder(name)
			var got []byte
			for i := 0; i < len(enc); i += piece {
				got = d.Append(got, enc[i:min(i+piece, len(enc))])
			}
			if got = d.Close(got); !bytes.Equal(got, want) {
				t.Fatalf("%s of %q is %q, which is decoded to %q", name, src, enc, got)
			}
			var r io.Reader = quotedprintable.NewReader(bytes.NewReader(enc))
			if name == "base64" {
				r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(enc))
				if n := base64Size(int64(len(want))); n != int64(len(enc)) {
					t.Fatalf("base64Size(%d) = %d, want %d", len(want), n, len(enc))
				}
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s of %q is %q, which the standard library decodes to %q, %v", name, src, enc, got, err)
			}
		}
	}
}

func TestEncoders(t *testing.T) {
	for _, s := range []string{"", "a", " ", "\r", "\n", "\r\n", " \r\n ", "\r\r\n\n", strings.Repeat("\xfc ", 200),
		strings.Repeat("ab\x00=\t\n", 100), strings.Repeat("x", 57), strings.Repeat("x", 58), strings.Repeat("= ", 76)} {
		for _, piece := range []int{1, 2, 3, 56, 57, 76, 1000} {
			checkEncoders(t, []byte(s), piece)
		}
	}
}

func TestDecoder(t *testing.T) {
	for _, tt := range []struct{ encoding, in, want string }{
		{"7bit", "a=41 \r\n", "a=41 \r\n"},
		{"x-unknown", "QUJD", "QUJD"},
		{"base64", "QU JD\r\n!RA==RQ==", "ABCDE"},
		{"base64", "QUJDR", "ABC"},
		{"base64", "QUJDREU", "ABCDE"},
		{"quoted-printable", "a=41=c3=BC=\r\nb= \t\nc \t\r\nd", "aA\xc3\xbcbc\r\nd"},
		{"quoted-printable", "=4X =X= a=", "=4X =X= a"},
		{"quoted-printable", "=4", "=4"},
		{"quoted-printable", "=\ra= \rb \n\xfc", "=\ra= \rb\n\xfc"},
		{"quoted-printable", strings.Repeat(" ", 3000) + "x", strings.Repeat(" ", 3000) + "x"},
	} {
		for _, piece := range []int{1, 2, len(tt.in)} {
			d := NewDecoder(tt.encoding)
			for range 2 { // it can be used again
				var got []byte
				for i := 0; i < len(tt.in); i += piece {
					got = d.Append(got, []byte(tt.in[i:min(i+piece, len(tt.in))]))
				}
				if got = d.Close(got); string(got) != tt.want {
					t.Errorf("%s %q in pieces of %d: got %q, want %q", tt.encoding, tt.in, piece, got, tt.want)
				}
			}
		}
	}
}

func FuzzEncoders(f *testing.F) {
	f.Add([]byte("a \r\n\xfc=\r \n"), 1)
	f.Add([]byte(strings.Repeat("x", 75)+" =\r\n"), 76)
	f.Fuzz(func(t *testing.T, src []byte, piece int) {
		checkEncoders(t, src, max(1, piece))
	})
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("a=41= \r\n=\r= x"), true)
	f.Add([]byte("QUI=\r\nQ!Q"), false)
	f.Fuzz(func(t *testing.T, src []byte, quoted bool) {
		d := NewDecoder("base64")
		if quoted {
			d = NewDecoder("quoted-printable")
		}
		whole := d.Close(d.Append(nil, src))
		var got []byte
		for i := range src {
			got = d.Append(got, src[i:i+1])
		}
		if got = d.Close(got); !bytes.Equal(got, whole) || len(got) > len(src) {
			t.Fatalf("%q: %q, by octets %q", src, whole, got)
		}
	})
}
