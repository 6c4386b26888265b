package dsn

import (
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// readExim reads the text of Exim: addresses with an indent of two spaces, what is known of each with an indent of
// four, and below a line of dashes a copy of the original.
func readExim(t plainText, p *parser) {
	action := Failed
	if t.find(0, "has not yet been delivered") >= 0 || strings.HasPrefix(p.top.Get("Subject"), "Warning: ") {
		action = Delayed
	}
	var rcpt *RecipientStatus
	var reason []string
	end := func() {
		if rcpt != nil {
			rcpt.eximReason(strings.Join(strings.Fields(strings.Join(reason, " ")), " "))
		}
		rcpt, reason = nil, nil
	}
	for i, line := range t.lines {
		if strings.HasPrefix(line, "------ This is a copy") {
			end()
			part := HeaderOnly
			if strings.Contains(line, "including") {
				part = FullMessage
			}
			p.copied(t, i+1, part)
			return
		}
		p.eximMessage(line)
		switch m, isMailbox := mailboxIn(line); {
		case indent(line) == 2 && isMailbox:
			end()
			rcpt = p.add(RecipientStatus{Final: m, Action: action})
		case rcpt != nil && indent(line) >= 3:
			reason = append(reason, line)
		case rcpt != nil && indent(line) == 0:
			end()
		}
	}
	end()
}

// eximMessage takes a line about the original.
func (p *parser) eximMessage(line string) {
	name, value, ok := strings.Cut(line, ":")
	if value = strings.TrimSpace(value); !ok || value == "" {
		return
	}
	switch strings.TrimSpace(name) {
	case "The message identifier is":
		set(&p.out.QueueID, bounded(value))
	case "The subject of the message is":
		if p.out.Original == nil {
			p.out.Original = &Original{}
		}
		set(&p.out.Original.Subject, bounded(value))
	}
}

func (s *RecipientStatus) eximReason(reason string) {
	if alias := between(reason, "(generated from ", ")"); alias != "" {
		s.Original = addressOf(bounded(alias))
		_, after, _ := strings.Cut(reason, "(generated from ")
		_, reason, _ = strings.Cut(after, ")")
	}
	if host := between(reason, "host ", "]: "); host != "" {
		s.Remote = remoteOf(host)
		_, reason, _ = strings.Cut(reason, "]: ")
	}
	s.Diagnostic = said(reason, "x-exim")
}

// readSendmail reads the text of sendmail: sections under lines of dashes, one of which ends in a copy of the original.
func readSendmail(t plainText, p *parser) {
	action, remote := Action(""), MTA{}
	var rcpt *RecipientStatus
	for i, line := range t.lines {
		switch section := between(line, "----- ", " -----"); {
		case strings.Contains(section, "fatal errors"):
			action = Failed
			if strings.Contains(section, "non-fatal") {
				action = Delayed
			}
			continue
		case strings.Contains(section, "message follows"), strings.Contains(section, "header follows"):
			part := FullMessage
			if strings.Contains(section, "header") {
				part = HeaderOnly
			}
			p.copied(t, i+1, part)
			return
		case section != "":
			action, rcpt = "", nil
			continue
		}
		if host := between(line, "... while talking to ", ":"); host != "" {
			remote = remoteOf(host)
		}
		if m, ok := mailboxIn(line); ok && action != "" {
			rcpt = p.add(RecipientStatus{Final: m, Action: action})
		} else if rcpt != nil {
			rcpt.sendmailReason(strings.TrimSpace(line))
		} else if action == "" {
			p.sendmailTranscript(line, remote)
		}
	}
}

// sendmailReason takes a line below an address.
func (s *RecipientStatus) sendmailReason(line string) {
	if inner, ok := strings.CutPrefix(line, "(reason: "); ok {
		s.Diagnostic = said(strings.TrimSuffix(inner, ")"), "x-sendmail")
	}
	if m, ok := mailboxIn(between(line, "(expanded from: ", ")")); ok {
		s.Original = m
	}
}

// sendmailTranscript takes a line of the dialogue, "550 5.1.1 <joe@example.org>... User unknown": it may be the only
// reason of a recipient, and where none was listed it is the recipient.
func (p *parser) sendmailTranscript(line string, remote MTA) {
	code, _ := findReply(line[:min(len(line), 20)])
	name, _, ok := strings.Cut(strings.TrimLeft(line, "0123456789. -"), "... ")
	m, isMailbox := mailboxIn(name)
	if !ok || !isMailbox || code < 400 {
		return
	}
	for i := range p.out.Recipients {
		if s := &p.out.Recipients[i]; s.Final == m {
			if s.Diagnostic == (Diagnostic{}) {
				s.Diagnostic = said(line, "x-sendmail")
			}
			if s.Diagnostic.Type == "smtp" && s.Remote == (MTA{}) {
				s.Remote = remote
			}
			return
		}
	}
	p.add(RecipientStatus{Final: m, Remote: remote, Diagnostic: said(line, "x-sendmail"), Action: Failed})
}

// readPostfix reads the text of Postfix: paragraphs that start with "<address>:", perhaps "(expanded from <alias>)" in
// front of the colon, and the reason.
func readPostfix(t plainText, p *parser) {
	for _, sign := range []string{"mail system at host ", "Postfix program at host "} {
		if i := t.find(0, sign); i >= 0 {
			_, host, _ := strings.Cut(t.lines[i], sign)
			p.out.Reporter = remoteOf(host)
		}
	}
	action := Failed
	if t.find(0, "still being retried") >= 0 || t.find(0, "It will be retried until") >= 0 || t.find(0, "for more than") >= 0 {
		action = Delayed
	}
	for i := 0; i < len(t.lines); i++ {
		if !strings.HasPrefix(t.lines[i], "<") {
			continue
		}
		start := i
		for i < len(t.lines) && strings.TrimSpace(t.lines[i]) != "" {
			i++
		}
		p.postfixRecipient(strings.Join(t.lines[start:i], " "), action)
	}
}

func (p *parser) postfixRecipient(text string, action Action) {
	address, reason, ok := strings.Cut(text, ">")
	head, reason, hasReason := strings.Cut(reason, ":")
	if m, isMailbox := mailboxIn(address + ">"); ok && hasReason && isMailbox {
		rcpt := RecipientStatus{Final: m, Action: action}
		if alias, ok := mailboxIn(between(head, "(expanded from ", ")")); ok {
			rcpt.Original = alias
		}
		if host := between(reason, "host ", " said: "); host != "" {
			rcpt.Remote = remoteOf(host)
			_, reason, _ = strings.Cut(reason, " said: ")
			if at := strings.LastIndex(reason, " (in reply to "); at >= 0 {
				reason = reason[:at]
			}
		}
		rcpt.Diagnostic = said(reason, "x-postfix")
		if e, rest, ok := smtp.ParseEnhancedCode(rcpt.Diagnostic.Text); ok && rcpt.Diagnostic.Code == 0 && rest != "" {
			rcpt.Diagnostic.Enhanced = e
		}
		p.add(rcpt)
	}
}
