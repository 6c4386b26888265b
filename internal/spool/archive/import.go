package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
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

// ErrHeader is the error for a file in which the place of the next entry is not known any more.
var ErrHeader = errors.New("not a file that `holub spool export` wrote, or damaged")

// Import puts the messages of a file into a spool, under their ids. known counts those that were there already; they stay as
// they are there. A message whose entries can't be read, or do not have the checksums that the file has for them, is left out
// and the rest goes on; the error then names it and wraps ErrEnvelope. ErrCut: the file is not whole; what is in it has been
// imported. ErrHeader: what comes before the damage has been imported; the error says how many messages are missing where
// the manifest can be read. Any other error ended the import. In each case it may be repeated.
func Import(ctx context.Context, e spool.Engine, r io.Reader) (new, known int, err error) {
	s := &source{r: r}
	i := importer{ctx: ctx, e: e, s: s, t: tar.NewReader(s)}
	if err = errors.Join(i.entries(), i.left.err()); err != nil {
		err = fmt.Errorf("import into the spool: %w", err)
	}
	return i.new, i.known, err
}

type importer struct {
	ctx        context.Context
	e          spool.Engine
	s          *source
	t          *tar.Reader
	new, known int
	seen       int // messages, be they good or not
	left       faults
	at         place
}

// place is how far a message was read.
type place struct {
	name     string         // of its entries, without their ends; "": before the first
	sums     *sums          // nil: not read
	envelope *spool.Message // nil: not read
	done     bool           // it was imported, was known, or was reported
}

// entries reads the file to its manifest.
func (i *importer) entries() error {
	for {
		h, err := i.t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return ErrCut
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("%w: %w", ErrCut, err)
		case errors.Is(err, tar.ErrHeader):
			return i.lost(err)
		case err != nil:
			return err
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
			return fmt.Errorf("entry %.80q: %w", h.Name, err)
		}
	}
}

// manifest reads the end.
func (i *importer) manifest() error {
	i.finish()
	m, err := readManifest(i.t)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrCut, err)
	}
	if err != nil {
		return err
	}
	if m.Messages != i.seen {
		return fmt.Errorf("%w: the manifest says there are %d messages, and %d were found", ErrEnvelope, m.Messages, i.seen)
	}
	return nil
}

func readManifest(r io.Reader) (*manifest, error) {
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return nil, err
	}
	m := &manifest{}
	if err := strictly(b, m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrEnvelope, err)
	}
	if m.Version != version {
		return nil, fmt.Errorf("%w: manifest: version %d; this holub reads version %d", ErrEnvelope, m.Version, version)
	}
	return m, nil
}

// lost ends an import in which a header can't be read, and says what it means.
func (i *importer) lost(cause error) error {
	m, err := i.s.end(i.ctx)
	switch got := i.new + i.known; {
	case err != nil:
		return errors.Join(fmt.Errorf("%w: %w", ErrHeader, cause), err)
	case m == nil:
		return fmt.Errorf("%w: after %d messages, and how many are missing is not known: %w", ErrHeader, got, cause)
	default:
		return fmt.Errorf("%w: the manifest says there are %d messages, not imported: %d. Export again, or unpack what "+
			"can be read with tar: %w", ErrHeader, m.Messages, m.Messages-got, cause)
	}
}

// drop reports the message at hand, which is not imported.
func (i *importer) drop(why error) {
	i.left.add(fmt.Errorf("message %.40q: %w", i.at.name, why))
	i.at.done = true
}

// miss reports that an entry of the message at hand is missing.
func (i *importer) miss(what string) { i.drop(fmt.Errorf("%w: its %s is missing", ErrEnvelope, what)) }

// finish reports the message at hand if it is not whole. Another begins, or the file ends.
func (i *importer) finish() {
	switch {
	case i.at.name == "" || i.at.done:
	case i.at.envelope == nil:
		i.miss("envelope")
	default:
		i.miss("content")
	}
}

// entry takes one entry before the manifest. Its error ends the import.
func (i *importer) entry(h *tar.Header) error {
	name, end := cutEnd(h.Name)
	if end == "" {
		i.left.add(fmt.Errorf("%w: entry %.80q is none of a spool", ErrEnvelope, h.Name))
		return nil
	}
	if name != i.at.name || end == sumsEnd {
		i.finish()
		i.at = place{name: name}
		i.seen++
	}
	switch {
	case i.at.done:
		return nil
	case end == sumsEnd:
		return i.sums()
	case i.at.sums == nil:
		i.miss("entry with the checksums")
		return nil
	case end == envelopeEnd:
		return i.envelope(h.Size)
	case i.at.envelope == nil:
		i.miss("envelope")
		return nil
	case i.at.envelope.Size != h.Size:
		i.drop(fmt.Errorf("%w: %d octets of content where the envelope says %d", ErrEnvelope, h.Size, i.at.envelope.Size))
		return nil
	}
	return i.put()
}

// cutEnd cuts the name of an entry in two; end is "" for one that is none of a message.
func cutEnd(name string) (message, end string) {
	for _, end := range []string{sumsEnd, envelopeEnd, contentEnd} {
		if message, ok := strings.CutSuffix(name, end); ok {
			return message, end
		}
	}
	return name, ""
}

// sums reads the checksums of the message at hand.
func (i *importer) sums() error {
	b, err := io.ReadAll(io.LimitReader(i.t, 4096))
	if err != nil {
		return err
	}
	if i.at.sums, err = decodeSums(b, i.at.name); err != nil {
		i.drop(err)
	}
	return nil
}

// envelope reads the envelope of the message at hand.
func (i *importer) envelope(size int64) error {
	if size > longestEnvelope {
		i.drop(fmt.Errorf("%w: its envelope has %d octets, more than %d", ErrEnvelope, size, longestEnvelope))
		return nil
	}
	b, err := io.ReadAll(i.t)
	if err != nil {
		return err
	}
	if sha256.Sum256(b) != i.at.sums.envelope {
		i.drop(fmt.Errorf("%w: its envelope was changed: it does not have the checksum that the file has for it", ErrEnvelope))
		return nil
	}
	m, err := decodeEnvelope(b)
	if err == nil && m.ID.String() != i.at.name {
		err = fmt.Errorf("%w: it is that of %s", ErrEnvelope, m.ID)
	}
	if err != nil {
		i.drop(err)
		return nil
	}
	i.at.envelope = m
	return nil
}

// put brings the message whose content comes next into the spool.
func (i *importer) put() error {
	m := i.at.envelope
	_, err := i.e.Load(i.ctx, m.ID)
	if errors.Is(err, spool.ErrDamaged) {
		_, err = i.e.Load(i.ctx, m.ID) // what was damaged is set aside by now, and the file has it whole
	}
	if err == nil {
		i.known++
		i.at.done = true
		return nil
	}
	if errors.Is(err, spool.ErrDamaged) {
		i.drop(fmt.Errorf("it is damaged in the spool and was not replaced: %w", err))
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
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(c, h), i.t); err != nil {
		return err
	}
	if [sha256.Size]byte(h.Sum(nil)) != i.at.sums.content {
		i.drop(fmt.Errorf("%w: its content was changed: it does not have the checksum that the file has for it", ErrEnvelope))
		return nil
	}
	if err := i.e.Apply(i.ctx, spool.Put{Message: m, Content: c}); err != nil {
		return err
	}
	i.new++
	i.at.done = true
	return nil
}
