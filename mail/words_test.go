package mail

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestDecodeWords(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"none", "plain \xff\x00 text", "plain \xff\x00 text"},
		// The examples of RFC 2047 8.
		{"one", "=?ISO-8859-1?Q?a?=", "a"},
		{"word and text", "=?ISO-8859-1?Q?a?= b", "a b"},
		{"two words", "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"two words, more space", "=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"},
		{"two words, a fold", "=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
		{"space in a word", "=?ISO-8859-1?Q?a_b?=", "a b"},
		{"space in the second word", "=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a =?ISO-8859-2?Q?_b?="},
		{"latin 1", "=?iso-8859-1?q?Keld_J=F8rn_Simonsen?=", "Keld J\u00f8rn Simonsen"},
		{"base64", "=?utf-8?B?R3LDvMOfZQ==?=", "Gr\u00fc\u00dfe"},
		{"base64 without padding", "=?utf-8?b?R3LDvMOfZQ?=", "Gr\u00fc\u00dfe"},
		{"no base64", "=?utf-8?b?R3?!?= =?utf-8?b?R-?=", "=?utf-8?b?R3?!?= =?utf-8?b?R-?="},
		{"other sets beside", "=?utf-8?q?=C3=BC?= =?iso-8859-1?q?=FC?=", "\u00fc\u00fc"},
		{"language", "=?utf-8*de?q?=C3=BC?=", "\u00fc"},
		{"cut character", "=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "\u00fc"},
		{"cut base64", "=?utf-8?b?ww==?= =?UTF-8?b?vA==?=", "\u00fc"},
		{"no space between", "a=?utf-8?q?b?==?utf-8?q?c?=d", "abcd"},
		{"unknown set", "a =?x-set?q?b?= =?x-set?q?c?= d", "a =?x-set?q?b?= =?x-set?q?c?= d"},
		{"unknown set and known", "=?x-set?q?b?= =?utf-8?q?c?=", "=?x-set?q?b?= c"},
		{"known set and unknown", "=?utf-8?q?c?=  =?x-set?q?b?=", "c  =?x-set?q?b?="},
		{"ascii", "=?us-ascii?q?a=FF?=", "a\ufffd"},
		{"not of the set", "=?utf-8?q?a=FF?=", "a\ufffd"},
		{"control", "=?utf-8?q?a=0D=0ABcc:_x=00=C2=85?=", "a  Bcc: x\ufffd\ufffd"},
		{"odd hex", "=?utf-8?q?a=c3=bc=G0=4=?=", "a\u00fc=G0=4="},
		{"empty word", "a =?utf-8?q??= b", "a  b"},
		{"no word", "=? =?? =?a?q =?a?x?b?= =?a?q?b c?= =?a?q?b?c =?", "=? =?? =?a?q =?a?x?b?= =?a?q?b c?= =?a?q?b?c =?"},
		{"word in no word", "=?=?utf-8?q?a?=", "=?a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := DecodeWords(tt.in); got != tt.want {
				t.Errorf("%q:\ngot  %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestWordDecoderHook(t *testing.T) {
	d := WordDecoder{Charset: func(charset string, octets []byte) (string, bool) {
		return strings.ToUpper(string(octets)) + "\n", charset == "x-loud"
	}}
	const in = "=?X-Loud?q?a?= =?x-loud?b?Yg==?= c =?x-other?q?d?= =?utf-8?q?e?="
	if got, want := d.Decode(in), "AB  c =?x-other?q?d?= e"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEncodeWords(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain text,  as it is (here)", "plain text,  as it is (here)"},
		{"Re: Gr\u00fc\u00dfe to all", "Re: =?utf-8?b?R3LDvMOfZQ==?= to all"},
		{"a \u00e9 b c d\u00e9f g", "a =?utf-8?b?w6kgYiBjIGTDqWY=?= g"},
		{"not =?utf-8?q?a?= word", "not =?utf-8?b?PT91dGYtOD9xP2E/PQ==?= word"},
		{"\u00e9tiquettes of Paris", "=?utf-8?q?=C3=A9tiquettes?= of Paris"},
		{"line\r\nend", "line  end"},
		{"a   \u00e9  b", "a =?utf-8?b?ICDDqSA=?= b"},
		{"\x00", "=?utf-8?b?77+9?="},
	} {
		got := EncodeWords(tt.in)
		if got != tt.want {
			t.Errorf("%q:\ngot  %q\nwant %q", tt.in, got, tt.want)
		}
		checkWords(t, tt.in)
	}
}

// checkWords holds the laws of encoding: ASCII, words of 75 octets, lines of 76, and the text comes back.
func checkWords(t *testing.T, s string) {
	t.Helper()
	encoded := EncodeWords(s)
	if got, want := DecodeWords(encoded), plainText(s); got != want {
		t.Errorf("%q became %q and came back as %q", s, encoded, got)
	}
	for word := range strings.SplitSeq(encoded, " ") {
		w, ok := cutWord(word + "  ")
		octets, _ := w.octets()
		if strings.Contains(word, "=?") && (!ok || len(word) > 75 || w.size != len(word) || !utf8.Valid(octets)) {
			t.Errorf("%q has the word %q", s, word)
		}
	}
	if strings.ContainsFunc(encoded, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) }) {
		t.Errorf("%q became %q", s, encoded)
	}
	if strings.Contains(encoded, "  ") { // AddTop does not fold there
		return
	}
	var h Header
	h.AddTop("Subject", encoded)
	for line := range strings.Lines(string(h.Bytes())) {
		if strings.Contains(line, "=?utf-8?") && len(line) > 76+len("\r\n") {
			t.Errorf("a line of %d octets: %q", len(line), line)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("Gr\u00fc\u00dfe und =?utf-8?q?K=C3=BCsse?=  aus \xff\x00 dem Wald")
	f.Add("=?iso-8859-1?Q?a_b?= =?utf-8?b?ww==?=\r\n =?utf-8?b?vA?= =?=?x?q??=")
	f.Add(strings.Repeat("\U0001f54a ", 40))
	f.Add("0   " + strings.Repeat("\x11", 7) + strings.Repeat("0", 22))
	f.Fuzz(func(t *testing.T, s string) {
		checkWords(t, s)
		if got := DecodeWords(s); utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// TestHostileWords decodes texts that cost much where an algorithm is not linear; a quadratic one needs minutes.
func TestHostileWords(t *testing.T) {
	for _, s := range []string{"=?", "=?a", "=?a?q?", "=?a?q?b?", "=?utf-8?q?b?= ", "=?x?q?b?= ", "=?utf-8?b?b?="} {
		long := strings.Repeat(s, 1<<20/len(s))
		if got := DecodeWords(long); len(got) > len(long) {
			t.Errorf("%q: %d octets became %d", s, len(long), len(got))
		}
		if list, _ := ParseAddressList(long); len(list) > 1 {
			t.Errorf("%q many times is no list of %d addresses", s, len(list))
		}
	}
}
