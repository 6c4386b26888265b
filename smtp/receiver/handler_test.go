package receiver_test

import (
	"context"
	"fmt"
	"io"
	"os"
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
	if s.Identity() != "" {
		fmt.Fprintf(&b, "logged in as %s\n", s.Identity())
	}
	if s.ClientName() != "" {
		fmt.Fprintf(&b, "from %s %s to %s\n", s.ClientName(), s.RemoteAddr(), s.LocalAddr())
	}
	b.WriteString(strings.TrimSuffix(string(s.Mail().Append(nil)), "\r\n") + "\n")
	for _, r := range s.Recipients() {
		b.WriteString(strings.TrimSuffix(string(r.Append(nil)), "\r\n") + "\n")
	}
	for line := range strings.SplitAfterSeq(string(content), "\n") {
		if line != "" {
			b.WriteString(strconv.Quote(line) + "\n")
		}
	}
	return b.String()
}

// directory is a recorder that answers VRFY, EXPN and ETRN, with refusals by the first word as in RCPT.
type directory struct{ *recorder }

func (directory) Verify(_ context.Context, _ *receiver.Session, name string) smtp.Reply {
	if name == "alice" {
		return smtp.NewReply(250, smtp.EnhancedCode{2, 1, 5}, "Alice <alice@example.org>")
	}
	return refusals[name]
}

func (directory) Expand(_ context.Context, _ *receiver.Session, list string) smtp.Reply {
	if list == "staff" {
		return smtp.NewReply(250, smtp.EnhancedCode{2, 1, 5}, "<alice@example.org>\n<bob@example.org>")
	}
	return refusals[list]
}

func (directory) Turn(_ context.Context, _ *receiver.Session, node string) smtp.Reply {
	if node == "#urgent" {
		return smtp.NewReply(459, smtp.EnhancedCode{4, 7, 1}, "Node not allowed: "+node)
	}
	return smtp.Reply{}
}

// eachRecorder is a recorder that answers content for each recipient by its first word.
type eachRecorder struct{ *recorder }

func (h eachRecorder) Rcpt(context.Context, *receiver.Session, smtp.Rcpt) smtp.Reply {
	return smtp.Reply{}
}

func (h eachRecorder) DataEach(ctx context.Context, s *receiver.Session, content io.Reader) []smtp.Reply {
	h.Data(ctx, s, content)
	var replies []smtp.Reply
	for _, r := range s.Recipients() {
		replies = append(replies, refusals[firstWord(r.To)])
	}
	return replies
}

// clerk is the Authenticator of the tests. Alice's password is "secret".
type clerk struct{}

func (clerk) Mechanisms(*receiver.Session) []string { return []string{"X-PROOF", "PLAIN"} }

func (clerk) Start(_ context.Context, _ *receiver.Session, mechanism string) (receiver.Exchange, error) {
	if mechanism == "PLAIN" {
		return new(plainExchange), nil
	}
	return new(proofExchange), nil
}

// plainExchange is PLAIN. The user "busy" can't be looked up now, "locked" brings a reply of its own.
type plainExchange struct{ user string }

func (e *plainExchange) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return nil, false, nil
	}
	parts := strings.Split(string(response), "\x00")
	switch {
	case len(parts) != 3:
		return nil, false, io.ErrUnexpectedEOF
	case parts[1] == "busy":
		return nil, false, os.ErrDeadlineExceeded
	case parts[1] == "locked":
		return nil, false, smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, "Locked")
	case parts[2] != "secret":
		return nil, false, os.ErrPermission
	}
	e.user = parts[1]
	return nil, true, nil
}

func (e *plainExchange) Identity() string { return e.user }

// proofExchange speaks first and has the last word, as SCRAM has.
type proofExchange struct{ steps int }

func (e *proofExchange) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	e.steps++
	switch {
	case e.steps == 1:
		return []byte("who?"), false, nil
	case !strings.HasPrefix(string(response), "alice"):
		return nil, false, os.ErrPermission
	}
	return []byte("well done"), true, nil
}

func (e *proofExchange) Identity() string { return "alice" }
