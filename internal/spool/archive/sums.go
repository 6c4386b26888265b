package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// The ends of the names of a message's entries, which stand in this order.
const (
	sumsEnd     = ".sha256"
	envelopeEnd = ".json"
	contentEnd  = ".eml"
)

// sums are the checksums of the other entries of a message, for a tar has none but of its headers.
type sums struct {
	envelope, content [sha256.Size]byte
}

// encode writes them as sha256sum does, so that `sha256sum -c` holds unpacked files against them.
func (s *sums) encode(name string) []byte {
	return fmt.Appendf(nil, "%x  %s%s\n%x  %s%s\n", s.envelope, name, envelopeEnd, s.content, name, contentEnd)
}

// decodeSums reads what encode wrote for the message that is named so.
func decodeSums(b []byte, name string) (*sums, error) {
	s := &sums{}
	const digits = 2 * sha256.Size
	second := len("  ") + digits + len(name+envelopeEnd) + len("\n") // where the second line begins
	ok := len(b) >= second+digits
	if ok {
		_, err := hex.Decode(s.envelope[:], b[:digits])
		_, err2 := hex.Decode(s.content[:], b[second:second+digits])
		ok = err == nil && err2 == nil && string(s.encode(name)) == string(b)
	}
	if !ok {
		return nil, fmt.Errorf("%w: its checksums can't be read", ErrEnvelope)
	}
	return s, nil
}
