package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrNotOffered is the error for a parameter of an extension that the server did not offer; it comes wrapped with the
// keyword. The reply for it is 555 (4.1.1.11).
var ErrNotOffered = errors.New("a parameter that is not offered here")

// Body is the kind of content that MAIL declares (RFC 6152, RFC 3030).
type Body string

// The values of BODY; the zero value stands for a MAIL without it, which promises 7-bit content.
const (
	BodyDefault    Body = ""
	Body7Bit       Body = "7BIT"
	Body8BitMIME   Body = "8BITMIME"
	BodyBinaryMIME Body = "BINARYMIME"
)

// Return is how much of a message a report of failure returns (RFC 3461 4.3); the zero value leaves it to the server.
type Return string

// The values of RET.
const (
	ReturnDefault Return = ""
	ReturnFull    Return = "FULL"
	ReturnHeaders Return = "HDRS"
)

// DeliverBy is the time within which a message is to be delivered (RFC 2852 4).
type DeliverBy struct {
	Within time.Duration // whole seconds from MAIL; it can have passed already
	Return bool          // R: give up and say so when it has passed; else N: only say so
	Trace  bool          // T: the sender wants to hear of each relay
}

// Priority is an MT-PRIORITY from -9 to 9 (RFC 6710); 0 is ordinary mail.
type Priority int8

// Mail is the MAIL command (4.1.1.2) with the parameters of the extensions this package knows.
type Mail struct {
	From       Path          // the reverse-path; null for reports
	Size       int64         // SIZE, octets (RFC 1870); 0 where it is not declared
	Body       Body          // BODY (RFC 6152, RFC 3030)
	UTF8       bool          // SMTPUTF8 (RFC 6531)
	Return     Return        // RET (RFC 3461 4.3)
	EnvelopeID string        // ENVID, decoded (RFC 3461 4.4)
	Submitter  *Path         // AUTH, decoded (RFC 4954 5); the null path is "<>"; nil where it is not given
	RequireTLS bool          // REQUIRETLS (RFC 8689)
	DeliverBy  *DeliverBy    // BY (RFC 2852)
	HoldFor    time.Duration // HOLDFOR, whole seconds (RFC 4865)
	HoldUntil  time.Time     // HOLDUNTIL (RFC 4865)
	Priority   *Priority     // MT-PRIORITY (RFC 6710)
	Other      Params        // parameters that this package does not know
}

// ParseMail reads the argument of MAIL, "FROM:<path>" and parameters. Space after the colon is refused (4.1.1.2).
func ParseMail(arg string) (Mail, error) {
	path, params, err := parsePathArg("FROM:", arg)
	if err != nil {
		return Mail{}, err
	}
	if path.Domain.IsZero() && !path.IsNull() { // <postmaster> alone is a forward-path only (4.1.1.3)
		return Mail{}, fmt.Errorf("%w: %q", ErrPath, path)
	}
	if len(params) == 0 {
		return Mail{From: path}, nil
	}
	m := Mail{From: path}
	for _, p := range params {
		known := false
		for _, row := range mailParams {
			if row.keyword == p.Keyword {
				known = true
				err = row.parse(&m, p.Value)
			}
		}
		if !known {
			m.Other = append(m.Other, p)
		}
		if err != nil {
			return Mail{}, fmt.Errorf("%w: %s=%.80s", ErrParam, p.Keyword, p.Value)
		}
	}
	if m.HoldFor != 0 && !m.HoldUntil.IsZero() { // RFC 4865 5
		return Mail{}, fmt.Errorf("%w: HOLDFOR and HOLDUNTIL exclude each other", ErrParam)
	}
	return m, nil
}

// Append writes the whole command with its CRLF.
func (m Mail) Append(dst []byte) []byte {
	dst = append(dst, "MAIL FROM:"...)
	dst = m.From.Append(dst)
	for _, row := range mailParams {
		if value, ok := row.value(&m); ok {
			dst = append(append(dst, ' '), row.keyword...)
			if value != "" {
				dst = append(append(dst, '='), value...)
			}
		}
	}
	return append(m.Other.append(dst), '\r', '\n')
}

// Unoffered names a parameter of m that a server with the extensions e does not offer; "" where there is none.
func (m Mail) Unoffered(e Extensions) string {
	for _, p := range [...]struct {
		keyword        string
		given, offered bool
	}{
		{"SIZE", m.Size > 0, e.Size},
		{"BODY", m.Body != BodyDefault, m.Body.offered(e)},
		{"SMTPUTF8", m.UTF8, e.UTF8},
		{"RET", m.Return != ReturnDefault, e.DSN},
		{"ENVID", m.EnvelopeID != "", e.DSN},
		{"AUTH", m.Submitter != nil, len(e.Auth) > 0},
		{"REQUIRETLS", m.RequireTLS, e.RequireTLS},
		{"BY", m.DeliverBy != nil, e.DeliverBy},
		{"HOLDFOR", m.HoldFor > 0, e.FutureRelease},
		{"HOLDUNTIL", !m.HoldUntil.IsZero(), e.FutureRelease},
		{"MT-PRIORITY", m.Priority != nil, e.Priority},
	} {
		switch {
		case !p.given || p.offered:
		case p.keyword == "BODY": // known by another of its values
			return "BODY=" + string(m.Body)
		default:
			return p.keyword
		}
	}
	if len(m.Other) > 0 {
		return m.Other[0].Keyword
	}
	return ""
}

var errValue = errors.New("wrong value")

// mailParam is a row of the table of MAIL's parameters.
type mailParam struct {
	keyword string
	parse   func(*Mail, string) error
	value   func(*Mail) (value string, given bool)
}

var mailParams = []mailParam{
	{"SIZE",
		func(m *Mail, v string) (err error) { m.Size, err = parseSize(v); return err },
		func(m *Mail) (string, bool) { return strconv.FormatInt(m.Size, 10), m.Size > 0 }},
	{"BODY",
		func(m *Mail, v string) (err error) { m.Body, err = parseBody(v); return err },
		func(m *Mail) (string, bool) { return string(m.Body), m.Body != BodyDefault }},
	{"SMTPUTF8",
		func(m *Mail, v string) error { m.UTF8 = true; return empty(v) },
		func(m *Mail) (string, bool) { return "", m.UTF8 }},
	{"RET",
		func(m *Mail, v string) (err error) { m.Return, err = parseReturn(v); return err },
		func(m *Mail) (string, bool) { return string(m.Return), m.Return != ReturnDefault }},
	{"ENVID",
		func(m *Mail, v string) (err error) { m.EnvelopeID, err = parseEnvelopeID(v); return err },
		func(m *Mail) (string, bool) { return EncodeXtext(m.EnvelopeID), m.EnvelopeID != "" }},
	{"AUTH",
		func(m *Mail, v string) (err error) { m.Submitter, err = parseSubmitter(v); return err },
		func(m *Mail) (string, bool) { return submitterValue(m.Submitter), m.Submitter != nil }},
	{"REQUIRETLS",
		func(m *Mail, v string) error { m.RequireTLS = true; return empty(v) },
		func(m *Mail) (string, bool) { return "", m.RequireTLS }},
	{"BY",
		func(m *Mail, v string) (err error) { m.DeliverBy, err = parseDeliverBy(v); return err },
		func(m *Mail) (string, bool) { return m.DeliverBy.value(), m.DeliverBy != nil }},
	{"HOLDFOR",
		func(m *Mail, v string) (err error) { m.HoldFor, err = parseHoldFor(v); return err },
		func(m *Mail) (string, bool) {
			return strconv.FormatInt(int64(m.HoldFor/time.Second), 10), m.HoldFor > 0
		}},
	{"HOLDUNTIL",
		func(m *Mail, v string) (err error) { m.HoldUntil, err = time.Parse(time.RFC3339, v); return err },
		(*Mail).holdUntil},
	{"MT-PRIORITY",
		func(m *Mail, v string) (err error) { m.Priority, err = parsePriority(v); return err },
		func(m *Mail) (string, bool) { return m.Priority.value(), m.Priority != nil }},
}

// empty refuses a value where a keyword has none.
func empty(v string) error {
	if v != "" {
		return errValue
	}
	return nil
}

// parseSize reads up to 20 digits (RFC 1870 3).
func parseSize(s string) (int64, error) {
	if !isDigits(s, 20) {
		return 0, errValue
	}
	n, _ := strconv.ParseUint(s, 10, 64) // out of range it is the largest number
	return int64(min(n, 1<<63-1)), nil
}

func parseBody(s string) (Body, error) {
	switch b := Body(strings.ToUpper(s)); b {
	case Body7Bit, Body8BitMIME, BodyBinaryMIME:
		return b, nil
	}
	return "", errValue
}

func (b Body) offered(e Extensions) bool {
	if b == BodyBinaryMIME {
		return e.BinaryMIME && e.Chunking // RFC 3030 3
	}
	return e.EightBitMIME || b == Body7Bit && e.BinaryMIME
}

func parseReturn(s string) (Return, error) {
	switch r := Return(strings.ToUpper(s)); r {
	case ReturnFull, ReturnHeaders:
		return r, nil
	}
	return "", errValue
}

// maxEnvelopeID is the longest encoded ENVID (RFC 3461 4.4).
const maxEnvelopeID = 100

func parseEnvelopeID(s string) (string, error) {
	id, ok := DecodeXtext(s)
	if !ok || s == "" || len(s) > maxEnvelopeID || !isPrintable(id) {
		return "", errValue
	}
	return id, nil
}

func parseSubmitter(s string) (*Path, error) {
	text, ok := DecodeXtext(s)
	if !ok || s == "" {
		return nil, errValue
	}
	if text == "<>" {
		return &Path{}, nil
	}
	m, err := ParseMailbox(text)
	return &Path{m}, err
}

func submitterValue(p *Path) string {
	switch {
	case p == nil:
		return ""
	case p.IsNull():
		return "<>"
	}
	return EncodeXtext(p.Mailbox.String())
}

// parseDeliverBy reads "seconds;R|N[T]" (RFC 2852 4).
func parseDeliverBy(s string) (*DeliverBy, error) {
	seconds, mode, ok := strings.Cut(s, ";")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if !ok || err != nil || !isDigits(strings.TrimLeft(seconds, "+-"), 9) {
		return nil, errValue
	}
	by := &DeliverBy{Within: time.Duration(n) * time.Second}
	switch strings.ToUpper(mode) {
	case "R", "RT":
		by.Return = true
	case "N", "NT":
	default:
		return nil, errValue
	}
	by.Trace = len(mode) == 2
	if by.Return && n <= 0 { // RFC 2852 4: by-time must be positive with R
		return nil, errValue
	}
	return by, nil
}

func (by *DeliverBy) value() string {
	if by == nil {
		return ""
	}
	v := strconv.FormatInt(int64(by.Within/time.Second), 10) + ";"
	if by.Return {
		v += "R"
	} else {
		v += "N"
	}
	if by.Trace {
		v += "T"
	}
	return v
}

func (m *Mail) holdUntil() (string, bool) {
	if m.HoldUntil.IsZero() {
		return "", false
	}
	return m.HoldUntil.UTC().Format(time.RFC3339), true
}

// parseHoldFor reads one to nine digits of seconds above zero (RFC 4865 4.1).
func parseHoldFor(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n == 0 || !isDigits(s, 9) {
		return 0, errValue
	}
	return time.Duration(n) * time.Second, nil
}

func parsePriority(s string) (*Priority, error) {
	n, err := strconv.ParseInt(s, 10, 8)
	if err != nil || n < -9 || n > 9 || !isDigits(strings.TrimPrefix(s, "-"), 1) {
		return nil, errValue
	}
	p := Priority(n)
	return &p, nil
}

func (p *Priority) value() string {
	if p == nil {
		return ""
	}
	return strconv.Itoa(int(*p))
}

// isDigits tells a string of one to most digits.
func isDigits(s string, most int) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// isPrintable tells printable ASCII, the space included.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
