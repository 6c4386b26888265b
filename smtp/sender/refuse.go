package sender

import "github.com/holub-mail/holub/smtp"

// Replies to what can't be sent to this server, made here in its place.
var (
	badSender    = smtp.NewReply(553, smtp.EnhancedCode{5, 1, 7}, "The sender's address cannot be written in SMTP")
	badRecipient = smtp.NewReply(553, smtp.EnhancedCode{5, 1, 3}, "The recipient's address cannot be written in SMTP")
	// RFC 6152 3 gives the choice between conversion and a permanent failure; conversion is for the caller.
	no8Bit = smtp.NewReply(554, smtp.EnhancedCode{5, 6, 3},
		"The message has 8-bit content, and the receiving host does not accept 8BITMIME")
	no8BitChannel = smtp.NewReply(554, smtp.EnhancedCode{5, 6, 3},
		"The message has 8-bit content, and the way to the receiving host carries 7 bits")
	noBinary = smtp.NewReply(554, smtp.EnhancedCode{5, 6, 3},
		"The message has binary content, and the receiving host cannot be sent BINARYMIME")
	// RFC 6531 3.5: 553 where the address is the reason
	noUTF8 = smtp.NewReply(553, smtp.EnhancedCode{5, 6, 7},
		"The message or its sender's address needs SMTPUTF8, and the receiving host does not offer it")
	noUTF8Recipient = smtp.NewReply(553, smtp.EnhancedCode{5, 6, 7},
		"The recipient's address needs SMTPUTF8, and the receiving host does not offer it")
	noRequireTLS = smtp.NewReply(550, smtp.EnhancedCode{5, 7, 30}, // RFC 8689 4.2.1
		"The message requires TLS all the way, and the receiving host does not offer REQUIRETLS over TLS")
	noDeliverBy = smtp.NewReply(550, smtp.EnhancedCode{5, 3, 3},
		"The message is to be delivered by a time or returned, and the receiving host does not offer DELIVERBY")
	tooLate = smtp.NewReply(550, smtp.EnhancedCode{5, 4, 7}, "The time by which the message was to be delivered has passed")
	// Recipients for another transaction, where this call can make no more of them; never an error of the server's.
	usedUp = smtp.NewReply(452, smtp.EnhancedCode{4, 5, 3},
		"The session has had as many messages as the receiving host takes in one; open another")
	tooMany = smtp.NewReply(452, smtp.EnhancedCode{4, 5, 3},
		"The receiving host takes no more recipients with this transaction; send to the others in another")
	notTried = smtp.NewReply(451, smtp.EnhancedCode{4, 4, 2}, "The session broke before this recipient's transaction")
)

// refuseHere settles what this server can't be sent, and gives the places of the recipients that are left. It also
// finds whether SMTPUTF8 is declared: where the content or a local part needs it, for U-labels have A-labels to stand
// for them.
func (t *transaction) refuseHere(c *Client) (left []int, withUTF8 bool) {
	env := &t.env
	if reply := c.refuseAll(env); !reply.IsZero() {
		t.local(reply, StageMail)
		return nil, false
	}
	withUTF8 = env.UTF8 || !isASCII(env.From.Local)
	left = t.few[:0]
	if len(env.To) > len(t.few) {
		left = make([]int, 0, len(env.To))
	}
	for i, to := range env.To {
		switch {
		case !sendable(to, true):
			t.one(i, Outcome{Reply: badRecipient, Stage: StageRcpt, Local: true})
			continue
		case isASCII(to.Local):
		case c.use.UTF8:
			withUTF8 = true
		default:
			t.one(i, Outcome{Reply: noUTF8Recipient, Stage: StageRcpt, Local: true})
			continue
		}
		left = append(left, i)
	}
	return left, withUTF8
}

// refuseAll gives the reply that no recipient of the message can be spared, or the zero value.
func (c *Client) refuseAll(env *Envelope) smtp.Reply {
	switch ext := &c.use; {
	case !printable(env.From, true):
		return badSender
	case ext.MaxSize > 0 && env.Size > ext.MaxSize: // RFC 1870 4
		return smtp.Replyf(552, smtp.EnhancedCode{5, 3, 4}, "The message has %d octets; the receiving host takes %d",
			env.Size, ext.MaxSize)
	case (env.UTF8 || !isASCII(env.From.Local)) && !ext.UTF8:
		return noUTF8
	case (env.EightBit || env.Binary) && c.sevenBit:
		return no8BitChannel
	case env.Binary && !(ext.BinaryMIME && ext.Chunking): // RFC 3030 3
		return noBinary
	case env.EightBit && !env.Binary && !ext.EightBitMIME:
		return no8Bit
	case env.RequireTLS && !(ext.RequireTLS && c.tls != nil):
		return noRequireTLS
	case env.DeliverBy != nil && env.DeliverBy.Return && env.DeliverBy.Within <= 0:
		return tooLate
	case env.DeliverBy != nil && env.DeliverBy.Return && !ext.DeliverBy: // RFC 2852 4: R goes to no other server
		return noDeliverBy
	}
	return smtp.Reply{}
}

// settling collects the outcomes of one Send. A recipient whose outcome has no reply is undecided.
type settling struct {
	outcomes []Outcome
}

// one settles a recipient unless it is settled.
func (s *settling) one(i int, o Outcome) {
	if s.outcomes[i].Reply.IsZero() {
		s.outcomes[i] = o
	}
}

// some gives undecided recipients a reply.
func (s *settling) some(places []int, o Outcome) {
	for _, i := range places {
		s.one(i, o)
	}
}

// local gives every undecided recipient a reply of our own.
func (s *settling) local(reply smtp.Reply, stage Stage) {
	for i := range s.outcomes {
		s.one(i, Outcome{Reply: reply, Stage: stage, Local: true})
	}
}

// undecided tells whether any of the places has no reply yet.
func (s *settling) undecided(places []int) bool {
	for _, i := range places {
		if s.outcomes[i].Reply.IsZero() {
			return true
		}
	}
	return false
}
