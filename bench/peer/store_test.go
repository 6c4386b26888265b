package peer

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestOnce fills a folder by many callers at once, of which one does the work, after a try that failed half-way.
func TestOnce(t *testing.T) {
	c := &store{base: t.TempDir()}
	broken := errors.New("broken")
	_, err := c.once("x", func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("a try that fails: %v", err)
	}
	var filled atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, err := c.once("x", func(dir string) error {
				filled.Add(1)
				return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(dir, "whole")); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "half")); err == nil {
				t.Error("what the failed try wrote is still there")
			}
		})
	}
	all.Wait()
	if n := filled.Load(); n != 1 {
		t.Errorf("filled %d times", n)
	}
}

func TestCountFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/1-H", "a/1-D", "b/2-H"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n, err := countFiles(t.Context(), dir, func(path string) bool { return filepath.Base(path)[1:] == "-H" })
	if err != nil || n != 2 {
		t.Errorf("%d, %v; want 2", n, err)
	}
	if n, err := countFiles(t.Context(), filepath.Join(dir, "none"), func(string) bool { return true }); err != nil || n != 0 {
		t.Errorf("no folder: %d, %v", n, err)
	}
}

func TestInstalledVersion(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "Package: opensmtpd-extras\nVersion: 1.2-3\n\nPackage: opensmtpd\nStatus: install ok installed\nVersion: 6.8.0p2-4+b4\nDepends: x\n\n"
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if v, err := installedVersion(root, "opensmtpd"); err != nil || v != "6.8.0p2" {
		t.Errorf("%q, %v; want 6.8.0p2", v, err)
	}
	if v, err := installedVersion(root, "exim4"); err == nil {
		t.Errorf("a package that is not there: %q", v)
	}
}
