package lsm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// stepFile, in the folder of the spool, says how far it is with building the store anew, so that what ends in the middle is
// taken up by the next start. It is one line: a step, and a detail.
const stepFile = "rebuild"

const (
	stepWanted = "wanted" // the next start is to do it; the detail says why
	stepOld    = "old"    // the new store is complete, the files of the old one move to the folder of the detail
	stepNew    = "new"    // those have moved, the files of the new one move in
	stepCheck  = "check"  // the new store is in its place, its records are to be checked against each other
)

type step struct{ name, detail string }

// step reads how far it is; the zero value: nothing is to be done.
func (k *keeper) step() (step, error) {
	f, err := k.disk.Open(k.disk.PathJoin(k.dir, stepFile))
	if errors.Is(err, fs.ErrNotExist) {
		return step{}, nil
	}
	if err != nil {
		return step{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return step{}, err
	}
	name, detail, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), " ")
	switch name {
	case stepWanted, stepOld, stepNew, stepCheck:
		return step{name, detail}, nil
	}
	return step{}, fmt.Errorf("%w: the file %s in %s says %.40q, which is no step of building a store anew: move it away to "+
		"start with the files that are there", spool.ErrDamaged, stepFile, k.dir, text)
}

// setStep writes how far it is; the zero value removes the file.
func (k *keeper) setStep(s step) error {
	path := k.disk.PathJoin(k.dir, stepFile)
	if s == (step{}) {
		if err := k.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncFolder(k.disk, k.dir)
	}
	temp := path + ".new"
	f, err := k.disk.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, s.name+" "+strings.ReplaceAll(s.detail, "\n", " ")+"\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := k.disk.Rename(temp, path); err != nil {
		return err
	}
	return syncFolder(k.disk, k.dir)
}

// swap brings the new store into the place of the old one, from whatever step it is at.
func (k *keeper) swap(s step) error {
	built := k.disk.PathJoin(k.dir, builtFolder)
	fresh := k.disk.PathJoin(built, "store")
	if s.name == stepOld {
		aside := k.disk.PathJoin(k.dir, damagedFolder, s.detail)
		if err := makeFolder(k.disk, aside); err != nil {
			return err
		}
		if err := k.move(k.dir, aside); err != nil {
			return fmt.Errorf("move the damaged store to %s: %w", aside, err)
		}
		s.name = stepNew
		if err := k.setStep(s); err != nil {
			return err
		}
	}
	if err := k.move(fresh, k.dir); err != nil {
		return fmt.Errorf("move the new store into its place: %w", err)
	}
	if err := k.setStep(step{stepCheck, s.detail}); err != nil {
		return err
	}
	return k.disk.RemoveAll(built)
}

// move moves the files of a store between folders, and puts that on disk.
func (k *keeper) move(from, to string) error {
	names, err := k.disk.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !isStoreFile(name) {
			continue
		}
		if err := k.disk.Rename(k.disk.PathJoin(from, name), k.disk.PathJoin(to, name)); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(k.disk, to), syncFolder(k.disk, from))
}
