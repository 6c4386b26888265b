package sender

import (
	"io"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// transaction is one message on its way to the recipients at the places to.
type transaction struct {
	*call
	settling
	env   Envelope
	mail  smtp.Mail
	to    []int
	few   [4]int  // spares most messages a slice of places
	reset bool    // RSET goes in front
	group *chunks // the first chunk, which leaves with the envelope; nil where none does
	lmtp  []int   // the places of those that RCPT accepted, for LMTP's replies to the content
}

// run sends the envelope and, where the server asks for it, the content.
func (t *transaction) run(content io.Reader) error {
	if t.c.sevenBit {
		content = sevenBitReader{content}
	}
	if t.c.use.Chunking {
		return t.runChunks(content)
	}
	accepted, err := t.envelope()
	if err != nil || accepted == 0 && !t.c.use.Pipelining {
		return err
	}
	next, err := t.data(accepted)
	if err != nil || next == nextNothing {
		return err
	}
	if next == nextDot {
		content = eof{} // RFC 2920 3.1
	}
	if err := t.quiet(StageContent); err != nil {
		return err
	}
	if err := t.writeContent(content); err != nil {
		return err
	}
	if _, err := t.final(); err != nil {
		return err
	}
	t.c.needReset = false // the end of the content ends the transaction, well or not (4.1.1.4)
	return nil
}

// final reads the reply to the end of the content, or LMTP's reply for each recipient that was accepted, in their order
// (RFC 2033 4.2), and settles with it. It tells whether the content was refused for all.
func (t *transaction) final() (refused bool, err error) {
	if !t.c.lmtp || len(t.lmtp) == 0 {
		return t.finalFor(t.to)
	}
	refused = true
	for i := range t.lmtp {
		no, err := t.finalFor(t.lmtp[i : i+1])
		if err != nil {
			return false, err
		}
		refused = refused && no
	}
	return refused, nil
}

// finalFor reads one reply to the end of the content.
func (t *transaction) finalFor(places []int) (refused bool, err error) {
	reply, err := t.reply(StageContent)
	if err == nil && reply.Code/100 == 3 {
		err = t.unexpected(StageContent, reply)
	}
	if broke, ok := err.(*SessionError); ok {
		broke.InDoubt = broke.Reply.IsZero()
	}
	if err != nil {
		return false, err
	}
	t.some(places, Outcome{Reply: reply, Stage: StageContent})
	return !reply.Positive(), nil
}

// eof is content of no octets.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// envelope sends the commands, lock step or pipelined, and reads their replies up to those to RCPT.
func (t *transaction) envelope() (accepted int, err error) {
	if !t.c.use.Pipelining {
		return t.dialogue()
	}
	if err := t.quiet(StageMail); err != nil {
		return 0, err
	}
	written := make(chan error, 1)
	if t.fitsBuffers() {
		written <- t.writeAtOnce()
	} else { // beside the reading: a server may stop taking commands until its replies are taken (RFC 2920 3.1)
		go func() { written <- t.writeGroup() }()
	}
	accepted, err = t.dialogue()
	if err != nil {
		wrote := <-written // ended by the closed connection
		t.doubt(err, wrote)
		return 0, err
	}
	if err := t.join(written); err != nil {
		stage, timeout := StageData, t.c.timeouts.Data
		if t.group != nil {
			stage, timeout = StageContent, t.c.timeouts.Block
		}
		return 0, t.fail(stage, t.explain(err, timeout), t.lastWords(err))
	}
	return accepted, nil
}

// doubt marks the end of a session in which the whole message left with the envelope: nobody may know what became of
// it.
func (t *transaction) doubt(err, wrote error) {
	broke, ok := err.(*SessionError)
	if ok && wrote == nil && t.group != nil && t.group.last && broke.Reply.IsZero() {
		broke.InDoubt = t.undecided(t.to)
	}
}

// join waits for the end of a group whose replies were all read. Only a server that answers what it has not read makes
// it wait, and not for long.
func (t *transaction) join(written <-chan error) error {
	select {
	case err := <-written:
		return err
	default:
	}
	late := time.AfterFunc(t.c.timeouts.Data, t.c.abort)
	defer late.Stop()
	return <-written
}

// exchange gives the reply to a command, which it sends where the group has not.
func (t *transaction) exchange(stage Stage, rcpt int) (smtp.Reply, error) {
	var reply smtp.Reply
	var err error
	if t.c.use.Pipelining {
		reply, err = t.reply(stage)
	} else {
		reply, err = t.command(stage, func(b []byte) []byte { return t.appendCommand(b, stage, rcpt) })
	}
	if err == nil && reply.Code/100 == 3 && stage != StageData {
		err = t.unexpected(stage, reply)
	}
	return reply, err
}

// dialogue goes through the replies to MAIL and RCPT and settles who is refused. In lock step it stops where nothing is
// left to be asked; of a group it reads every reply.
func (t *transaction) dialogue() (accepted int, err error) {
	if t.reset {
		reply, err := t.exchange(StageReset, 0)
		if err == nil && !reply.Positive() {
			err = t.unexpected(StageReset, reply)
		}
		if err != nil {
			return 0, err
		}
		t.c.needReset = false
	}
	mail, err := t.exchange(StageMail, 0)
	if err != nil {
		return 0, err
	}
	if mail.Positive() {
		t.c.needReset = true
	} else {
		t.some(t.to, Outcome{Reply: mail, Stage: StageMail})
		if !t.c.use.Pipelining {
			return 0, nil
		}
	}
	return t.recipients()
}

// recipients reads the replies to RCPT and tells how many recipients are left for the content.
func (t *transaction) recipients() (accepted int, err error) {
	for _, i := range t.to {
		reply, err := t.exchange(StageRcpt, i)
		if err != nil {
			return 0, err
		}
		switch {
		case !t.outcomes[i].Reply.IsZero(): // MAIL was refused; this is only an echo of it
		case reply.Positive():
			accepted++
			if t.c.lmtp {
				t.lmtp = append(t.lmtp, i)
			}
		default:
			t.outcomes[i] = Outcome{Reply: reply, Stage: StageRcpt}
		}
	}
	return accepted, nil
}

// next is what follows the envelope.
type next uint8

const (
	nextNothing next = iota
	nextContent
	nextDot // nobody is left, yet the server waits for content
)

// data reads the reply to DATA.
func (t *transaction) data(accepted int) (next, error) {
	reply, err := t.exchange(StageData, 0)
	switch {
	case err != nil:
		return nextNothing, err
	case reply.Code/100 == 2: // content sent now would be read as commands
		return nextNothing, t.unexpected(StageData, reply)
	case reply.Positive() && accepted == 0 && t.c.lmtp: // RFC 2033 4.2: it must refuse, or it answers nothing at the end
		return nextNothing, t.unexpected(StageData, reply)
	case reply.Positive() && accepted == 0:
		return nextDot, nil
	case reply.Positive():
		return nextContent, nil
	}
	t.some(t.to, Outcome{Reply: reply, Stage: StageData})
	return nextNothing, nil
}
