package dsn

import (
	"net/netip"
	"strings"
)

// readQmail reads QSBMF: paragraphs between empty lines. The first is for people; each that starts with "<" is about a
// recipient, "<address>:" and the reason below it; the one that starts with "-" ends them, and the original follows.
func readQmail(t plainText, p *parser) {
	i := t.find(0, "Hi. This is the")
	if name := between(t.lines[i]+" ", "program at ", " "); name != "" {
		p.out.Reporter = remoteOf(name)
	}
	for i < len(t.lines) {
		start := i
		for i < len(t.lines) && strings.TrimSpace(t.lines[i]) != "" {
			i++
		}
		paragraph := t.lines[start:i]
		for i < len(t.lines) && strings.TrimSpace(t.lines[i]) == "" {
			i++
		}
		switch {
		case len(paragraph) > 0 && strings.HasPrefix(paragraph[0], "<"):
			p.qmailRecipient(paragraph)
		case len(paragraph) > 0 && strings.HasPrefix(paragraph[0], "-"):
			part := FullMessage
			if strings.Contains(paragraph[0], "header") {
				part = HeaderOnly
			}
			p.copied(t, i, part)
			return
		}
	}
}

func (p *parser) qmailRecipient(paragraph []string) {
	address, reason, ok := strings.Cut(paragraph[0], ">:")
	if !ok {
		return
	}
	rcpt := RecipientStatus{Final: addressOf(bounded(address[1:])), Action: Failed}
	var said []string
	for _, line := range append([]string{reason}, paragraph[1:]...) {
		if remote, isReply := strings.CutPrefix(line, "Remote host said: "); isReply {
			rcpt.Diagnostic = qmailSaid(remote)
		}
		if rcpt.Remote == (MTA{}) {
			rcpt.Remote = qmailRemote(line)
		}
		said = append(said, line)
	}
	if rcpt.Diagnostic == (Diagnostic{}) {
		rcpt.Diagnostic = qmailSaid(strings.Join(said, " "))
	}
	p.add(rcpt)
}

func qmailSaid(text string) Diagnostic { return said(text, "x-qmail") }

// qmailRemote finds the address of the host in "192.0.2.1 does not like recipient." and "Connected to 192.0.2.1 but
// ...".
func qmailRemote(line string) MTA {
	for word := range strings.FieldsSeq(strings.TrimPrefix(line, "Connected to ")) {
		if a, err := netip.ParseAddr(strings.TrimRight(word, ".:")); err == nil {
			return MTA{"dns", "[" + a.String() + "]"}
		}
		break
	}
	return MTA{}
}
