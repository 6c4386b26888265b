package dsn

import (
	"bufio"
	"strconv"
	"strings"
	"time"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

// Action is what was done for a recipient (RFC 3464 2.3.3).
type Action string

// The actions that the format has.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// Recipient is what a report says about one recipient of the original.
type Recipient struct {
	Final       smtp.Path
	Original    smtp.OriginalRecipient // whom the sender had in mind (ORCPT, RFC 3461 4.2); zero where it did not say
	Action      Action                 // "" stands for the one of the report's kind
	Reply       smtp.Reply             // the last one, as it came, from Host or made by this server; zero where there is none
	Host        string                 // who gave Reply, such as "mx.example.org [192.0.2.1]:25"; "" is this server itself
	HostType    string                 // of the name in Host: "" is dns; a type of your own starts with "x-" (RFC 3464 2.1.2)
	LogID       string                 // what Host's log calls the delivery, where it said so (Final-Log-ID)
	LastAttempt time.Time
}

// writeStatus writes the second part (RFC 3464 2.1): fields about the message, then a group of them for each recipient.
func (r Report) writeStatus(out *bufio.Writer, boundary string) {
	out.WriteString("\r\n--" + boundary + "\r\n")
	kind := "message/delivery-status"
	if r.inUTF8() && r.statusInUTF8() {
		kind = "message/global-delivery-status" // RFC 6533 4
	}
	b := mail.AppendField(nil, "Content-Type", kind)
	b = mail.AppendField(b, "Content-Description", "Report for programs")
	if kind != "message/delivery-status" {
		b = mail.AppendField(b, "Content-Transfer-Encoding", "8bit")
	}
	b = append(b, '\r', '\n')
	if r.EnvelopeID != "" {
		b = mail.AppendField(b, "Original-Envelope-Id", clean(r.EnvelopeID, 100)) // decoded, as *text (RFC 3464 2.2.1)
	}
	b = mail.AppendField(b, "Reporting-MTA", "dns;", r.From)
	if r.Received != "" {
		b = mail.AppendField(b, "Received-From-MTA", "dns;", hostName(r.Received))
	}
	b = appendDateField(b, "Arrival-Date", r.Arrived)
	if r.QueueID != "" {
		b = mail.AppendField(b, "X-Holub-Queue-ID", clean(r.QueueID, 250))
	}
	b = r.appendField(b, "X-Holub-Sender", r.senderField())
	out.Write(b)
	for _, rcpt := range r.Recipients {
		out.Write(r.appendGroup(b[:0], rcpt))
	}
}

// statusInUTF8 tells that the second part has UTF-8 where it may.
func (r Report) statusInUTF8() bool {
	if !r.Sender.IsASCII() {
		return true
	}
	for _, rcpt := range r.Recipients {
		if !rcpt.Final.IsASCII() || !r.originalAddress(rcpt.Original).isASCII() {
			return true
		}
		for _, line := range rcpt.Reply.Lines {
			if !isASCII(line) {
				return true
			}
		}
	}
	return false
}

// appendGroup writes the fields of one recipient, in the order of RFC 3464 2.3.
func (r Report) appendGroup(b []byte, rcpt Recipient) []byte {
	action := r.action(rcpt)
	b = append(b, '\r', '\n')
	if rcpt.Original != (smtp.OriginalRecipient{}) {
		a := r.originalAddress(rcpt.Original)
		b = r.appendField(b, "Original-Recipient", a.Type+";", a.Text)
	}
	final := r.recipientAddress(rcpt.Final).encoded(r.inUTF8())
	b = r.appendField(b, "Final-Recipient", final.Type+";", final.Text)
	b = mail.AppendField(b, "Action", string(action))
	b = mail.AppendField(b, "Status", status(action, rcpt.Reply).String())
	if kind, name := rcpt.remote(); name != "" {
		b = mail.AppendField(b, "Remote-MTA", kind+";", name)
	}
	if !rcpt.Reply.IsZero() {
		b = r.appendDiagnostic(b, rcpt)
	}
	b = appendDateField(b, "Last-Attempt-Date", rcpt.LastAttempt)
	if rcpt.LogID != "" {
		b = mail.AppendField(b, "Final-Log-ID", clean(rcpt.LogID, 250))
	}
	if action == Delayed { // RFC 3464 2.3.9: for delayed recipients only
		b = appendDateField(b, "Will-Retry-Until", r.RetryUntil)
	}
	return b
}

// remote gives the type and the name of the host that gave the reply.
func (rcpt Recipient) remote() (kind, name string) {
	if rcpt.HostType != "" && !strings.EqualFold(rcpt.HostType, "dns") {
		return clean(rcpt.HostType, 100), clean(strings.TrimSpace(rcpt.Host), smtp.MaxDomain)
	}
	return "dns", hostName(rcpt.Host)
}

// appendDiagnostic writes the reply with the code in front of each of its lines. The type smtp is for what came over
// SMTP (RFC 3464 2.3.6); a reply that this server made itself has our own type.
func (r Report) appendDiagnostic(b []byte, rcpt Recipient) []byte {
	parts := []string{"smtp;"}
	if rcpt.Host == "" {
		parts[0] = "X-Holub;"
	}
	for _, line := range replyLines(rcpt.Reply) {
		parts = append(parts, strings.Join(strings.Fields(line), " "))
	}
	return r.appendField(b, "Diagnostic-Code", parts...)
}

func appendDateField(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return mail.AppendField(b, name, t.Format(mail.DateLayout))
}

// action gives the recipient's own action where it is one of the format, else that of the report's kind.
func (r Report) action(rcpt Recipient) Action {
	switch rcpt.Action {
	case Failed, Delayed, Delivered, Relayed, Expanded:
		return rcpt.Action
	}
	return r.defaultAction()
}

// defaultAction is the action that the report is for.
func (r Report) defaultAction() Action {
	switch r.Kind {
	case Delay:
		return Delayed
	case Success:
		return Relayed
	}
	return Failed
}

// status gives the reply's enhanced code, or one made from its code, with a class that fits the action (RFC 3464
// 2.3.4). Failed goes with 4 as well: a temporary error that lasted until the server gave up (RFC 3463 2).
func status(action Action, reply smtp.Reply) smtp.EnhancedCode {
	s := reply.Enhanced
	for _, n := range s {
		if n < 0 || n > 999 {
			s = smtp.EnhancedCode{}
		}
	}
	if s[0] == 0 {
		s = smtp.EnhancedCode{reply.Code / 100, 0, 0}
	}
	switch {
	case action == Delayed:
		s[0] = 4
	case action != Failed:
		s[0] = 2
	case s[0] != 4:
		s[0] = 5
	}
	return s
}

// hostName takes the name or address literal out of "mx.example.org [192.0.2.1]:25", in ASCII.
func hostName(host string) string {
	host = cleanUTF8(strings.TrimSpace(host), smtp.MaxDomain)
	if strings.HasPrefix(host, "unix:") || strings.HasPrefix(host, "exec:") { // a hop without a name
		return ""
	}
	if i := strings.IndexByte(host, ']'); strings.HasPrefix(host, "[") && i > 0 {
		return host[:i+1]
	}
	if i := strings.IndexAny(host, " [(:"); i >= 0 {
		host = host[:i]
	}
	if d, err := smtp.ParseDomain(host); err == nil {
		host = d.ASCII().String()
	}
	return clean(host, smtp.MaxDomain)
}

// Bounds of what is shown of one reply.
const (
	maxReplyLines  = 20
	maxReplyOctets = 2048
)

// replyLines gives the lines of a reply with the code and enhanced code in front of each, as on the wire (RFC 5321
// 4.2.1), within the bounds. The octets of the text are as they came.
func replyLines(reply smtp.Reply) []string {
	prefix := strconv.Itoa(reply.Code)
	enhanced := reply.Enhanced.String()
	if enhanced != "" {
		enhanced += " "
	}
	lines, room := reply.Lines, maxReplyOctets
	if len(lines) == 0 {
		lines = []string{""}
	}
	var out []string
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		if i == maxReplyLines {
			return append(out, "[...]")
		}
		if len(line) > room {
			return append(out, prefix+sep+enhanced+strings.ToValidUTF8(line[:room], "?"), "[...]")
		}
		room -= len(line)
		out = append(out, strings.TrimRight(prefix+sep+enhanced+line, " "))
	}
	return out
}
