package history

import (
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// Kind says what happened. A reader shows kinds it does not know as they are.
type Kind string

// The kinds of events.
const (
	Accepted  Kind = "accepted"  // the message is in the spool and its client was answered 250; To has all recipients
	Refused   Kind = "refused"   // a client was refused (4yz or 5yz); mostly without an id, for nothing was spooled
	Delivered Kind = "delivered" // the next host or a mailbox took it for the recipients in To
	Deferred  Kind = "deferred"  // an attempt failed for now; Next is the next one
	Bounced   Kind = "bounced"   // it was given up and Report goes to the sender
	Dropped   Kind = "dropped"   // it ended and nobody is told (discarded, NOTIFY=NEVER)
	Held      Kind = "held"      // it waits for an operator
	Reported  Kind = "report"    // a report was written: ID is the message it is about, Report the report
	Operator  Kind = "operator"  // somebody did something with it by hand: Note
)

// Event is one thing that happened to one message. Fields that say nothing are left zero. Addresses stand without angle
// brackets. Texts are cut at 4,096 octets; times are kept to the microsecond.
type Event struct {
	At        time.Time // zero: when it is appended
	ID        spool.ID  // the message; zero where there was none yet
	Kind      Kind
	From      string   // reverse-path; "" is the null one, or nothing said
	To        []string // of Accepted all recipients, else those that this happened to
	MessageID string   // of the header, with or without its angle brackets
	Client    string   // who handed it in: "[192.0.2.1]:3456"
	Hello     string   // as what it greeted
	TLS       string   // version, cipher and what was verified, for people
	Size      int64    // octets of the content
	Host      string   // who said Reply: "mx.example.org [192.0.2.1]:25"; "" for this server
	Reply     string   // verbatim; lines of a long one divided by "\n"
	Reason    string   // why it waits: spool.Reason in words
	Attempt   int      // which one this was, from 1
	Next      time.Time
	Site      string   // the destination as the queue names it
	Cause     spool.ID // the message this report is about; set on the events of reports
	Report    spool.ID // the report written because of this
	Note      string   // what an operator did, and who

	// Recipients and Part are set by Append where To is too long for one line: the event is written as several, alike but
	// for To, numbered from 0, each with the number of all recipients. Find gives such parts one by one, Lives joined.
	Recipients int
	Part       int
}

// Address is how an Event has a path: without its brackets, and "" for the null one.
func Address(p smtp.Path) string {
	if p.IsNull() {
		return ""
	}
	return p.Mailbox.String()
}

// Limits of one line.
const (
	maxText     = 4096     // octets of a text
	maxPartTo   = 100      // recipients
	maxPartText = 16 << 10 // octets of all recipients, but for the last one
	maxLine     = 1 << 20  // octets; what is longer was not written by Append
)

// clip cuts a text to what is kept of it.
func clip(s string) string { return s[:min(len(s), maxText)] }

// parts gives the recipients of e in groups that fit into a line; one empty group if there are none.
func parts(to []string, yield func(part int, to []string)) {
	for part := 0; part == 0 || len(to) > 0; part++ {
		n, octets := 0, 0
		for n < len(to) && n < maxPartTo && octets < maxPartText {
			octets += min(len(to[n]), maxText)
			n++
		}
		yield(part, to[:n])
		to = to[n:]
	}
}

// joinParts puts the parts of an event that follow each other back into one. The events must be of one message.
func joinParts(events []Event) []Event {
	out := events[:0]
	for _, e := range events {
		if n := len(out) - 1; n >= 0 && e.Part > 0 && out[n].Part == e.Part-1 && out[n].Kind == e.Kind &&
			out[n].At.Equal(e.At) && out[n].Recipients == e.Recipients {
			out[n].To = append(out[n].To, e.To...)
			out[n].Part = e.Part // so that the next one follows
			continue
		}
		out = append(out, e)
	}
	for i := range out {
		out[i].Part = 0
	}
	return out
}
