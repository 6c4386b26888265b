package lsm

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/spooltest"
)

// memDisk is a disk in memory whose power can be cut.
type memDisk struct {
	fs    *vfs.MemFS
	guard sync.RWMutex // of a cut against calls in which MemFS locks twice
	watch atomic.Pointer[func()]
}

// guardedFS keeps a cut out of the two calls in which MemFS takes its read lock a second time while it holds it: a cut
// that waits for its write lock in between would wait for ever, and they for it.
type guardedFS struct {
	vfs.FS
	guard *sync.RWMutex
}

func (g guardedFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	g.guard.RLock()
	defer g.guard.RUnlock()
	return g.FS.ReuseForWrite(from, to, c)
}

func (g guardedFS) Lock(name string) (io.Closer, error) {
	g.guard.RLock()
	defer g.guard.RUnlock()
	return g.FS.Lock(name)
}

var _ spooltest.Disk = (*memDisk)(nil)

func newMemDisk() *memDisk { return &memDisk{fs: vfs.NewCrashableMem()} }

// Open opens the engine with small memtables, so that the log rotates and tables are written within a test.
func (d *memDisk) Open() (spool.Engine, error) {
	watched := errorfs.Wrap(guardedFS{d.fs, &d.guard}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f := d.watch.Load(); f != nil && changes(op.Kind) {
			(*f)()
		}
		return nil
	}))
	return Open("/var/spool", Options{FS: watched, MemTableSize: 256 << 10})
}

// changes tells the operations after which a loss of power can leave something else than before.
func changes(k errorfs.OpKind) bool {
	switch k {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpRename,
		errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpFileWrite, errorfs.OpFileWriteAt,
		errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return true
	}
	return false
}

func (d *memDisk) Watch(f func()) {
	if f == nil {
		d.watch.Store(nil)
		return
	}
	d.watch.Store(&f)
}

func (d *memDisk) Cut(keep int, rng *rand.Rand) spooltest.Disk {
	d.guard.Lock()
	defer d.guard.Unlock()
	return &memDisk{fs: d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rng})}
}

func TestContract(t *testing.T) {
	spooltest.Run(t, func(*testing.T) spooltest.Store { return newMemDisk() })
}

// realFolder is a store in a folder of the machine's disk.
type realFolder struct{ dir string }

func (f realFolder) Open() (spool.Engine, error) { return Open(f.dir, Options{}) }

func TestContractOnDisk(t *testing.T) {
	spooltest.Run(t, func(t *testing.T) spooltest.Store { return realFolder{t.TempDir() + "/new/spool"} })
}

func TestPowerCut(t *testing.T) {
	spooltest.RunPowerCut(t, func(*testing.T) spooltest.Disk { return newMemDisk() })
}
