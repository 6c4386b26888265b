package history

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sort"
)

// The keys of a segment: magic, the segment's size for which they were made, the first and the last time of its events,
// the number of keys, the keys sorted, and a CRC of all that. Little endian.
const (
	keysMagic  = "holubky1"
	keysHeader = len(keysMagic) + 3*8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errKeys is the error for keys that are missing, damaged, or of another size of their segment.
var errKeys = errors.New("the keys of a segment can't be used")

// keySet is what is known of a closed segment. The zero value is of an empty one.
type keySet struct {
	span span
	raw  []byte // sorted, 4 octets each
}

func (k *keySet) len() int        { return len(k.raw) / 4 }
func (k *keySet) at(i int) uint32 { return binary.LittleEndian.Uint32(k.raw[4*i:]) }
func (k *keySet) fileSize() int64 { return int64(keysHeader + len(k.raw) + 4) }
func (k *keySet) has(key uint32) bool {
	i := sort.Search(k.len(), func(i int) bool { return k.at(i) >= key })
	return i < k.len() && k.at(i) == key
}

func (k *keySet) appendTo(dst []uint32) []uint32 {
	for i := range k.len() {
		dst = append(dst, k.at(i))
	}
	return dst
}

// newKeySet sorts keys in place.
func newKeySet(keys []uint32, s span) keySet {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	raw := make([]byte, 0, 4*len(keys))
	for _, k := range keys {
		raw = binary.LittleEndian.AppendUint32(raw, k)
	}
	return keySet{s, raw}
}

// writeKeys writes the keys of s. Nothing is synced: the CRC tells a reader when they are not whole.
func writeKeys(s segment, k keySet) error {
	b := make([]byte, 0, k.fileSize())
	b = append(b, keysMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(k.span.first))
	b = binary.LittleEndian.AppendUint64(b, uint64(k.span.last))
	b = binary.LittleEndian.AppendUint32(b, uint32(k.len()))
	b = append(b, k.raw...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if err := os.WriteFile(s.keysPath(), b, 0o600); err != nil {
		return fmt.Errorf("history: writing the keys of a segment; it is read whole until they are there: %w", err)
	}
	return nil
}

// readKeys reads the keys of s. Errors wrap errKeys.
func readKeys(s segment) (keySet, error) {
	b, err := os.ReadFile(s.keysPath())
	if err != nil {
		return keySet{}, fmt.Errorf("%w: %w", errKeys, err)
	}
	if len(b) < keysHeader+4 || string(b[:len(keysMagic)]) != keysMagic {
		return keySet{}, errKeys
	}
	end := len(b) - 4
	h := b[len(keysMagic):]
	n := binary.LittleEndian.Uint32(h[24:])
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) || int64(n)*4 != int64(end-keysHeader) ||
		binary.LittleEndian.Uint64(h) != uint64(s.size) {
		return keySet{}, errKeys
	}
	k := keySet{raw: b[keysHeader:end]}
	k.span = span{int64(binary.LittleEndian.Uint64(h[8:])), int64(binary.LittleEndian.Uint64(h[16:])), true}
	k.span.some = k.span != span{some: true}
	return k, nil
}

// makeKeys makes the keys of s from its lines, at some 50 MB/s.
func makeKeys(ctx context.Context, s segment) (keySet, error) {
	f, err := os.Open(s.path())
	if err != nil {
		return keySet{}, fmt.Errorf("history: reading a segment for its keys: %w", err)
	}
	defer f.Close()
	var keys []uint32
	var times span
	err = readLines(ctx, f, func() {}, func(b []byte) bool {
		if e, err := decodeLine(b); err == nil {
			keys = appendKeys(keys, &e)
			times.add(e.At)
		}
		return true
	})
	if err != nil {
		return keySet{}, fmt.Errorf("history: reading a segment for its keys: %w", err)
	}
	return newKeySet(keys, times), nil
}
