package lsm

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// narrowDisk is a disk with so much free space.
type narrowDisk struct {
	vfs.FS
	free *uint64
}

func (d narrowDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: *d.free}, nil
}

// TestRoom: below the mark there is no room for mail, and far below it the store is not opened.
func TestRoom(t *testing.T) {
	free := uint64(roomForMail)
	disk := narrowDisk{vfs.NewMem(), &free}
	e, err := Open("/spool", Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Room() {
		t.Error("no room at the mark")
	}
	free--
	if !e.Room() {
		t.Error("the answer was not kept")
	}
	e.room.asked = time.Time{}
	if e.Room() {
		t.Error("room below the mark")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	free = roomForStart - 1
	if e, err := Open("/spool", Options{FS: disk}); err == nil || !strings.Contains(err.Error(), "63 MiB are free") {
		t.Errorf("opened: %v, %v", e, err)
	}
	e, err = Open("/other", Options{FS: vfs.NewMem()}) // which does not say how much is free
	if err != nil || !e.Room() {
		t.Fatalf("no room on a disk that does not say: %v", err)
	}
	e.Close()
}
