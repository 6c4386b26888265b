package mail

import (
	"net/netip"
	"strings"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// DateLayout is the date-time of RFC 5322 3.3, for time.Format.
const DateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// AppendDate writes t as a date-time of RFC 5322 3.3, in the time zone that t carries.
func AppendDate(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, DateLayout) }

// Received is what the trace field says that every server puts on top of what it accepts (RFC 5321 4.4). No text in it
// is trusted: what does not fit the grammar is written with "?" in its place. For is to be
// given only where there is one recipient: it would tell each of several about another (RFC 5321 7.2).
type Received struct {
	Hello string     // the argument of EHLO or HELO; "" where there was none
	Addr  netip.Addr // of the client; the zero value where it has none, as over a Unix socket
	By    string     // the name of this server
	With  string     // the protocol: SMTP, ESMTP, ESMTPS, LMTP, ...; "" leaves the clause out
	ID    string     // the queue id; "" leaves the clause out
	For   string     // the recipient's path without brackets; what is no path is left out
	Date  time.Time  // when the message arrived
}

// Append writes the field with its CRLF, folded between its clauses.
func (r Received) Append(dst []byte) []byte {
	var room [256]byte // few fields are longer
	text := AppendDate(append(r.appendClauses(room[:0]), ";\n"...), r.Date)
	var parts [6]string
	n := 0
	for part := range strings.SplitSeq(string(text), "\n") {
		parts[n] = part
		n++
	}
	return AppendField(dst, "Received", parts[:n]...)
}

// appendClauses writes up to five clauses with LF, which stands in none of them, between two.
func (r Received) appendClauses(dst []byte) []byte {
	dst = r.appendFrom(dst)
	dst = append(appendTraceDomain(append(dst, "\nby "...), r.By), " (holub)"...)
	if r.With != "" {
		dst = appendTraceAtom(append(dst, "\nwith "...), r.With)
	}
	if r.ID != "" {
		dst = appendTraceAtom(append(dst, "\nid "...), r.ID)
	}
	if p, err := smtp.ParsePath("<" + r.For + ">"); err == nil && !p.IsNull() && p.IsASCII() {
		dst = p.Append(append(dst, "\nfor "...))
	}
	return dst
}

// appendFrom writes the name of the client, which From-domain can't leave out: one without a greeting has its address
// for it. The address stands behind it (TCP-info).
func (r Received) appendFrom(dst []byte) []byte {
	dst = append(dst, "from "...)
	if !r.Addr.IsValid() {
		return appendTraceDomain(dst, r.Hello)
	}
	if r.Hello == "" {
		dst = smtp.AppendAddressLiteral(dst, r.Addr)
	} else {
		dst = appendTraceDomain(dst, r.Hello)
	}
	return append(smtp.AppendAddressLiteral(append(dst, " ("...), r.Addr), ')')
}

// AppendReturnPath writes the Return-Path field with its CRLF, which stands on top of a message at its final delivery
// and only there (RFC 5321 4.4).
func AppendReturnPath(dst []byte, p smtp.Path) []byte {
	if back, err := smtp.ParsePath(p.String()); err == nil && back == p && !p.IsASCII() { // SMTPUTF8 (RFC 6532 3.2)
		return append(append(append(dst, "Return-Path: "...), p.String()...), '\r', '\n')
	}
	return AppendField(dst, "Return-Path", p.String())
}

// appendTraceDomain writes a domain or address literal as it is, and of anything else what can stand for a domain.
// Literals of other kinds are not kept: they may hold parentheses and semicolons, which readers of this field stumble over.
func appendTraceDomain(dst []byte, s string) []byte {
	d, err := smtp.ParseHelo(s)
	if _, isAddr := d.Addr(); err == nil && (isAddr || !d.IsLiteral()) {
		return append(dst, s...)
	}
	return appendTraceAtom(dst, s)
}

// appendTraceAtom keeps the characters of a dot-atom (RFC 5322 3.2.3), "?" for others; at most 255 octets.
func appendTraceAtom(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "unknown"...)
	}
	for _, c := range []byte(s[:min(len(s), smtp.MaxDomain)]) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && strings.IndexByte("!#$%&'*+-./=?^_`{|}~", c) < 0 {
			c = '?'
		}
		dst = append(dst, c)
	}
	return dst
}
