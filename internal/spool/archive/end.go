package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
)

// block is the size of all that a tar is made of, in octets.
const block = 512

// source counts what is read, so that it is known where the next block begins.
type source struct {
	r io.Reader
	n int64
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	return n, err
}

// end reads the rest of a file without looking for entries in it, for content may hold what looks like one, and gives the
// manifest that it ends with. It is nil where there is none. The error is that of the reader.
func (s *source) end(ctx context.Context) (*manifest, error) {
	if _, err := io.CopyN(io.Discard, s, (block-s.n%block)%block); err != nil {
		return nil, unlessEnd(err)
	}
	var last [2][block]byte // the last two blocks that are not all zeros: header and text of the manifest
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var b [block]byte
		if _, err := io.ReadFull(s, b[:]); err != nil {
			if err := unlessEnd(err); err != nil {
				return nil, err
			}
			break
		}
		if b != [block]byte{} {
			last = [2][block]byte{last[1], b}
		}
	}
	t := tar.NewReader(bytes.NewReader(append(last[0][:], last[1][:]...)))
	if h, err := t.Next(); err != nil || h.Name != manifestName {
		return nil, nil
	}
	m, err := readManifest(t)
	if err != nil {
		return nil, nil
	}
	return m, nil
}

// unlessEnd gives the errors that are not the end of a file.
func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
