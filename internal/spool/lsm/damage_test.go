package lsm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

const testFolder = "/var/spool"

func openTest(t *testing.T, disk vfs.FS) *Engine {
	t.Helper()
	e, err := Open(testFolder, Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// putTest puts a message of two recipients and size octets.
func putTest(t *testing.T, e *Engine, id spool.ID, size int) *spool.Message {
	t.Helper()
	var to [2]spool.Recipient
	for i := range to {
		p, err := smtp.ParsePath(fmt.Sprintf("<r%d@example.org>", i))
		if err != nil {
			t.Fatal(err)
		}
		to[i] = spool.Recipient{To: p, Next: time.UnixMilli(int64(1000 + i)).UTC()}
	}
	m := &spool.Message{ID: id, Size: int64(size), Recipients: to[:]}
	c, err := e.Create(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(bytes.Repeat([]byte{id[0]}, size)); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), spool.Put{Message: m, Content: c}); err != nil {
		t.Fatal(err)
	}
	e.fresh.forget(id) // these tests are of what is on the disk
	return m
}

func keys(t *testing.T, e *Engine, prefix byte) map[string]string {
	t.Helper()
	lo, hi := prefixRange(prefix)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	all := map[string]string{}
	for it.First(); it.Valid(); it.Next() {
		all[string(it.Key())] = string(it.Value())
	}
	return all
}

func listTest(t *testing.T, e *Engine) (all []spool.Pending, errs []error) {
	t.Helper()
	for p, err := range e.Pending(t.Context()) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, p)
	}
	return all, errs
}

// A record that can't be read takes its message out of the way, keeps every value, and harms no other message.
func TestDamagedMessage(t *testing.T) {
	bad, good := spool.ID{1}, spool.ID{2}
	spoilt := map[string][]byte{
		"envelope":       idKey(prefixEnvelope, bad),
		"recipient":      numberedKey(prefixRecipient, bad, 1),
		"lost recipient": numberedKey(prefixRecipient, bad, 0),
	}
	for name, key := range spoilt {
		t.Run(name, func(t *testing.T) {
			e := openTest(t, vfs.NewMem())
			putTest(t, e, bad, 200_000)
			putTest(t, e, good, 10)
			garbage := []byte("\x01garbage")
			err := e.db.Set(key, garbage, pebble.NoSync)
			if strings.HasPrefix(name, "lost") {
				err = e.db.Delete(key, pebble.NoSync)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Load(t.Context(), bad); !errors.Is(err, spool.ErrDamaged) {
				t.Fatalf("Load: %v", err)
			}
			aside := keys(t, e, prefixDamaged)
			if got, there := aside["x"+string(key)]; strings.HasPrefix(name, "lost") == there || there && got != string(garbage) {
				t.Errorf("the damaged value was not kept: %q", got)
			}
			if n := len(aside); n < 4 { // of envelope, two recipients, two index entries
				t.Errorf("%d keys set aside", n)
			}
			if n := len(keys(t, e, prefixContent)) + len(keys(t, e, prefixBody)); n != 2 {
				t.Errorf("the content of %d messages is left, want 2", n)
			}
			if _, err := e.Load(t.Context(), bad); !errors.Is(err, spool.ErrNotFound) {
				t.Errorf("second Load: %v", err)
			}
			if _, err := e.Load(t.Context(), good); err != nil {
				t.Errorf("the other message: %v", err)
			}
			pending, errs := listTest(t, e)
			if len(pending) != 2 || pending[0].ID != good || len(errs) != 0 {
				t.Errorf("Pending: %v, %v", pending, errs)
			}
		})
	}
}

// A damaged index entry is set aside and made again from the recipient, so no mail is hidden by it.
func TestDamagedIndex(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	m := putTest(t, e, spool.ID{1}, 10)
	p := spool.PendingOf(m, 1, &m.Recipients[1])
	for _, bad := range [][]byte{indexKey(m.ID, 1, p.Next), []byte("pshort")} {
		if err := e.db.Set(bad, []byte("\x01garbage"), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	pending, errs := listTest(t, e)
	if len(pending) != 2 || pending[1] != p || len(errs) != 2 {
		t.Errorf("Pending: %+v, %v", pending, errs)
	}
	for _, err := range errs {
		if !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("%v does not wrap ErrDamaged", err)
		}
	}
	if n := len(keys(t, e, prefixDamaged)); n != 2 {
		t.Errorf("%d entries set aside, want 2", n)
	}
	if pending, errs = listTest(t, e); len(pending) != 2 || len(errs) != 0 {
		t.Errorf("second listing: %+v, %v", pending, errs)
	}
}

// Nothing is left behind by messages that came and went, nor by content that was aborted or never put.
func TestNothingLeft(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	for i, size := range []int{0, 10, chunkSize, chunkSize + 1, inlineSize, inlineSize + 1, 20 << 20} {
		id := spool.ID{byte(i + 1)}
		m := putTest(t, e, id, size)
		for n, r := range m.Recipients {
			r.State = spool.Delivered
			if err := e.Apply(t.Context(), spool.Update{ID: id, Recipients: map[int]spool.Recipient{n: r}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, abort := range []bool{true, false} {
		c, err := e.Create(t.Context(), spool.ID{0, byte(i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, 300_000)); err != nil {
			t.Fatal(err)
		}
		if abort {
			c.Abort()
		}
	}
	if len(e.ending) != 0 || len(e.writing) != 1 {
		t.Errorf("in memory: %d messages ending, %d being written, want 0 and 1", len(e.ending), len(e.writing))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openTest(t, disk)
	for _, prefix := range []byte("mrcbpwex") {
		if n := len(keys(t, e, prefix)); n != 0 {
			t.Errorf("%d keys of prefix %c", n, prefix)
		}
	}
	if names := bodyNames(t, disk); len(names) != 0 {
		t.Errorf("files of content are left: %q", names)
	}
}

// The deletion that follows two commits side by side may be lost with the power; the mark makes the next start repeat it.
func TestEndingFinishedAtStart(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	done, open := putTest(t, e, spool.ID{1}, 200_000), putTest(t, e, spool.ID{2}, 10)
	for _, m := range []*spool.Message{done, open} {
		if err := e.db.Set(idKey(prefixEnding, m.ID), nil, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	b := e.db.NewBatch()
	c := &change{id: done.ID, envelope: done}
	for n, r := range done.Recipients {
		s := newState{n: n, to: r, was: r.State, due: r.Next}
		s.to.State = spool.Delivered
		c.new = append(c.new, s)
	}
	if err := errors.Join(c.writeUpdate(b), b.Commit(pebble.NoSync), b.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	if names := bodyNames(t, disk); len(names) != 1 {
		t.Fatalf("files of content: %q, want that of the finished message", names)
	}
	e = openTest(t, disk)
	if _, err := e.Load(t.Context(), done.ID); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("the finished message: %v", err)
	}
	if _, err := e.Load(t.Context(), open.ID); err != nil {
		t.Errorf("the open message: %v", err)
	}
	if n := len(keys(t, e, prefixContent)); n != 1 {
		t.Errorf("%d chunks left, want the one of the open message", n)
	}
	if names := bodyNames(t, disk); len(names) != 0 {
		t.Errorf("files of content are left: %q", names)
	}
	if n := len(keys(t, e, prefixEnding)); n != 0 {
		t.Errorf("%d marks left", n)
	}
}

func TestVersion(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, disk)
	if err := errors.Join(e.db.Set([]byte{prefixVersion}, []byte{formatVersion + 1}, pebble.Sync), e.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := Open(testFolder, Options{FS: disk})
	if err == nil || !strings.Contains(err.Error(), "version 3") || !strings.Contains(err.Error(), testFolder) {
		t.Errorf("a later format: %v", err)
	}
	db, err := pebble.Open("/other", &pebble.Options{FS: disk, Logger: pebbleLog{log: Options{}.withDefaults().Logger}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set([]byte("theirs"), nil, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("/other", Options{FS: disk}); err == nil || !strings.Contains(err.Error(), "no spool") {
		t.Errorf("a store of others: %v", err)
	}
}

// TestInUse opens a folder twice in one process, and from a second process, which is this test run again.
func TestInUse(t *testing.T) {
	const variable = "HOLUB_TEST_SPOOL"
	if dir := os.Getenv(variable); dir != "" {
		_, err := Open(dir, Options{})
		if !errors.Is(err, spool.ErrInUse) || !strings.Contains(err.Error(), dir) {
			t.Errorf("second process: %v", err)
		}
		return
	}
	dir := t.TempDir()
	e, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := Open(dir, Options{}); !errors.Is(err, spool.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("same process: %v", err)
	}
	second := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInUse$", "-test.v")
	second.Env = append(os.Environ(), variable+"="+dir)
	if out, err := second.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestInUse") {
		t.Errorf("second process: %v\n%s", err, out)
	}
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file+"/spool", Options{}); err == nil || errors.Is(err, spool.ErrInUse) {
		t.Errorf("a folder below a file: %v", err)
	}
}
