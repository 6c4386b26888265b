package sender

import (
	"fmt"
	"io"

	"github.com/holub-mail/holub/smtp"
)

// A write buffer is parted into what is read and what is encoded. Dot-stuffing at most doubles a piece ("\n" becomes
// CRLF, "." at a line's start becomes ".."); contentSlack has room for an owed LF and for the end.
const (
	contentPiece = 8 << 10
	contentSlack = 16
	maxEmpty     = 100 // reads without an octet before a reader counts as broken
)

// writeContent dot-stuffs and writes the content (4.5.2). Where the content can't be read to its end, or a write fails,
// the connection is closed without the final dot, so that the server drops the message (4.1.1.4).
func (k *call) writeContent(r io.Reader) error {
	buf := writers.Get().(*writeBuffer)
	defer writers.Put(buf)
	var (
		enc  smtp.DataEncoder
		in   = buf[:contentPiece]
		out  = buf[contentPiece:contentPiece]
		sent int64
	)
	for {
		n, readErr := readSome(r, in)
		out = enc.Append(out, in[:n])
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return k.fail(StageContent, fmt.Errorf("%w: %w", ErrContent, readErr), smtp.Reply{})
		}
		if cap(out)-len(out) >= 2*contentPiece+contentSlack {
			continue
		}
		if _, err := k.write(out, k.c.timeouts.Block); err != nil {
			return k.fail(StageContent, err, k.lastWords(err))
		}
		sent += int64(len(out))
		out = out[:0]
	}
	sent += int64(len(out))
	out = enc.Close(out)
	k.traceContent(sent)
	n, err := k.write(out, k.c.timeouts.Block)
	if err != nil {
		broke := k.fail(StageContent, err, k.lastWords(err))
		broke.InDoubt = n >= len(out) && broke.Reply.IsZero() // the dot is the end of this write
		return broke
	}
	return nil
}

// readSome reads at least one octet, or gives the reader's error.
func readSome(r io.Reader, b []byte) (int, error) {
	for range maxEmpty {
		if n, err := r.Read(b); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func (k *call) traceContent(octets int64) {
	if k.c.trace == nil {
		return
	}
	if octets > 0 {
		k.traceSent(fmt.Appendf(nil, "... %d octets", octets))
	}
	k.traceSent([]byte("."))
}
