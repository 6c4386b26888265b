package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/deliver"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

const letter = "Subject: pigeons\r\n\r\nThey fly.\r\n.dot\r\n"

func path(t *testing.T, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// task makes one for n recipients: joe+0@example.net and so on.
func task(t *testing.T, from, content string, n int) deliver.Task {
	t.Helper()
	m := &spool.Message{ID: spool.NewIDs(1).New(time.Unix(1e9, 0)), Arrived: time.Unix(1e9, 0), Size: int64(len(content))}
	m.From = path(t, from)
	task := deliver.Task{Message: m, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
	for i := range n {
		m.Recipients = append(m.Recipients, spool.Recipient{To: path(t, fmt.Sprintf("<joe+%d@example.net>", i))})
		task.Recipients = append(task.Recipients, i)
	}
	return task
}

// files lists a Maildir: names with their folders, and what is in them.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		name, _ := filepath.Rel(dir, p)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func expectReply(t *testing.T, outcomes []spool.Outcome, want ...string) {
	t.Helper()
	var all []string
	for i, o := range outcomes {
		s := fmt.Sprint(o.Reply.Code, " ", o.Reply.Enhanced)
		if o.Reply.Temporary() {
			s += " " + o.Reason.String()
		}
		if o.Hold {
			s += " hold"
		}
		all = append(all, s)
		if o.N != i || o.Host != "" {
			t.Errorf("outcome %d is %+v", i, o)
		}
	}
	if !slices.Equal(all, want) {
		t.Errorf("outcomes %q, want %q", all, want)
	}
}

func TestMaildir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var", "mail", "joe")
	mail := task(t, "<ann@example.com>", letter, 1)
	outcomes := Maildir(t.Context(), dir, "mx.example.net", mail)
	expectReply(t, outcomes, "250 2.0.0")
	if text := outcomes[0].Reply.Text(); text != "250 2.0.0 Delivered to "+dir {
		t.Errorf("the reply is %q", text)
	}
	name := fmt.Sprintf("new/1000000000.%s_0.mx.example.net", mail.Message.ID)
	all := files(t, dir)
	if len(all) != 1 || all[name] != "Return-Path: <ann@example.com>\nDelivered-To: joe+0@example.net\nSubject: pigeons\n\nThey fly.\n.dot\n" {
		t.Errorf("the folder has %q", all)
	}
}

func TestReturnPath(t *testing.T) {
	for from, want := range map[string]string{"<>": "<>", "<Ann@Example.com>": "<Ann@Example.com>", `<"a b"@example.com>`: `<"a b"@example.com>`} {
		dir := t.TempDir()
		expectReply(t, Maildir(t.Context(), dir, "mx", task(t, from, letter, 1)), "250 2.0.0")
		for _, content := range files(t, dir) {
			if line, _, _ := strings.Cut(content, "\n"); line != "Return-Path: "+want {
				t.Errorf("the first line is %q", line)
			}
		}
	}
}

// TestRepeated makes the same attempt again, as after a crash that took its result: every recipient has one file.
func TestRepeated(t *testing.T) {
	dir := t.TempDir()
	mail := task(t, "<ann@example.com>", letter, 3)
	first := mail
	first.Recipients = []int{0}
	expectReply(t, Maildir(t.Context(), dir, "mx", first), "250 2.0.0")
	delivered := filepath.Join(dir, "new", fileName("mx", 0, mail.Message))
	if err := os.WriteFile(delivered, []byte("marked by its reader"), 0o600); err != nil {
		t.Fatal(err)
	}
	expectReply(t, Maildir(t.Context(), dir, "mx", mail), "250 2.0.0", "250 2.0.0", "250 2.0.0")
	expectReply(t, Maildir(t.Context(), dir, "mx", mail), "250 2.0.0", "250 2.0.0", "250 2.0.0")
	all := files(t, dir)
	if len(all) != 3 || all["new/"+filepath.Base(delivered)] != "marked by its reader" {
		t.Errorf("the folder has %q", all)
	}
	expectReply(t, Maildir(t.Context(), dir, "mx", task(t, "<ann@example.com>", letter, 1)), "250 2.0.0")
	if n := len(files(t, dir)); n != 4 {
		t.Errorf("%d files after another message", n)
	}
}

// TestLeftovers has a file in tmp/ from an attempt that was cut off: it is written over.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	mail := task(t, "<>", letter, 1)
	name := fileName("mx", 0, mail.Message)
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", name), []byte(strings.Repeat("half a message", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	expectReply(t, Maildir(t.Context(), dir, "mx", mail), "250 2.0.0")
	if all := files(t, dir); len(all) != 1 || !strings.HasSuffix(all["new/"+name], ".dot\n") || strings.Contains(all["new/"+name], "half") {
		t.Errorf("the folder has %q", all)
	}
}

// TestPermissions: mail is for its owner alone. Folders that are there keep what they have.
func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such permissions")
	}
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	expectReply(t, Maildir(t.Context(), filepath.Join(base, "a", "joe"), "mx", task(t, "<>", letter, 1)), "250 2.0.0")
	seen := 0
	err := filepath.WalkDir(base, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if p == base {
			want = 0o755
		}
		if seen++; info.Mode().Perm() != want {
			t.Errorf("%s has %v, want %v", p, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || seen != 7 { // base, a, joe, tmp, new, cur and the file
		t.Errorf("%d entries, %v", seen, err)
	}
}

// TestUnwritable has folders that can't be made or written: the mail waits. Root may write everywhere, so what stands in
// the way are files.
func TestUnwritable(t *testing.T) {
	for _, inTheWay := range []string{"joe", "joe/tmp", "joe/new", "joe/cur"} {
		base := t.TempDir()
		path := filepath.Join(base, filepath.FromSlash(inTheWay))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("in the way"), 0o600); err != nil {
			t.Fatal(err)
		}
		outcomes := Maildir(t.Context(), filepath.Join(base, "joe"), "mx", task(t, "<>", letter, 2))
		if inTheWay == "joe/cur" { // nothing is written there
			expectReply(t, outcomes, "250 2.0.0", "250 2.0.0")
			continue
		}
		expectReply(t, outcomes, "451 4.2.0 local", "451 4.2.0 local")
		if all := files(t, base); len(all) != 1 {
			t.Errorf("with %s in the way, the folder has %q", inTheWay, all)
		}
	}
}

// TestNameTooLong is a folder that can never be made: the sender is told at once.
func TestNameTooLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("%2F", 255))
	outcomes := Maildir(t.Context(), dir, "mx", task(t, "<>", letter, 1))
	if runtime.GOOS != "windows" {
		expectReply(t, outcomes, "550 5.1.1")
	}
}

// TestLongHostname keeps the file's name within what file systems take.
func TestLongHostname(t *testing.T) {
	dir := t.TempDir()
	host := strings.Repeat("long.", 50) + "exa"
	expectReply(t, Maildir(t.Context(), dir, host, task(t, "<>", letter, 1)), "250 2.0.0")
	expectReply(t, Maildir(t.Context(), dir, "a/b:c", task(t, "<>", letter, 1)), "250 2.0.0")
	good := regexp.MustCompile(`^new/1000000000\.[0-9a-z]{20}_0\.(a\\057b\\072c|(long\.)+(l|lo|lon|long)?)$`)
	for name := range files(t, dir) {
		if !good.MatchString(name) {
			t.Errorf("the file is named %q", name)
		}
	}
}

// failing gives its content and then an error.
type failing struct {
	io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func (failing) Close() error { return nil }

// TestUnreadable has content that can't be read: no file is left, and what is damaged is held.
func TestUnreadable(t *testing.T) {
	damaged := fmt.Errorf("chunk 7: %w", spool.ErrDamaged)
	passing := errors.New("input/output error")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		open error
		read error
		want string
	}{
		{"damaged from its start", t.Context(), damaged, nil, "451 4.3.0 unreadable hold"},
		{"gone", t.Context(), spool.ErrNotFound, nil, "451 4.3.0 unreadable hold"},
		{"damaged in the middle", t.Context(), nil, damaged, "451 4.3.0 unreadable hold"},
		{"broken in the middle", t.Context(), nil, passing, "451 4.3.0 unreadable"},
		{"this server stops", cancelled, context.Canceled, nil, "451 4.3.2 shutdown"},
		{"this server stops in the middle", cancelled, nil, context.Canceled, "451 4.3.2 shutdown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			mail := task(t, "<>", letter, 1)
			mail.Open = func(context.Context) (io.ReadCloser, error) {
				return failing{strings.NewReader(strings.Repeat(letter, 2000)), test.read}, test.open
			}
			expectReply(t, Maildir(test.ctx, dir, "mx", mail), test.want)
			if all := files(t, dir); len(all) != 0 {
				t.Errorf("the folder has %d files", len(all))
			}
		})
	}
}

// TestUnixLines cuts texts of CR, LF and letters into all kinds of pieces.
func TestUnixLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		text := make([]byte, rng.IntN(20))
		for i := range text {
			text[i] = "\r\r\n\nab"[rng.IntN(6)]
		}
		checkUnixLines(t, text, rng)
	}
}

func FuzzUnixLines(f *testing.F) {
	for _, text := range []string{"", "a\r\nb\r\n", "\r", "\r\r\n", "\n\r", "a\rb", strings.Repeat("\r\n", 50)} {
		f.Add([]byte(text), uint64(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		checkUnixLines(t, text, rand.New(rand.NewPCG(seed, 0)))
	})
}

func checkUnixLines(t *testing.T, text []byte, rng *rand.Rand) {
	t.Helper()
	var b bytes.Buffer
	u := unixLines{w: bufio.NewWriterSize(&b, 16)}
	for rest := text; len(rest) > 0; {
		n := 1 + rng.IntN(len(rest))
		if written, err := u.Write(rest[:n]); written != n || err != nil {
			t.Fatalf("Write of %d octets gives %d, %v", n, written, err)
		}
		rest = rest[n:]
	}
	if err := errors.Join(u.close(), u.w.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")); !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%q is written as %q, want %q", text, b.Bytes(), want)
	}
}

// TestFullDisk has a writer that fails: the error comes up.
func TestFullDisk(t *testing.T) {
	full := errors.New("no space left on device")
	u := unixLines{w: bufio.NewWriterSize(failingWriter{full}, 16)}
	_, err := u.Write([]byte(strings.Repeat("line\r\n", 100)))
	if err = errors.Join(err, u.close(), u.w.Flush()); !errors.Is(err, full) {
		t.Errorf("the error is %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
