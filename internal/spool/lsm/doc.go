// Package lsm is the embedded spool engine: messages in a log-structured store (Pebble) in one folder, owned by one
// process. It implements spool.Engine.
//
// It never decides what becomes of a message, never answers a commit before it is on disk, and never deletes what it can't
// read: that is set aside under a prefix of its own. internal/mta opens it; everything else sees a spool.Engine.
//
//	engine, err := lsm.Open("/var/lib/holub/spool", lsm.Options{Logger: logger})
//	if errors.Is(err, spool.ErrInUse) { ... } // another process owns the folder
//	defer engine.Close()
//
// # How a message is kept
//
// Content of up to 64 KiB waits in memory for Apply, which writes it with the envelope, the recipients and the index in one
// batch and syncs the log once. Larger content goes into a file of its own, bodies/ID, a block of 64 KiB at a time while it
// arrives; the file holds the octets as they came and behind them a checksum for each block (CRC-32C of the id, the number
// of the block, 4 octets, and the block; big endian). Apply syncs the file and then the folder, and only then commits the
// batch, in which the key b says that the content is there. Memory for an arriving message is one block and 4 octets for
// each block before it. Concurrent commits share the syncs of the log and of the folder.
//
// A block is proved before any of it is given to a reader.
//
// # Keys
//
// Numbers are big endian, ids are their 12 octets.
//
//	v                        version of this format, one octet
//	m id                     envelope (spool.AppendMessage)
//	r id n:4                 state of recipient n (spool.AppendRecipient)
//	c id chunk:4             content; chunk is 0, and up to 64 KiB each in a store of format 1, which had no files
//	b id                     content is in the file bodies/ID
//	p due:8 id n:4           index of the recipients that are not done (spool.AppendPending), in the order of their due time
//	w id                     chunks that no commit had claimed, of format 1; dropped at the start
//	e id                     the last recipients may have ended in several commits; looked at, at the next start
//	x key                    the value of a damaged key, kept for an operator
//
// A start reads the keys v, w, e, b and p and the names in bodies, and Pending reads p alone: neither touches an envelope or
// content. A file that no key b names is removed at the start.
//
// # When a message leaves
//
// The keys of a message are deleted in the commit that makes its last recipient done. Where two commits end the last
// recipients side by side, neither may delete (the other may not be on disk yet): the later one leaves the mark e, and who
// returns last deletes. If power is lost in between, the next start finds the mark and deletes. The file of large content is
// removed when that commit is on disk; where this is lost, the next start does it.
//
// # Damage
//
// Every block of a table and every chunk of the log and the manifest has a checksum. It is proved when the block is read, and
// no earlier: the log and the manifest at each start, the index too, the rest of the tables when somebody asks or a
// compaction comes by. spool.Check reads all there is.
//
// What was met damaged is copied to damaged/ first, and then:
//
//   - One turned bit, anywhere in a table, a log or the manifest, is found by its checksum and turned back in the file, while
//     the server runs if it is a table. Nothing is lost.
//   - A table with worse than that is read around: Pending takes from the recipients' records what the index lost, the
//     messages of which a part is there are reported by Load, all others are served. The next start builds the store anew.
//   - A log or manifest with worse than that, a table or a marker file that is missing, and an index that can't be read have
//     the store built anew in the very start that meets them: the entries of all tables and logs are sorted by key and by
//     the number Pebble gave them, the newest counts, the old files are moved to damaged/store-TIME. It takes room for two
//     copies of the store, and a power cut in the middle is taken up. Then the records are held against each other: a
//     message that lost a part is set aside, and so are records without a message; the index is made to fit.
//   - The file of settings that Pebble writes (OPTIONS) is not needed and is moved away where it can't be read.
//
// All of this is logged as errors, and Damaged lists it until an operator has removed it.
//
// What is weaker: noise, more than one bit, in what was committed last before a crash looks as a commit that the crash cut
// short, and a log that is missing altogether is not missed. Where a whole block is lost, so is the newest state of what was
// in it: an attempt may be made once more, and mail that ended just before can come back. An unreadable index, properties
// or metaindex block takes its whole table with it (from 2 MiB of small mail up). Turned bits that leave every checksum right
// are not seen; nor are those in settings that Pebble wrote and does not read.
//
// # Memory
//
// A message with several recipients takes about 40 octets from its first ended recipient until it leaves; all others take
// none.
package lsm
