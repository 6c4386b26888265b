package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Header holds the fields of a message, or of a part of one, in their order and octet for octet. Names are compared
// without case. The zero value has no fields. A copy may be changed without a change to the other.
type Header struct{ fields []Field }

// ParseHeader reads the header at the start of b, up to the first empty line. It takes whatever comes, and no octet is
// lost: h.Bytes() and rest, one behind the other, are b. Rest starts with the empty line, and is empty where none came:
// then all is header. The Header refers to b, which must not be changed from then on. Time and memory are linear in the
// length of b: some 32 octets a field beside b itself.
func ParseHeader(b []byte) (h Header, rest []byte) {
	n := 0
	for i := 0; i < len(b); i = lineEnd(b, i) {
		if isEmptyLine(b[i:]) {
			break
		}
		if i == 0 || !isSpace(b[i]) {
			n++
		}
	}
	h.fields = make([]Field, 0, n)
	pos := 0
	for pos < len(b) && !isEmptyLine(b[pos:]) {
		end := lineEnd(b, pos)
		for end < len(b) && isSpace(b[end]) { // a fold (RFC 5322 2.2.3), be the line blank but for it (4.2)
			end = lineEnd(b, end)
		}
		h.fields = append(h.fields, parseField(b[pos:end:end]))
		pos = end
	}
	return h, b[pos:]
}

// lineEnd gives the place behind the line that starts at pos.
func lineEnd(b []byte, pos int) int {
	if n := bytes.IndexByte(b[pos:], '\n'); n >= 0 {
		return pos + n + 1
	}
	return len(b)
}

func isEmptyLine(b []byte) bool {
	return b[0] == '\n' || b[0] == '\r' && len(b) > 1 && b[1] == '\n'
}

// Bytes gives the header as it is to be sent, without the empty line behind it: octet for octet what came where nothing
// was changed.
func (h Header) Bytes() []byte {
	size := 0
	for _, f := range h.fields {
		size += len(f.raw)
	}
	b := make([]byte, 0, size)
	for _, f := range h.fields {
		b = append(b, f.raw...)
	}
	return b
}

// Len counts the fields, and the lines that are none.
func (h Header) Len() int { return len(h.fields) }

// Fields goes through all fields from the top.
func (h Header) Fields() iter.Seq[Field] { return slices.Values(h.fields) }

// Get gives the body of the first field with this name, "" where there is none. See Field.Body for its form.
func (h Header) Get(name string) string {
	for _, f := range h.fields {
		if f.Is(name) {
			return f.Body()
		}
	}
	return ""
}

// Values gives the bodies of all fields with this name, from the top.
func (h Header) Values(name string) []string {
	var all []string
	for _, f := range h.fields {
		if f.Is(name) {
			all = append(all, f.Body())
		}
	}
	return all
}

// Has tells whether there is a field with this name, be its body empty.
func (h Header) Has(name string) bool { return h.index(name) >= 0 }

func (h Header) index(name string) int {
	return slices.IndexFunc(h.fields, func(f Field) bool { return f.Is(name) })
}

// AddTop puts a new field above all others. Its body is folded at spaces; UTF-8 stays as it is, which only mail that is
// sent with SMTPUTF8 may have (RFC 6532): EncodeWords and FormatAddressList make ASCII of it. What can't stand in a
// field, such as a line end, becomes "?".
func (h *Header) AddTop(name, body string) { h.Prepend(newField(name, body).raw) }

// Prepend puts fields that are written already, such as those of Received.Append or a signature, above all others. A
// last line without an end gets one. What stands behind an empty line in raw is left out.
func (h *Header) Prepend(raw []byte) {
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		raw = append(slices.Clone(raw), "\r\n"...)
	}
	top, _ := ParseHeader(raw)
	h.fields = slices.Concat(top.fields, h.fields)
}

// Add puts a new field, written as AddTop does, below all others. The field above gets a line end where it has none.
func (h *Header) Add(name, body string) { h.insert(len(h.fields), newField(name, body)) }

// insert puts a field at place i.
func (h *Header) insert(i int, f Field) {
	fields := slices.Concat(h.fields[:i], []Field{f}, h.fields[i:])
	if i > 0 {
		if above := &fields[i-1]; above.raw[len(above.raw)-1] != '\n' {
			above.raw = slices.Concat(above.raw, []byte("\r\n"))
		}
	}
	h.fields = fields
}

// Remove takes out all fields with this name and tells how many those were.
func (h *Header) Remove(name string) int {
	if !h.Has(name) {
		return 0
	}
	kept := make([]Field, 0, len(h.fields))
	for _, f := range h.fields {
		if !f.Is(name) {
			kept = append(kept, f)
		}
	}
	n := len(h.fields) - len(kept)
	h.fields = kept
	return n
}

// Replace puts a new field, written as AddTop does, in the place of the first one with this name and takes out the
// others of that name. Where there is none the new one goes below all fields.
func (h *Header) Replace(name, body string) {
	i := h.index(name)
	h.Remove(name)
	if i < 0 {
		i = len(h.fields)
	}
	h.insert(i, newField(name, body))
}

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
