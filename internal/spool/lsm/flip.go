package lsm

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the checksum that Pebble puts beside what it writes: CRC-32C, rotated and moved, so that data that holds a
// checksum does not prove itself.
func checksum(b []byte) uint32 {
	return bits.RotateLeft32(crc32.Checksum(b, castagnoli), -15) + 0xa282ead8
}

// unflip finds the one bit of b that must be turned for its checksum to be want, turns it and tells that it did. With none
// to be found b is as it was.
func unflip(b []byte, want uint32) bool {
	state := bits.RotateLeft32(want-0xa282ead8, 15) ^ crc32.Checksum(b, castagnoli)
	if state == 0 {
		return false
	}
	// The checksum is linear: a turned bit changes it by an amount that depends only on how many octets follow. tail is
	// what the bits of the last octet change; each octet before it changes what those changes become behind a zero more.
	var tail [8]uint32
	zero := crc32.Checksum([]byte{0}, castagnoli)
	for bit := range tail {
		tail[bit] = crc32.Checksum([]byte{1 << bit}, castagnoli) ^ zero
	}
	for i := len(b) - 1; i >= 0; i-- {
		for bit, change := range tail {
			if change == state {
				b[i] ^= 1 << bit
				return true
			}
			tail[bit] = castagnoli[byte(change)] ^ change>>8
		}
	}
	return false
}

// unflipSummed mends b or the checksum that stands beside it, whichever has one turned bit.
func unflipSummed(b, sum []byte) bool {
	want, is := binary.LittleEndian.Uint32(sum), checksum(b)
	if bits.OnesCount32(want^is) == 1 {
		binary.LittleEndian.PutUint32(sum, is)
		return true
	}
	return unflip(b, want)
}
