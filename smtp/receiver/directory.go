package receiver

import (
	"context"
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// Verifier is a Handler that answers VRFY (3.5). The zero Reply neither confirms nor denies. Name is what the client
// gave: a mailbox, or a user's name. It may be asked between the chunks of a message.
type Verifier interface {
	Verify(ctx context.Context, s *Session, name string) smtp.Reply
}

// Expander is a Handler that answers EXPN (3.5) for the name of a list; the zero Reply says that it does not tell. It may
// be asked between the chunks of a message.
type Expander interface {
	Expand(ctx context.Context, s *Session, list string) smtp.Reply
}

// Turner is a Handler that answers ETRN (RFC 1985): it starts to send what waits for a node. The node is a domain,
// "@domain" for it and all below it, or "#name" for a queue of the server's own; the zero Reply says that it has begun.
type Turner interface {
	Turn(ctx context.Context, s *Session, node string) smtp.Reply
}

// vrfy neither confirms nor denies by itself (3.5.3, 7.3).
func (s *Session) vrfy(arg string) smtp.Reply {
	name, r := s.directoryName(arg)
	if v, ok := s.handler.(Verifier); ok && r.IsZero() {
		r = v.Verify(s.ctx, s, name)
	}
	return orReply(r, smtp.NewReply(252, smtp.EnhancedCode{2, 0, 0}, "Not verified; send mail to it and see"))
}

func (s *Session) expands() bool {
	_, ok := s.handler.(Expander)
	return ok
}

func (s *Session) expn(arg string) smtp.Reply {
	name, r := s.directoryName(arg)
	if r.IsZero() {
		r = s.handler.(Expander).Expand(s.ctx, s, name)
	}
	return orReply(r, smtp.NewReply(252, smtp.EnhancedCode{2, 0, 0}, "Not expanded; send mail to it and see"))
}

// directoryName takes SMTPUTF8 off the argument of VRFY and EXPN (RFC 6531 3.7.4.2).
func (s *Session) directoryName(arg string) (name string, refusal smtp.Reply) {
	name = arg
	utf8 := false
	if at := strings.LastIndexByte(arg, ' '); at > 0 && strings.EqualFold(arg[at+1:], "SMTPUTF8") {
		if !s.offered().UTF8 {
			return "", unknownParam("SMTPUTF8")
		}
		name, utf8 = strings.TrimRight(arg[:at], " "), true
	}
	for i := range len(name) {
		if name[i] > 127 && !utf8 {
			return "", needsUTF8
		}
	}
	return name, smtp.Reply{}
}

func (s *Session) turns() bool {
	_, ok := s.handler.(Turner)
	return ok
}

// etrn checks the node's form (RFC 1985 5.1) and asks the Handler.
func (s *Session) etrn(arg string) smtp.Reply {
	domain := strings.TrimPrefix(arg, "@")
	_, err := smtp.ParseDomain(domain)
	if isQueue := arg[0] == '#' && len(arg) > 1 && !strings.ContainsAny(arg, " \t"); err != nil && !isQueue {
		return smtp.NewReply(501, smtp.EnhancedCode{5, 5, 4}, "The syntax is: ETRN [@|#]node")
	}
	r := s.handler.(Turner).Turn(s.ctx, s, arg)
	return orReply(r, smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Queuing has begun"))
}
