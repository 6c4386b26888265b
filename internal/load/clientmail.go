package load

// nextMessage begins a message, or ends the session.
func (c *client) nextMessage() action {
	if c.PerConn > 0 && c.onConn >= c.PerConn {
		c.quit()
		return goOn
	}
	if c.number < 0 {
		if c.number = c.take(); c.number < 0 {
			c.quit()
			return goOn
		}
	}
	c.onConn++
	c.rcpt, c.accepted, c.open = 0, 0, false
	c.putNumber(c.own, c.number)
	c.state = mail
	c.out.own = c.mail
	if c.together() { // RFC 2920, section 3.1
		c.line = append(append(c.line[:0], c.mail...), c.recipients(c.number, 0, c.count)...)
		c.line = append(c.line, "DATA\r\n"...)
		c.out.own = c.line
	}
	c.began = c.now()
	return goOn
}

// together tells that commands go in one write.
func (c *client) together() bool { return c.Pipelining && c.offered.pipelining }

// note counts a refusal.
func (c *client) note(line []byte) { c.tally.refused(string(c.text(line)), 1) }

func (c *client) repliedMAIL(line []byte, good bool) action {
	c.open = good
	if !good {
		c.note(line)
	}
	switch {
	case c.together():
		c.state = rcpt
	case !good:
		return c.endRefused()
	default:
		c.sayRCPT()
	}
	return goOn
}

func (c *client) sayRCPT() {
	c.state = rcpt
	c.out.own = c.recipients(c.number, c.rcpt, c.rcpt+1)
}

func (c *client) repliedRCPT(line []byte, good bool) action {
	c.rcpt++
	switch {
	case good:
		c.accepted++
	case c.open: // else it only follows from the refusal of MAIL
		c.note(line)
	}
	switch {
	case c.rcpt < c.count && c.together():
	case c.rcpt < c.count:
		c.sayRCPT()
	case c.together():
		c.state = data
	case c.accepted == 0:
		return c.endRefused()
	default:
		c.say(data, "DATA\r\n")
	}
	return goOn
}

func (c *client) repliedDATA(line []byte) action {
	switch {
	case line[0] == '3' && c.accepted == 0: // RFC 2920, section 3.1: nobody is to get it, and yet there must be a dot
		c.say(dot, ".\r\n")
	case line[0] == '3':
		c.state = dot
		c.out = outbox{own: c.own, shared: c.tail}
	default:
		if c.accepted > 0 {
			c.note(line)
		}
		return c.endRefused()
	}
	return goOn
}

func (c *client) repliedDot(line []byte, good bool) action {
	c.open = false // RFC 5321, section 4.1.1.4: either way the transaction is over
	if c.accepted == 0 {
		return c.endRefused()
	}
	if !good {
		c.note(line)
		return c.endRefused()
	}
	c.tally.accepted(c.accepted, c.now()-c.began)
	c.number, c.failures = -1, 0
	return c.nextMessage()
}

// endRefused counts a message that nobody gets, and leaves its transaction.
func (c *client) endRefused() action {
	c.tally.sent.Failed++
	c.number, c.failures = -1, 0
	if c.open {
		c.say(rset, "RSET\r\n")
		return goOn
	}
	return c.nextMessage()
}
