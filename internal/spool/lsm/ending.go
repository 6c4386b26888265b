package lsm

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holub-mail/holub/internal/spool"
)

// ending counts the recipients of a message with several of them, from the first that ends.
type ending struct {
	open     int // not done, as far as commits have returned
	underWay int // of open, those that end in commits under way
}

// countOpen makes sure that the open recipients of a message are counted. The count is read without a lock, and kept only
// if nobody was faster. It can't be out of date: every change of it goes through the entry, and an entry stays until the
// last recipient is done, which the caller's is not.
func (e *Engine) countOpen(id spool.ID, count int) error {
	if count == 1 {
		return nil
	}
	e.mu.Lock()
	_, there := e.ending[id]
	e.mu.Unlock()
	if there {
		return nil
	}
	all, err := e.recipients(id, count)
	if err != nil {
		return err
	}
	if len(all) != count {
		return fmt.Errorf("%w: %d of %d recipients found", spool.ErrDamaged, len(all), count)
	}
	open := 0
	for i := range all {
		if !all[i].State.Done() {
			open++
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, there := e.ending[id]; !there {
		e.ending[id] = &ending{open: open}
	}
	return nil
}

// reserve decides for each change that ends recipients how its message leaves, before any of them is written.
func (e *Engine) reserve(changes []*change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range changes {
		if c.ends == 0 {
			continue
		}
		if c.count == 1 {
			c.leaves = goesNow
			continue
		}
		g := e.ending[c.id]
		if g == nil {
			continue // set aside since it was read
		}
		g.underWay += c.ends
		switch {
		case g.underWay < g.open:
			c.leaves = stays
		case g.underWay == c.ends:
			c.leaves = goesNow
		default:
			c.leaves = goesAfter
		}
	}
}

// settle takes the changes off the counts when their commit returned, and gives those after which a message is left that
// no recipient waits for.
func (e *Engine) settle(changes []*change, committed bool) (gone []*change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range changes {
		if c.ends == 0 || c.count == 1 {
			continue
		}
		g := e.ending[c.id]
		if g == nil {
			continue
		}
		g.underWay -= c.ends
		if !committed {
			continue
		}
		g.open -= c.ends
		if g.open > 0 {
			continue
		}
		delete(e.ending, c.id)
		if c.leaves != goesNow {
			gone = append(gone, c)
		}
	}
	return gone
}

// removeAfter deletes a message whose recipients ended in several commits. They are on disk, and a mark is with them, so
// this need not be synced: if it is lost, the next start does it again.
func (e *Engine) removeAfter(c *change) {
	if err := e.remove(c); err != nil {
		e.log.Error("a finished message stays until the next start", "id", c.id, "error", err)
	}
}

func (e *Engine) remove(c *change) error {
	b := e.db.NewBatch()
	defer b.Close()
	if err := c.deleteMessage(b); err != nil {
		return err
	}
	if err := b.Delete(idKey(prefixEnding, c.id), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	if c.inFile {
		e.removeBody(c.id)
	}
	return nil
}

// sweepEnding deletes the messages whose last commits returned but whose deletion was lost.
func (e *Engine) sweepEnding() error {
	marked, err := e.ids(prefixEnding)
	if err != nil {
		return err
	}
	for _, id := range marked {
		if err := e.finish(id); err != nil {
			return fmt.Errorf("finish message %s: %w", id, err)
		}
	}
	if len(marked) > 0 {
		e.log.Info("looked after messages that were on their way out", "messages", len(marked))
	}
	return nil
}

// finish deletes a message if nothing of it is owed, and else only its mark.
func (e *Engine) finish(id spool.ID) error {
	m, count, err := e.envelope(id)
	if err == nil {
		m.Recipients, err = e.recipients(id, count)
	}
	if errors.Is(err, spool.ErrNotFound) || errors.Is(err, spool.ErrDamaged) {
		// What can't be read is set aside when somebody asks for it; the start goes on.
		return e.db.Delete(idKey(prefixEnding, id), pebble.NoSync)
	}
	if err != nil {
		return err
	}
	open := len(m.Recipients) != count
	for i := range m.Recipients {
		open = open || !m.Recipients[i].State.Done()
	}
	if open {
		return e.db.Delete(idKey(prefixEnding, id), pebble.NoSync)
	}
	return e.remove(&change{id: id, envelope: m, count: count, inFile: e.inFile(id, m.Size)})
}

// sweepUnclaimed deletes the chunks that no commit claimed, of format 1. It reads the marks, never the content.
func (e *Engine) sweepUnclaimed() error {
	marked, err := e.ids(prefixUnclaimed)
	if err != nil {
		return err
	}
	for _, id := range marked {
		b := e.db.NewBatch()
		lo, hi := idRange(prefixContent, id)
		err := errors.Join(
			b.DeleteRange(lo, hi, nil), // how many chunks there are is not known
			b.Delete(idKey(prefixUnclaimed, id), nil),
			b.Commit(pebble.NoSync),
			b.Close())
		if err != nil {
			return fmt.Errorf("drop unclaimed content of %s: %w", id, err)
		}
	}
	if len(marked) > 0 {
		e.log.Info("dropped content of messages that were never accepted", "messages", len(marked))
	}
	return nil
}

// ids reads all keys of a prefix that hold nothing but an id.
func (e *Engine) ids(prefix byte) ([]spool.ID, error) {
	lo, hi := prefixRange(prefix)
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return nil, readError(err)
	}
	defer it.Close()
	var all []spool.ID
	for it.First(); it.Valid(); it.Next() {
		if id, ok := parseIDKey(it.Key()); ok {
			all = append(all, id)
		}
	}
	if err := it.Error(); err != nil {
		return nil, readError(err)
	}
	return all, nil
}
