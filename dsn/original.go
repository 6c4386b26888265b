package dsn

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
	"unicode/utf8"

	"github.com/holub-mail/holub/mail"
)

// returned is the third part: what is sent back of the original.
type returned struct {
	part      Part
	eightBit  bool      // of FullMessage
	message   io.Reader // FullMessage; nil where nothing is returned
	header    []byte    // HeaderOnly
	truncated bool      // the header was longer than what is returned
}

// open takes what the report returns from the original.
func (r Report) open(original io.Reader) (*returned, error) {
	o := &returned{part: r.part(), message: original}
	if original == nil {
		return o, nil
	}
	if o.part == FullMessage {
		o.eightBit = r.EightBit
		return o, nil
	}
	var err error
	o.header, o.truncated, err = mail.ReadHeader(original, maxHeader)
	if err != nil {
		return nil, fmt.Errorf("reading the original %.40q for a delivery report: %w", r.QueueID, err)
	}
	return o, nil
}

// encoding is the Content-Transfer-Encoding of the whole report.
func (o *returned) encoding() string {
	if o.message != nil && o.eightBit {
		return "8bit"
	}
	return "7bit"
}

// what says in words what is returned.
func (o *returned) what() string {
	switch {
	case o.message == nil:
		return ""
	case o.part == FullMessage:
		return "the whole message"
	case o.truncated:
		return "the first part of the message's header"
	}
	return "the header of the message"
}

func (o *returned) write(out *bufio.Writer, boundary string) error {
	if o.message == nil {
		return nil
	}
	out.WriteString("\r\n--" + boundary + "\r\n")
	if o.part == HeaderOnly {
		o.writeHeader(out)
		return nil
	}
	b := mail.AppendField(nil, "Content-Type", "message/rfc822")
	b = mail.AppendField(b, "Content-Description", "The message")
	b = mail.AppendField(b, "Content-Transfer-Encoding", o.encoding()) // 7bit or 8bit only (RFC 2046 5.2.1)
	out.Write(append(b, '\r', '\n'))
	src := &tracedReader{r: o.message}
	if _, err := io.Copy(out, src); src.err != nil {
		return fmt.Errorf("reading the original for a delivery report: %w", src.err)
	} else if err != nil {
		return fmt.Errorf("writing the original into a delivery report: %w", err)
	}
	return nil
}

// writeHeader writes the header as text/rfc822-headers. One that is not clean 7-bit text goes as quoted-printable (RFC
// 6522 4), so such a report needs no 8BITMIME.
func (o *returned) writeHeader(out *bufio.Writer) {
	encoding, contentType := "7bit", []string{"text/rfc822-headers"}
	if !isPlain(o.header) {
		encoding = "quoted-printable"
		if utf8.Valid(o.header) {
			contentType = []string{"text/rfc822-headers;", "charset=utf-8"}
		}
	}
	b := mail.AppendField(nil, "Content-Type", contentType...)
	b = mail.AppendField(b, "Content-Description", "The header of the message")
	b = mail.AppendField(b, "Content-Transfer-Encoding", encoding)
	out.Write(append(b, '\r', '\n'))
	if encoding == "7bit" {
		out.Write(o.header)
		return
	}
	qp := quotedprintable.NewWriter(out)
	writeLines(qp, o.header)
	qp.Close()
}

// writeLines writes text with each of its line ends, CRLF, CR or LF, as CRLF.
func writeLines(w io.Writer, text []byte) {
	for len(text) > 0 {
		i := bytes.IndexAny(text, "\r\n")
		if i < 0 {
			w.Write(text)
			return
		}
		w.Write(text[:i])
		io.WriteString(w, "\r\n")
		if bytes.HasPrefix(text[i:], []byte("\r\n")) {
			i++
		}
		text = text[i+1:]
	}
}

// isPlain tells lines of at most 998 printable ASCII characters, ended by CRLF.
func isPlain(text []byte) bool {
	for line := range bytes.SplitAfterSeq(text, []byte("\n")) {
		line, ended := bytes.CutSuffix(line, []byte("\r\n"))
		if len(line) > 998 || !ended && len(line) > 0 && line[len(line)-1] == '\n' {
			return false
		}
		for _, c := range line {
			if (c < ' ' || c > '~') && c != '\t' {
				return false
			}
		}
	}
	return true
}

// tracedReader keeps an error of reading apart from one of writing.
type tracedReader struct {
	r   io.Reader
	err error
}

func (t *tracedReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}
