package lsm

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// freshSize bounds the octets of the messages that are kept at hand.
const freshSize = 32 << 20

// freshCost is about what a message and each of its recipients take beside the content.
const freshCost = 512

// freshFor is how long a message is at hand for sure. Where more comes than there is room for, what came first is what is
// read first, so it is the newest that finds no room.
const freshFor = 5 * time.Second

// fresh are messages that came a moment ago, as they are in the store: most leave before anybody has to read them. What is
// here is never newer than the store, and only for the time of a commit older.
type fresh struct {
	mu     sync.Mutex
	all    map[spool.ID]*list.Element // of freshMessage
	order  list.List                  // the oldest first
	octets int
	spare  spare // buffers of content
}

type freshMessage struct {
	msg     spool.Message // nobody outside has it
	content []byte        // never changed
	whole   bool          // content is there
	octets  int
	since   time.Time
	readers int  // of content, that have not released it
	dropped bool // it is not at hand any more: the last reader gives back the buffer
}

// add takes in a message that was just committed, and the buffer of content, which content.keep made. whole: content is all
// of its content.
func (f *fresh) add(m *spool.Message, content []byte, whole bool) {
	octets, now := cap(content)+freshCost*(1+len(m.Recipients)), time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = make(map[spool.ID]*list.Element)
	}
	f.drop(m.ID)
	if !f.makeRoom(octets, now) {
		f.spare.giveBack(content)
		return
	}
	f.octets += octets
	f.all[m.ID] = f.order.PushBack(&freshMessage{msg: m.AsStored(), content: content, whole: whole, octets: octets, since: now})
}

// makeRoom drops the oldest messages until there is room for so many octets, and tells whether there is.
func (f *fresh) makeRoom(octets int, now time.Time) bool {
	if octets > freshSize/8 {
		return false // so large a message costs more than to read it
	}
	for f.octets+octets > freshSize {
		oldest := f.order.Front().Value.(*freshMessage)
		if now.Sub(oldest.since) < freshFor {
			return false
		}
		f.drop(oldest.msg.ID)
	}
	return true
}

func (f *fresh) drop(id spool.ID) {
	if e := f.all[id]; e != nil {
		k := f.order.Remove(e).(*freshMessage)
		f.octets -= k.octets
		delete(f.all, id)
		k.dropped = true
		f.recycle(k)
	}
}

// recycle gives back the buffer of content that nobody reads any more. f.mu is held.
func (f *fresh) recycle(k *freshMessage) {
	if k.dropped && k.readers == 0 {
		f.spare.giveBack(k.content)
		k.content = nil
	}
}

// forget drops a message: it has left the store, or is read from there from now on.
func (f *fresh) forget(id spool.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(id)
}

// find gives a message that is at hand. f.mu is held.
func (f *fresh) find(id spool.ID) *freshMessage {
	if e := f.all[id]; e != nil {
		return e.Value.(*freshMessage)
	}
	return nil
}

// update takes in the new state of recipients, as it was committed.
func (f *fresh) update(id spool.ID, states []newState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.find(id)
	if k == nil {
		return
	}
	for i := range states {
		k.msg.Recipients[states[i].n] = states[i].to.AsStored()
	}
}

// message gives a message with its recipients; nil: it is not at hand.
func (f *fresh) message(id spool.ID) *spool.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.find(id)
	if k == nil {
		return nil
	}
	m := k.msg
	m.Recipients = slices.Clone(k.msg.Recipients)
	for i := range m.Recipients {
		m.Recipients[i].Trail = slices.Clone(m.Recipients[i].Trail)
	}
	return &m
}

// envelope gives a message without its recipients, and their number; nil: it is not at hand.
func (f *fresh) envelope(id spool.ID) (*spool.Message, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.find(id)
	if k == nil {
		return nil, 0
	}
	m := k.msg
	m.Recipients = nil
	return &m, len(k.msg.Recipients)
}

// recipient gives the state of a recipient; ok is false where the message is not at hand, or has no such recipient.
func (f *fresh) recipient(id spool.ID, n int) (r spool.Recipient, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.find(id)
	if k == nil || n < 0 || n >= len(k.msg.Recipients) {
		return r, false
	}
	return k.msg.Recipients[n], true // its trail is copied before it is changed
}

// content gives a message whose content is at hand, to be read only, and until it is released; ok is false where it is not.
func (f *fresh) content(id spool.ID) (k *freshMessage, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k = f.find(id); k == nil || !k.whole {
		return nil, false
	}
	k.readers++
	return k, true
}

// release says that who got k from content reads it no longer. Who forgets to costs no more than its buffer.
func (f *fresh) release(k *freshMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k.readers--
	f.recycle(k)
}
