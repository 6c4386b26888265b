package lsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// bodiesFolder is the folder of large content below that of the store.
const bodiesFolder = "bodies"

// sumSize is the size of the checksum of a block of content.
const sumSize = 4

// writeBehind is how many octets of a file are written before the disk is asked to begin with them: a large message
// goes to the disk while it arrives, not all at once at its sync.
const writeBehind = 1 << 20

var blockTable = crc32.MakeTable(crc32.Castagnoli)

// bodies keeps content that is larger than one chunk, each in a file of its own that is named by the id: the octets as
// they came, and behind them the checksums of their blocks of 64 KiB. A file counts from the commit on that says so in
// the store (prefixBody), before which it is synced, and leaves after the commit that deletes that key.
type bodies struct {
	disk vfs.FS
	folder
}

func openBodies(disk vfs.FS, dir string) (*bodies, error) {
	name := disk.PathJoin(dir, bodiesFolder)
	if err := disk.MkdirAll(name, 0o700); err != nil {
		return nil, err
	}
	// It may have been made by a start that was killed before it came this far.
	parent, err := disk.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
		return nil, err
	}
	file, err := disk.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &bodies{disk: disk, folder: folder{name: name, file: file}}, nil
}

func (b *bodies) close() error { return b.file.Close() }

func (b *bodies) path(id spool.ID) string { return b.disk.PathJoin(b.name, id.String()) }

// create starts the file of a message, in the place of one that a lost removal may have left.
func (b *bodies) create(id spool.ID) (*bodyWriter, error) {
	file, err := b.disk.Create(b.path(id), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &bodyWriter{id: id, file: file}, nil
}

// remove deletes the file of a message; that it is not there is no error.
func (b *bodies) remove(id spool.ID) error {
	if err := b.disk.Remove(b.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// bodyWriter writes the file of one message.
type bodyWriter struct {
	id     spool.ID
	file   vfs.File // nil: it is closed
	length int64    // octets written
	sums   []byte   // 4 octets for each block written
}

// write adds a block. All but the last are chunkSize long.
func (w *bodyWriter) write(block []byte) error {
	w.sums = binary.BigEndian.AppendUint32(w.sums, blockSum(w.id, len(w.sums)/sumSize, block))
	if _, err := w.file.Write(block); err != nil {
		return err
	}
	w.length += int64(len(block))
	if w.length%writeBehind != 0 {
		return nil
	}
	_, err := w.file.SyncTo(w.length)
	return err
}

// finish adds the checksums and puts the file on disk, but not yet its name: that is for folder.sync.
func (w *bodyWriter) finish() error {
	if _, err := w.file.Write(w.sums); err != nil {
		return err
	}
	if err := w.file.SyncData(); err != nil {
		return err
	}
	return w.close()
}

func (w *bodyWriter) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}

// blockSum proves a block, and that it is block n of this message.
func blockSum(id spool.ID, n int, block []byte) uint32 {
	place := binary.BigEndian.AppendUint32(append(make([]byte, 0, idSize+4), id[:]...), uint32(n))
	return crc32.Update(crc32.Checksum(place, blockTable), blockTable, block)
}

// bodyReader reads the file of one message.
type bodyReader struct {
	id   spool.ID
	file vfs.File
	size int64 // of the content
}

// open opens the file of content of size octets. The error wraps spool.ErrDamaged where it is missing or has another
// size.
func (b *bodies) open(id spool.ID, size int64) (*bodyReader, error) {
	file, err := b.disk.Open(b.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: its file %s is missing", spool.ErrDamaged, b.path(id))
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if want := size + blocksOf(size)*sumSize; err == nil && info.Size() != want {
		err = fmt.Errorf("%w: its file %s has %d octets and should have %d", spool.ErrDamaged, b.path(id), info.Size(), want)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &bodyReader{id: id, file: file, size: size}, nil
}

// block reads block n into buf, which has room for it, and proves it.
func (r *bodyReader) block(n uint32, buf []byte) ([]byte, error) {
	at := int64(n) * chunkSize
	buf = buf[:min(r.size-at, chunkSize)]
	var sum [sumSize]byte
	_, err := r.file.ReadAt(buf, at)
	if err == nil {
		_, err = r.file.ReadAt(sum[:], r.size+int64(n)*sumSize)
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: its file was cut short", spool.ErrDamaged)
	case err != nil:
		return nil, err
	case blockSum(r.id, int(n), buf) != binary.BigEndian.Uint32(sum[:]):
		return nil, fmt.Errorf("%w: its checksum is wrong", spool.ErrDamaged)
	}
	return buf, nil
}

// blocksOf is the number of blocks, or chunks, of so many octets.
func blocksOf(size int64) int64 { return (size + chunkSize - 1) / chunkSize }

// folder shares the syncs of a folder among those who ask for one at the same time.
type folder struct {
	name  string
	file  vfs.File
	begun atomic.Uint64 // syncs that were begun

	turn sync.Mutex // held during a sync
	err  error      // of the first that failed: what is on disk is unknown from then on
}

// sync returns when a sync has ended that began after the call.
func (f *folder) sync() error {
	before := f.begun.Load()
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.err != nil || f.begun.Load() > before {
		return f.err
	}
	f.begun.Add(1)
	f.err = f.file.SyncData()
	return f.err
}

// storeBodies puts the files of the content that changes put on disk, before the commit that makes them count.
func (e *Engine) storeBodies(changes []*change) error {
	stored := false
	for _, c := range changes {
		if c.content == nil || c.content.body == nil || !c.owed() {
			continue
		}
		if err := c.content.store(); err != nil {
			return fmt.Errorf("write content of %s: %w", c.id, err)
		}
		stored = true
	}
	if !stored {
		return nil
	}
	if err := e.bodies.sync(); err != nil {
		err = fmt.Errorf("sync the folder %s: %w", e.bodies.name, err)
		e.log.Error(err.Error(), "next", "check the disk, then start again")
		e.fatal(err)
		return err
	}
	return nil
}

// inFile tells where the content of a message is: in a file, or under keys of the store. What is no larger than a chunk
// never had a file, what is no larger than inlineSize had one for a time, and what is larger may come from format 1, which
// had none. Where that can't be read it is taken to be where it is put today.
func (e *Engine) inFile(id spool.ID, size int64) bool {
	if size <= chunkSize {
		return false
	}
	there, err := e.has(idKey(prefixBody, id))
	return there || err != nil && size > inlineSize
}

// removeBody deletes the file of a message whose end is on disk. What can't be deleted goes at the next start.
func (e *Engine) removeBody(id spool.ID) {
	e.mu.Lock()
	_, again := e.writing[id]
	if !again {
		e.writing[id] = struct{}{} // nobody makes the file anew while it is removed
	}
	e.mu.Unlock()
	if again {
		return // the file is that of the message as it comes again
	}
	err := e.bodies.remove(id)
	e.mu.Lock()
	delete(e.writing, id)
	e.mu.Unlock()
	if err != nil {
		e.log.Error("the content of a finished message stays until the next start", "id", id, "error", err)
	}
}

// sweepBodies deletes the files that no commit claimed, or whose message left. It reads names, never content.
func (e *Engine) sweepBodies() error {
	claimed, err := e.ids(prefixBody) // in their order
	if err != nil {
		return fmt.Errorf("list the large content: %w", err)
	}
	names, err := e.bodies.disk.List(e.bodies.name)
	if err != nil {
		return fmt.Errorf("list the folder %s: %w", e.bodies.name, err)
	}
	removed, found := 0, 0
	for _, name := range names {
		id, err := spool.ParseID(name)
		if err != nil {
			e.log.Warn("a file that is no content is in the folder of content", "folder", e.bodies.name, "file", name)
			continue
		}
		if _, there := slices.BinarySearchFunc(claimed, id, compareIDs); there {
			found++
			continue
		}
		kept, err := e.hasEnvelope(id)
		if err == nil && !kept {
			err = e.bodies.remove(id)
			removed++
		}
		if err != nil || kept {
			e.log.Error("content of a message that does not know it stays", "id", id, "error", err)
		}
	}
	if removed > 0 {
		e.log.Info("dropped large content that no message has", "files", removed)
	}
	if found < len(claimed) {
		e.log.Error("content of messages is missing", "folder", e.bodies.name, "messages", len(claimed)-found)
	}
	return nil
}

func compareIDs(a, b spool.ID) int { return bytes.Compare(a[:], b[:]) }

// hasEnvelope tells whether there is an envelope of a message, be it damaged.
func (e *Engine) hasEnvelope(id spool.ID) (bool, error) {
	key := idKey(prefixEnvelope, id)
	there, err := e.has(key)
	if err != nil || there {
		return there, err
	}
	return e.has(append([]byte{prefixDamaged}, key...))
}
