package spool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Finding is one thing that is wrong in a spool, or was and is set aside.
type Finding struct {
	ID   ID     // of the message; zero where it is not known
	What string // "message", "content", "index", "set aside"
	Err  error
}

func (f Finding) String() string {
	if f.ID.IsZero() {
		return fmt.Sprintf("%s: %v", f.What, f.Err)
	}
	return fmt.Sprintf("%s: %s: %v", f.ID, f.What, f.Err)
}

// Summary is what Check counted.
type Summary struct {
	Messages   int   // that can be read
	Recipients int   // of these
	Waiting    int   // of the recipients
	Held       int   // of the recipients
	Octets     int64 // of content that can be read to its end
	Bad        int   // findings of damage, without what was set aside before
	Damaged    int   // what was set aside, before or by this check
}

// Check reads a whole spool: every envelope, every recipient, all content to its last octet, and the index, which must say of
// each recipient that is not done what its record says, and nothing else. What it finds it tells report, which may be nil. The
// error is nil as long as the check itself could be done, whatever it found.
//
// It is meant for a spool that is not in use. In one that is, a message that changes while it is looked at is looked at
// again. It changes nothing itself; the engine sets aside what it finds damaged, where it may write. Memory: 20 octets for
// each recipient that is not done.
func Check(ctx context.Context, e Engine, report func(Finding)) (Summary, error) {
	if report == nil {
		report = func(Finding) {}
	}
	c := checker{ctx: ctx, e: e, report: report}
	for _, part := range []func() error{c.readIndex, c.messages, c.again, c.setAside} {
		if err := part(); err != nil {
			return c.sum, fmt.Errorf("check the spool: %w", err)
		}
	}
	return c.sum, nil
}

// indexed is an index entry: whose it is, and a checksum of what it says.
type indexed struct {
	id  ID
	n   uint32
	sum uint32
}

func (x indexed) compare(y indexed) int {
	return cmp.Or(bytes.Compare(x.id[:], y.id[:]), cmp.Compare(x.n, y.n))
}

// indexedOf takes what every format of the index says: entries of the first have nothing else.
func indexedOf(p *Pending) indexed {
	all := Pending{To: p.To, Next: p.Next, Priority: p.Priority, Held: p.Held, Fresh: p.Fresh}
	return indexed{p.ID, uint32(p.N), crc32.ChecksumIEEE(AppendPending(nil, &all))}
}

type checker struct {
	ctx      context.Context
	e        Engine
	report   func(Finding)
	sum      Summary
	index    []indexed // what is not yet held against a message, in the order of ids
	suspects []ID      // messages with which the index did not agree
}

// bad reports damage.
func (c *checker) bad(f Finding) {
	c.sum.Bad++
	c.report(f)
}

// readIndex reads the index into memory.
func (c *checker) readIndex() error {
	for p, err := range c.e.Pending(c.ctx) {
		switch {
		case err == nil:
			c.index = append(c.index, indexedOf(&p))
		case errors.Is(err, ErrDamaged):
			c.bad(Finding{What: "index", Err: err})
		default:
			return err
		}
	}
	slices.SortFunc(c.index, indexed.compare)
	return nil
}

// messages reads all messages and their content.
func (c *checker) messages() error {
	for m, err := range c.e.List(c.ctx, ID{}) {
		switch {
		case errors.Is(err, ErrDamaged):
			c.bad(Finding{What: "message", Err: err})
			continue
		case err != nil:
			return err
		}
		c.sum.Messages++
		c.count(m)
		if err := c.content(m); err != nil {
			return err
		}
		if !c.agrees(m) {
			c.suspects = append(c.suspects, m.ID)
		}
	}
	for len(c.index) > 0 {
		c.skip()
	}
	return nil
}

func (c *checker) count(m *Message) {
	c.sum.Recipients += len(m.Recipients)
	for i := range m.Recipients {
		switch m.Recipients[i].State {
		case Waiting:
			c.sum.Waiting++
		case Held:
			c.sum.Held++
		}
	}
}

// content reads what a message holds.
func (c *checker) content(m *Message) error {
	n, err := readAll(c.ctx, c.e, m.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil // it left meanwhile
	case errors.Is(err, ErrDamaged):
	case err != nil:
		return err
	case n != m.Size:
		err = fmt.Errorf("%w: %d octets where the envelope says %d", ErrDamaged, n, m.Size)
	default:
		c.sum.Octets += n
		return nil
	}
	c.bad(Finding{ID: m.ID, What: "content", Err: err})
	return nil
}

func readAll(ctx context.Context, e Engine, id ID) (int64, error) {
	r, err := e.Open(ctx, id)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, r)
	return n, errors.Join(err, r.Close())
}

// agrees takes the entries of a message off the index and tells whether they are what its recipients should have.
func (c *checker) agrees(m *Message) bool {
	for len(c.index) > 0 && bytes.Compare(c.index[0].id[:], m.ID[:]) < 0 {
		c.skip()
	}
	n := 0
	for n < len(c.index) && c.index[n].id == m.ID {
		n++
	}
	is := c.index[:n]
	c.index = c.index[n:]
	return slices.Equal(is, entriesOf(m))
}

// skip takes the first entry off the index, which is of a message that was not listed.
func (c *checker) skip() {
	if id := c.index[0].id; len(c.suspects) == 0 || c.suspects[len(c.suspects)-1] != id {
		c.suspects = append(c.suspects, id)
	}
	c.index = c.index[1:]
}

// entriesOf are the entries that a message should have.
func entriesOf(m *Message) (all []indexed) {
	for n := range m.Recipients {
		if r := &m.Recipients[n]; !r.State.Done() {
			p := PendingOf(m, n, r)
			all = append(all, indexedOf(&p))
		}
	}
	return all
}

// again looks once more at the messages with which the index did not agree: they may have changed in between.
func (c *checker) again() error {
	if len(c.suspects) == 0 {
		return nil
	}
	slices.SortFunc(c.suspects, compareIDs)
	c.suspects = slices.Compact(c.suspects)
	is := map[ID][]indexed{}
	for p, err := range c.e.Pending(c.ctx) {
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		if _, there := slices.BinarySearchFunc(c.suspects, p.ID, compareIDs); there && err == nil {
			is[p.ID] = append(is[p.ID], indexedOf(&p))
		}
	}
	for _, id := range c.suspects {
		m, err := c.e.Load(c.ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			if len(is[id]) > 0 {
				err := fmt.Errorf("%w: %d entries, and there is no such message", ErrDamaged, len(is[id]))
				c.bad(Finding{ID: id, What: "index", Err: err})
			}
			continue
		case errors.Is(err, ErrDamaged):
			c.bad(Finding{ID: id, What: "message", Err: err})
			continue
		case err != nil:
			return err
		}
		slices.SortFunc(is[id], indexed.compare)
		if want := entriesOf(m); !slices.Equal(is[id], want) {
			err := fmt.Errorf("%w: its %d entries are not those of the %d recipients that are not done", ErrDamaged,
				len(is[id]), len(want))
			c.bad(Finding{ID: id, What: "index", Err: err})
		}
	}
	return nil
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

// setAside reports what was set aside.
func (c *checker) setAside() error {
	for d, err := range c.e.Damaged(c.ctx) {
		if errors.Is(err, ErrDamaged) {
			c.bad(Finding{What: "set aside", Err: err})
			continue
		}
		if err != nil {
			return err
		}
		c.sum.Damaged++
		c.report(Finding{ID: d.ID, What: "set aside", Err: fmt.Errorf("%w: %s, %d octets", ErrDamaged, d.What, d.Size)})
	}
	return nil
}
