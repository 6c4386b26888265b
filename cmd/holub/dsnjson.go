package main

import (
	"strings"

	"github.com/holub-mail/holub/dsn"
)

// reportJSON is what `holub dsn --json` prints. Names and meanings of its fields stay; fields may be added.
type reportJSON struct {
	Kind        string           `json:"kind"`    // failure, delay, success, complaint, receipt
	Dialect     string           `json:"dialect"` // rfc3464, qmail, exim, ...
	Software    string           `json:"software,omitempty"`
	Reporter    string           `json:"reporter,omitempty"`
	From        string           `json:"received_from,omitempty"`
	Arrived     string           `json:"arrived,omitempty"` // RFC 3339, as all times
	EnvelopeID  string           `json:"envelope_id,omitempty"`
	QueueID     string           `json:"queue_id,omitempty"`
	Sender      string           `json:"sender,omitempty"`
	Recipients  []recipientJSON  `json:"recipients"`
	Original    *originalJSON    `json:"original,omitempty"`
	Complaint   *complaintJSON   `json:"complaint,omitempty"`
	Disposition *dispositionJSON `json:"disposition,omitempty"`
	Truncated   bool             `json:"truncated,omitempty"`
}

type recipientJSON struct {
	Address        string `json:"address,omitempty"`
	Type           string `json:"type,omitempty"` // rfc822, utf-8, ...
	Original       string `json:"original,omitempty"`
	OriginalType   string `json:"original_type,omitempty"`
	Action         string `json:"action,omitempty"`
	Status         string `json:"status,omitempty"`
	Remote         string `json:"remote,omitempty"`
	DiagnosticType string `json:"diagnostic_type,omitempty"`
	Diagnostic     string `json:"diagnostic,omitempty"`
	Code           int    `json:"code,omitempty"`
	Reason         string `json:"reason,omitempty"` // in English
	Next           string `json:"next,omitempty"`
	LogID          string `json:"log_id,omitempty"`
	LastAttempt    string `json:"last_attempt,omitempty"`
	RetryUntil     string `json:"retry_until,omitempty"`
}

type originalJSON struct {
	MessageID string `json:"message_id,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Date      string `json:"date,omitempty"`
	Returned  string `json:"returned"` // "", header, full
	Offset    int64  `json:"offset,omitempty"`
	Size      int64  `json:"size,omitempty"`
	Encoding  string `json:"encoding,omitempty"`
}

type complaintJSON struct {
	Type        string   `json:"type"`
	UserAgent   string   `json:"user_agent,omitempty"`
	SourceIP    string   `json:"source_ip,omitempty"`
	Domains     []string `json:"domains,omitempty"`
	URIs        []string `json:"uris,omitempty"`
	Incidents   int      `json:"incidents,omitempty"`
	AuthFailure string   `json:"auth_failure,omitempty"`
}

type dispositionJSON struct {
	Type      string   `json:"type"`
	Modifiers []string `json:"modifiers,omitempty"`
	Manual    bool     `json:"manual"`
	UserAgent string   `json:"user_agent,omitempty"`
	Errors    []string `json:"errors,omitempty"`
}

// reportOf makes the object. What is no UTF-8 in a report becomes U+FFFD, for JSON has no other text.
func reportOf(p *dsn.Parsed) reportJSON {
	out := reportJSON{
		Kind: p.Kind.String(), Dialect: string(p.Dialect), Software: p.Software, Reporter: valid(p.Reporter.Name),
		From: valid(p.From.Name), Arrived: timeText(p.Arrived), EnvelopeID: valid(p.EnvelopeID), QueueID: valid(p.QueueID),
		Sender: valid(p.Sender), Recipients: []recipientJSON{}, Truncated: p.Truncated,
	}
	for i := range p.Recipients {
		s := &p.Recipients[i]
		why, next := s.Reason()
		out.Recipients = append(out.Recipients, recipientJSON{
			Address: valid(s.Final.Text), Type: valid(s.Final.Type), Original: valid(s.Original.Text),
			OriginalType: valid(s.Original.Type), Action: string(s.Action), Status: s.Status.String(), Remote: valid(s.Remote.Name),
			DiagnosticType: valid(s.Diagnostic.Type), Diagnostic: valid(s.Diagnostic.Text), Code: s.Diagnostic.Code,
			Reason: why, Next: next, LogID: valid(s.LogID), LastAttempt: timeText(s.LastAttempt), RetryUntil: timeText(s.RetryUntil),
		})
	}
	if o := p.Original; o != nil {
		out.Original = &originalJSON{
			MessageID: valid(o.MessageID), From: valid(o.From), To: valid(o.To), Subject: valid(o.Subject), Date: timeText(o.Date),
			Offset: o.Offset, Size: o.Size, Encoding: valid(o.Encoding),
		}
		if o.Header != nil {
			out.Original.Returned = map[dsn.Part]string{dsn.HeaderOnly: "header", dsn.FullMessage: "full"}[o.Part]
		}
	}
	if c := p.Complaint; c != nil {
		out.Complaint = &complaintJSON{
			Type: valid(c.Type), UserAgent: valid(c.UserAgent), SourceIP: valid(c.SourceIP), Domains: c.Domains, URIs: c.URIs,
			Incidents: c.Incidents, AuthFailure: valid(c.AuthFailure),
		}
	}
	if d := p.Disposition; d != nil {
		out.Disposition = &dispositionJSON{
			Type: valid(d.Type), Modifiers: d.Modifiers, Manual: d.Manual, UserAgent: valid(d.UserAgent), Errors: d.Errors,
		}
	}
	return out
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
