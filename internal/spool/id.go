package spool

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ID names a message: 48 bits of Unix milliseconds, 16 bits of node, 32 bits of counter, big endian, so that ids sort by
// their time. It is made without a store, which makes a repeated Put of the same message harmless.
type ID [12]byte

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// textSize is the length of an id as text.
const textSize = 20

// ErrID is the error for a text that is no id.
var ErrID = errors.New("not a queue id (20 letters and digits)")

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != textSize {
		return id, fmt.Errorf("%w: %.40q", ErrID, s)
	}
	if n, err := idText.Decode(id[:], []byte(s)); err != nil || n != len(id) || id.String() != s {
		return ID{}, fmt.Errorf("%w: %.40q", ErrID, s)
	}
	return id, nil
}

// String gives 20 lower-case letters and digits.
func (id ID) String() string {
	var text [textSize]byte
	idText.Encode(text[:], id[:])
	return string(text[:])
}

// MarshalText writes the id as String does, for logs and JSON.
func (id ID) MarshalText() ([]byte, error) { return idText.AppendEncode(nil, id[:]), nil }

// IsZero tells the id of no message.
func (id ID) IsZero() bool { return id == ID{} }

// Time is when the id was made, to the millisecond.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16))
}

// IDs makes ids for one node. Its counter starts anywhere, so that a clock set back between two starts repeats none.
type IDs struct {
	node    uint16
	counter atomic.Uint32
}

// NewIDs makes the source of ids of a node.
func NewIDs(node uint16) *IDs {
	ids := &IDs{node: node}
	var seed [4]byte
	rand.Read(seed[:]) // never fails (crypto/rand)
	ids.counter.Store(binary.BigEndian.Uint32(seed[:]))
	return ids
}

// New makes the next id.
func (s *IDs) New(now time.Time) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|uint64(s.node))
	binary.BigEndian.PutUint32(id[8:], s.counter.Add(1))
	return id
}
