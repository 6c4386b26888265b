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
// Content is cut into chunks of 64 KiB. The chunk being filled is in memory; a full one is written, not synced, when more
// content follows it. Apply writes the last chunk, the envelope, the recipients and the index in one batch and syncs the
// log once: a log is synced from its start, so the earlier chunks are on disk too. Memory for an arriving message is one
// chunk, whatever its size, and a message of up to 64 KiB is one write. Concurrent commits share their syncs.
//
// # Keys
//
// Numbers are big endian, ids are their 12 octets.
//
//	v                        version of this format, one octet
//	m id                     envelope (spool.AppendMessage)
//	r id n:4                 state of recipient n (spool.AppendRecipient)
//	c id chunk:4             content
//	p due:8 id n:4           index of the recipients that are not done (spool.AppendPending), in the order of their due time
//	w id                     content was written that no commit has claimed yet; dropped at the next start
//	e id                     the last recipients may have ended in several commits; looked at, at the next start
//	x key                    the value of a damaged key, kept for an operator
//
// A start reads the keys v, w and e alone, and Pending reads p alone: neither touches an envelope or content.
//
// # When a message leaves
//
// The keys of a message are deleted in the commit that makes its last recipient done. Where two commits end the last
// recipients side by side, neither may delete (the other may not be on disk yet): the later one leaves the mark e, and who
// returns last deletes. If power is lost in between, the next start finds the mark and deletes.
//
// # Memory
//
// A message with several recipients takes about 40 octets from its first ended recipient until it leaves; all others take
// none.
package lsm
