package lsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// builtFolder is where a store is built anew, below the folder of the spool.
const builtFolder = "rebuilt"

// rebuild makes a store of what can be read of the tables and logs of the damaged one, and puts it in its place. Of each key
// the newest entry counts, by the number that Pebble gave it. The old files are kept in the folder of what is damaged.
//
// Where the list of the files that count (the manifest) is lost, all that are there are read. Among them may be some whose
// successors were written but which had not yet been deleted: ended mail can come back from them and is then sent again.
// What can't be read may hold deletions, with the same result: better twice than never.
func (k *keeper) rebuild(cause error) error {
	k.log.Error("the store of the spool is damaged and is built anew from what can be read; this takes a while", "folder", k.dir,
		"error", cause)
	built := k.disk.PathJoin(k.dir, builtFolder)
	if err := k.disk.RemoveAll(built); err != nil {
		return err
	}
	if err := k.roomToRebuild(); err != nil {
		return err
	}
	r, err := k.newRebuilder(built)
	if err != nil {
		return err
	}
	err = r.read()
	if err == nil {
		err = r.write(k.disk.PathJoin(built, "store"))
	}
	if err := errors.Join(err, r.stage.Close()); err != nil {
		return err
	}
	s := step{stepOld, "store-" + k.now().UTC().Format(damagedStamp)}
	if err := k.setStep(s); err != nil {
		return err
	}
	if err := k.swap(s); err != nil {
		return err
	}
	k.log.Error("the store of the spool was built anew", "folder", k.dir, "tables", r.tables, "logs", r.logs,
		"unreadable", len(r.lost), "keys", r.kept, "old store", k.disk.PathJoin(k.dir, damagedFolder, s.detail))
	return nil
}

// roomToRebuild refuses to begin what the disk can't hold: a sorted copy of all there is, and the new store.
func (k *keeper) roomToRebuild() error {
	usage, err := k.disk.GetDiskUsage(k.dir)
	if err != nil {
		return nil // the file system does not say
	}
	names, err := k.files()
	if err != nil {
		return err
	}
	need := uint64(roomForStart)
	for _, name := range names {
		if info, err := k.disk.Stat(k.disk.PathJoin(k.dir, name)); err == nil {
			need += 2 * uint64(info.Size())
		}
	}
	if usage.AvailBytes < need {
		return fmt.Errorf("it takes %d MiB on the disk of %s and %d MiB are free: make room and start again; nothing was changed",
			(need+1<<20-1)>>20, k.dir, usage.AvailBytes>>20)
	}
	return nil
}

// rebuilder collects the entries of all files in stage, sorted by key and, for one key, from the newest to the oldest.
type rebuilder struct {
	k      *keeper
	stage  *pebble.DB
	batch  *pebble.Batch
	ranges []deletedRange
	newest uint64 // the highest number of an entry in a table

	tables, logs, kept int
	lost               []string
}

// deletedRange is a deletion of all keys in [from, to) that are older.
type deletedRange struct {
	from, to []byte
	number   uint64
}

func (k *keeper) newRebuilder(built string) (*rebuilder, error) {
	if err := makeFolder(k.disk, built); err != nil {
		return nil, err
	}
	opts := k.opts.pebbleOptions(nil)
	opts.DisableWAL = true // it is made anew if it is not finished
	stage, err := pebble.Open(k.disk.PathJoin(built, "stage"), opts)
	if err != nil {
		return nil, err
	}
	return &rebuilder{k: k, stage: stage, batch: stage.NewBatch()}, nil
}

// read brings the entries of all files that count into the stage.
func (r *rebuilder) read() error {
	live := r.k.live()
	names, err := r.k.files()
	if err != nil {
		return err
	}
	slices.Sort(names) // of two that say the same of a key the later file wins
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") || live.known && !live.tables[name] {
			continue
		}
		r.tables++
		if err := r.table(r.k.disk.PathJoin(r.k.dir, name)); err != nil {
			return err
		}
	}
	for name := range live.tables {
		if !slices.Contains(names, name) {
			r.miss("table "+name, errors.New("the file is missing"))
		}
	}
	flushed := r.newest
	for _, name := range names {
		number, ok := logNumber(name)
		if !ok || live.known && !live.logs[name] {
			continue
		}
		if err := r.log(r.k.disk.PathJoin(r.k.dir, name), number, flushed, live.known); err != nil {
			return err
		}
	}
	return r.flush(0)
}

func (r *rebuilder) miss(what string, cause error) {
	r.lost = append(r.lost, what)
	r.k.log.Error("a part of the damaged store can't be read", "part", what, "error", cause)
}

// live are the files that count.
type live struct {
	known        bool
	tables, logs map[string]bool
}

// live asks Pebble which files count, over a view of the folder in which all logs are empty.
func (k *keeper) live() (l live) {
	l = live{tables: map[string]bool{}, logs: map[string]bool{}}
	if k.whole() != nil {
		return l
	}
	defer func() {
		if recover() != nil {
			l = live{}
		}
	}()
	opts := k.opts.pebbleOptions(k.lock)
	opts.ReadOnly = true
	opts.DisableConsistencyCheck = true // a missing table is no reason to give up the others
	opts.FS = &emptyLogs{FS: k.opts.FS, m: &k.mender, met: l.logs}
	db, err := pebble.Open(k.dir, opts)
	if err != nil {
		k.log.Error("which files of the store count is lost; all are read", "error", err)
		return live{}
	}
	defer db.Close()
	levels, err := db.SSTables()
	if err != nil {
		return live{}
	}
	for _, level := range levels {
		for _, t := range level {
			l.tables[t.BackingSSTNum.String()+".sst"] = true
		}
	}
	l.known = true
	return l
}

// emptyLogs shows every log as empty, and notes which were asked for: those that are not in tables yet. It hides the files
// of settings.
type emptyLogs struct {
	vfs.FS
	m   *mender
	met map[string]bool
}

func (e *emptyLogs) Unwrap() vfs.FS { return e.FS }

func (e *emptyLogs) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	base := e.PathBase(name)
	if _, ok := logNumber(base); ok {
		e.met[base] = true
		return vfs.NewMem().Create("empty", vfs.WriteCategoryUnspecified)
	}
	if strings.HasPrefix(base, "MANIFEST-") {
		if err := e.m.log(name, 0); err != nil {
			return nil, err
		}
	}
	return e.FS.Open(name, opts...)
}

func (e *emptyLogs) List(dir string) ([]string, error) {
	return (&lookingFS{FS: e.FS, noOptions: true}).List(dir)
}

// table reads a table, past what can't be read.
func (r *rebuilder) table(path string) error {
	name := r.k.disk.PathBase(path)
	if err := r.k.mender.table(path); err != nil && !isDamage(err) {
		r.k.log.Error("a table was not mended", "file", path, "error", err)
	}
	file, err := r.k.disk.Open(path)
	if err != nil {
		r.miss("table "+name, err)
		return nil
	}
	t, err := openTable(file)
	if err != nil {
		r.miss("table "+name, err)
		return file.Close()
	}
	defer t.Close()
	if err := r.deletions(t); err != nil {
		r.miss("deletions of table "+name, err)
	}
	c := &tableCursor{table: t}
	defer func() { c.close() }()
	var failed error
	err = walk(c, nil, bytes.Repeat([]byte{0xff}, 64), func(key []byte) bool {
		r.newest = max(r.newest, c.number)
		failed = r.add(key, c.number, c.kind, c.value)
		return failed == nil
	}, func(g gap) bool {
		r.miss(fmt.Sprintf("table %s from key %x to %x", name, g.from, g.to), g.cause)
		return true
	})
	if err != nil {
		r.miss("table "+name, err)
	}
	return failed
}

// tableCursor reads all entries of a table. A key may come several times, the newest first.
type tableCursor struct {
	table  *sstable.Reader
	it     sstable.Iterator
	number uint64
	kind   pebble.InternalKeyKind
	value  []byte
}

func (c *tableCursor) close() error {
	if c.it == nil {
		return nil
	}
	it := c.it
	c.it = nil
	return it.Close()
}

func (c *tableCursor) seek(key []byte) (at []byte, err error) {
	c.close() // what it says was said when it was met
	if c.it, err = c.table.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles); err != nil {
		c.it = nil
		return nil, err
	}
	kv := c.it.SeekGE(key, 0)
	if kv == nil {
		return nil, c.it.Error()
	}
	value, _, err := kv.Value(nil)
	return c.entry(kv.K.UserKey, uint64(kv.SeqNum()), kv.Kind(), value, err)
}

func (c *tableCursor) next() ([]byte, error) {
	kv := c.it.Next()
	if kv == nil {
		return nil, c.it.Error()
	}
	value, _, err := kv.Value(nil)
	return c.entry(kv.K.UserKey, uint64(kv.SeqNum()), kv.Kind(), value, err)
}

func (c *tableCursor) entry(key []byte, number uint64, kind pebble.InternalKeyKind, value []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	c.number, c.kind, c.value = number, kind, value
	return key, nil
}

// deletions reads the deletions of ranges of a table.
func (r *rebuilder) deletions(t *sstable.Reader) error {
	it, err := t.NewRawRangeDelIter(context.Background(), sstable.NoFragmentTransforms, sstable.NoReadEnv)
	if err != nil || it == nil {
		return err
	}
	defer it.Close()
	span, err := it.First()
	for ; span != nil; span, err = it.Next() {
		for _, key := range span.Keys {
			r.ranges = append(r.ranges, deletedRange{bytes.Clone(span.Start), bytes.Clone(span.End), uint64(key.SeqNum())})
			r.newest = max(r.newest, uint64(key.SeqNum()))
		}
	}
	return err
}

// log reads the batches of a log, past what can't be read. Where it is not known which logs count, one whose entries are all
// older than the newest of the tables is left out: it is in them, and what they deleted since would come back from it.
func (r *rebuilder) log(path string, number uint32, flushed uint64, known bool) error {
	if !known {
		last := uint64(0)
		if _, err := r.scan(path, number, func(record []byte) error {
			if len(record) >= batchHeader {
				last = max(last, binary.LittleEndian.Uint64(record)+uint64(binary.LittleEndian.Uint32(record[8:])))
			}
			return nil
		}); err == nil && last <= flushed+1 {
			return nil
		}
	}
	r.logs++
	var failed error
	state, err := r.scan(path, number, func(record []byte) error {
		failed = r.record(record)
		return failed
	})
	if failed != nil {
		return failed
	}
	if err != nil || state.proven {
		r.miss(fmt.Sprintf("log %s at %d", path, state.bad), errors.Join(err, spool.ErrDamaged))
	}
	return nil
}

func (r *rebuilder) scan(path string, number uint32, visit func([]byte) error) (logState, error) {
	file, err := r.k.disk.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return logState{}, err
	}
	defer file.Close()
	return scanLog(file, number, visit)
}

// batchHeader is the number of a batch in 8 octets and how many entries it has in 4.
const batchHeader = 12

// record reads a batch of a log.
func (r *rebuilder) record(record []byte) error {
	if len(record) < batchHeader {
		return nil
	}
	number := binary.LittleEndian.Uint64(record)
	entries := batchrepr.Read(record)
	for {
		kind, key, value, ok, err := entries.Next()
		if err != nil {
			r.miss(fmt.Sprintf("batch %d of a log", number), err)
			return nil
		}
		if !ok {
			return nil
		}
		switch kind {
		case pebble.InternalKeyKindLogData:
			continue // has no number
		case pebble.InternalKeyKindRangeDelete:
			r.ranges = append(r.ranges, deletedRange{bytes.Clone(key), bytes.Clone(value), number})
		case pebble.InternalKeyKindDeleteSized:
			err = r.add(key, number, pebble.InternalKeyKindDelete, nil)
		default:
			err = r.add(key, number, kind, value)
		}
		if err != nil {
			return err
		}
		number++
	}
}

// stageBatch is about how many octets go into the stage at once.
const stageBatch = 1 << 20

// add brings one entry into the stage.
func (r *rebuilder) add(key []byte, number uint64, kind pebble.InternalKeyKind, value []byte) error {
	op := r.batch.SetDeferred(stageSize(key), 1+len(value))
	appendStage(op.Key[:0], key, number)
	op.Value[0] = byte(kind)
	copy(op.Value[1:], value)
	if err := op.Finish(); err != nil {
		return err
	}
	return r.flush(stageBatch)
}

// flush writes the batch when it has so many octets.
func (r *rebuilder) flush(from int) error {
	if r.batch.Len() < from {
		return nil
	}
	err := errors.Join(r.batch.Commit(pebble.NoSync), r.batch.Close())
	r.batch = r.stage.NewBatch()
	return err
}

// A key of the stage is the key with each 0 doubled to 0 255, closed by 0 0, so that keys sort as they did, and the complement
// of the number.
func stageSize(key []byte) int { return len(key) + bytes.Count(key, []byte{0}) + 2 + 8 }

func appendStage(dst, key []byte, number uint64) []byte {
	for _, o := range key {
		if dst = append(dst, o); o == 0 {
			dst = append(dst, 0xff)
		}
	}
	return binary.BigEndian.AppendUint64(append(dst, 0, 0), ^number)
}

func parseStage(staged []byte) (key []byte, number uint64) {
	n := len(staged) - 8
	return bytes.ReplaceAll(staged[:n-2], []byte{0, 0xff}, []byte{0}), ^binary.BigEndian.Uint64(staged[n:])
}

// write makes the new store of the newest entry of each key.
func (r *rebuilder) write(dir string) error {
	if err := makeFolder(r.k.disk, dir); err != nil {
		return err
	}
	opts := r.k.opts.pebbleOptions(nil)
	store, err := pebble.Open(dir, opts)
	if err != nil {
		return err
	}
	err = r.fill(store)
	if err == nil {
		err = store.Flush() // into tables, which are synced
	}
	return errors.Join(err, store.Close(), syncFolder(r.k.disk, dir))
}

func (r *rebuilder) fill(store *pebble.DB) error {
	it, err := r.stage.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	deleted := newSweep(r.ranges)
	batch := store.NewBatch()
	defer func() { batch.Close() }()
	var last []byte // the key of the entry before
	for valid := it.First(); valid; valid = it.Next() {
		key, number := parseStage(it.Key())
		if last != nil && bytes.Equal(key, last) {
			continue
		}
		last = key
		entry := it.Value()
		kind := pebble.InternalKeyKind(entry[0])
		if kind != pebble.InternalKeyKindSet && kind != pebble.InternalKeyKindSetWithDelete || deleted.covers(key, number) {
			continue
		}
		r.kept++
		if err := batch.Set(key, entry[1:], nil); err != nil {
			return err
		}
		if batch.Len() < stageBatch {
			continue
		}
		if err := errors.Join(batch.Commit(pebble.NoSync), batch.Close()); err != nil {
			return err
		}
		batch = store.NewBatch()
	}
	return errors.Join(it.Error(), batch.Commit(pebble.Sync))
}

// sweep tells for keys that come in their order which deletions of ranges cover them.
type sweep struct {
	ahead  []deletedRange // by their starts
	active []deletedRange
}

func newSweep(ranges []deletedRange) *sweep {
	slices.SortFunc(ranges, func(a, b deletedRange) int { return bytes.Compare(a.from, b.from) })
	return &sweep{ahead: ranges}
}

// covers tells whether a deletion that is newer than number covers key.
func (s *sweep) covers(key []byte, number uint64) bool {
	for len(s.ahead) > 0 && bytes.Compare(s.ahead[0].from, key) <= 0 {
		s.active = append(s.active, s.ahead[0])
		s.ahead = s.ahead[1:]
	}
	s.active = slices.DeleteFunc(s.active, func(d deletedRange) bool { return bytes.Compare(d.to, key) <= 0 })
	return slices.ContainsFunc(s.active, func(d deletedRange) bool { return d.number > number })
}
