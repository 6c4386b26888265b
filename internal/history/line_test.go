package history

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// text gives a random text of any octets: empty, plain, with escapes, UTF-8 or not.
func text(r *rand.Rand) string {
	pieces := []string{"a", "joe@example.org", "\x00", "\x00ff", "\"", "\\", "\n", "\r", "\t", "\x1b[2J", "\x7f", "\u0085",
		"\u009b", "é", "日本", "\U0001f54a", "\ufffd", "\xff", "\xc3", "\xed\xa0\x80", "\\u0000", "{", "}", `,"cause":"`}
	var b strings.Builder
	for range r.IntN(6) {
		if r.IntN(3) == 0 {
			b.WriteByte(byte(r.Uint32()))
		}
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func randomID(r *rand.Rand) (id spool.ID) {
	if r.IntN(3) > 0 {
		for i := range id {
			id[i] = byte(r.Uint32())
		}
	}
	return id
}

func randomTime(r *rand.Rand) time.Time {
	return time.UnixMicro(r.Int64N(4e15)).UTC()
}

func randomEvent(r *rand.Rand) Event {
	e := Event{
		At: randomTime(r), ID: randomID(r), Kind: Kind("k" + text(r)), From: text(r), MessageID: text(r), Client: text(r),
		Hello: text(r), TLS: text(r), Size: r.Int64N(3) * r.Int64(), Host: text(r), Reply: text(r), Reason: text(r),
		Attempt: r.IntN(3) * r.Int(), Site: text(r), Cause: randomID(r), Report: randomID(r), Note: text(r),
	}
	if r.IntN(2) == 0 {
		e.Next = randomTime(r)
	}
	for range r.IntN(4) {
		e.To = append(e.To, text(r))
	}
	return e
}

func encode(e *Event) string {
	return string(appendLine(nil, e, e.At, e.To, e.Recipients, e.Part))
}

func TestLineRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		e := randomEvent(r)
		s := encode(&e)
		if !json.Valid([]byte(s)) || strings.Count(s, "\n") != 1 || s[len(s)-1] != '\n' {
			t.Fatalf("not one line of JSON: %q", s)
		}
		for _, c := range s[:len(s)-1] {
			if c < ' ' || c >= 0x7f && c <= 0x9f {
				t.Fatalf("a control character in %q", s)
			}
		}
		back, err := decodeLine([]byte(s))
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%q\nreads %+v (%v)\nwant  %+v", s, back, err, e)
		}
		if s[idAt-len(idField):idAt] == idField != !e.ID.IsZero() {
			t.Fatalf("the id is not at %d: %q", idAt, s)
		}
	}
}

func TestLineForm(t *testing.T) {
	id, err := spool.ParseID("0dxxxxxxxxxxxxxxxxxg")
	if err != nil {
		t.Fatal(err)
	}
	e := Event{
		At: time.Date(2026, 11, 23, 18, 9, 31, 5000, time.FixedZone("", 3600)), ID: id, Kind: Deferred,
		From: "joe@example.org", To: []string{"J\xf6rg@example.net"}, Host: "mx.example.net [192.0.2.1]:25",
		Reply:   "450 4.2.1 \"later\"\nplease",
		Attempt: 2, Next: time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC),
	}
	want := `{"at":"2026-11-23T17:09:31.000005Z","id":"0dxxxxxxxxxxxxxxxxxg","kind":"deferred","from":"joe@example.org",` +
		`"to":["J\u0000f6rg@example.net"],"host":"mx.example.net [192.0.2.1]:25",` +
		`"reply":"450 4.2.1 \"later\"\nplease","attempt":2,"next":"2026-11-23T18:00:00.000000Z"}` + "\n"
	if got := encode(&e); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeLine(t *testing.T) {
	const head = `{"at":"2026-11-23T18:09:31.000000Z","kind":"refused"`
	for _, tt := range []struct {
		line string
		ok   bool
	}{
		{head + `}`, true},
		{head + `,"colour":{"of":["the",1,null]}}`, true}, // of a newer version
		{`{"at":"2026-11-23T18:09:31+01:00","kind":"x"}`, true},
		{``, false},
		{head, false},
		{head + `,"note":"cu`, false},
		{`{"at":"yesterday","kind":"x"}`, false},
		{`{"at":"","kind":"x"}`, false},
		{`{"kind":"x","at":"2026-11-23T18:09:31Z"}`, false}, // not ours
		{head + `,"id":"too short"}`, false},
		{head + `,"size":"big"}`, false},
		{head + `,"note":"\u0000f"}`, false},
		{head + `,"note":"\u0000xx"}`, false},
		{head + `,"note":"\u00000a\u0000ff"}`, true},
		{head + `}{`, false},
		{strings.Repeat("\x00", 100), false},
	} {
		if _, err := decodeLine([]byte(tt.line)); (err == nil) != tt.ok {
			t.Errorf("%q: error %v, want ok %v", tt.line, err, tt.ok)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"at":"2026-11-23T18:09:31.000000Z","kind":"refused","to":["a","\u0000ff"],"size":7}`))
	f.Add([]byte(`{"at":"2026-11-23T18:09:31.5+01:00","id":"0dxxxxxxxxxxxxxxxxxg","next":"9999-12-31T23:59:59Z"}`))
	f.Add([]byte(`{"at":"0001-01-01T00:00:00-01:00","to":[null],"part":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeLine(b)
		if err != nil {
			return
		}
		s := encode(&e)
		again, err := decodeLine([]byte(s))
		if err != nil {
			t.Fatalf("%q was written and can't be read: %v", s, err)
		}
		if s2 := encode(&again); s2 != s {
			t.Fatalf("%q is written as %q the next time", s, s2)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("J\xf6rg \x00\x1b\u009b\ufffd日本")
	f.Fuzz(func(t *testing.T, s string) {
		e := Event{At: time.Unix(1, 0).UTC(), Kind: Refused, Reply: s, To: []string{s}}
		back, err := decodeLine([]byte(encode(&e)))
		if err != nil || back.Reply != clip(s) || back.To[0] != clip(s) {
			t.Fatalf("%q came back as %q (%v)", s, back.Reply, err)
		}
		q := Query{Address: s}
		if fold := foldAddress(s); fold != "" {
			if fl := q.filter(); !fl.line([]byte(encode(&e))) || !fl.event(&back) {
				t.Fatalf("%q is not found by itself", s)
			}
			set := newKeySet(appendKeys(nil, &e), span{})
			if fl := q.filter(); !fl.keys(set.has) {
				t.Fatalf("the keys of %q do not have it", s)
			}
		}
	})
}
