package mail

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// fieldsOf gives "name|body" of all fields.
func fieldsOf(h Header) []string {
	var all []string
	for f := range h.Fields() {
		all = append(all, f.Name()+"|"+f.Body())
	}
	return all
}

func TestParseHeader(t *testing.T) {
	tests := []struct {
		name, msg string
		fields    []string
		rest      string
	}{
		{"empty", "", nil, ""},
		{"no header", "\r\nbody", nil, "\r\nbody"},
		{"plain", "A: b\r\nC:d\r\n\r\nbody\r\n", []string{"A|b", "C|d"}, "\r\nbody\r\n"},
		{"bare LF", "A: b\n c\n\nbody\n", []string{"A|b c"}, "\nbody\n"},
		{"no body", "A: b\r\nC: d", []string{"A|b", "C|d"}, ""},
		{"fold", "A:\r\n b\r\n\tc  \r\nD: e\r\n", []string{"A|b\tc", "D|e"}, ""},
		{"blank fold is no empty line", "A: b\r\n \r\n c\r\n\r\n", []string{"A|b  c"}, "\r\n"},
		{"space in front of the colon", "A \t: b\r\n", []string{"A|b"}, ""},
		{"no colon", "A b\r\n c\r\nD: e\r\n", []string{"|A b c", "D|e"}, ""},
		{"leading fold", " a: b\r\n c\r\nD: e\r\n", []string{"|a: b c", "D|e"}, ""},
		{"space in the name", "A b: c\r\n", []string{"|A b: c"}, ""},
		{"no name", ": c\r\n", []string{"|: c"}, ""},
		{"mbox line", "From a@b Mon Jan  1 10:00:00 2026\r\nA: b\r\n",
			[]string{"|From a@b Mon Jan  1 10:00:00 2026", "A|b"}, ""},
		{"8-bit name", "\xc3\xa9: c\r\n", []string{"|\xc3\xa9: c"}, ""},
		{"odd octets", "A: \x00\xff\rb\r\n", []string{"A|\x00\xff\rb"}, ""},
		{"CR at the line start", "A: b\r\n\rC: d\r\n\r\r\n\r\n", []string{"A|b", "|\rC: d", "|\r"}, "\r\n"},
		{"unfinished CR", "A: b\r\n\r", []string{"A|b", "|\r"}, ""},
		{"colons", "A::b: c\r\n", []string{"A|:b: c"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, rest := ParseHeader([]byte(tt.msg))
			if got := fieldsOf(h); !slices.Equal(got, tt.fields) || string(rest) != tt.rest {
				t.Errorf("%q:\ngot  %q, rest %q\nwant %q, rest %q", tt.msg, got, rest, tt.fields, tt.rest)
			}
			checkHeader(t, []byte(tt.msg))
		})
	}
}

// checkHeader holds the laws of any message: no octet lost, the same end of the header as the Scanner's, bodies of one
// line.
func checkHeader(t *testing.T, msg []byte) {
	t.Helper()
	h, rest := ParseHeader(msg)
	if got := append(h.Bytes(), rest...); !bytes.Equal(got, msg) {
		t.Fatalf("%.200q came back as %.200q", msg, got)
	}
	var scan Scanner
	scan.Write(msg)
	if n := int64(len(msg) - len(rest)); n != scan.HeaderSize() {
		t.Errorf("the header of %.200q has %d octets, the Scanner says %d", msg, n, scan.HeaderSize())
	}
	n := 0
	for f := range h.Fields() {
		n++
		if strings.Contains(f.Body(), "\n") || len(f.Raw()) == 0 {
			t.Errorf("field %.200q has the body %.200q", f.Raw(), f.Body())
		}
		if f.Name() != "" && (!h.Has(strings.ToUpper(f.Name())) || !slices.Contains(h.Values(f.Name()), f.Body())) {
			t.Errorf("field %q is not found by its name", f.Raw())
		}
		if n > 20 { // each is a search through all
			break
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("A: b\r\n c\r\nno colon\r\n\r\nbody"), "A", "x")
	f.Add([]byte(" leading\r\nSubject : =?utf-8?q?x?=\n\n"), "subject", "Gr\u00fc\u00dfe aus dem \xff Wald\r\nBcc: y")
	f.Add([]byte("From x\nA:\x00\r\r\n\r"), "B", strings.Repeat("y", 2000))
	f.Fuzz(func(t *testing.T, msg []byte, name, body string) {
		checkHeader(t, msg)
		before, rest := ParseHeader(msg)
		had := fieldsOf(before)
		h := before
		h.AddTop(name, body)
		if got := fieldsOf(h); len(got) != len(had)+1 || !slices.Equal(got[1:], had) {
			t.Errorf("AddTop made %q of %q", got, had)
		}
		kept := append(h.Bytes(), rest...)
		if !bytes.HasSuffix(kept, msg) {
			t.Errorf("AddTop made %q of %q", kept, msg)
		}
		top := kept[:len(kept)-len(msg)]
		if again, _ := ParseHeader(top); again.Len() != 1 || bytes.Contains(again.Bytes(), []byte("\r\n\r\n")) {
			t.Errorf("AddTop(%q, %q) wrote %q", name, body, top)
		}
		h = before
		h.Replace(name, body)
		if again, _ := ParseHeader(h.Bytes()); again.Len() != h.Len() {
			t.Errorf("Replace(%q, %q) wrote %q", name, body, h.Bytes())
		}
		if h.Remove(name) > 1 {
			t.Errorf("%q stands twice in %q", name, h.Bytes())
		}
	})
}

func TestHeaderChanges(t *testing.T) {
	const msg = "To: a\r\nX:  1 \r\nto : b\r\n junk\r\nTO:c"
	tests := []struct {
		name   string
		change func(*Header)
		want   string
	}{
		{"top", func(h *Header) { h.AddTop("A", "b"); h.AddTop("C", "d") }, "C: d\r\nA: b\r\n" + msg},
		{"bottom", func(h *Header) { h.Add("A", "b") }, msg + "\r\nA: b\r\n"},
		{"raw", func(h *Header) { h.Prepend([]byte("A:b\n c\nD:\te")) }, "A:b\n c\nD:\te\r\n" + msg},
		{"raw with a body", func(h *Header) { h.Prepend([]byte("A:b\r\n\r\nc")) }, "A:b\r\n" + msg},
		{"remove", func(h *Header) {
			if n := h.Remove("to"); n != 3 {
				t.Errorf("%d fields removed", n)
			}
		}, "X:  1 \r\n"},
		{"remove none", func(h *Header) { h.Remove("From") }, msg},
		{"replace", func(h *Header) { h.Replace("to", "d") }, "to: d\r\nX:  1 \r\n"},
		{"replace at the bottom", func(h *Header) { h.Replace("Cc", "d") }, msg + "\r\nCc: d\r\n"},
		{"odd name", func(h *Header) { h.AddTop("A b:\r\n", "c\r\nD: e") }, "A?b???: c??D: e\r\n" + msg},
		{"no name", func(h *Header) { h.AddTop("", "c") }, "?: c\r\n" + msg},
		{"UTF-8", func(h *Header) { h.AddTop("A", "Gr\u00fc\u00dfe\x80\x00") }, "A: Gr\u00fc\u00dfe??\r\n" + msg},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, _ := ParseHeader([]byte(msg))
			h := first
			tt.change(&h)
			if got := string(h.Bytes()); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if got := string(first.Bytes()); got != msg {
				t.Errorf("the header it was copied from is %q now", got)
			}
		})
	}
	var h Header
	h.Add("A", "b")
	if got := string(h.Bytes()); got != "A: b\r\n" {
		t.Errorf("an empty header with a field is %q", got)
	}
}

func TestHeaderGet(t *testing.T) {
	h, _ := ParseHeader([]byte("A: 1\r\nB:\r\na: 2\r\n 3\r\n"))
	if h.Get("a") != "1" || h.Get("b") != "" || h.Get("c") != "" {
		t.Errorf("Get gives %q, %q, %q", h.Get("a"), h.Get("b"), h.Get("c"))
	}
	if got := h.Values("A"); !slices.Equal(got, []string{"1", "2 3"}) {
		t.Errorf("Values gives %q", got)
	}
	if !h.Has("B") || h.Has("C") || h.Has("") {
		t.Error("Has is wrong")
	}
}

// TestHeaderFoldsUTF8 keeps characters whole where a line must be cut.
func TestHeaderFoldsUTF8(t *testing.T) {
	for shift := range 4 {
		var h Header
		h.AddTop("A", strings.Repeat("x", shift)+strings.Repeat("\U0001f54a", 1000))
		for line := range bytes.Lines(h.Bytes()) {
			if len(line) > hardLine+len("\r\n") {
				t.Errorf("a line of %d octets", len(line))
			}
		}
		if got := strings.ReplaceAll(h.Get("A"), " ", ""); strings.ContainsRune(got, '\ufffd') ||
			strings.Count(got, "\U0001f54a") != 1000 {
			t.Errorf("shift %d: a character was cut", shift)
		}
	}
}

// TestHostileHeader reads headers that cost much where an algorithm is not linear; a quadratic one needs minutes.
func TestHostileHeader(t *testing.T) {
	start := time.Now()
	for name, msg := range map[string]string{
		"one line":    "A: " + strings.Repeat("x", 1<<20),
		"name":        strings.Repeat("x", 1<<20),
		"fields":      strings.Repeat("A:b\r\n", 100000),
		"folds":       "A:\r\n" + strings.Repeat(" \r\n", 300000),
		"line starts": strings.Repeat("\r\r\n", 300000),
	} {
		h, _ := ParseHeader([]byte(msg))
		for range 10 {
			h.AddTop("Received", "x")
		}
		h.Remove("A")
		if len(h.Get("A")) > 0 || h.Len() < 10 {
			t.Errorf("%s: %d fields", name, h.Len())
		}
	}
	long := strings.Repeat(" ", 1<<19) + strings.Repeat("x", 1<<19)
	var h Header
	h.AddTop("A", long)
	checkLines(t, h.Bytes(), hardLine)
	if d := time.Since(start); d > time.Minute {
		t.Errorf("it took %v", d)
	}
	msg := []byte(strings.Repeat("A:b\r\n", 100000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ParseHeader(msg)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 10*uint64(len(msg)) {
		t.Errorf("a header of %d octets takes %d", len(msg), n)
	}
}

// mimeVectors lie beside the checkout, for they have licences of their own.
const mimeVectors = "../../shared/vectors/mime"

// eachMessage calls f for each message of the vectors.
func eachMessage(t *testing.T, f func(t *testing.T, name string, msg []byte)) {
	t.Helper()
	if _, err := os.Stat(mimeVectors); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the messages are not beside the checkout: ", mimeVectors)
	}
	n := 0
	err := filepath.WalkDir(mimeVectors, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Ext(name) {
		case ".raw", ".msg", ".eml", ".txt":
		default:
			return nil
		}
		msg, err := os.ReadFile(name)
		if err == nil {
			n++
			f(t, name, msg)
		}
		return err
	})
	if err != nil || n < 100 {
		t.Errorf("%d messages read, %v", n, err)
	}
}

func TestHeaderOfRealMail(t *testing.T) {
	eachMessage(t, func(t *testing.T, name string, msg []byte) {
		checkHeader(t, msg)
		r := NewRepairReader(bytes.NewReader(msg), Repairs{}, 1<<20)
		got, err := io.ReadAll(r)
		h, _ := ParseHeader(msg)
		if err != nil || !h.isText() && len(r.Changed()) == 0 && !bytes.Equal(got, msg) {
			t.Errorf("%s: not the same octets behind a RepairReader that changed %q, %v", name, r.Changed(), err)
		}
	})
}
