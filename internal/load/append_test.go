package load

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAppendRate(t *testing.T) {
	dir := t.TempDir()
	rate, err := AppendRate(t.Context(), dir, 4, 100, 50*time.Millisecond)
	if err != nil || rate <= 0 {
		t.Errorf("%v %v", rate, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := AppendRate(t.Context(), filepath.Join(dir, "none"), 1, 1, time.Millisecond); err == nil {
		t.Error("records went to a folder that is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := AppendRate(ctx, dir, 2, 100, time.Hour); err == nil {
		t.Error("it goes on when nobody wants it any more")
	}
}
