package mta

import (
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/spool"
)

// recordOutcome keeps what an attempt brought for one recipient. It is called when that is committed.
func (m *MTA) recordOutcome(msg *spool.Message, o spool.Outcome, now time.Time) {
	if m.history == nil {
		return
	}
	r := &msg.Recipients[o.N]
	if o.Untried && r.State == spool.Waiting {
		return // the note to its sender is on record, and more did not happen
	}
	e := &history.Event{At: now, ID: msg.ID, Kind: outcomeKinds[r.State], To: []string{history.Address(r.To)}, Host: o.Host, TLS: o.TLS,
		Reply: o.Reply.Text(), Attempt: r.Attempts, Cause: msg.Cause}
	switch r.State {
	case spool.Waiting:
		e.Reason, e.Next = r.Reason.String(), r.Next
	case spool.Held:
		e.Reason = r.Reason.String()
	}
	m.history.Append(e)
}

var outcomeKinds = map[spool.State]history.Kind{
	spool.Waiting: history.Deferred, spool.Held: history.Held, spool.Delivered: history.Delivered,
	spool.Bounced: history.Bounced, spool.Dropped: history.Dropped,
}

// recordReport keeps that a report was written, with the message it is about, and its own beginning.
func (m *MTA) recordReport(report *spool.Message) {
	if m.history == nil {
		return
	}
	to := []string{history.Address(report.Recipients[0].To)} // a report has one
	m.history.Append(&history.Event{At: report.Arrived, ID: report.Cause, Kind: history.Reported, Report: report.ID,
		To: to, Note: report.Kind.String()})
	m.history.Append(&history.Event{At: report.Arrived, ID: report.ID, Kind: history.Accepted, Cause: report.Cause,
		To: to, Client: report.Client, Size: report.Size, Note: report.Kind.String()})
}
