package smtp

import (
	"fmt"
	"strings"
)

// Notify is when a sender wants a report for a recipient (RFC 3461 4.1), a set of bits. The zero value leaves it to the
// server, which then reports failure and may report delay.
type Notify uint8

// The members of NOTIFY. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay

	NotifyDefault Notify = 0
)

var notifyWords = []struct {
	bit  Notify
	word string
}{{NotifyNever, "NEVER"}, {NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}}

// String gives the value of NOTIFY, or "" for the zero value.
func (n Notify) String() string {
	var words []string
	for _, w := range notifyWords {
		if n&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ",")
}

// OriginalRecipient is the recipient a sender had in mind, with the type of its address (ORCPT, RFC 3461 4.2). The zero
// value means that it was not given.
type OriginalRecipient struct {
	Type    string // "rfc822", "utf-8", ...
	Address string // decoded
}

// String gives the value of ORCPT, encoded.
func (o OriginalRecipient) String() string {
	if o == (OriginalRecipient{}) {
		return ""
	}
	return o.Type + ";" + EncodeXtext(o.Address)
}

// Rcpt is the RCPT command (4.1.1.3) with the parameters of the extensions this package knows.
type Rcpt struct {
	To       Path              // the forward-path
	Notify   Notify            // NOTIFY (RFC 3461 4.1)
	Original OriginalRecipient // ORCPT (RFC 3461 4.2)
	Other    Params            // parameters that this package does not know
}

// ParseRcpt reads the argument of RCPT, "TO:<path>" and parameters.
func ParseRcpt(arg string) (Rcpt, error) {
	path, params, err := parsePathArg("TO:", arg)
	if err != nil {
		return Rcpt{}, err
	}
	if path.IsNull() {
		return Rcpt{}, fmt.Errorf("%w: %q", ErrPath, path)
	}
	r := Rcpt{To: path}
	for _, p := range params {
		switch p.Keyword {
		case "NOTIFY":
			r.Notify, err = parseNotify(p.Value)
		case "ORCPT":
			r.Original, err = parseOriginal(p.Value)
		default:
			r.Other = append(r.Other, p)
		}
		if err != nil {
			return Rcpt{}, fmt.Errorf("%w: %s=%.80s", ErrParam, p.Keyword, p.Value)
		}
	}
	return r, nil
}

// Append writes the whole command with its CRLF.
func (r Rcpt) Append(dst []byte) []byte {
	dst = append(dst, "RCPT TO:"...)
	dst = r.To.Append(dst)
	if r.Notify != NotifyDefault {
		dst = append(append(dst, " NOTIFY="...), r.Notify.String()...)
	}
	if o := r.Original.String(); o != "" {
		dst = append(append(dst, " ORCPT="...), o...)
	}
	return append(r.Other.append(dst), '\r', '\n')
}

// Unoffered names a parameter of r that a server with the extensions e does not offer; "" where there is none.
func (r Rcpt) Unoffered(e Extensions) string {
	switch {
	case r.Notify != NotifyDefault && !e.DSN:
		return "NOTIFY"
	case r.Original != (OriginalRecipient{}) && !e.DSN:
		return "ORCPT"
	case len(r.Other) > 0:
		return r.Other[0].Keyword
	}
	return ""
}

func parseNotify(s string) (Notify, error) {
	var n Notify
	for word := range strings.SplitSeq(s, ",") {
		bit := NotifyDefault
		for _, w := range notifyWords {
			if strings.EqualFold(word, w.word) {
				bit = w.bit
			}
		}
		if bit == NotifyDefault || n&bit != 0 {
			return 0, errValue
		}
		n |= bit
	}
	if n&NotifyNever != 0 && n != NotifyNever {
		return 0, errValue
	}
	return n, nil
}

// maxOriginal is the longest encoded ORCPT (RFC 3461 4.2).
const maxOriginal = 500

func parseOriginal(s string) (OriginalRecipient, error) {
	kind, encoded, ok := strings.Cut(s, ";")
	address, valid := DecodeXtext(encoded)
	if !ok || !valid || address == "" || len(s) > maxOriginal || !isAtom(kind) {
		return OriginalRecipient{}, errValue
	}
	return OriginalRecipient{Type: kind, Address: address}, nil
}

// isAtom tells an ASCII atom.
func isAtom(s string) bool {
	for i := range len(s) {
		if !isAtext(s[i]) {
			return false
		}
	}
	return s != "" && isASCII(s)
}
