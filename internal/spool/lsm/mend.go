package lsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// damagedFolder is where what can't be read is kept, below the folder of the spool.
const damagedFolder = "damaged"

// damagedStamp is how the time stands in front of names there.
const damagedStamp = "20060102T150405.000"

// mostFlips is how many turned bits are looked for in one file. One that has more is on its way to lose more.
const mostFlips = 16

// mender turns back single bits in the files of a store. Every block and chunk that Pebble writes has a checksum of 32 bits:
// when exactly one turned bit explains what is there, it is certain enough which. The file as it was is kept before it is
// changed.
type mender struct {
	disk vfs.FS
	dir  string
	now  func() time.Time
	say  func(path string, flips int, copied string) // one file was mended

	readOnly bool // what could be mended is damage: nothing is written
}

// keep copies a file into the folder of what is damaged, and gives the copy's path.
func (m *mender) keep(path string) (string, error) {
	folder := m.disk.PathJoin(m.dir, damagedFolder)
	if err := makeFolder(m.disk, folder); err != nil {
		return "", err
	}
	to := m.disk.PathJoin(folder, m.now().UTC().Format(damagedStamp)+"-"+m.disk.PathBase(path))
	if err := copyFile(m.disk, path, to); err != nil {
		return "", fmt.Errorf("keep a copy of the damaged %s: %w", path, err)
	}
	return to, syncFolder(m.disk, folder)
}

func copyFile(disk vfs.FS, from, to string) error {
	in, err := disk.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := disk.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

func syncFolder(disk vfs.FS, dir string) error {
	f, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// patch is what must stand at a place of a file.
type patch struct {
	at int64
	b  []byte
}

// apply keeps the file as it is and writes the patches over it.
func (m *mender) apply(path string, patches []patch) error {
	if m.readOnly {
		return fmt.Errorf("%w: %d bits of %s have turned", spool.ErrDamaged, len(patches), path)
	}
	copied, err := m.keep(path)
	if err != nil {
		return err
	}
	f, err := m.disk.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	for _, p := range patches {
		if _, err := f.WriteAt(p.b, p.at); err != nil {
			return errors.Join(fmt.Errorf("mend %s: %w", path, err), f.Close())
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("mend %s: %w", path, err)
	}
	m.say(path, len(patches), copied)
	return nil
}

// log looks at a log or, with number 0, a manifest before Pebble reads it, which would take some damage for the end of the
// file and drop what is behind it. It turns back what can be; the error wraps spool.ErrDamaged where that does not do.
func (m *mender) log(path string, number uint32) error {
	file, err := m.disk.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer file.Close()
	state, err := scanLog(file, number, nil)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if state.bad < 0 {
		return nil
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	data := make([]byte, info.Size())
	if _, err := file.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var patches []patch
	for state.bad >= 0 && len(patches) < mostFlips {
		b := data[state.bad:min(int64(len(data)), (state.bad/blockOfLog+1)*blockOfLog)]
		if !mendChunk(b, number) {
			break
		}
		patches = append(patches, patch{state.bad, b})
		if state, err = scanLog(bytes.NewReader(data), number, nil); err != nil {
			return err
		}
	}
	if state.bad >= 0 && (state.proven || number == 0 && isThere(data[state.bad:])) {
		return fmt.Errorf("%w: %s can't be read at %d", spool.ErrDamaged, path, state.bad)
	}
	if len(patches) == 0 {
		return nil // it ends as a loss of power leaves it
	}
	return m.apply(path, patches)
}

// isThere tells whether a chunk of a manifest that can't be read is in the file from its start to its end. A loss of power
// seldom leaves one so, and Pebble would open the store as it was before it.
func isThere(b []byte) bool {
	return len(b) >= plainHeader && !allZero(b[:plainHeader]) && plainHeader+int(binary.LittleEndian.Uint16(b[4:])) <= len(b)
}

// blockOf finds the place of a block in Pebble's words about it. A test keeps this in step with them.
var blockOf = regexp.MustCompile(`block (\d+)/(\d+): `)

// blockTrailer is what follows a block of a table: how it is compressed, and the checksum.
const blockTrailer = 5

// longestFooter is the most that stands behind the last block of a table.
const longestFooter = 64

// table reads a whole table and turns back what can be. The error wraps spool.ErrDamaged where that does not do.
func (m *mender) table(path string) error {
	file, err := m.disk.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	t := &patched{File: file}
	for len(t.patches) < mostFlips {
		flaw := checkTable(t)
		if flaw == nil {
			break
		}
		ok, err := t.mendBlock(flaw)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if !ok {
			return fmt.Errorf("%w: table %s: %w", spool.ErrDamaged, path, flaw)
		}
	}
	if len(t.patches) == 0 {
		return nil
	}
	return m.apply(path, t.patches)
}

// checkTable reads every block of a table.
func checkTable(file sstable.ReadableFile) (err error) {
	defer func() {
		if r := recover(); r != nil { // Pebble meets nonsense in a footer with a panic
			err = fmt.Errorf("%w: %v", spool.ErrDamaged, r)
		}
	}()
	r, err := openTable(file)
	if err != nil {
		return err
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// openTable opens a table for reading beside the store. Closing it closes the file where it comes from vfs.
func openTable(file sstable.ReadableFile) (*sstable.Reader, error) {
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return nil, err
	}
	opts := Options{}.withDefaults().pebbleOptions(nil)
	opts.EnsureDefaults()
	return sstable.NewReader(context.Background(), readable, opts.MakeReaderOptions())
}

// patched is a file of which some places are read as they should be. Close leaves the file open.
type patched struct {
	vfs.File
	patches []patch
}

func (p *patched) Close() error { return nil }

func (p *patched) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.File.ReadAt(b, at)
	for _, q := range p.patches {
		if from, to := max(q.at, at), min(q.at+int64(len(q.b)), at+int64(n)); from < to {
			copy(b[from-at:to-at], q.b[from-q.at:])
		}
	}
	return n, err
}

// mendBlock adds a patch for the block that a flaw names, or for the footer where it names none.
func (p *patched) mendBlock(flaw error) (bool, error) {
	place := blockOf.FindStringSubmatch(flaw.Error())
	if place == nil {
		return p.mendFooter()
	}
	at, err := strconv.ParseInt(place[1], 10, 64)
	if err != nil {
		return false, nil
	}
	length, err := strconv.Atoi(place[2])
	if info, err2 := p.Stat(); err != nil || err2 != nil || at+int64(length)+blockTrailer > info.Size() {
		return false, err2
	}
	b := make([]byte, length+blockTrailer)
	if _, err := p.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !unflipSummed(b[:length+1], b[length+1:]) {
		return false, nil
	}
	p.patches = append(p.patches, patch{at, b})
	return true, nil
}

// mendFooter tries each bit of what may be the footer.
func (p *patched) mendFooter() (bool, error) {
	info, err := p.Stat()
	if err != nil {
		return false, err
	}
	at := max(0, info.Size()-longestFooter)
	b := make([]byte, info.Size()-at)
	if _, err := p.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	n := len(p.patches)
	p.patches = append(p.patches, patch{at, b})
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if checkTable(p) == nil {
				return true, nil
			}
			b[i] ^= 1 << bit
		}
	}
	p.patches = p.patches[:n]
	return false, nil
}
