package lsm

import (
	"bytes"
	"math/big"

	"github.com/cockroachdb/pebble/v2"
)

// cursor reads keys in their order. Both calls give nil at the end; after an error seek may be called again.
type cursor interface {
	seek(key []byte) ([]byte, error) // the first key that is not before key
	next() ([]byte, error)           // the one behind the last that was given
}

// gap is a range of keys, [from, to), in which something can't be read.
type gap struct {
	from, to []byte
	cause    error
}

func (g gap) has(key []byte) bool {
	return bytes.Compare(g.from, key) <= 0 && bytes.Compare(key, g.to) < 0
}

// walk visits the keys in [lo, hi) and goes on behind what can't be read because of damage, telling lost of each such gap.
// Both functions end it by giving false. Another error ends it, too, and is given.
func walk(c cursor, lo, hi []byte, visit func(key []byte) bool, lost func(gap) bool) error {
	from := bytes.Clone(lo) // nothing from here on was visited
	key, err := c.seek(from)
	if err != nil {
		key, err = c.seek(from) // it may have been mended when it was met
	}
	for {
		if err != nil {
			if !pebble.IsCorruptionError(err) {
				return err
			}
			g := gap{from: from, cause: err, to: behind(c, from, hi)}
			if !lost(g) || bytes.Compare(g.to, hi) >= 0 {
				return nil
			}
			from = g.to
			key, err = c.seek(from)
			continue
		}
		if key == nil || bytes.Compare(key, hi) >= 0 {
			return nil
		}
		from = append(append(from[:0:0], key...), 0)
		if !visit(key) {
			return nil
		}
		if key, err = c.next(); err != nil {
			key, err = c.seek(from)
		}
	}
}

// mostNarrowing bounds the seeks by which the end of a gap is found: each halves the room for it, and each failing one may
// take Pebble a few hundredths of a second.
const mostNarrowing = 64

// behind finds a key from which on reading works again, from before which it does not: first at growing distances, then by
// halves. Where there is none before hi it gives hi.
func behind(c cursor, from, hi []byte) []byte {
	bad, good := from, hi
	for n := len(from); n > 0; n-- {
		at := next(from[:n])
		if at == nil || bytes.Compare(at, hi) >= 0 {
			break
		}
		if _, err := c.seek(at); err == nil {
			good = at
			break
		}
		bad = at
	}
	width := max(len(bad), len(good), numberedSize, indexSize)
	low, high := number(bad, width), number(good, width)
	for range mostNarrowing {
		middle := new(big.Int).Add(low, high)
		middle.Rsh(middle, 1)
		if middle.Cmp(low) == 0 {
			break
		}
		at := middle.FillBytes(make([]byte, width))
		if _, err := c.seek(at); err == nil {
			good, high = at, middle
		} else {
			low = middle
		}
	}
	return bytes.Clone(good)
}

// number takes a key as a fraction of so many octets.
func number(key []byte, width int) *big.Int {
	return new(big.Int).SetBytes(append(bytes.Clone(key), make([]byte, width-len(key))...))
}

// storeCursor reads the keys of the store.
type storeCursor struct{ *pebble.Iterator }

func (c storeCursor) seek(key []byte) ([]byte, error) { return c.at(c.SeekGE(key)) }
func (c storeCursor) next() ([]byte, error)           { return c.at(c.Next()) }

func (c storeCursor) at(valid bool) ([]byte, error) {
	if !valid {
		return nil, c.Error()
	}
	if _, err := c.ValueAndErr(); err != nil {
		return nil, err
	}
	return c.Key(), nil
}
