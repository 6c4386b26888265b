package settle

import (
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// TestAsked is the table of what a sender asked for with DSN, DELIVERBY and FUTURERELEASE changes.
func TestAsked(t *testing.T) {
	passed := said(0, fine)
	passed.Passed = true
	here := said(0, fine)
	here.Host = ""
	by := func(d time.Duration, orReturn bool) spool.Asked {
		return spool.Asked{By: arrived.Add(d), ByReturn: orReturn}
	}
	for _, test := range []struct {
		name    string
		notify  smtp.Notify
		asked   spool.Asked
		from    string
		age     time.Duration
		outcome spool.Outcome
		state   spool.State
		report  string
		next    time.Duration // after arrival, where it waits
	}{
		{"success to a host without DSN", smtp.NotifySuccess, spool.Asked{}, "<a@b.example>", 0, said(0, fine), spool.Delivered, "success to <a@b.example>", 0},
		{"success in a mailbox here", smtp.NotifySuccess, spool.Asked{}, "<a@b.example>", 0, here, spool.Delivered, "success to <a@b.example>", 0},
		{"success that the next host will report", smtp.NotifySuccess, spool.Asked{}, "<a@b.example>", 0, passed, spool.Delivered, "", 0},
		{"success, nobody to tell", smtp.NotifySuccess, spool.Asked{}, "<>", 0, said(0, fine), spool.Delivered, "", 0},
		{"success was not asked for", smtp.NotifyFailure, spool.Asked{}, "<a@b.example>", 0, said(0, fine), spool.Delivered, "", 0},
		{"failure after success was asked for", smtp.NotifySuccess, spool.Asked{}, "<a@b.example>", 0, said(0, unknown), spool.Dropped, "", 0},
		{"failure, never", smtp.NotifyNever, spool.Asked{}, "<a@b.example>", 0, said(0, unknown), spool.Dropped, "", 0},
		{"failure", smtp.NotifyFailure, spool.Asked{}, "<a@b.example>", 0, said(0, unknown), spool.Bounced, "bounce to <a@b.example>", 0},
		{"delay, never", smtp.NotifyNever, spool.Asked{}, "<a@b.example>", warnAge, said(0, busy), spool.Waiting, "", warnAge + pause},
		{"delay, asked for", smtp.NotifyDelay, spool.Asked{}, "<a@b.example>", warnAge, said(0, busy), spool.Waiting, "delay to <a@b.example>", warnAge + pause},
		{"before its time", 0, by(pause/2, true), "<a@b.example>", 0, said(0, busy), spool.Waiting, "", pause / 2},
		{"after its time, return", 0, by(pause, true), "<a@b.example>", pause, said(0, busy), spool.Bounced, "bounce to <a@b.example>", 0},
		{"after its time, tell", 0, by(pause, false), "<a@b.example>", pause, said(0, busy), spool.Waiting, "delay to <a@b.example>", 2 * pause},
		{"held, its age counts from the release", 0, spool.Asked{Held: arrived.Add(giveUpAge)}, "<a@b.example>", giveUpAge, said(0, busy), spool.Waiting, "", giveUpAge + pause},
		{"held, and given up", 0, spool.Asked{Held: arrived.Add(giveUpAge)}, "<a@b.example>", 2 * giveUpAge, said(0, busy), spool.Bounced, "bounce to <a@b.example>", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			m := h.accept(spool.Mail, test.from, shortMail, "<joe@example.org>", "<other@example.org>")
			m.Asked, m.Recipients[0].Notify = test.asked, test.notify
			reports := h.settle(m, test.age, test.outcome)
			r := m.Recipients[0]
			if r.State != test.state || describe(reports) != test.report {
				t.Errorf("%v with %q, want %v with %q", r.State, describe(reports), test.state, test.report)
			}
			if want := arrived.Add(test.next); test.next > 0 && !r.Next.Equal(want) {
				t.Errorf("the next attempt is at %v, want %v", r.Next, want)
			}
		})
	}
}

// TestReportsNameWhatTheSenderSaid: ENVID, ORCPT and RET come back (RFC 3461 6.3).
func TestReportsNameWhatTheSenderSaid(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<joe@example.org>")
	m.Asked = spool.Asked{EnvelopeID: "QQ 1", Return: smtp.ReturnHeaders}
	m.Recipients[0].Original = smtp.OriginalRecipient{Type: "rfc822", Address: "Joe@old.example"}
	reports := h.settle(m, 0, said(0, unknown))
	p := h.parse(reports[0])
	same(t, "Original-Envelope-Id", p.message.Get("Original-Envelope-Id"), "QQ 1")
	same(t, "Original-Recipient", p.groups[0].Get("Original-Recipient"), "rfc822; Joe@old.example")
	same(t, "third part", p.kind, "text/rfc822-headers")
}
