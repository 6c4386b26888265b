package receiver_test

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// recorder is the Handler of the tests. It decides by the local part of a path, up to its first hyphen, as refusals and
// Data say, and writes down each message that it was given whole.
type recorder struct {
	greeting smtp.Reply // what Connect answers

	mu       sync.Mutex
	messages []string
	ends     []error // what the content of each DATA ended with
	gone     int     // calls of Disconnect
}

// refusals are the answers to MAIL and RCPT by the first word of the local part.
var refusals = map[string]smtp.Reply{
	"refuse":    smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "No such mailbox"),
	"later":     smtp.NewReply(450, smtp.EnhancedCode{4, 2, 1}, "Not now"),
	"hangup421": smtp.NewReply(421, smtp.EnhancedCode{4, 3, 2}, "Going away"),
	"welcome":   smtp.NewReply(250, smtp.EnhancedCode{2, 1, 5}, "Welcome\nhere"),
}

func firstWord(p smtp.Path) string {
	word, _, _ := strings.Cut(p.Local, "-")
	return word
}

func (h *recorder) Connect(context.Context, *receiver.Session) smtp.Reply { return h.greeting }

func (h *recorder) Mail(_ context.Context, _ *receiver.Session, m smtp.Mail) smtp.Reply {
	return refusals[firstWord(m.From)]
}

func (h *recorder) Rcpt(_ context.Context, _ *receiver.Session, r smtp.Rcpt) smtp.Reply {
	return refusals[firstWord(r.To)]
}

// Data refuses mail from early- without reading it and mail from late- after it, accepts mail from lazy- unread, and
// keeps the rest.
func (h *recorder) Data(_ context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	switch firstWord(s.Mail().From) {
	case "early":
		return smtp.NewReply(554, smtp.EnhancedCode{5, 7, 1}, "Refused unread")
	case "lazy":
		return smtp.Reply{}
	}
	b, err := io.ReadAll(content)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		err = io.EOF
	}
	h.ends = append(h.ends, err)
	if err != io.EOF {
		return smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "The Handler got an error")
	}
	switch firstWord(s.Mail().From) {
	case "late":
		return smtp.NewReply(554, smtp.EnhancedCode{5, 6, 0}, "Refused after reading")
	case "hangup":
		return smtp.NewReply(421, smtp.EnhancedCode{4, 3, 0}, "Going away with the message unkept")
	}
	h.messages = append(h.messages, transcript(s, b))
	return smtp.Replyf(250, smtp.EnhancedCode{2, 0, 0}, "Kept as %d", len(h.messages))
}

func (h *recorder) Disconnect(*receiver.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone++
}

// kept gives the transcripts of the messages one after the other.
func (h *recorder) kept() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.messages, "")
}

// transcript writes a message as a dialogue's M lines state it: who gave it and how, its envelope, and its content with
// one quoted line for each line of it.
func transcript(s *receiver.Session, content []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "with %s %s\n", s.Protocol(), s.Hello())
	b.WriteString(strings.TrimSuffix(string(s.Mail().Append(nil)), "\r\n") + "\n")
	for _, r := range s.Recipients() {
		b.WriteString(strings.TrimSuffix(string(r.Append(nil)), "\r\n") + "\n")
	}
	for line := range strings.SplitAfterSeq(string(content), "\r\n") {
		if line != "" {
			b.WriteString(strconv.Quote(line) + "\n")
		}
	}
	return b.String()
}
