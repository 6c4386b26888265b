package deliver

import (
	"context"
	"errors"
	"io"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// fit tells whether a host that offers ext takes a message only in another form, and in which (RFC 6152 3, RFC 3030 3).
func fit(env *sender.Envelope, ext smtp.Extensions, sevenBit bool) (to mail.Target, needed bool) {
	binary := ext.BinaryMIME && ext.Chunking && !sevenBit
	switch {
	case env.UTF8 && !ext.UTF8: // it can't go there in any form (RFC 6531 3.2)
		return 0, false
	case env.Binary && binary, !env.Binary && !env.EightBit:
		return 0, false
	case sevenBit || !ext.EightBitMIME:
		return mail.SevenBit, true
	case env.Binary:
		return mail.EightBit, true
	}
	return 0, false
}

// content opens what is sent over a session, in the form that its host takes, and makes the envelope fit. refusal is what the
// recipients get where there is no such form.
func (v *visit) content(ctx context.Context, s *session, env *sender.Envelope) (content io.ReadCloser, refusal smtp.Reply, err error) {
	to, needed := fit(env, s.client.Extensions(), v.manner.SevenBit)
	if !needed {
		content, err = v.task.Open(ctx)
		return content, smtp.Reply{}, err
	}
	task := v.task
	open := func() (io.ReadCloser, error) { return task.Open(ctx) }
	converted, err := mail.Convert(open, to, mail.ConvertOptions{Refuse: v.options.KeepWhole})
	var impossible *mail.Unconvertible
	if errors.As(err, &impossible) {
		return nil, smtp.Replyf(554, smtp.EnhancedCode{5, 6, 3}, "The receiving host takes no such content, and it can't be converted: %v", impossible), nil
	}
	if err != nil {
		return nil, smtp.Reply{}, err
	}
	env.Size, env.Binary, env.Verbatim = converted.Size, false, false // it is lines now: BDAT mends LF as DATA does
	env.EightBit = env.EightBit && to == mail.EightBit
	content, err = converted.Open()
	return content, smtp.Reply{}, err
}

// cannotFit gives recipients the reply that no form of the message is for this host.
func (v *visit) cannotFit(to []int, refusal smtp.Reply) {
	for _, i := range to {
		if !v.last[i].Reply.Temporary() {
			v.note(i, spool.Outcome{Reply: refusal, Reason: spool.ReasonRefused})
		}
		v.elsewhere = append(v.elsewhere, i) // what this host lacks another may have
	}
}
