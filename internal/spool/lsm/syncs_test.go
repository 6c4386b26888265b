package lsm

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// What need not wait for the disk is there all the same after a moment in which nothing else is written.
func TestApplySoonReachesTheDisk(t *testing.T) {
	disk := vfs.NewCrashableMem()
	e, err := Open(testFolder, Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m := putTest(t, e, spool.ID{1}, 100)
	ends := spool.Update{ID: m.ID, Recipients: map[int]spool.Recipient{}}
	for n, r := range m.Recipients {
		r.State = spool.Delivered
		ends.Recipients[n] = r
	}
	if err := e.ApplySoon(t.Context(), ends); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; {
		err := loadAfterCrash(t, disk, m.ID)
		if errors.Is(err, spool.ErrNotFound) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("after ten seconds a crash still brings back a message that was delivered")
		}
	}
}

// However slow the disk, a loss of power brings back no more deliveries than may wait for it.
func TestUnsyncedIsBounded(t *testing.T) {
	memory := vfs.NewCrashableMem()
	disk := slowDisk{FS: memory, slow: new(atomic.Bool)}
	e, err := Open(testFolder, Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	defer disk.slow.Store(false)
	const messages = 4 * maxUnsynced
	for n := range messages {
		putTest(t, e, spool.ID{byte(n), 1}, 10)
	}
	disk.slow.Store(true)
	for n := range messages {
		ends := spool.Update{ID: spool.ID{byte(n), 1}, Recipients: map[int]spool.Recipient{0: {State: spool.Delivered}, 1: {State: spool.Delivered}}}
		if err := e.ApplySoon(t.Context(), ends); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(testFolder, Options{FS: memory.CrashClone(vfs.CrashCloneCfg{})})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	back := 0
	for _, err := range again.List(t.Context(), spool.ID{}) {
		if err != nil {
			t.Fatal(err)
		}
		back++
	}
	if back == 0 || back > maxUnsynced {
		t.Errorf("a crash brings back %d deliveries of %d, at most %d may wait for the disk", back, messages, maxUnsynced)
	}
}

// slowDisk takes long to sync, when it is slow.
type slowDisk struct {
	vfs.FS
	slow *atomic.Bool
}

func (d slowDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	return slowFile{f, d.slow}, err
}

type slowFile struct {
	vfs.File
	slow *atomic.Bool
}

func (f slowFile) SyncData() error {
	if f.slow.Load() {
		<-time.After(100 * time.Millisecond)
	}
	return f.File.SyncData()
}

// loadAfterCrash says what becomes of a message when the power goes now.
func loadAfterCrash(t *testing.T, disk *vfs.MemFS, id spool.ID) error {
	t.Helper()
	e, err := Open(testFolder, Options{FS: disk.CrashClone(vfs.CrashCloneCfg{})})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, err = e.Load(t.Context(), id)
	return err
}

// The messages at hand are bounded: new ones find no room while the old ones are fresh, and then take theirs. What has left
// or was changed is never given as it was.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fresh
		content := make([]byte, freshSize/64)
		add := func(n byte) {
			f.add(&spool.Message{ID: spool.ID{n}, Size: int64(len(content)), Recipients: make([]spool.Recipient, 2)}, content, true)
		}
		bounded := func() {
			t.Helper()
			if f.octets > freshSize || f.octets < freshSize/2 || f.order.Len() != len(f.all) {
				t.Errorf("%d octets, %d messages, %d in order; %d octets are allowed", f.octets, len(f.all), f.order.Len(), freshSize)
			}
		}
		for n := byte(1); n <= 80; n++ {
			add(n)
			if n < 60 {
				add(n) // a message that is put again is there once
			}
		}
		bounded()
		if _, old := f.content(spool.ID{1}); !old || f.message(spool.ID{80}) != nil {
			t.Error("the oldest went, or the newest found room, though all came at once")
		}
		time.Sleep(freshFor)
		add(80)
		bounded()
		if _, old := f.content(spool.ID{1}); old || f.message(spool.ID{80}) == nil {
			t.Error("the oldest stayed, or the newest found no room, though the others are not fresh any more")
		}
		f.update(spool.ID{80}, []newState{{n: 1, to: spool.Recipient{State: spool.Held}}})
		got := f.message(spool.ID{80})
		if got.Recipients[1].State != spool.Held || got.Recipients[0].State != spool.Waiting {
			t.Errorf("after an update: %+v", got.Recipients)
		}
		got.Recipients[0].State = spool.Bounced
		if r, ok := f.recipient(spool.ID{80}, 0); !ok || r.State != spool.Waiting {
			t.Error("who loads a message can change what others load")
		}
		if _, ok := f.recipient(spool.ID{80}, 2); ok {
			t.Error("a recipient that is not there was found")
		}
		for n := range byte(81) {
			f.forget(spool.ID{n})
		}
		if f.octets != 0 || f.order.Len() != 0 || f.message(spool.ID{80}) != nil {
			t.Errorf("%d octets and %d messages are left of nothing", f.octets, f.order.Len())
		}
		f.add(&spool.Message{ID: spool.ID{1}}, make([]byte, freshSize/4), true)
		if f.message(spool.ID{1}) != nil {
			t.Error("content of a quarter of the room was kept")
		}
	})
}
