package settle

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/holub-mail/holub/dsn"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

// reports writes the content of every report the verdicts ask for, and returns the ops that put them.
func (s *Settler) reports(ctx context.Context, m *spool.Message, verdicts []verdict, now time.Time) (
	reports []*spool.Message, puts []spool.Op, err error) {
	for _, t := range []tell{tellDelay, tellSuccess, tellFailure, tellKept} {
		var about []spool.Recipient
		for _, v := range verdicts {
			if v.tell == t {
				about = append(about, v.recipient)
			}
		}
		if len(about) == 0 {
			continue
		}
		report, content, err := s.write(ctx, m, t, about, now)
		if err != nil {
			abort(puts)
			return nil, nil, err
		}
		reports = append(reports, report)
		puts = append(puts, spool.Put{Message: report, Content: content})
	}
	return reports, puts, nil
}

// write streams one report into the spool.
func (s *Settler) write(ctx context.Context, m *spool.Message, t tell, about []spool.Recipient, now time.Time) (
	report *spool.Message, content spool.Content, err error) {
	id := s.IDs.New(now)
	if content, err = s.Engine.Create(ctx, id); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			content.Abort()
		}
	}()
	original, err := s.Engine.Open(ctx, m.ID)
	if err == nil {
		defer original.Close()
	}
	report = s.envelope(m, t, id, now)
	composed := s.compose(m, t, report, about, now)
	if composed.NeedsEightBit() && !s.convertible(ctx, m.ID) {
		composed.OriginalUTF8 = true // as base64: the report itself must not be what no host takes
	}
	report.Asked.UTF8 = composed.NeedsUTF8()
	report.Asked.Binary = m.Asked.Binary && composed.NeedsUTF8() && composed.Original == dsn.FullMessage // else it is base64
	report.Asked.RequireTLS = m.Asked.RequireTLS                                                         // RFC 8689 5
	var scan mail.Scanner
	err = composed.Write(io.MultiWriter(content, &scan), &asFarAs{original, err, s.Logger, m.ID})
	report.Size, report.EightBit, report.HighHeader = scan.Size(), scan.EightBit(), scan.EightBitHeader()
	return report, content, err
}

// envelope addresses a report. Its reverse-path is always null (RFC 3464 2; RFC 5321 6.1).
func (s *Settler) envelope(m *spool.Message, t tell, id spool.ID, now time.Time) *spool.Message {
	report := &spool.Message{ID: id, Arrived: now, Client: "local", Cause: m.ID}
	to := m.From
	switch t {
	case tellDelay:
		report.Kind = spool.DelayNote
	case tellSuccess:
		report.Kind = spool.SuccessNote
	case tellFailure:
		report.Kind = spool.Bounce
	case tellKept:
		report.Kind, to = spool.Postmaster, smtp.Postmaster
	}
	report.Recipients = []spool.Recipient{{To: to, Next: now}}
	return report
}

// asFarAs reads the original as far as it can be read: the end of a recipient must not wait for content that is damaged.
type asFarAs struct {
	r      io.Reader
	opened error
	log    *slog.Logger
	id     spool.ID
}

func (a *asFarAs) Read(p []byte) (n int, err error) {
	if err = a.opened; err == nil {
		n, err = a.r.Read(p)
	}
	if err != nil && err != io.EOF {
		a.log.Error("the returned message is cut short: its content can't be read", "id", a.id, "error", err)
		err = io.EOF
	}
	return n, err
}

func abort(puts []spool.Op) {
	for _, op := range puts {
		op.(spool.Put).Content.Abort()
	}
}

// compose fills in what the report says.
func (s *Settler) compose(m *spool.Message, t tell, report *spool.Message, about []spool.Recipient, now time.Time) dsn.Report {
	r := dsn.Report{
		MessageID: "<" + report.ID.String() + "@" + s.Hostname + ">",
		Date:      now,
		From:      s.Hostname,
		To:        report.Recipients[0].To,
		QueueID:   m.ID.String(),
		Arrived:   m.Arrived,
		Sender:    m.From,
		EightBit:  m.EightBit,

		OriginalUTF8: m.Asked.UTF8 || m.Asked.Binary, // it goes as base64 then, which every host takes
		EnvelopeID:   m.Asked.EnvelopeID,
		Original:     dsn.FullMessage,
	}
	action := dsn.Failed
	switch t {
	case tellSuccess:
		r.Kind = dsn.Success
		r.Original = dsn.HeaderOnly
	case tellDelay:
		r.Kind, action = dsn.Delay, dsn.Delayed
		r.RetryUntil = m.Started().Add(s.Rules(&about[0]).GiveUp)
		r.Original = dsn.HeaderOnly
	case tellFailure:
		r.Kind = dsn.Failure
		if m.Asked.RequireTLS || m.Asked.Return == smtp.ReturnHeaders || m.Asked.Return == smtp.ReturnDefault && m.Size > s.ReturnSize {
			r.Original = dsn.HeaderOnly // RFC 3461 4.3; RFC 8689 5
		}
	case tellKept:
		r.Kind = dsn.Kept
	}
	for _, rcpt := range about {
		r.Recipients = append(r.Recipients, dsn.Recipient{
			Final: rcpt.To, Action: actionOf(rcpt, action), Original: rcpt.Original, Reply: rcpt.Reply, Host: rcpt.Host, LastAttempt: lastAttempt(rcpt),
		})
	}
	return r
}

// convertible tells that the original can be put in 7 bits within a report, with its signed parts as they are.
func (s *Settler) convertible(ctx context.Context, id spool.ID) bool {
	open := func() (io.ReadCloser, error) { return s.Engine.Open(ctx, id) }
	_, err := mail.Convert(open, mail.SevenBit, mail.ConvertOptions{Refuse: mail.SignedPart | mail.EncryptedPart})
	var no *mail.Unconvertible
	return !errors.As(err, &no)
}

// lastAttempt is when a recipient was tried last; zero: never.
func lastAttempt(r spool.Recipient) time.Time {
	if len(r.Trail) == 0 {
		return time.Time{}
	}
	return r.Trail[len(r.Trail)-1].At
}

// actionOf tells mail in a mailbox here from mail that left for a host which will not report (RFC 3464 2.3.3).
func actionOf(r spool.Recipient, action dsn.Action) dsn.Action {
	switch {
	case r.State != spool.Delivered:
		return action
	case r.Host == "":
		return dsn.Delivered
	}
	return dsn.Relayed
}
