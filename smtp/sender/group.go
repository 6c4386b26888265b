package sender

// maxCommand is above the length of any MAIL or RCPT that sendable, printable and declare let through.
const maxCommand = 2 << 10

// groupWriter gathers commands, and octets of content, into as few writes as its buffer allows. It sets no deadline:
// the reading of the replies has one for each, and closes the connection where one is missed.
type groupWriter struct {
	t   *transaction
	buf *writeBuffer
	out []byte // the part of buf that is filled
}

// writeGroup writes the whole envelope (RFC 2920 3.1: DATA may end the group; RFC 3030 4.2: so may BDAT with its
// octets).
func (t *transaction) writeGroup() error {
	w := groupWriter{t: t, buf: writers.Get().(*writeBuffer)}
	defer writers.Put(w.buf)
	w.out = w.buf[:0]
	if t.reset {
		w.add(StageReset, 0)
	}
	w.add(StageMail, 0) // the buffer has room for these two
	for _, i := range t.to {
		if err := w.add(StageRcpt, i); err != nil {
			return err
		}
	}
	if t.group != nil {
		t.traceChunk(t.group)
		return w.octets(t.group.wire())
	}
	if err := w.add(StageData, 0); err != nil {
		return err
	}
	return w.flush()
}

// add appends a command.
func (w *groupWriter) add(stage Stage, rcpt int) error {
	if cap(w.out)-len(w.out) < maxCommand {
		if err := w.flush(); err != nil {
			return err
		}
	}
	start := len(w.out)
	w.out = w.t.appendCommand(w.out, stage, rcpt)
	w.t.traceSent(w.out[start:])
	return nil
}

// octets appends the last part of the group and writes all.
func (w *groupWriter) octets(b []byte) error {
	n := min(len(b), cap(w.out)-len(w.out))
	w.out = append(w.out, b[:n]...)
	if err := w.flush(); err != nil || n == len(b) {
		return err
	}
	_, err := w.t.c.conn.Write(b[n:])
	return err
}

func (w *groupWriter) flush() error {
	_, err := w.t.c.conn.Write(w.out)
	w.out = w.buf[:0]
	return err
}

// appendCommand encodes a command of the envelope; rcpt is the recipient's place, for RCPT.
func (t *transaction) appendCommand(dst []byte, stage Stage, rcpt int) []byte {
	switch stage {
	case StageReset:
		return append(dst, "RSET\r\n"...)
	case StageMail:
		return t.mail.Append(dst)
	case StageRcpt:
		return t.env.rcpt(rcpt, &t.c.use, t.mail.UTF8).Append(dst)
	}
	return append(dst, "DATA\r\n"...)
}
