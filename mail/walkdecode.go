package mail

// Decoder takes quoted-printable or base64 off the content of a part, in pieces of any size (RFC 2045 6.7 and 6.8). It
// takes whatever comes: in base64 what is not of its alphabet is left out and a quantum that is cut short gives what
// it can; in quoted-printable what is no code stands for itself, and white space at the end of a line is left out. It
// holds no more than a line.
type Decoder struct {
	decode func(d *Decoder, dst, src []byte) []byte

	group uint32 // base64: the bits of digits digits
	count int

	space []byte // quoted-printable: white space that could end a line
	code  byte   // what of a code came: 0, '=', '=' and a hexadecimal digit (that digit), ' ' or CR behind '='
}

// NewDecoder gives a decoder for a Content-Transfer-Encoding in lower case, as Part.Encoding has it. What is neither
// "quoted-printable" nor "base64" passes as it is.
func NewDecoder(encoding string) *Decoder {
	d := new(Decoder)
	switch encoding {
	case "base64":
		d.decode = (*Decoder).base64
	case "quoted-printable":
		d.decode = (*Decoder).quoted
	}
	return d
}

// Append decodes the next piece and appends it to dst.
func (d *Decoder) Append(dst, src []byte) []byte {
	if d.decode == nil {
		return append(dst, src...)
	}
	return d.decode(d, dst, src)
}

// Close appends what was held, and makes the Decoder ready for another content of this encoding.
func (d *Decoder) Close(dst []byte) []byte {
	dst = d.quantum(dst)
	if unhex(d.code) < 16 {
		dst = append(dst, '=', d.code)
	}
	d.code, d.space = 0, d.space[:0]
	return dst
}

// base64Value gives 64 for what is no digit.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 64
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	return t
}()

func (d *Decoder) base64(dst, src []byte) []byte {
	for _, c := range src {
		v := base64Value[c]
		if v == 64 {
			if c == '=' { // more may follow, where contents were put one behind the other
				dst = d.quantum(dst)
			}
			continue
		}
		d.group = d.group<<6 | uint32(v)
		if d.count++; d.count == 4 {
			dst = append(dst, byte(d.group>>16), byte(d.group>>8), byte(d.group))
			d.group, d.count = 0, 0
		}
	}
	return dst
}

// quantum ends the last group of digits.
func (d *Decoder) quantum(dst []byte) []byte {
	switch d.count {
	case 2:
		dst = append(dst, byte(d.group>>4))
	case 3:
		dst = append(dst, byte(d.group>>10), byte(d.group>>2))
	}
	d.group, d.count = 0, 0
	return dst
}

func (d *Decoder) quoted(dst, src []byte) []byte {
	for _, c := range src {
		if d.code != 0 {
			var done bool
			if dst, done = d.inCode(dst, c); done {
				continue
			}
		}
		switch c {
		case '=':
			dst = append(dst, d.space...)
			d.space = d.space[:0]
			d.code = '='
		case ' ', '\t':
			d.space = append(d.space, c)
			if len(d.space) > lineHead { // no line of quoted-printable; it must not fill the memory
				dst = append(dst, d.space...)
				d.space = d.space[:0]
			}
		default:
			if c != '\n' && c != '\r' { // RFC 2045 6.7, rule 3
				dst = append(dst, d.space...)
			}
			d.space = d.space[:0]
			dst = append(dst, c)
		}
	}
	return dst
}

// inCode takes an octet behind "="; done is false where that octet is to be read again as one outside of a code.
func (d *Decoder) inCode(dst []byte, c byte) (_ []byte, done bool) {
	code := d.code
	d.code = 0
	switch {
	case c == '\n' && unhex(code) == 16: // a soft line break, perhaps with white space in it
		d.space = d.space[:0]
		return dst, true
	case c == '\r' && (code == '=' || code == ' '):
		d.code = '\r'
		return dst, true
	case isSpace(c) && (code == '=' || code == ' ') && len(d.space) < lineHead:
		d.space = append(d.space, c)
		d.code = ' '
		return dst, true
	case code == '=' && unhex(c) < 16:
		d.code = c
		return dst, true
	case unhex(code) < 16 && unhex(c) < 16:
		return append(dst, unhex(code)<<4|unhex(c)), true
	}
	dst = append(dst, '=') // no code: it stands for itself
	if unhex(code) < 16 {
		dst = append(dst, code)
	}
	dst = append(dst, d.space...)
	d.space = d.space[:0]
	if code == '\r' {
		dst = append(dst, code)
	}
	return dst, false
}
