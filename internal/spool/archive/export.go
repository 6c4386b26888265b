package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// manifestName is the last entry.
const manifestName = "manifest.json"

// manifest closes a file.
type manifest struct {
	Version  int `json:"version"`
	Messages int `json:"messages"`
}

// mostErrors is how many messages an error names.
const mostErrors = 20

// faults joins the errors of single messages, the first of them, and says how many there are.
type faults struct {
	errs []error
	n    int
}

func (f *faults) add(err error) {
	if f.n++; len(f.errs) < mostErrors {
		f.errs = append(f.errs, err)
	}
}

func (f *faults) err() error {
	if f.n == 0 {
		return nil
	}
	all := errors.Join(f.errs...)
	if more := f.n - len(f.errs); more > 0 {
		all = fmt.Errorf("%w\nand %d more", all, more)
	}
	return fmt.Errorf("%d left out: %w", f.n, all)
}

// Export writes all messages of a spool to w and gives their number. A message that can't be read is left out; the error then
// names it and wraps spool.ErrDamaged, and the file is good without it. With any other error the file is not complete. All
// content is read twice: once to see that it can be read.
func Export(ctx context.Context, e spool.Engine, w io.Writer) (n int, err error) {
	t := tar.NewWriter(w)
	var left faults
	for m, err := range e.List(ctx, spool.ID{}) {
		if err == nil {
			err = exportMessage(ctx, e, t, m)
		}
		switch {
		case err == nil:
			n++
		case errors.Is(err, spool.ErrDamaged):
			left.add(err)
		case errors.Is(err, spool.ErrNotFound): // it left meanwhile
		default:
			return n, fmt.Errorf("export the spool: %w", err)
		}
	}
	last, err := json.Marshal(manifest{Version: version, Messages: n})
	if err == nil {
		err = writeEntry(t, manifestName, time.Time{}, append(last, '\n'))
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return n, fmt.Errorf("export the spool: %w", err)
	}
	if err := left.err(); err != nil {
		return n, fmt.Errorf("export the spool: %w", err)
	}
	return n, nil
}

// exportMessage writes the three entries of a message. With ErrDamaged and ErrNotFound it has written none.
func exportMessage(ctx context.Context, e spool.Engine, t *tar.Writer, m *spool.Message) error {
	head, err := encodeEnvelope(m)
	if err != nil {
		return fmt.Errorf("%w: message %s can't be written as JSON: %w", spool.ErrDamaged, m.ID, err)
	}
	before, after := sha256.New(), sha256.New()
	if err := copyContent(ctx, e, m, before); err != nil {
		return err
	}
	all := sums{envelope: sha256.Sum256(head), content: [sha256.Size]byte(before.Sum(nil))}
	if err := writeEntry(t, m.ID.String()+sumsEnd, m.Arrived, all.encode(m.ID.String())); err != nil {
		return err
	}
	if err := writeEntry(t, m.ID.String()+envelopeEnd, m.Arrived, head); err != nil {
		return err
	}
	if err := t.WriteHeader(header(m.ID.String()+contentEnd, m.Arrived, m.Size)); err != nil {
		return err
	}
	err = copyContent(ctx, e, m, io.MultiWriter(t, after))
	if err == nil && all.content != [sha256.Size]byte(after.Sum(nil)) {
		err = fmt.Errorf("content of %s was read twice, and differs", m.ID)
	}
	if err != nil {
		// The entry can't be taken back, and half of it must not be taken for the whole.
		return fmt.Errorf("it could be read, and a moment later not any more: export again: %v", err)
	}
	return nil
}

func copyContent(ctx context.Context, e spool.Engine, m *spool.Message, w io.Writer) error {
	r, err := e.Open(ctx, m.ID)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if n != m.Size {
		return fmt.Errorf("%w: content of %s: %d octets where the envelope says %d", spool.ErrDamaged, m.ID, n, m.Size)
	}
	return nil
}

func writeEntry(t *tar.Writer, name string, at time.Time, b []byte) error {
	if err := t.WriteHeader(header(name, at, int64(len(b)))); err != nil {
		return err
	}
	_, err := t.Write(b)
	return err
}

func header(name string, at time.Time, size int64) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: at.Truncate(time.Second), Typeflag: tar.TypeReg}
}
