package dsn

import (
	"bufio"
	"bytes"
	"encoding/base64"
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
	global    bool      // the original came with SMTPUTF8
	inUTF8    bool      // and the report goes so too
	message   io.Reader // FullMessage; nil where nothing is returned
	header    []byte    // HeaderOnly
	truncated bool      // the header was longer than what is returned
}

// open takes what the report returns from the original.
func (r Report) open(original io.Reader) (*returned, error) {
	o := &returned{part: r.part(), message: original, global: r.OriginalUTF8, inUTF8: r.inUTF8()}
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

// encoding is the Content-Transfer-Encoding of the whole report, as far as the original makes it.
func (o *returned) encoding() string {
	_, encoding := o.form()
	if o.message != nil && encoding == "8bit" {
		return "8bit"
	}
	return "7bit"
}

// form says as what, and how encoded, the original is returned. message/rfc822 goes as it is or not at all (RFC 2046
// 5.2.1), so 8 bits in it are a matter of the next host. The types of RFC 6532 and RFC 6533 may be encoded, and are
// where the report must suit every host (RFC 6533 6). A header that is no clean 7-bit text is encoded too (RFC 6522 4),
// so such a report needs no 8BITMIME.
func (o *returned) form() (contentType, encoding string) {
	switch {
	case o.part == FullMessage && o.global && o.inUTF8:
		return "message/global", "8bit"
	case o.part == FullMessage && o.global:
		return "message/global", "base64"
	case o.part == FullMessage && o.eightBit:
		return "message/rfc822", "8bit"
	case o.part == FullMessage:
		return "message/rfc822", "7bit"
	case isPlain(o.header, false):
		return "text/rfc822-headers", "7bit"
	case o.global && o.inUTF8 && isPlain(o.header, true):
		return "message/global-headers", "8bit"
	case o.global && utf8.Valid(o.header):
		return "message/global-headers", "quoted-printable"
	}
	return "text/rfc822-headers", "quoted-printable"
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
	contentType, encoding := o.form()
	if o.part == HeaderOnly {
		o.writeHeader(out, contentType, encoding)
		return nil
	}
	b := mail.AppendField(nil, "Content-Type", contentType)
	b = mail.AppendField(b, "Content-Description", "The message")
	b = mail.AppendField(b, "Content-Transfer-Encoding", encoding)
	out.Write(append(b, '\r', '\n'))
	src, dst := &tracedReader{r: o.message}, io.Writer(out)
	var coded io.WriteCloser
	if encoding == "base64" {
		coded = base64.NewEncoder(base64.StdEncoding, &base64Lines{w: out})
		dst = coded
	}
	if _, err := io.Copy(dst, src); src.err != nil {
		return fmt.Errorf("reading the original for a delivery report: %w", src.err)
	} else if err != nil {
		return fmt.Errorf("writing the original into a delivery report: %w", err)
	}
	if coded != nil {
		return coded.Close()
	}
	return nil
}

// base64Lines breaks base64 into lines of 76 characters (RFC 2045 6.8).
type base64Lines struct {
	w   *bufio.Writer
	col int
}

func (l *base64Lines) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if l.col == 76 {
			l.w.WriteString("\r\n")
			l.col = 0
		}
		m := min(len(p)-n, 76-l.col)
		if _, err := l.w.Write(p[n : n+m]); err != nil {
			return n, err
		}
		n += m
		l.col += m
	}
	return len(p), nil
}

// writeHeader writes the original's header.
func (o *returned) writeHeader(out *bufio.Writer, contentType, encoding string) {
	parts := []string{contentType}
	if contentType == "text/rfc822-headers" && encoding != "7bit" && utf8.Valid(o.header) {
		parts = []string{contentType + ";", "charset=utf-8"}
	}
	b := mail.AppendField(nil, "Content-Type", parts...)
	b = mail.AppendField(b, "Content-Description", "The header of the message")
	b = mail.AppendField(b, "Content-Transfer-Encoding", encoding)
	out.Write(append(b, '\r', '\n'))
	if encoding != "quoted-printable" {
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

// isPlain tells lines of at most 998 octets of printable text, in ASCII or in UTF-8, ended by CRLF.
func isPlain(text []byte, inUTF8 bool) bool {
	if inUTF8 && !utf8.Valid(text) {
		return false
	}
	for line := range bytes.SplitAfterSeq(text, []byte("\n")) {
		line, ended := bytes.CutSuffix(line, []byte("\r\n"))
		if len(line) > 998 || !ended && len(line) > 0 && line[len(line)-1] == '\n' {
			return false
		}
		for _, c := range line {
			if c < ' ' && c != '\t' || c == 0x7f || c > 0x7f && !inUTF8 {
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
