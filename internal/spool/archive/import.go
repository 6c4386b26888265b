package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holub-mail/holub/internal/spool"
)

// ErrCut is the error for a file that ends before its manifest.
var ErrCut = errors.New("the file was cut: its end is missing")

// longestEnvelope is how large an envelope may be, in octets. One with a thousand recipients of ten attempts each takes some
// five million.
const longestEnvelope = 64 << 20

// Import puts the messages of a file into a spool, under their ids. known counts those that were there already; they stay as
// they are there. An entry that can't be read is left out and the rest goes on; the error then names it and wraps
// ErrEnvelope. ErrCut: the file is not whole; what is in it has been imported. Any other error ended the import. In each case
// it may be repeated.
func Import(ctx context.Context, e spool.Engine, r io.Reader) (new, known int, err error) {
	i := importer{ctx: ctx, e: e, t: tar.NewReader(r)}
	err = i.entries()
	if err == nil {
		err = i.left.err()
	}
	if err != nil {
		err = fmt.Errorf("import into the spool: %w", err)
	}
	return i.new, i.known, err
}

type importer struct {
	ctx        context.Context
	e          spool.Engine
	t          *tar.Reader
	new, known int
	seen       int // envelopes, be they good or not
	left       faults
	next       *spool.Message // its envelope was read, its content comes next
}

// entries reads the file to its manifest.
func (i *importer) entries() error {
	for {
		h, err := i.t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return errors.Join(i.left.err(), ErrCut)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errors.Join(i.left.err(), fmt.Errorf("%w: %w", ErrCut, err))
		case err != nil:
			return errors.Join(i.left.err(), fmt.Errorf("not a file that `holub spool export` wrote, or damaged: %w", err))
		}
		if err := i.ctx.Err(); err != nil {
			return err
		}
		if h.Name == manifestName {
			return i.manifest()
		}
		if err := i.entry(h); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = fmt.Errorf("%w: %w", ErrCut, err)
			}
			return errors.Join(i.left.err(), fmt.Errorf("entry %.80q: %w", h.Name, err))
		}
	}
}

// manifest reads the end.
func (i *importer) manifest() error {
	b, err := io.ReadAll(io.LimitReader(i.t, 4096))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCut, err)
	}
	var m manifest
	if err := strictly(b, &m); err != nil {
		return fmt.Errorf("%w: manifest: %w", ErrEnvelope, err)
	}
	if i.next != nil {
		i.drop(i.next.ID, "its content is missing")
	}
	if m.Messages != i.seen {
		i.left.add(fmt.Errorf("%w: the manifest says there are %d messages, and %d were found", ErrEnvelope, m.Messages, i.seen))
	}
	return nil
}

// drop reports a message that is not imported.
func (i *importer) drop(id spool.ID, why string) {
	i.left.add(fmt.Errorf("%w: message %s: %s", ErrEnvelope, id, why))
	i.next = nil
}

// entry takes one entry before the manifest. Its error ends the import.
func (i *importer) entry(h *tar.Header) error {
	if name, ok := strings.CutSuffix(h.Name, ".json"); ok {
		if i.next != nil {
			i.drop(i.next.ID, "its content is missing")
		}
		i.seen++
		return i.envelope(name, h.Size)
	}
	name, ok := strings.CutSuffix(h.Name, ".eml")
	switch {
	case !ok:
		i.left.add(fmt.Errorf("%w: entry %.80q is none of a spool", ErrEnvelope, h.Name))
	case i.next == nil || i.next.ID.String() != name:
		// The envelope before it was reported, or there was none.
		if i.next != nil {
			i.drop(i.next.ID, "the content of another follows it")
		}
	case i.next.Size != h.Size:
		i.drop(i.next.ID, fmt.Sprintf("%d octets of content where the envelope says %d", h.Size, i.next.Size))
	default:
		return i.put()
	}
	return nil
}

// envelope reads the envelope of the message that is named so.
func (i *importer) envelope(name string, size int64) error {
	if size > longestEnvelope {
		i.left.add(fmt.Errorf("%w: message %.40q: its envelope has %d octets, more than %d", ErrEnvelope, name, size, longestEnvelope))
		return nil
	}
	b, err := io.ReadAll(i.t)
	if err != nil {
		return err
	}
	m, err := decodeEnvelope(b)
	if err == nil && m.ID.String() != name {
		err = fmt.Errorf("%w: it is that of %s", ErrEnvelope, m.ID)
	}
	if err != nil {
		i.left.add(fmt.Errorf("message %.40q: %w", name, err))
		return nil
	}
	i.next = m
	return nil
}

// put brings the message whose content comes next into the spool.
func (i *importer) put() error {
	m := i.next
	i.next = nil
	_, err := i.e.Load(i.ctx, m.ID)
	if errors.Is(err, spool.ErrDamaged) {
		_, err = i.e.Load(i.ctx, m.ID) // what was damaged is set aside by now, and the file has it whole
	}
	if err == nil {
		i.known++
		return nil
	}
	if errors.Is(err, spool.ErrDamaged) {
		i.left.add(fmt.Errorf("message %s is damaged in the spool and was not replaced: %w", m.ID, err))
		return nil
	}
	if !errors.Is(err, spool.ErrNotFound) {
		return err
	}
	c, err := i.e.Create(i.ctx, m.ID)
	if err != nil {
		return err
	}
	defer c.Abort()
	if _, err := io.Copy(c, i.t); err != nil {
		return err
	}
	if err := i.e.Apply(i.ctx, spool.Put{Message: m, Content: c}); err != nil {
		return err
	}
	i.new++
	return nil
}
