package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ReadHeader reads the header fields from the start of a message, up to and without the empty line behind them. Of a
// header longer than limit octets it returns the whole lines within the limit, and truncated is true. It reads at most
// limit+2 octets of r and holds no more in memory; what it read beyond the header is lost.
func ReadHeader(r io.Reader, limit int) (header []byte, truncated bool, err error) {
	limit = max(limit, 0)
	var scan Scanner
	var buf []byte
	for scan.state != scanBody && len(buf) < limit+2 { // 2: the empty line behind a header that just fits
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(limit+2, max(4096, 2*len(buf)))), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		scan.header(buf[len(buf) : len(buf)+n])
		scan.size += int64(n)
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, fmt.Errorf("reading the header of a message, behind its octet %d: %w", len(buf), err)
		}
	}
	header = buf[:scan.HeaderSize()]
	if len(header) <= limit {
		return header, false, nil
	}
	return header[:bytes.LastIndexByte(header[:limit], '\n')+1], true, nil
}
