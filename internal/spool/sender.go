package spool

import (
	"hash/fnv"
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// SenderKey tells senders apart when they take turns at a site. Reverse-paths that differ only in what follows the first
// "+", "-" or "=" of the local part are one sender: mailing lists and campaigns give each recipient a reverse-path of its own.
// Different senders may have the same key; that costs them a turn, and nothing else.
func SenderKey(from smtp.Path) uint32 {
	h := fnv.New32a()
	local := from.Local
	if i := strings.IndexAny(local, "+-="); i > 0 {
		local = local[:i]
	}
	h.Write([]byte(local))
	h.Write([]byte{0})
	h.Write([]byte(from.Domain.Key()))
	return h.Sum32()
}
