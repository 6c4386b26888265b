package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp"
)

// holubIn runs a command line in a folder, and gives its exit code and all that it says.
func holubIn(t *testing.T, dir string, args ...string) (code int, said string) {
	t.Helper()
	t.Chdir(dir)
	var out bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.Execute()
	if err == nil {
		return 0, out.String()
	}
	code = exUsage
	var e exitError
	if errors.As(err, &e) {
		code = e.code
	}
	return code, out.String() + err.Error()
}

// filledFolder makes a folder with a spool of messages that have these sizes. The second start moves the store's log into a
// table.
func filledFolder(t *testing.T, starts int, sizes ...int) string {
	t.Helper()
	dir := t.TempDir()
	for start := range starts {
		e, err := lsm.Open(filepath.Join(dir, "holub-data", "spool"), lsm.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(sizes) && start == 0; n++ {
			putPlain(t, e, filledID(byte(n+1)), sizes[n])
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func putPlain(t *testing.T, e spool.Engine, id spool.ID, size int) {
	t.Helper()
	to, err := smtp.ParsePath("<ann@example.com>")
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Create(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size) // what can't be compressed, or all of it is one block of the store
	if _, err := rand.NewChaCha8([32]byte(bytes.Repeat(id[8:], 8))).Read(b); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	m := &spool.Message{ID: id, From: to, Size: int64(size), Recipients: []spool.Recipient{{To: to}}}
	if err := e.Apply(t.Context(), spool.Put{Message: m, Content: c}); err != nil {
		t.Fatal(err)
	}
}

// A file that was altered gives what is whole in it, and exit code 65 with what is not.
func TestSpoolImportAltered(t *testing.T) {
	dir := filledFolder(t, 1, 100, 2000, 200_000)
	if code, said := holubIn(t, dir, "spool", "export", "queue.tar"); code != 0 {
		t.Fatal(code, said)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "queue.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at   int // the octet in which a bit turns
		says []string
	}{
		"address": {bytes.Index(whole, []byte("ann@")), []string{"imported 2 messages; 0 were there", "1 left out", "its envelope was changed"}},
		"content": {bytes.LastIndex(whole, []byte(".eml\x00")) + 600, []string{"imported 2 messages; 0 were there", "1 left out", "its content was changed"}},
		"header":  {bytes.LastIndex(whole, []byte(".eml\x00")), []string{"imported 2 messages", "there are 3 messages, not imported: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			there := t.TempDir()
			b := bytes.Clone(whole)
			b[c.at] ^= 1
			if err := os.WriteFile(filepath.Join(there, "q.tar"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			code, said := holubIn(t, there, "spool", "import", "q.tar")
			for _, s := range c.says {
				if code != exDataErr || !strings.Contains(said, s) {
					t.Errorf("code %d; no %q in\n%s", code, s, said)
				}
			}
		})
	}
}

// Content that can't be read does not keep the rest from being exported.
func TestSpoolExportDamaged(t *testing.T) {
	dir := filledFolder(t, 1, 100, 2000, 200_000)
	bad := filledID(3)
	if err := os.Remove(filepath.Join(dir, "holub-data", "spool", "bodies", bad.String())); err != nil {
		t.Fatal(err)
	}
	code, said := holubIn(t, dir, "spool", "export", "queue.tar")
	if code != exDataErr || !strings.Contains(said, "exported 2 messages") || !strings.Contains(said, "1 left out") ||
		!strings.Contains(said, bad.String()) {
		t.Errorf("code %d: %s", code, said)
	}
	code, said = holubIn(t, t.TempDir(), "spool", "import", filepath.Join(dir, "queue.tar"))
	if code != 0 || !strings.Contains(said, "imported 2 messages") {
		t.Errorf("code %d: %s", code, said)
	}
}

// Whatever turns in a spool, a bit or many, check finds it sound or says with exit code 65 what mends it, in words of its own.
func TestSpoolCheckFlips(t *testing.T) {
	met := map[string]bool{} // by what it says
	rng := rand.New(rand.NewPCG(1, 2))
	for starts := 1; starts <= 2; starts++ {
		dir := filledFolder(t, starts, 100, 2000, 17_000, 17_000, 200_000) // the last is a file of its own
		data := filepath.Join(dir, "holub-data")
		err := filepath.WalkDir(data, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			whole, err := os.ReadFile(name)
			if err != nil || len(whole) == 0 {
				return err
			}
			for round := range 4 {
				at, bit := rng.IntN(len(whole)), rng.IntN(8)
				b := bytes.Clone(whole)
				b[at] ^= 1 << bit
				if round%2 == 1 { // more than can be turned back
					b[rng.IntN(len(b))] ^= 0x55
					b[at] ^= 0xaa
				}
				if err := os.WriteFile(name, b, 0o600); err != nil {
					return err
				}
				code, said := holubIn(t, dir, "spool", "check")
				sound := code == 0 && strings.Contains(said, "all that can be delivered is sound")
				helped := code == exDataErr && strings.Contains(said, "At its start `holub serve` turns back")
				if !sound && !helped || strings.Contains(said, "detail carrier") {
					t.Errorf("%s, octet %d of %d, bit %d, round %d: code %d\n%s", name, at, len(whole), bit, round, code, said)
				}
				met["sound"] = met["sound"] || sound
				met["shut"] = met["shut"] || helped && strings.Contains(said, "can't be looked at as it is")
				met["listed"] = met["listed"] || helped && strings.Contains(said, "the spool has")
				met["table"] = met["table"] || helped && strings.Contains(said, "pebble: file") && strings.Contains(said, "the spool has")
			}
			return os.WriteFile(name, whole, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !met["sound"] || !met["shut"] || !met["listed"] || !met["table"] {
		t.Errorf("met only %v", met)
	}
}
