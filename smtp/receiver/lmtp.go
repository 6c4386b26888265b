package receiver

import (
	"context"
	"io"

	"github.com/holub-mail/holub/smtp"
)

// EachDataHandler is a Handler that answers the content of LMTP for each recipient by itself (RFC 2033 4.2): one reply
// for each of Session.Recipients, in their order. A zero or missing one accepts. Without it, and in SMTP, Data is asked,
// and in LMTP its reply counts for all.
type EachDataHandler interface {
	DataEach(ctx context.Context, s *Session, content io.Reader) []smtp.Reply
}

// deliver hands the content to the Handler and appends its replies: as many as the client is to get.
func (s *Session) deliver(dst []smtp.Reply, c *content) []smtp.Reply {
	if !s.server.LMTP {
		return append(dst, s.handler.Data(s.ctx, s, c))
	}
	if h, ok := s.handler.(EachDataHandler); ok {
		replies := make([]smtp.Reply, len(s.rcpts))
		copy(replies, h.DataEach(s.ctx, s, c))
		return replies
	}
	return s.refuseAll(dst, s.handler.Data(s.ctx, s, c), true)
}

// refuseAll appends one reply, for each recipient in LMTP, once in SMTP and for a chunk that is not the last.
func (s *Session) refuseAll(dst []smtp.Reply, r smtp.Reply, each bool) []smtp.Reply {
	replies := append(dst, r)
	for s.server.LMTP && each && len(replies) < len(s.rcpts) {
		replies = append(replies, r)
	}
	return replies
}

// sayAllButLast writes the replies before the last one where the session still speaks, and gives the last.
func (s *Session) sayAllButLast(replies []smtp.Reply, speaks bool) smtp.Reply {
	last := replies[len(replies)-1]
	for _, r := range replies[:len(replies)-1] {
		if speaks && s.write(s.verb, orReply(r, ok)) {
			last.Close = true
		}
	}
	return last
}
