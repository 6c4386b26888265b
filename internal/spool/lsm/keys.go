package lsm

import (
	"encoding/binary"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Prefixes of the key space; the package doc is its map.
const (
	prefixVersion   = 'v'
	prefixEnvelope  = 'm'
	prefixRecipient = 'r'
	prefixContent   = 'c'
	prefixBody      = 'b'
	prefixIndex     = 'p'
	prefixUnclaimed = 'w'
	prefixEnding    = 'e'
	prefixDamaged   = 'x'
)

const (
	idSize       = len(spool.ID{})
	numberedSize = 1 + idSize + 4
	indexSize    = 1 + 8 + idSize + 4
)

// idKey is the key of what a message has once.
func idKey(prefix byte, id spool.ID) []byte {
	return append(append(make([]byte, 0, numberedSize), prefix), id[:]...)
}

// numberedKey is the key of a recipient or a chunk.
func numberedKey(prefix byte, id spool.ID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(idKey(prefix, id), n)
}

// idRange is the range [lo, hi) of all numbered keys of a message.
func idRange(prefix byte, id spool.ID) (lo, hi []byte) {
	lo = idKey(prefix, id)
	return lo, next(lo)
}

// prefixRange is the range [lo, hi) of all keys of a prefix.
func prefixRange(prefix byte) (lo, hi []byte) { return []byte{prefix}, []byte{prefix + 1} }

// next is the first key after all that start with key.
func next(key []byte) []byte {
	hi := append([]byte(nil), key...)
	for i := len(hi) - 1; i >= 0; i-- {
		hi[i]++
		if hi[i] != 0 {
			return hi[:i+1]
		}
	}
	return nil // no end; not met, for no prefix is 0xff
}

// indexKey is the key of the index entry of a recipient that is due at next. The zero time comes before all others.
func indexKey(id spool.ID, n int, next time.Time) []byte {
	return appendIndexKey(make([]byte, 0, indexSize), id, n, next) // on the stack of who keeps it no longer
}

func appendIndexKey(key []byte, id spool.ID, n int, next time.Time) []byte {
	key = append(key, prefixIndex)
	key = binary.BigEndian.AppendUint64(key, sortable(next))
	key = append(key, id[:]...)
	return binary.BigEndian.AppendUint32(key, uint32(n))
}

// sortable turns a time into milliseconds whose unsigned order is that of the times.
func sortable(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli()) ^ 1<<63
}

// parseIndexKey reads the message and the recipient of an index key.
func parseIndexKey(key []byte) (id spool.ID, n int, ok bool) {
	if len(key) != indexSize {
		return id, 0, false
	}
	copy(id[:], key[9:])
	return id, int(binary.BigEndian.Uint32(key[indexSize-4:])), true
}

// numberOf is the number at the end of a key that numberedKey made.
func numberOf(key []byte) uint32 { return binary.BigEndian.Uint32(key[numberedSize-4:]) }

// parseIDKey reads the message of a key that holds nothing but it.
func parseIDKey(key []byte) (id spool.ID, ok bool) {
	if len(key) != 1+idSize {
		return id, false
	}
	copy(id[:], key[1:])
	return id, true
}
