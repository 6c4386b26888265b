package spool

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Kind tells what a message is for. It decides what may be sent because of it: a report is never answered by another.
type Kind uint8

const (
	Mail        Kind = iota // it came from a client
	Bounce                  // a report of failure to the reverse-path
	DelayNote               // a report of delay to the reverse-path
	Postmaster              // mail that could not be returned, kept for the postmaster
	SuccessNote             // a report of success to the reverse-path
)

var kindNames = [...]string{"mail", "bounce", "delay", "postmaster", "success"}

func (k Kind) String() string { return name(kindNames[:], k) }

// Message is the envelope of one message, and where each of its recipients stands. What is behind it, the content, is
// stored once and never changes.
type Message struct {
	ID         ID
	Kind       Kind
	From       smtp.Path // reverse-path
	Arrived    time.Time // when it was accepted; delays count from here
	Size       int64     // octets of the content
	EightBit   bool      // the content has octets above 127
	HighHeader bool      // its header has some of them
	Client     string    // who handed it in, for people: "[192.0.2.1]:3456 (mail.example.org)"
	Cause      ID        // the message a report is about; zero for Mail
	Asked      Asked
	Recipients []Recipient // in the order of RCPT; an index into it names the recipient for good
}

// Asked is what the client asked for with the parameters of MAIL. The zero value asks for nothing.
type Asked struct {
	UTF8       bool        // SMTPUTF8 (RFC 6531): addresses or header have UTF-8
	Binary     bool        // BODY=BINARYMIME (RFC 3030): the content is not made of lines
	Return     smtp.Return // RET (RFC 3461): how much of the message a report of failure returns
	EnvelopeID string      // ENVID (RFC 3461): to be named in reports
	RequireTLS bool        // REQUIRETLS (RFC 8689): no hop without verified TLS
	Held       time.Time   // HOLDFOR, HOLDUNTIL (RFC 4865): not to be sent before; zero: at once
	By         time.Time   // BY (RFC 2852): to be delivered by then; zero: no such time
	ByReturn   bool        // when By has passed the message is returned, else only a note of delay is sent
	ByTrace    bool        // the sender wants to hear of each relay (BY=...;T)
}

// Started is when delivery could begin: the age at which a message is given up counts from here (RFC 4865 5).
func (m *Message) Started() time.Time {
	if m.Asked.Held.After(m.Arrived) {
		return m.Asked.Held
	}
	return m.Arrived
}

// State is where a recipient stands. "In flight" is no state of the store: whoever owns the schedule knows what it has
// handed out, and after a crash all of it is waiting again.
type State uint8

const (
	Waiting   State = iota // for its next attempt
	Held                   // for an operator; it is not tried
	Delivered              // accepted by the next host or written to a mailbox
	Bounced                // given up, and the sender has been told in the same commit
	Dropped                // given up, and nobody is to be told (discarded)
)

var stateNames = [...]string{"waiting", "held", "delivered", "bounced", "dropped"}

func (s State) String() string { return name(stateNames[:], s) }

// Done tells a state in which nothing is owed any more.
func (s State) Done() bool { return s >= Delivered }

// Reason is why a recipient waits or is held.
type Reason uint8

const (
	ReasonNew        Reason = iota // not tried yet
	ReasonDNS                      // the next host could not be looked up
	ReasonConnect                  // no next host could be reached
	ReasonSession                  // the next host refused or broke the session
	ReasonRefused                  // the next host refused this recipient or message for now
	ReasonInDoubt                  // the session broke after the final dot: it may have been delivered
	ReasonLocal                    // the mailbox could not be written
	ReasonShutdown                 // the server stopped while it was tried
	ReasonNoReturn                 // it failed, and there is nobody left to tell
	ReasonUnreadable               // its content or envelope could not be read
	ReasonOperator                 // an operator held it, or asked for it to be tried
	ReasonPaused                   // its site is left alone for a while, as nobody there could be reached
)

var reasonNames = [...]string{"new", "dns", "connect", "session", "refused", "in-doubt", "local", "shutdown", "no-return", "unreadable",
	"operator", "paused"}

func (r Reason) String() string { return name(reasonNames[:], r) }

// ParseReason reads what String wrote.
func ParseReason(s string) (Reason, error) {
	if i := slices.Index(reasonNames[:], s); i >= 0 {
		return Reason(i), nil
	}
	return 0, fmt.Errorf("no reason to wait is called %.40q; there are %s", s, strings.Join(reasonNames[:], ", "))
}

// Recipient is one forward-path of a message and the state of its delivery.
type Recipient struct {
	To       smtp.Path
	State    State
	Reason   Reason
	Attempts int                    // finished ones
	Next     time.Time              // when Waiting: not before this
	Warned   bool                   // a note of delay was sent
	Notify   smtp.Notify            // NOTIFY (RFC 3461): when the sender wants a report
	Original smtp.OriginalRecipient // ORCPT (RFC 3461): whom the sender had in mind
	Priority smtp.Priority          // MT-PRIORITY (RFC 6710) of the message; it stands here so that the index has it
	Host     string                 // who gave Reply: a host with its address, or "" for this server
	Reply    smtp.Reply             // the last one, verbatim
	Doubts   int                    // attempts that broke after the final dot: each may have delivered it
	Via      string                 // where an operator sent it in place of the routes, as a target is written in one; "": nowhere
	Trail    []Attempt              // the finished attempts, the latest last: the first one and the last TrailLength-1
}

// TrailLength is how many attempts a recipient keeps. Attempts has the number of all of them.
const TrailLength = 10

// Attempt is one finished attempt at a recipient.
type Attempt struct {
	At     time.Time
	Reason Reason     // why it did not succeed
	Host   string     // who gave Reply: a host with its address, or "" for this server
	TLS    string     // of the session, "TLS 1.3"; "" where there was none
	Reply  smtp.Reply // verbatim where a host said it
}

// Tried notes a finished attempt in r. The trail is copied, so that what shares it does not change.
func (r *Recipient) Tried(a Attempt) {
	a.At = a.At.Truncate(time.Millisecond).UTC() // as the records keep it
	r.Attempts++
	r.Host, r.Reply, r.Reason = a.Host, a.Reply, a.Reason
	if a.Reason == ReasonInDoubt {
		r.Doubts++
	}
	trail := make([]Attempt, 0, min(len(r.Trail)+1, TrailLength))
	trail = append(trail, r.Trail...)
	if len(trail) == TrailLength {
		trail = slices.Delete(trail, 1, 2)
	}
	r.Trail = append(trail, a)
}

func name[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}
