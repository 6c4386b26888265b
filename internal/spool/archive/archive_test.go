package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp"
)

func newSpool(t *testing.T) *lsm.Engine {
	t.Helper()
	e, err := lsm.Open("/spool", lsm.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func path(t testing.TB, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// anyText gives octets of all kinds.
func anyText(rng *rand.Rand) string {
	b := make([]byte, rng.IntN(12))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return []string{"", "plain text", "näive 例子", "<&>\u2028\r\n\"", string(b)}[rng.IntN(5)]
}

// anyValue fills a value of any field with something. A field whose type it does not know fails the test, so that a field that
// is added to spool.Message is added to the file as well.
func anyValue(t testing.TB, rng *rand.Rand, v reflect.Value) {
	if anyNamed(t, rng, v) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			anyValue(t, rng, v.Field(i))
		}
	case reflect.Slice:
		v.SetZero()
		for range rng.IntN(4) {
			x := reflect.New(v.Type().Elem()).Elem()
			anyValue(t, rng, x)
			v.Set(reflect.Append(v, x))
		}
	case reflect.Array:
		for i := range v.Len() {
			anyValue(t, rng, v.Index(i))
		}
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(rng.Int64N(1000))
	case reflect.Int8:
		v.SetInt(rng.Int64N(19) - 9)
	case reflect.String:
		v.SetString(anyText(rng))
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

// anyNamed fills a value whose type allows not just anything.
func anyNamed(t testing.TB, rng *rand.Rand, v reflect.Value) bool {
	switch p := v.Addr().Interface().(type) {
	case *smtp.Path:
		paths := []string{"<a@example.org>", `<"Joe \" B"@Example.ORG>`, "<b@[IPv6:2001:db8::1]>", "<é@例子.example>", "<Postmaster>"}
		*p = path(t, paths[rng.IntN(len(paths))])
	case *time.Time:
		if *p = (time.Time{}); rng.IntN(3) > 0 {
			*p = time.UnixMilli(rng.Int64N(4e12) - 1e12).UTC()
		}
	case *spool.ID:
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
	case *spool.Kind:
		*p = spool.Kind(rng.IntN(int(spool.SuccessNote) + 1))
	case *spool.State:
		*p = spool.State(rng.IntN(int(spool.Held) + 1))
	case *spool.Reason:
		*p = spool.Reason(rng.IntN(int(spool.ReasonPaused) + 1))
	case *smtp.Notify:
		*p = smtp.Notify(rng.IntN(16))
	case *[]spool.Recipient:
		*p = make([]spool.Recipient, 1+rng.IntN(3))
		for i := range *p {
			anyValue(t, rng, reflect.ValueOf(&(*p)[i]).Elem())
		}
	default:
		return false
	}
	return true
}

func anyMessage(t testing.TB, rng *rand.Rand) *spool.Message {
	m := &spool.Message{}
	anyValue(t, rng, reflect.ValueOf(m).Elem())
	return m
}

// Every field of an envelope survives, whatever octets its texts have.
func TestEnvelopeRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		m := anyMessage(t, rng)
		b, err := encodeEnvelope(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeEnvelope(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%v\n got %+v\nwant %+v\n%s", err, got, m, b)
		}
	}
}

// put puts n messages of all kinds into a spool.
func put(t *testing.T, e spool.Engine, n int) map[spool.ID]*spool.Message {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	all := map[spool.ID]*spool.Message{}
	for i := range n {
		m := anyMessage(t, rng)
		m.Size = []int64{0, 1, 511, 70_000, 300_000}[i%5]
		c, err := e.Create(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(octetsOf(m)); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), spool.Put{Message: m, Content: c}); err != nil {
			t.Fatal(err)
		}
		all[m.ID] = m
	}
	return all
}

func octetsOf(m *spool.Message) []byte {
	b := make([]byte, m.Size)
	for i := range b {
		b[i] = byte(i*7) ^ m.ID[i%12]
	}
	return b
}

// same holds a spool against what it should have.
func same(t *testing.T, e spool.Engine, want map[spool.ID]*spool.Message) {
	t.Helper()
	n := 0
	for m, err := range e.List(t.Context(), spool.ID{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if !reflect.DeepEqual(m, want[m.ID]) {
			t.Errorf("got %+v\nwant %+v", m, want[m.ID])
			continue
		}
		r, err := e.Open(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, octetsOf(m)) {
			t.Errorf("content of %s: %d octets, %v", m.ID, len(b), err)
		}
	}
	if n != len(want) {
		t.Errorf("%d messages, want %d", n, len(want))
	}
}

// A spool moves whole; a second import finds all known and changes nothing.
func TestRoundTrip(t *testing.T) {
	from, to := newSpool(t), newSpool(t)
	want := put(t, from, 40)
	var file bytes.Buffer
	if n, err := Export(t.Context(), from, &file); n != len(want) || err != nil {
		t.Fatalf("exported %d, %v", n, err)
	}
	for round, w := range [][2]int{{40, 0}, {0, 40}} {
		n, known, err := Import(t.Context(), to, bytes.NewReader(file.Bytes()))
		if n != w[0] || known != w[1] || err != nil {
			t.Errorf("round %d: %d new, %d known, %v", round, n, known, err)
		}
		same(t, to, want)
	}
	if sum, err := spool.Check(t.Context(), to, func(f spool.Finding) { t.Error(f) }); err != nil || sum.Messages != 40 {
		t.Errorf("%+v, %v", sum, err)
	}
	var again bytes.Buffer
	if _, err := Export(t.Context(), to, &again); err != nil || !bytes.Equal(again.Bytes(), file.Bytes()) {
		t.Errorf("the second export differs: %v", err)
	}
}

// An empty spool makes a file that imports nothing.
func TestEmpty(t *testing.T) {
	var file bytes.Buffer
	if n, err := Export(t.Context(), newSpool(t), &file); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, known, err := Import(t.Context(), newSpool(t), &file); n+known != 0 || err != nil {
		t.Error(n, known, err)
	}
}

// A file that was cut anywhere is noticed, and what came before the cut is imported whole.
func TestCut(t *testing.T) {
	from := newSpool(t)
	want := put(t, from, 5)
	var file bytes.Buffer
	if _, err := Export(t.Context(), from, &file); err != nil {
		t.Fatal(err)
	}
	whole := bytes.TrimRight(file.Bytes(), "\x00") // a tar ends in zeros that nobody misses
	for size := 0; size < len(whole)-len(`{"version":1,"messages":5}`); size += 1 + len(whole)/97 {
		to := newSpool(t)
		n, known, err := Import(t.Context(), to, bytes.NewReader(whole[:size]))
		if !errors.Is(err, ErrCut) || known != 0 {
			t.Errorf("cut to %d of %d: %d new, %d known, %v", size, len(whole), n, known, err)
		}
		there := map[spool.ID]*spool.Message{}
		for m, err := range to.List(t.Context(), spool.ID{}) {
			if err != nil {
				t.Fatal(err)
			}
			there[m.ID] = want[m.ID]
		}
		if len(there) != n {
			t.Errorf("cut to %d: %d said to be new, %d there", size, n, len(there))
		}
		same(t, to, there)
		if err := to.Close(); err != nil {
			t.Error(err)
		}
	}
}

// entries takes a file apart.
func entries(t *testing.T, file []byte) (all []entry) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(file))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{h.Name, b})
	}
}

type entry struct {
	name string
	b    []byte
}

func join(t *testing.T, all []entry) []byte {
	t.Helper()
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	for _, x := range all {
		if err := writeEntry(w, x.name, time.Time{}, x.b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// A damaged entry is reported, its message left out, and the rest imported.
func TestDamagedEntry(t *testing.T) {
	from := newSpool(t)
	want := put(t, from, 3)
	var file bytes.Buffer
	if _, err := Export(t.Context(), from, &file); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) func([]entry) []entry {
		return func(all []entry) []entry {
			all[4].b = []byte(strings.Replace(string(all[4].b), old, new, 1))
			all[3].b = (&sums{sha256.Sum256(all[4].b), sha256.Sum256(all[5].b)}).encode(strings.TrimSuffix(all[4].name, ".json"))
			return all
		}
	}
	for name, c := range map[string]struct {
		spoil func([]entry) []entry
		left  int // messages imported
	}{
		"no JSON":              {replace("{", "("), 2},
		"unknown field":        {replace(`"id"`, `"di": 1, "id"`), 2},
		"later version":        {replace(`"version": 1`, `"version": 2`), 2},
		"unknown state":        {replace(`"state": "`, `"state": "un`), 2},
		"no recipients":        {replace(`"recipients"`, `"recipients": [], "recipients"`), 3}, // the last of two counts
		"sums missing":         {func(all []entry) []entry { return slices.Delete(all, 3, 4) }, 2},
		"envelope missing":     {func(all []entry) []entry { return slices.Delete(all, 4, 5) }, 2},
		"content missing":      {func(all []entry) []entry { return slices.Delete(all, 5, 6) }, 2},
		"message missing":      {func(all []entry) []entry { return slices.Delete(all, 3, 6) }, 2},
		"sums spoilt":          {func(all []entry) []entry { all[3].b[9] ^= 0x20; return all }, 2},
		"sums cut":             {func(all []entry) []entry { all[3].b = all[3].b[:70]; return all }, 2},
		"address changed":      {func(all []entry) []entry { all[4].b[bytes.IndexByte(all[4].b, '@')-1] ^= 1; return all }, 2},
		"content changed":      {func(all []entry) []entry { all[8].b[0] ^= 1; return all }, 2},
		"content longer":       {func(all []entry) []entry { all[5].b = append(all[5].b, 'x'); return all }, 2},
		"of another":           {func(all []entry) []entry { all[4].name, all[7].name = all[7].name, all[4].name; return all }, 1},
		"a stranger":           {func(all []entry) []entry { return slices.Insert(all, 3, entry{"README", nil}) }, 3},
		"last without content": {func(all []entry) []entry { return slices.Delete(all, 8, 9) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			all := c.spoil(entries(t, file.Bytes()))
			to := newSpool(t)
			n, known, err := Import(t.Context(), to, bytes.NewReader(join(t, all)))
			if n != c.left || known != 0 || errors.Is(err, ErrCut) || name != "no recipients" && !errors.Is(err, ErrEnvelope) {
				t.Errorf("%d new, %d known, %v", n, known, err)
			}
			there := map[spool.ID]*spool.Message{}
			for m, err := range to.List(t.Context(), spool.ID{}) {
				if err != nil {
					t.Fatal(err)
				}
				there[m.ID] = want[m.ID]
			}
			if len(there) != c.left {
				t.Errorf("%d are there", len(there))
			}
			same(t, to, there)
		})
	}
	if _, _, err := Import(t.Context(), newSpool(t), strings.NewReader(strings.Repeat("no tar", 1000))); err == nil {
		t.Error("what is no tar was imported")
	}
}

// Whatever bit turns in a file, no message comes out of it changed, and none is missing without a word.
func TestFlips(t *testing.T) {
	from := newSpool(t)
	want := put(t, from, 4)
	var file bytes.Buffer
	if _, err := Export(t.Context(), from, &file); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for at := 0; at < file.Len(); at += 1 + rng.IntN(700) {
		b := bytes.Clone(file.Bytes())
		b[at] ^= 1 << rng.IntN(8)
		to := newSpool(t)
		n, known, err := Import(t.Context(), to, bytes.NewReader(b))
		if known != 0 || n < len(want) && err == nil {
			t.Errorf("octet %d: %d new, %d known, %v", at, n, known, err)
		}
		there := map[spool.ID]*spool.Message{}
		for m, err := range to.List(t.Context(), spool.ID{}) {
			if err != nil {
				t.Fatal(err)
			}
			there[m.ID] = want[m.ID]
		}
		if len(there) != n {
			t.Errorf("octet %d: %d said to be new, %d there", at, n, len(there))
		}
		same(t, to, there)
		if err := to.Close(); err != nil {
			t.Error(err)
		}
	}
}

// After a header that can't be read the file is read to its end, to say how many messages are missing.
func TestDamagedHeader(t *testing.T) {
	from := newSpool(t)
	put(t, from, 3)
	var file bytes.Buffer
	if _, err := Export(t.Context(), from, &file); err != nil {
		t.Fatal(err)
	}
	all := entries(t, file.Bytes())
	name := []byte(all[6].name) // of the last message
	for says, spoil := range map[string]func([]byte) []byte{
		"there are 3 messages, not imported: 1": func(b []byte) []byte {
			b[bytes.Index(b, append(name, 0))] ^= 1
			return b
		},
		"after 3 messages, and how many are missing is not known": func(b []byte) []byte {
			b[bytes.LastIndex(b, []byte(manifestName))] ^= 1
			return b
		},
		"after 2 messages, and how many are missing is not known": func(b []byte) []byte {
			at := bytes.Index(b, append(name, 0))
			b[at] ^= 1
			return b[:at+1000]
		},
	} {
		n, _, err := Import(t.Context(), newSpool(t), bytes.NewReader(spoil(bytes.Clone(file.Bytes()))))
		if !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), says) {
			t.Errorf("%d new, %v; want %s", n, err, says)
		}
	}
}

// What can't be read is left out of the file and named, and the file is good without it.
func TestExportDamaged(t *testing.T) {
	disk := vfs.NewMem()
	e, err := lsm.Open("/spool", lsm.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	want := put(t, e, 10)
	var bad spool.ID
	for id, m := range want {
		if m.Size == 300_000 {
			bad = id
		}
	}
	if err := disk.Remove(fmt.Sprintf("/spool/bodies/%s", bad)); err != nil {
		t.Fatal(err)
	}
	delete(want, bad)
	var file bytes.Buffer
	n, err := Export(t.Context(), e, &file)
	if n != 9 || !errors.Is(err, spool.ErrDamaged) || !strings.Contains(err.Error(), bad.String()) {
		t.Errorf("%d, %v", n, err)
	}
	to := newSpool(t)
	if n, _, err := Import(t.Context(), to, &file); n != 9 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	same(t, to, want)
}

func FuzzEnvelope(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 5 {
		b, err := encodeEnvelope(anyMessage(f, rng))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":1,"client":{"base64":"/w=="}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeEnvelope(b)
		if err != nil {
			if !errors.Is(err, ErrEnvelope) {
				t.Fatalf("%v does not wrap ErrEnvelope", err)
			}
			return
		}
		again, err := encodeEnvelope(m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if got, err := decodeEnvelope(again); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, m)
		}
	})
}
