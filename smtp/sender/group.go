package sender

import (
	"crypto/tls"
	"net"
)

// maxCommand is above the length of any MAIL or RCPT that sendable, printable and declare let through.
const maxCommand = 2 << 10

// groupWriter gathers commands, and octets of content, into as few writes as its buffer allows. It sets no deadline:
// the reading of the replies has one for each, and closes the connection where one is missed.
type groupWriter struct {
	t   *transaction
	buf *writeBuffer
	out []byte // the part of buf that is filled
}

// What fits the buffers that a system keeps for a connection, however busy the server: so much content with the group, and
// the replies to so many recipients.
const (
	bufferedContent = 8 << 10
	bufferedReplies = 20
)

// fitsBuffers tells a group that can be written before its replies are read, for neither side can be kept waiting by the
// other. Of connections inside the process, and to programs, nothing is known.
func (t *transaction) fitsBuffers() bool {
	conn := t.c.conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return len(t.to) <= bufferedReplies && (t.group == nil || len(t.group.wire()) <= bufferedContent)
	}
	return false
}

// writeAtOnce is writeGroup for a group that does not have to wait for the server.
func (t *transaction) writeAtOnce() error {
	if err := t.arm(writing, t.c.timeouts.Data); err != nil {
		return err
	}
	return t.writeGroup()
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
