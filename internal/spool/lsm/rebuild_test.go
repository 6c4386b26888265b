package lsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/holub-mail/holub/internal/spool"
)

// TestRebuildPowerCut cuts the power at changes to the disk while a store that lost its list of files is built anew. The next
// start takes it up, and all mail is there.
func TestRebuildPowerCut(t *testing.T) {
	s := newSound(t, false)
	disk := s.withoutManifest(t)
	var mu sync.Mutex
	var left []*vfs.MemFS
	every, seen := 12, 0
	if testing.Short() || underRace {
		every = 40
	}
	watched := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !changes(op.Kind) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if seen++; seen%every == 0 {
			left = append(left, disk.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	}))
	said := &reports{}
	e := reopened(t, watched, said)
	if v := s.look(t, e); v != (served{}) || len(said.all()) == 0 {
		t.Errorf("built anew: %+v, %v", v, said.all())
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i, disk := range left {
		e := reopened(t, disk, &reports{})
		if v := s.look(t, e); v != (served{}) {
			t.Errorf("power cut %d: %+v", i, v)
		}
		if err := e.Close(); err != nil {
			t.Errorf("power cut %d: %v", i, err)
		}
		if names, err := disk.List(testFolder); err != nil || strings.Contains(fmt.Sprint(names), stepFile) {
			t.Errorf("power cut %d: the step is left: %v, %v", i, names, err)
		}
	}
	t.Logf("%d cuts", len(left))
}

// withoutManifest gives the disk, synced, without the list of files of the store.
func (s *sound) withoutManifest(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	names, err := s.disk.List(testFolder)
	if err != nil {
		t.Fatal(err)
	}
	if err := makeFolder(disk, testFolder+"/"+bodiesFolder); err != nil {
		t.Fatal(err)
	}
	bodies, err := s.disk.List(testFolder + "/" + bodiesFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range bodies {
		names = append(names, bodiesFolder+"/"+name)
	}
	for _, name := range names {
		if name == "LOCK" || name == bodiesFolder || strings.HasPrefix(name, "MANIFEST-") {
			continue
		}
		write(t, disk, testFolder+"/"+name, read(t, s.disk, testFolder+"/"+name))
	}
	for _, dir := range []string{testFolder + "/" + bodiesFolder, testFolder} {
		if err := syncFolder(disk, dir); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// TestRebuildRoom refuses to build a store anew where the disk has no room for it, says how much it takes, and changes nothing.
func TestRebuildRoom(t *testing.T) {
	s := newSound(t, false)
	disk := copyDisk(t, s.disk, testFolder)
	names, _ := disk.List(testFolder)
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST-") {
			if err := disk.Remove(testFolder + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	free := uint64(roomForStart)
	_, err := Open(testFolder, Options{FS: narrowDisk{disk, &free}})
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), "65 MiB") {
		t.Errorf("with too little room: %v", err)
	}
	free = 1 << 30
	e, err := Open(testFolder, Options{FS: narrowDisk{disk, &free}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if v := s.look(t, e); v != (served{}) {
		t.Errorf("%+v", v)
	}
}

// TestReadOnly looks at a store and leaves every octet of its folder as it is.
func TestReadOnly(t *testing.T) {
	s := newSound(t, true)
	before := folderOf(t, s.disk)
	e, err := Open(testFolder, Options{FS: s.disk, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if v := s.look(t, e); v != (served{}) {
		t.Errorf("%+v", v)
	}
	_, err = e.Create(t.Context(), spool.ID{1, 2, 3})
	if !errors.Is(err, errReadOnly) || !strings.Contains(err.Error(), testFolder) {
		t.Errorf("Create: %v", err)
	}
	for id, m := range s.mail {
		err := e.Apply(t.Context(), spool.Update{ID: id, Recipients: map[int]spool.Recipient{0: m.Recipients[0]}})
		if !errors.Is(err, errReadOnly) {
			t.Errorf("Apply: %v", err)
		}
		break
	}
	if _, err := Open(testFolder, Options{FS: s.disk, ReadOnly: true}); !errors.Is(err, spool.ErrInUse) {
		t.Errorf("a second time: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if after := folderOf(t, s.disk); after != before {
		t.Errorf("the folder was %s\nand is %s", before, after)
	}

}

// TestReadOnlyOthers looks at a folder of format 1, at none, and at a damaged one.
func TestReadOnlyOthers(t *testing.T) {
	old := writeVersion1(t)
	before := folderOf(t, old)
	e, err := Open(testFolder, Options{FS: old, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if pending, errs := listTest(t, e); len(pending) != 2 || len(errs) != 0 {
		t.Errorf("of format 1: %v, %v", pending, errs)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if after := folderOf(t, old); after != before {
		t.Errorf("the folder of format 1 was %s\nand is %s", before, after)
	}

	if _, err := Open("/nothing", Options{FS: vfs.NewMem(), ReadOnly: true}); err == nil || errors.Is(err, spool.ErrInUse) {
		t.Errorf("where there is no spool: %v", err)
	}

	s := newSound(t, true)
	names, err := s.disk.List(testFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if kindOf(name) != "manifest" {
			continue
		}
		data := read(t, s.disk, testFolder+"/"+name)
		data[len(data)/2] ^= 4
		write(t, s.disk, testFolder+"/"+name, data)
	}
	before = folderOf(t, s.disk)
	_, err = Open(testFolder, Options{FS: s.disk, ReadOnly: true})
	if !errors.Is(err, spool.ErrDamaged) || !strings.Contains(err.Error(), "holub serve") {
		t.Errorf("damaged: %v", err)
	}
	if after := folderOf(t, s.disk); after != before {
		t.Errorf("the damaged folder was %s\nand is %s", before, after)
	}
}

// folderOf tells what is in the folder of the tests, but for the lock.
func folderOf(t *testing.T, disk vfs.FS) string {
	t.Helper()
	names, err := disk.List(testFolder)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		path := testFolder + "/" + name
		if info, err := disk.Stat(path); err != nil {
			t.Fatal(err)
		} else if info.IsDir() || name == "LOCK" {
			continue
		}
		fmt.Fprintf(&b, "%s %x\n", name, checksum(read(t, disk, path)))
	}
	return b.String()
}
