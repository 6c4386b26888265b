//go:build unix

package peers

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestLockFileExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var wg sync.WaitGroup
	var holders, turns atomic.Int32
	for range 8 {
		wg.Go(func() {
			for range 50 {
				unlock, err := lockFile(path)
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				holders.Add(-1)
				turns.Add(1)
				unlock()
			}
		})
	}
	wg.Wait()
	if n := turns.Load(); n != 400 {
		t.Errorf("%d turns, want 400", n)
	}
}
