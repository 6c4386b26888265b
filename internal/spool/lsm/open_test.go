package lsm

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/holub-mail/holub/internal/spool"
)

// TestUnwritable: where the folder can't be written the start says which folder, why, and what to do; it is not taken for one
// in use. What can't be written can still be looked at.
func TestUnwritable(t *testing.T) {
	mem := vfs.NewMem()
	e := openTest(t, mem)
	m := putTest(t, e, spool.ID{1}, 100)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		cause error
		says  string
	}{{syscall.EROFS, "read-only"}, {syscall.EACCES, "user that runs holub"}} {
		disk := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if changes(op.Kind) || op.Kind == errorfs.OpLock {
				return &fs.PathError{Op: "write", Path: op.Path, Err: test.cause}
			}
			return nil
		}))
		for _, dir := range []string{testFolder, "/new"} {
			_, err := Open(dir, Options{FS: disk})
			if !errors.Is(err, test.cause) || errors.Is(err, spool.ErrInUse) {
				t.Errorf("%s: %v", dir, err)
			} else if text := err.Error(); !strings.Contains(text, dir) || !strings.Contains(text, test.says) ||
				!strings.Contains(text, "data_dir") {
				t.Errorf("%s: %v", dir, err)
			}
		}
		e, err := Open(testFolder, Options{FS: disk, ReadOnly: true})
		if test.cause != syscall.EROFS {
			if !errors.Is(err, test.cause) {
				t.Errorf("looking where the lock can't be taken: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("looking at a read-only disk: %v", err)
		}
		if got, err := e.Load(t.Context(), m.ID); err != nil || len(got.Recipients) != 2 {
			t.Errorf("looking at a read-only disk: %+v, %v", got, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRisk names tmpfs where there is one, and has nothing to say of what is not there.
func TestRisk(t *testing.T) {
	if risk := Risk("/nonexistent/folder"); risk != "" {
		t.Errorf("of no folder: %q", risk)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Skip("no list of mounts on this system")
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 2 && f[2] == "tmpfs" && !strings.Contains(f[1], `\`) {
			if _, err := os.Stat(f[1]); err != nil {
				continue
			}
			if risk := Risk(f[1]); !strings.Contains(risk, "tmpfs") && !strings.Contains(risk, "overlay") {
				t.Errorf("%s is tmpfs: %q", f[1], risk)
			}
			return
		}
	}
	t.Skip("no tmpfs is mounted here")
}
