package sender

import (
	"io"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// transaction is one message on its way. A recipient whose outcome has no reply is undecided.
type transaction struct {
	*call
	env       Envelope
	outcomes  []Outcome
	pipelined bool
	reset     bool // RSET goes in front
}

// settle gives the undecided recipients a reply.
func (t *transaction) settle(reply smtp.Reply, stage Stage) {
	for i := range t.outcomes {
		if t.outcomes[i].Reply.IsZero() {
			t.outcomes[i] = Outcome{reply, stage}
		}
	}
}

// refuseHere settles what this server can't be sent, and tells whether any recipient is left.
func (t *transaction) refuseHere(ext smtp.Extensions) bool {
	switch {
	case !printable(t.env.From):
		t.settle(badSender, StageMail)
	case ext.MaxSize > 0 && t.env.Size > ext.MaxSize: // RFC 1870 4
		t.settle(smtp.Replyf(552, smtp.EnhancedCode{5, 3, 4}, "The message has %d octets; the receiving host takes %d",
			t.env.Size, ext.MaxSize), StageMail)
	case t.env.EightBit && !ext.EightBitMIME:
		t.settle(no8Bit, StageMail)
	}
	left := false
	for i, to := range t.env.To {
		if !t.outcomes[i].Reply.IsZero() {
			continue
		}
		if sendable(to) {
			left = true
		} else {
			t.outcomes[i] = Outcome{badRecipient, StageRcpt}
		}
	}
	return left
}

// sendable tells a forward-path that fits into a command.
func sendable(to smtp.Path) bool { return !to.IsNull() && printable(to) }

// printable tells a path whose local part is short and has no octet that could end a command. The parsers of package
// smtp let no other through, but a path can be made by hand.
func printable(p smtp.Path) bool {
	for i := range len(p.Local) {
		if c := p.Local[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return len(p.Local) <= smtp.MaxLocalPart
}

// next is what follows the envelope.
type next uint8

const (
	nextNothing next = iota
	nextContent
	nextDot // nobody is left, yet the server waits for content
)

// run sends the envelope and, where the server asks for it, the content.
func (t *transaction) run(content io.Reader) error {
	next, err := t.envelope()
	if err != nil || next == nextNothing {
		return err
	}
	if next == nextDot {
		content = eof{} // RFC 2920 3.1
	}
	reply, err := t.content(content)
	if err != nil {
		return err
	}
	t.c.needReset = false // the end of the content ends the transaction, well or not (4.1.1.4)
	t.settle(reply, StageContent)
	return nil
}

// eof is content of no octets.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// envelope sends the commands, lock step or pipelined, and reads their replies.
func (t *transaction) envelope() (next, error) {
	if !t.pipelined {
		return t.dialogue()
	}
	if err := t.quiet(StageMail); err != nil {
		return nextNothing, err
	}
	// Written beside the reading: a server may stop taking commands until its replies are taken (RFC 2920 3.1).
	written := make(chan error, 1)
	go func() { written <- t.writeGroup() }()
	next, err := t.dialogue()
	if err != nil {
		<-written // ended by the closed connection
		return nextNothing, err
	}
	if err := t.join(written); err != nil {
		return nextNothing, t.fail(StageData, t.explain(err, t.c.timeouts.Data), smtp.Reply{})
	}
	return next, nil
}

// join waits for the end of a group whose replies were all read. Only a server that answers what it has not read makes
// it wait, and not for long.
func (t *transaction) join(written <-chan error) error {
	select {
	case err := <-written:
		return err
	default:
	}
	late := time.AfterFunc(t.c.timeouts.Data, func() { t.c.Close() })
	defer late.Stop()
	return <-written
}

// maxCommand is above the length of any MAIL or RCPT that sendable and printable let through.
const maxCommand = 1 << 10

// writeGroup writes the whole envelope, in one write as far as the buffer goes (RFC 2920 3.1: DATA may end the group).
// It sets no deadline: the reading of the replies has one for each, and closes the connection where one is missed.
func (t *transaction) writeGroup() error {
	buf := writers.Get().(*writeBuffer)
	defer writers.Put(buf)
	group := buf[:0]
	add := func(stage Stage, rcpt int) error {
		if cap(group)-len(group) < maxCommand {
			if _, err := t.c.conn.Write(group); err != nil {
				return err
			}
			group = buf[:0]
		}
		start := len(group)
		group = t.appendCommand(group, stage, rcpt)
		t.traceSent(group[start:])
		return nil
	}
	if t.reset {
		add(StageReset, 0)
	}
	add(StageMail, 0) // the buffer has room for these two
	for i, to := range t.env.To {
		if !sendable(to) {
			continue
		}
		if err := add(StageRcpt, i); err != nil {
			return err
		}
	}
	if err := add(StageData, 0); err != nil {
		return err
	}
	_, err := t.c.conn.Write(group)
	return err
}

// appendCommand encodes a command of the envelope; rcpt is the recipient's place, for RCPT.
func (t *transaction) appendCommand(dst []byte, stage Stage, rcpt int) []byte {
	switch stage {
	case StageReset:
		return append(dst, "RSET\r\n"...)
	case StageMail:
		return t.mail().Append(dst)
	case StageRcpt:
		return smtp.Rcpt{To: t.env.To[rcpt]}.Append(dst)
	}
	return append(dst, "DATA\r\n"...)
}

// mail declares what the server understands (RFC 1870 6, RFC 6152 3).
func (t *transaction) mail() smtp.Mail {
	m := smtp.Mail{From: t.env.From}
	if t.c.ext.Size {
		m.Size = t.env.Size
	}
	if t.env.EightBit {
		m.Body = smtp.Body8BitMIME // offered, else refuseHere had ended the message
	}
	return m
}

// exchange gives the reply to a command, which it sends where the group has not.
func (t *transaction) exchange(stage Stage, rcpt int) (smtp.Reply, error) {
	var reply smtp.Reply
	var err error
	if t.pipelined {
		reply, err = t.reply(stage)
	} else {
		reply, err = t.command(stage, func(b []byte) []byte { return t.appendCommand(b, stage, rcpt) })
	}
	if err == nil && reply.Code/100 == 3 && stage != StageData {
		err = t.unexpected(stage, reply)
	}
	return reply, err
}

// dialogue goes through the envelope's replies and settles who is refused. In lock step it stops where nothing is left
// to be asked; of a group it reads every reply.
func (t *transaction) dialogue() (next, error) {
	if t.reset {
		reply, err := t.exchange(StageReset, 0)
		if err == nil && !reply.Positive() { // 4.1.1.5: there is no reason to refuse RSET
			err = t.unexpected(StageReset, reply)
		}
		if err != nil {
			return nextNothing, err
		}
		t.c.needReset = false
	}
	mail, err := t.exchange(StageMail, 0)
	if err != nil {
		return nextNothing, err
	}
	if mail.Positive() {
		t.c.needReset = true
	} else {
		t.settle(mail, StageMail)
		if !t.pipelined {
			return nextNothing, nil
		}
	}
	accepted, err := t.recipients()
	if err != nil || accepted == 0 && !t.pipelined {
		return nextNothing, err
	}
	return t.data(accepted)
}

// recipients reads the replies to RCPT and tells how many recipients are left for DATA.
func (t *transaction) recipients() (accepted int, err error) {
	for i, to := range t.env.To {
		if !sendable(to) {
			continue
		}
		reply, err := t.exchange(StageRcpt, i)
		if err != nil {
			return 0, err
		}
		outcome := &t.outcomes[i]
		switch {
		case !outcome.Reply.IsZero(): // MAIL was refused; this is only an echo of it
		case reply.Positive():
			accepted++
		default:
			*outcome = Outcome{reply, StageRcpt}
		}
	}
	return accepted, nil
}

// data reads the reply to DATA.
func (t *transaction) data(accepted int) (next, error) {
	reply, err := t.exchange(StageData, 0)
	switch {
	case err != nil:
		return nextNothing, err
	case reply.Code/100 == 2: // content sent now would be read as commands
		return nextNothing, t.unexpected(StageData, reply)
	case reply.Positive() && accepted == 0:
		return nextDot, nil
	case reply.Positive():
		return nextContent, nil
	}
	t.settle(reply, StageData)
	return nextNothing, nil
}
