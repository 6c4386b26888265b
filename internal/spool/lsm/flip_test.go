package lsm

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// Any one bit that turns in a block, or in its checksum, is found and turned back; of two, nothing is changed.
func TestUnflip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 19, 4096, 32 << 10} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		sum := binary.LittleEndian.AppendUint32(nil, checksum(b))
		for range 50 {
			bad, badSum := bytes.Clone(b), bytes.Clone(sum)
			bad[rng.IntN(size)] ^= 1 << rng.IntN(8)
			if !unflipSummed(bad, badSum) || !bytes.Equal(bad, b) {
				t.Fatalf("a bit of %d octets was not turned back", size)
			}
			badSum[rng.IntN(4)] ^= 1 << rng.IntN(8)
			if !unflipSummed(bad, badSum) || !bytes.Equal(badSum, sum) {
				t.Fatalf("a bit of the checksum of %d octets was not turned back", size)
			}
		}
		if size < 19 {
			continue
		}
		bad := bytes.Clone(b)
		bad[0] ^= 1
		bad[size-1] ^= 0x80
		was := bytes.Clone(bad)
		if unflipSummed(bad, bytes.Clone(sum)) || !bytes.Equal(bad, was) {
			t.Errorf("two bits of %d octets: changed", size)
		}
	}
}
