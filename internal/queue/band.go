package queue

import "slices"

// bands are the lines of one site.
//
// The class is chosen by weight, in it new mail goes before retries by weight, and then the senders take turns. A choice
// that has nothing passes its turn on, so none starves and none waits for nobody.
type bands struct {
	of        [classes][levels]band
	turn      uint8          // in shares
	levelTurn [classes]uint8 // in levelShares
	length    int            // records in all lines
}

// levels are new mail and retries.
const levels = 2

// shares is the order in which the classes of a site get their turns: six turns of ten to the urgent, three to
// ordinary mail, one to the rest.
var shares = [...]int{0, 0, 1, 0, 0, 1, 0, 0, 1, 2}

// levelShares is the order of new mail (0) and retries (1) in a class.
var levelShares = [...]int{0, 0, 0, 0, 1}

// band has the lines of the senders that have something waiting. Senders are told apart by six bits of their hash.
type band struct {
	lines []line // each has a record
	turn  int    // index of the line that is next
}

type line struct {
	list
	key uint8
}

// keyOf mixes a sender's hash, for nobody promised that it is a good one.
func keyOf(sender uint32) uint8 { return uint8(sender * 0x9e3779b1 >> 26) }

func level(r *record) int {
	if r.flags&flagFresh != 0 {
		return 0
	}
	return 1
}

func (b *band) find(key uint8) int {
	return slices.IndexFunc(b.lines, func(l line) bool { return l.key == key })
}

func (b *bands) push(s *slab, i uint32) {
	r := s.at(i)
	of, key := &b.of[class(r.priority)][level(r)], keyOf(r.sender)
	k := of.find(key)
	if k < 0 {
		k = len(of.lines)
		of.lines = append(of.lines, line{key: key})
	}
	s.push(byLine, &of.lines[k].list, i)
	b.length++
}

// remove takes a record out that is in a line.
func (b *bands) remove(s *slab, i uint32) {
	r := s.at(i)
	of := &b.of[class(r.priority)][level(r)]
	of.remove(s, of.find(keyOf(r.sender)), i)
	b.length--
}

func (b *band) remove(s *slab, k int, i uint32) (emptied bool) {
	s.unlink(byLine, &b.lines[k].list, i)
	if b.lines[k].head != 0 {
		return false
	}
	b.lines = slices.Delete(b.lines, k, k+1)
	if k < b.turn {
		b.turn--
	}
	return true
}

// pop takes the next record; there must be one.
func (b *bands) pop(s *slab) uint32 {
	c := shares[b.turn]
	b.turn = (b.turn + 1) % uint8(len(shares))
	for i := 0; b.emptyClass(c); i++ { // the next in order of urgency takes the turn
		c = i
	}
	at := levelShares[b.levelTurn[c]]
	b.levelTurn[c] = (b.levelTurn[c] + 1) % uint8(len(levelShares))
	if len(b.of[c][at].lines) == 0 {
		at = 1 - at
	}
	b.length--
	return b.of[c][at].pop(s)
}

func (b *bands) emptyClass(c int) bool {
	return len(b.of[c][0].lines) == 0 && len(b.of[c][1].lines) == 0
}

func (b *band) pop(s *slab) uint32 {
	if b.turn >= len(b.lines) {
		b.turn = 0
	}
	i := b.lines[b.turn].head
	if !b.remove(s, b.turn, i) {
		b.turn++
	}
	return i
}
