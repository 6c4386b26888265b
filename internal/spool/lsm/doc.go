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
// A start reads the keys v, w, e and b and the names in bodies, and Pending reads p alone: neither touches an envelope or
// content. A file that no key b names is removed at the start.
//
// # When a message leaves
//
// The keys of a message are deleted in the commit that makes its last recipient done. Where two commits end the last
// recipients side by side, neither may delete (the other may not be on disk yet): the later one leaves the mark e, and who
// returns last deletes. If power is lost in between, the next start finds the mark and deletes. The file of large content is
// removed when that commit is on disk; where this is lost, the next start does it.
//
// # Memory
//
// A message with several recipients takes about 40 octets from its first ended recipient until it leaves; all others take
// none.
package lsm
