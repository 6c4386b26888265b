package history

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// A key is 32 bits of the hash of something that can be searched for: a queue id, or a text in its folded form. A false
// match costs the reading of a segment: with 80,000 keys in one of them about every 50,000th question.

// offset and prime are those of FNV-1a with 64 bits.
const (
	offset = 14695981039346656037
	prime  = 1099511628211
)

// mix spreads a hash over all bits and gives the upper half.
func mix(h uint64) uint32 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return uint32(h >> 32)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// lowerASCII changes the letters of ASCII only.
func lowerASCII(s string) string {
	for i := range len(s) {
		if lower(s[i]) != s[i] {
			b := []byte(s)
			for i, c := range b {
				b[i] = lower(c)
			}
			return string(b)
		}
	}
	return s
}

// bare takes off one pair of angle brackets.
func bare(s string) string {
	if len(s) >= 2 && s[0] == '<' && s[len(s)-1] == '>' {
		return s[1 : len(s)-1]
	}
	return s
}

// foldText gives the form in which message-ids are compared: without angle brackets and without case.
func foldText(s string) string { return lowerASCII(bare(clip(s))) }

// foldAddress gives the form in which addresses, "@domain" too, are compared: without angle brackets and case, and with
// A-labels. The case of a local part may matter to its host (RFC 5321 2.4), but somebody who searches does not know it.
func foldAddress(s string) string {
	s = foldText(s)
	at := strings.LastIndexByte(s, '@')
	if at < 0 || isASCII(s[at:]) {
		return s
	}
	d, err := smtp.ParseDomain(s[at+1:])
	if err != nil {
		return s
	}
	return s[:at+1] + lowerASCII(d.ASCII().String())
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func keyOfID(id spool.ID) uint32 {
	return mix(binary.BigEndian.Uint64(id[:8])*prime ^ uint64(binary.BigEndian.Uint32(id[8:])))
}

// hash hashes a folded text, or a bare one as if it were folded, without making that text. It goes from the end to the
// start, so that the hash of "@domain" comes by on the way to that of an address; then hasDomain is true.
func hash(s string) (whole, domain uint32, hasDomain bool) {
	h := uint64(offset)
	for i := len(s) - 1; i >= 0; i-- {
		c := lower(s[i])
		h = (h ^ uint64(c)) * prime
		if c == '@' && !hasDomain {
			domain, hasDomain = mix(h), true
		}
	}
	return mix(h), domain, hasDomain
}

// appendAddressKeys appends the keys of an address and of its domain.
func appendAddressKeys(dst []uint32, address string) []uint32 {
	folded := bare(clip(address))
	if !isASCII(folded) {
		folded = foldAddress(address)
	}
	whole, domain, ok := hash(folded)
	dst = append(dst, whole)
	if ok {
		dst = append(dst, domain)
	}
	return dst
}

// appendKeys appends all keys of an event, some maybe twice.
func appendKeys(dst []uint32, e *Event) []uint32 {
	for _, id := range [...]*spool.ID{&e.ID, &e.Cause, &e.Report} {
		if !id.IsZero() {
			dst = append(dst, keyOfID(*id))
		}
	}
	if e.MessageID != "" {
		whole, _, _ := hash(bare(clip(e.MessageID)))
		dst = append(dst, whole)
	}
	if e.From != "" {
		dst = appendAddressKeys(dst, e.From)
	}
	for _, a := range e.To {
		dst = appendAddressKeys(dst, a)
	}
	return dst
}

// span is a range of times, in microseconds of Unix time; the zero value holds none.
type span struct {
	first, last int64
	some        bool
}

func (s *span) add(t time.Time) {
	m := t.UnixMicro()
	if !s.some {
		*s = span{m, m, true}
		return
	}
	s.first, s.last = min(s.first, m), max(s.last, m)
}

func (s *span) join(o span) {
	if o.some {
		s.add(time.UnixMicro(o.first))
		s.add(time.UnixMicro(o.last))
	}
}
