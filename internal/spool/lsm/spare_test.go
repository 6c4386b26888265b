package lsm

import (
	"bytes"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// Buffers come back of the size that was asked for, and what is kept of them is bounded.
func TestSpare(t *testing.T) {
	var s spare
	for _, size := range []int{1, spareStep - 1, spareStep, spareStep + 1, smallContent - 1, smallContent} {
		b := s.take(size)
		if len(b) != size {
			t.Errorf("asked for %d octets, got %d", size, len(b))
		}
		s.giveBack(b)
		again := s.take(size)
		if &again[0] != &b[0] || s.octets != 0 {
			t.Errorf("the buffer of %d octets was not used again; %d octets wait", size, s.octets)
		}
	}
	for range 2 * spareSize / smallContent {
		s.giveBack(make([]byte, smallContent))
	}
	if s.octets != spareSize {
		t.Errorf("%d octets wait, want %d", s.octets, spareSize)
	}
	s = spare{}
	for _, size := range []int{0, spareStep / 2, spareStep + 1, smallContent + spareStep} {
		if s.giveBack(make([]byte, 0, size)); s.octets != 0 {
			t.Fatalf("a buffer of capacity %d was kept, which take never gives", size)
		}
	}
}

// Content that somebody reads stays as it is when its message leaves; its buffer serves another message only after the
// last reader is done.
func TestReadWhileLeaving(t *testing.T) {
	put := func(e *Engine, id spool.ID, size int) {
		c, err := e.Create(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(bytes.Repeat(id[:1], size)); err != nil {
			t.Fatal(err)
		}
		m := &spool.Message{ID: id, Size: int64(size), Recipients: []spool.Recipient{{To: smtp.Path{Mailbox: smtp.Mailbox{Local: "postmaster"}}}}}
		if err := e.Apply(t.Context(), spool.Put{Message: m, Content: c}); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{100, 5000, smallContent, smallContent + 1, chunkSize, inlineSize} {
		e := openTest(t, vfs.NewMem())
		put(e, spool.ID{1}, size)
		first, err := e.Open(t.Context(), spool.ID{1})
		if err != nil {
			t.Fatal(err)
		}
		second, err := e.Open(t.Context(), spool.ID{1})
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		done := map[int]spool.Recipient{0: {State: spool.Delivered}}
		if err := e.Apply(t.Context(), spool.Update{ID: spool.ID{1}, Recipients: done}); err != nil {
			t.Fatal(err)
		}
		kept := second.(*reader).kept
		if kept == nil || kept.content == nil {
			t.Fatalf("%d octets: the content was not read from memory, or its buffer was given back too soon", size)
		}
		put(e, spool.ID{2}, size) // whose content takes any buffer that is free
		if got, err := io.ReadAll(second); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{1}, size)) {
			t.Errorf("%d octets: what is read after the message left differs (%v)", size, err)
		}
		if err := second.Close(); err != nil || second.Close() != nil {
			t.Fatal(err)
		}
		if kept.content != nil || kept.readers != 0 {
			t.Errorf("%d octets: the buffer was not given back; %d readers are left", size, kept.readers)
		}
		if _, err := second.Read(make([]byte, 1)); err == nil {
			t.Error("closed content was read")
		}
		third, err := e.Open(t.Context(), spool.ID{2})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(third); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{2}, size)) {
			t.Errorf("%d octets: the other message is read otherwise than it was written (%v)", size, err)
		}
		third.Close()
	}
}
