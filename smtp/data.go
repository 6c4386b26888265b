package smtp

import "bytes"

// dataState is where the DATA codecs stand between two octets.
type dataState uint8

const (
	atLineStart dataState = iota // at the start of the content or behind CRLF
	inLine
	afterCR    // behind a CR inside a line
	afterDot   // behind a dot that started a line
	afterDotCR // behind ".<CR>" that started a line
)

// DataDecoder takes the dot-stuffing off the content of DATA and finds its end (4.5.2). Lines end with CRLF and with
// nothing else (2.3.8): <CRLF>.<CRLF> alone ends the content, and a bare CR or LF is passed through and remembered, for
// whoever accepts such content hands on what another server may read as two messages. The zero value is ready.
type DataDecoder struct {
	// BareLineEnd tells that a CR or LF stood alone. The content must then be refused.
	BareLineEnd bool
	state       dataState
}

// Decode moves content from src to dst until one of them is used up or the content ends. It returns how much was written
// to dst and read from src; done tells that the final dot was read.
func (d *DataDecoder) Decode(dst, src []byte) (nDst, nSrc int, done bool) {
	for nSrc < len(src) && nDst < len(dst) {
		switch c := src[nSrc]; d.state {
		case atLineStart:
			d.state = inLine
			if c == '.' {
				d.state = afterDot
				nSrc++
			}
		case afterDot:
			d.state = inLine
			if c == '\r' {
				d.state = afterDotCR
				nSrc++
			}
		case afterDotCR:
			if c == '\n' {
				d.state = atLineStart
				return nDst, nSrc + 1, true
			}
			dst[nDst] = '\r'
			nDst++
			d.state = afterCR
		case afterCR:
			if c != '\n' {
				d.BareLineEnd = true
				d.state = inLine
				continue
			}
			dst[nDst] = '\n'
			nDst, nSrc = nDst+1, nSrc+1
			d.state = atLineStart
		case inLine:
			n := copy(dst[nDst:], d.line(src[nSrc:min(len(src), nSrc+len(dst)-nDst)]))
			nDst, nSrc = nDst+n, nSrc+n
		}
	}
	return nDst, nSrc, false
}

// line gives the rest of the line at the start of src, its end included, and moves the state behind it.
func (d *DataDecoder) line(src []byte) []byte {
	lf := bytes.IndexByte(src, '\n')
	if lf >= 0 {
		src = src[:lf+1]
	}
	cr := bytes.IndexByte(src, '\r')
	switch {
	case lf < 0 && cr < 0:
	case lf < 0 && cr == len(src)-1:
		d.state = afterCR
	case lf > 0 && cr == lf-1:
		d.state = atLineStart
	default:
		d.BareLineEnd = true
		if end := bytes.TrimRight(src, "\n"); len(end) > 0 && end[len(end)-1] == '\r' {
			d.state = afterCR
			if lf >= 0 {
				d.state = atLineStart
			}
		}
	}
	return src
}

// DataEncoder dot-stuffs content for DATA (4.5.2). A bare CR or LF cannot be sent in DATA (2.3.8) and leaves as CRLF. The
// zero value is ready; it serves one message.
type DataEncoder struct {
	state dataState
}

// Append encodes the next piece of the content.
func (e *DataEncoder) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		switch e.state {
		case afterCR:
			dst = append(dst, '\n')
			e.state = atLineStart
			if src[0] == '\n' {
				src = src[1:]
			}
			continue
		case atLineStart:
			if src[0] == '.' {
				dst = append(dst, '.')
			}
			e.state = inLine
		}
		lf := bytes.IndexByte(src, '\n')
		line := src
		if lf >= 0 {
			line = src[:lf+1]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case cr >= 0 && cr == lf-1:
			e.state = atLineStart
		case cr >= 0:
			line = line[:cr+1]
			e.state = afterCR
		case lf >= 0:
			dst = append(append(dst, line[:lf]...), '\r', '\n')
			src = src[lf+1:]
			e.state = atLineStart
			continue
		}
		dst = append(dst, line...)
		src = src[len(line):]
	}
	return dst
}

// Close ends the last line where it lacks its CRLF, and writes the final dot.
func (e *DataEncoder) Close(dst []byte) []byte {
	switch e.state {
	case inLine:
		dst = append(dst, '\r', '\n')
	case afterCR:
		dst = append(dst, '\n')
	}
	e.state = atLineStart
	return append(dst, '.', '\r', '\n')
}
