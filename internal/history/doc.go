// Package history keeps what happened to each message, for a bounded time and size, and finds it again: the memory
// behind `holub trace WHAT`, also for messages that left the spool long ago.
//
//	intake, settle, the admin door            holub trace, the web page
//	            | Append                             ^ Lives, Find
//	            v                                    |
//	  buffer -> writer -> 20261123T180931.123456Z.jsonl    the open segment: scanned
//	                          | full or old
//	                          v
//	              keeper -> 20261122T070102.000000Z.jsonl  closed segments: read only if
//	                        20261122T070102.000000Z.keys   their keys say that it is in there
//	                          | over MaxAge or MaxSize
//	                          v
//	                        deleted, oldest first
//
// A segment holds one JSON object a line, made to be searched with grep as well. Its keys are the sorted hashes of
// all queue ids, message-ids, addresses and domains in it; they are made when the segment is closed, and made again
// when they are missing or damaged, which only costs time.
//
// The history is no part of the promise that nothing is lost. Append never blocks on the disk and never fails: what
// can't be written is dropped, counted, and logged once a minute. After a kill the last fraction of a second may be
// missing, after a power cut what the system had not written yet, half a minute on Linux. A line that can't
// be read is skipped and counted. Nothing here decides anything about mail, and nothing may be decided because of what
// is found here.
//
// One process writes a folder (internal/mta owns the Journal); any number of others may read it at the same time, and
// reading changes nothing in it.
//
//	j, err := history.Open(filepath.Join(dataDir, "history"), history.Options{Logger: log})
//	j.Append(&history.Event{At: now, Kind: history.Accepted, ID: id, From: "joe@example.org", To: to})
//	...
//	err = j.Close()
//
//	lives, err := history.Lives(ctx, dir, "joe@example.org", 20)
//	for _, life := range lives {
//		for _, e := range life.Events {
//			fmt.Println(e.At, life.ID, e.Kind, e.To, e.Host, e.Reply)
//		}
//	}
//
// # The line
//
// Times are RFC 3339 in UTC with six digits of the second. Empty fields are left out, fields that are not known are
// ignored. An octet that is no UTF-8 is written as \u0000 and its two hexadecimal digits, and an octet of zero as
// \u000000, so every text comes back octet for octet through any JSON decoder that undoes this. Control characters, C1
// too, are escaped: showing a segment on a terminal can't steer it.
package history
