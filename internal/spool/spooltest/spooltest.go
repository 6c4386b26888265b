// Package spooltest is the kit that every spool engine passes: what spool.Engine promises, said as tests. Run checks the
// contract, RunPowerCut cuts the power at every write and checks that nothing promised is gone.
//
// It knows no engine and never looks below the interface; damage to an engine's own files is for the engine's own tests.
// The tests of the engines call it:
//
//	func TestContract(t *testing.T) {
//		spooltest.Run(t, func(t *testing.T) spooltest.Store { return newStore(t) })
//	}
package spooltest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// Store is a place where an engine keeps mail. It outlives the engine.
type Store interface {
	// Open opens the engine over what the store holds. The one opened before was closed, or its power was cut.
	Open() (spool.Engine, error)
}

// Disk is a store whose power can be cut.
type Disk interface {
	Store
	// Watch has f called before every change to the disk, on whatever goroutine makes it; nil ends that.
	Watch(f func())
	// Cut gives the disk as a loss of power at this moment leaves it. What was synced is there; of the rest each piece
	// is there with a probability of keep percent, drawn from rng (nil where keep is 0).
	Cut(keep int, rng *rand.Rand) Disk
}

// epoch is the time at which the kit's messages arrive.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// entry is a message with its content, as the kit expects it in the spool.
type entry struct {
	m       *spool.Message
	content []byte
}

// newEntry makes a message with size octets of content and one fresh recipient for each address.
func newEntry(ids *spool.IDs, size int, to ...string) *entry {
	id := ids.New(epoch)
	m := &spool.Message{
		ID: id, From: address("<sender@example.org>"), Arrived: epoch, Size: int64(size),
		Client: "[192.0.2.1]:3456 (client.example.org)",
	}
	for _, a := range to {
		m.Recipients = append(m.Recipients, spool.Recipient{To: address("<" + a + ">"), Next: epoch})
	}
	return &entry{m: m, content: octets(id, size)}
}

func address(s string) smtp.Path {
	p, err := smtp.ParsePath(s)
	if err != nil {
		panic(err) // a table of the kit is wrong
	}
	return p
}

// octets makes content that differs between ids and does not repeat.
func octets(id spool.ID, size int) []byte {
	r := rand.New(rand.NewPCG(binary.BigEndian.Uint64(id[:8]), uint64(binary.BigEndian.Uint32(id[8:]))))
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:size]
}

// write brings the content of an entry into the engine in pieces of odd sizes.
func write(ctx context.Context, e spool.Engine, x *entry) (spool.Content, error) {
	c, err := e.Create(ctx, x.m.ID)
	if err != nil {
		return nil, err
	}
	rest := x.content
	for piece := 1; len(rest) > 0; piece = (piece*3 + 1) % 70_001 {
		n := min(piece+1, len(rest))
		if _, err := c.Write(rest[:n]); err != nil {
			c.Abort()
			return nil, err
		}
		rest = rest[n:]
	}
	return c, nil
}

// put brings an entry into the engine, in one commit with the other ops.
func put(ctx context.Context, e spool.Engine, x *entry, with ...spool.Op) error {
	c, err := write(ctx, e, x)
	if err != nil {
		return err
	}
	if err := e.Apply(ctx, append([]spool.Op{spool.Put{Message: x.m, Content: c}}, with...)...); err != nil {
		c.Abort()
		return err
	}
	return nil
}

// update makes the op that sets one recipient.
func update(id spool.ID, n int, r spool.Recipient) spool.Update {
	return spool.Update{ID: id, Recipients: map[int]spool.Recipient{n: r}}
}

// ended gives r with a final state.
func ended(r spool.Recipient, s spool.State) spool.Recipient {
	r.State, r.Next, r.Attempts = s, time.Time{}, r.Attempts+1
	r.Host = "mx.example.org [192.0.2.7]:25"
	r.Reply = smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "accepted")
	return r
}

// later gives r after a failed attempt.
func later(r spool.Recipient, d time.Duration) spool.Recipient {
	r.State, r.Reason, r.Attempts, r.Next = spool.Waiting, spool.ReasonRefused, r.Attempts+1, epoch.Add(d)
	r.Host = "mx.example.org [192.0.2.7]:25"
	r.Reply = smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "not now\nask again")
	return r
}

// model is what a spool should hold.
type model map[spool.ID]*entry

func (w model) clone() model {
	c := make(model, len(w))
	for id, x := range w {
		m := *x.m
		m.Recipients = slices.Clone(m.Recipients)
		c[id] = &entry{m: &m, content: x.content}
	}
	return c
}

// apply changes the model as the engine should change the spool.
func (w model) apply(puts []*entry, updates ...spool.Update) {
	for id, x := range (model)(nil).with(puts) {
		w[id] = x
	}
	for _, u := range updates {
		x := w[u.ID]
		open := false
		for n := range x.m.Recipients {
			if r, ok := u.Recipients[n]; ok {
				x.m.Recipients[n] = r
			}
			open = open || !x.m.Recipients[n].State.Done()
		}
		if !open {
			delete(w, u.ID)
		}
	}
}

// with gives copies of the entries, by id.
func (model) with(puts []*entry) model {
	c := make(model, len(puts))
	for _, x := range puts {
		c[x.m.ID] = x
	}
	return c.clone()
}

// check tells how the spool differs from the model; ids are all that were ever used.
func (w model) check(ctx context.Context, e spool.Engine, ids []spool.ID) error {
	pending, err := list(ctx, e)
	if err != nil {
		return err
	}
	var want []spool.Pending
	for _, x := range w {
		for n, r := range x.m.Recipients {
			if !r.State.Done() {
				want = append(want, pendingOf(x.m, n, r))
			}
		}
	}
	if err := samePending(pending, want); err != nil {
		return err
	}
	for _, id := range ids {
		if err := w.checkMessage(ctx, e, id); err != nil {
			return err
		}
	}
	return w.checkList(ctx, e, spool.ID{})
}

// checkList compares what the engine lists behind an id with the model.
func (w model) checkList(ctx context.Context, e spool.Engine, after spool.ID) error {
	want := slices.SortedFunc(maps.Keys(w), func(a, b spool.ID) int { return bytes.Compare(a[:], b[:]) })
	want = slices.DeleteFunc(want, func(id spool.ID) bool { return bytes.Compare(id[:], after[:]) <= 0 })
	n := 0
	for m, err := range e.List(ctx, after) {
		switch {
		case err != nil:
			return err
		case n == len(want):
			return fmt.Errorf("the listing goes on with %s after all %d messages", m.ID, n)
		case !reflect.DeepEqual(m, w[want[n]].m):
			return fmt.Errorf("listing: message %d of %d:\n got %+v\nwant %+v", n, len(want), m, w[want[n]].m)
		}
		n++
	}
	if n != len(want) {
		return fmt.Errorf("the listing ended after %d of %d messages", n, len(want))
	}
	return nil
}

func (w model) checkMessage(ctx context.Context, e spool.Engine, id spool.ID) error {
	m, err := e.Load(ctx, id)
	x := w[id]
	if x == nil {
		if !errors.Is(err, spool.ErrNotFound) {
			return fmt.Errorf("message %s should be gone: %+v, %v", id, m, err)
		}
		if _, err := e.Open(ctx, id); !errors.Is(err, spool.ErrNotFound) {
			return fmt.Errorf("content of %s should be gone: %v", id, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(m, x.m) {
		return fmt.Errorf("message %s:\n got %+v\nwant %+v", id, m, x.m)
	}
	return sameContent(ctx, e, x)
}

func sameContent(ctx context.Context, e spool.Engine, x *entry) error {
	r, err := e.Open(ctx, x.m.ID)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, x.content) {
		return fmt.Errorf("content of %s: %d octets that differ from the %d written", x.m.ID, len(got), len(x.content))
	}
	return nil
}

// pendingOf says by itself what the index must hold of a recipient.
func pendingOf(m *spool.Message, n int, r spool.Recipient) spool.Pending {
	started := m.Arrived
	if m.Asked.Held.After(started) {
		started = m.Asked.Held
	}
	return spool.Pending{ID: m.ID, N: n, To: r.To, Via: r.Via, Next: r.Next, Held: r.State == spool.Held, Fresh: r.Attempts == 0,
		Priority: r.Priority, Warned: r.Warned, Started: started, By: m.Asked.By, Sender: spool.SenderKey(m.From)}
}

func list(ctx context.Context, e spool.Engine) ([]spool.Pending, error) {
	var all []spool.Pending
	for p, err := range e.Pending(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// samePending compares the lists and tells whether got is in the order of due time.
func samePending(got, want []spool.Pending) error {
	byTime := func(a, b spool.Pending) int { return a.Next.Compare(b.Next) }
	if !slices.IsSortedFunc(got, byTime) {
		return fmt.Errorf("the listing is not in the order of due time: %+v", got)
	}
	left := make(map[spool.Pending]int)
	for _, p := range got {
		left[p]++
	}
	for _, p := range want {
		left[p]--
	}
	for p, n := range left {
		if n > 0 {
			return fmt.Errorf("listed is %s, recipient %d, which should not be there: %+v", p.ID, p.N, p)
		}
		if n < 0 {
			return fmt.Errorf("not listed is %s, recipient %d: %+v", p.ID, p.N, p)
		}
	}
	return nil
}

// open opens the engine and closes it with the test.
func open(t *testing.T, s Store) spool.Engine {
	t.Helper()
	e, err := s.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// reopen closes the engine and opens its store again.
func reopen(t *testing.T, s Store, e spool.Engine) spool.Engine {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open(t, s)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
