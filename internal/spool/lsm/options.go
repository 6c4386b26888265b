package lsm

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Marks of free space, in octets. A table that is written out, and the log that goes on meanwhile, need room: a store that
// meets the end of the disk can't be written any more.
const (
	roomForMail  = 256 << 20 // below it no new mail is taken
	roomForStart = 64 << 20  // below it the store is not opened
)

// exitIOErr is the exit code for an input/output error (EX_IOERR of sysexits).
const exitIOErr = 74

// Options of the engine; the zero value works.
type Options struct {
	FS     vfs.FS       // where the folder is; nil: the disk
	Logger *slog.Logger // what the store says about itself; nil: nothing is logged

	// MemTableSize is the number of octets written before they are sorted into a file; 0: 64 MiB. Tests make it small
	// to see the log rotate.
	MemTableSize uint64

	// ReadOnly opens the store for looking only, as it is: nothing is written, swept or mended, and Apply and Create fail.
	// It is for when the server is down; while it runs the folder is in use.
	ReadOnly bool

	// Fatal is called when the log, the manifest or the folder of content can't be written or synced. What is on disk is
	// then unknown until the store is opened again, so nothing may be answered any more and Fatal must not return. nil: the
	// process ends with code 74 after the error is logged.
	Fatal func(error)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = 64 << 20
	}
	if o.Fatal == nil {
		o.Fatal = func(error) { os.Exit(exitIOErr) }
	}
	return o
}

// pebbleOptions are the settings of the store; what is not here has Pebble's default.
func (o Options) pebbleOptions(lock *pebble.Lock) *pebble.Options {
	p := &pebble.Options{
		FS:                 o.FS,
		Lock:               lock,
		Logger:             pebbleLog{log: o.Logger, fatal: o.Fatal},
		FormatMajorVersion: pebble.FormatNewest,

		// Most messages leave before their table is written out, and then cost no more than the log. 32 MiB
		// accepts a tenth less, 16 MiB a fifth.
		MemTableSize: o.MemTableSize,
		// A burst is taken while tables are written out behind it.
		MemTableStopWritesThreshold: 4,
		// Late compaction slows reads a little; stopped writes would answer 4yz to mail that the disk has room for.
		L0StopWritesThreshold: 1000,
		// Mail that stays is put in order in larger and rarer steps: most of it leaves between two of them.
		L0CompactionThreshold: 8,
		LBaseMaxBytes:         512 << 20,
		// The log goes to the disk while it is written, not all at once at its sync.
		WALBytesPerSync: 1 << 20,
		// Envelopes and index of the due mail; content is read once and gains nothing.
		CacheSize: 32 << 20,
	}
	// What the first tables hold is short-lived, or rewritten soon.
	p.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	p.Levels[1].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	for i := range p.Levels {
		// Create asks for an id that is nearly always new; the filter answers without a read.
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// pebbleLog takes what Pebble says: its course at debug, its errors as errors.
type pebbleLog struct {
	log   *slog.Logger
	fatal func(error)
}

func (l pebbleLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...), "from", "pebble")
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...), "from", "pebble")
}

// Fatalf must not return: Pebble would go on and report a failed commit as done.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("the spool can't be written: "+format, args...)
	l.log.Error(err.Error(), "from", "pebble", "next", "check the disk and its free space, then start again")
	l.fatal(err)
	panic(err)
}
