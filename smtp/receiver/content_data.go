package receiver

import "github.com/holub-mail/holub/smtp"

var sendMessage = smtp.NewReply(354, smtp.EnhancedCode{}, "Send the message, end it with a line that has only a dot")

// data answers DATA.
func (s *Session) data(string) smtp.Reply {
	switch {
	case s.mail.Body == smtp.BodyBinaryMIME: // RFC 3030 3
		return smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "Content with BODY=BINARYMIME comes with BDAT")
	case s.phase != phaseRcpt:
		return s.noRecipients()
	}
	s.write("DATA", sendMessage)
	if err := s.wire.flush(); err != nil {
		return smtp.Reply{Close: true}
	}
	s.wire.enlarge()
	defer s.wire.shrink()
	return s.receive(new(dotted))
}

// noRecipients answers content that goes to nobody (3.3; RFC 2920 3.1; RFC 2033 4.2).
func (s *Session) noRecipients() smtp.Reply {
	code := 554
	if s.server.LMTP {
		code = 503
	}
	return smtp.NewReply(code, smtp.EnhancedCode{5, 5, 1}, "No valid recipients")
}

// dotted is the framing of DATA: dot-stuffed, ended by a line with a dot alone (4.5.2).
type dotted struct {
	decoder smtp.DataDecoder
	ended   bool // the final dot was read
}

func (d *dotted) read(c *content, p []byte) (int, bool, error) {
	for {
		if arrived := c.s.wire.buffered(); len(arrived) > 0 {
			n, used, done := d.decoder.Decode(p, arrived)
			c.s.wire.start += used
			d.ended = done
			if n > 0 || done {
				return n, done, nil
			}
		}
		if err := c.fill(); err != nil {
			return 0, false, err
		}
	}
}

func (d *dotted) bareLineEnd() bool { return d.decoder.BareLineEnd }

// discard gives up after twice the size limit.
func (d *dotted) discard(c *content) error {
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	for !d.ended {
		if c.s.maxSize > 0 && c.size/2 > c.s.maxSize {
			return errEndless
		}
		n, _, err := d.read(c, *p)
		if err != nil {
			return err
		}
		c.size += int64(n)
	}
	return nil
}

func (d *dotted) after() smtp.Reply { return smtp.Reply{} }
func (d *dotted) refusedEach() bool { return true }
