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

// Append writes the field with its CRLF, folded.
func (r Received) Append(dst []byte) []byte {
	from := "from " + r.fromDomain()
	if r.Addr.IsValid() {
		from += " (" + smtp.AddressLiteral(r.Addr).String() + ")" // TCP-info
	}
	by := "by " + traceDomain(r.By) + " (holub)"
	var with, id, rcpt string
	if r.With != "" {
		with = "with " + traceAtom(r.With)
	}
	if r.ID != "" {
		id = "id " + traceAtom(r.ID)
	}
	if p, err := smtp.ParsePath("<" + r.For + ">"); err == nil && !p.IsNull() && p.IsASCII() {
		rcpt = "for " + p.String()
	}
	parts := []string{from, by, with, id, rcpt}
	last := len(parts) - 1
	for parts[last] == "" {
		last--
	}
	parts[last] += ";"
	return AppendField(dst, "Received", append(parts, string(AppendDate(nil, r.Date)))...)
}

// fromDomain gives the name of the client: From-domain can't be left out, so one without a greeting has its address.
func (r Received) fromDomain() string {
	if r.Hello == "" && r.Addr.IsValid() {
		return smtp.AddressLiteral(r.Addr).String()
	}
	return traceDomain(r.Hello)
}

// AppendReturnPath writes the Return-Path field with its CRLF, which stands on top of a message at its final delivery
// and only there (RFC 5321 4.4).
func AppendReturnPath(dst []byte, p smtp.Path) []byte {
	if back, err := smtp.ParsePath(p.String()); err == nil && back == p && !p.IsASCII() { // SMTPUTF8 (RFC 6532 3.2)
		return append(append(append(dst, "Return-Path: "...), p.String()...), '\r', '\n')
	}
	return AppendField(dst, "Return-Path", p.String())
}

// traceDomain gives a domain or address literal as it is, and of anything else what can stand for a domain. Literals of
// other kinds are not kept: they may hold parentheses and semicolons, which readers of this field stumble over.
func traceDomain(s string) string {
	d, err := smtp.ParseHelo(s)
	if _, isAddr := d.Addr(); err == nil && (isAddr || !d.IsLiteral()) {
		return s
	}
	return traceAtom(s)
}

// traceAtom keeps the characters of a dot-atom (RFC 5322 3.2.3), "?" for others; at most 255 octets.
func traceAtom(s string) string {
	if s == "" {
		return "unknown"
	}
	b := []byte(s[:min(len(s), smtp.MaxDomain)])
	for i, c := range b {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && strings.IndexByte("!#$%&'*+-./=?^_`{|}~", c) < 0 {
			b[i] = '?'
		}
	}
	return string(b)
}
