package dsn

import (
	"strconv"
	"strings"

	"github.com/holub-mail/holub/mail"
)

// maxNotice bounds each list in a complaint and a disposition notification.
const maxNotice = 100

// readFeedback reads the fields of message/feedback-report (RFC 5965 3).
func readFeedback(out *Parsed, body []byte) *Feedback {
	c := &Feedback{}
	eachGroup(body, func(h mail.Header) {
		for f := range h.Fields() {
			if value := unfolded(f); value != "" {
				c.field(out, strings.ToLower(f.Name()), value)
			}
		}
	})
	for _, a := range c.RcptTo {
		out.Recipients = append(out.Recipients, RecipientStatus{Final: addressOf(a)})
	}
	return c
}

// field takes one field.
func (c *Feedback) field(out *Parsed, name, value string) {
	add := func(to *[]string, s string) {
		if len(*to) == maxNotice {
			out.Truncated = true
			return
		}
		*to = append(*to, s)
	}
	switch name {
	case "feedback-type":
		set(&c.Type, strings.ToLower(value))
	case "user-agent":
		set(&c.UserAgent, value)
	case "version":
		set(&c.Version, value)
	case "original-mail-from":
		set(&c.MailFrom, unbracket(value))
		set(&out.Sender, unbracket(value))
	case "original-rcpt-to":
		add(&c.RcptTo, unbracket(value))
	case "source-ip":
		set(&c.SourceIP, value)
	case "reported-domain":
		add(&c.Domains, value)
	case "reported-uri":
		add(&c.URIs, value)
	case "incidents":
		c.Incidents, _ = strconv.Atoi(value)
	case "auth-failure":
		set(&c.AuthFailure, strings.ToLower(value))
	case "authentication-results":
		add(&c.AuthResults, value)
	case "received-date":
		c.ReceivedDate = parseDate(value)
	default:
		messageField(out, name, value) // Reporting-MTA, Arrival-Date, Original-Envelope-Id
	}
}

// readDisposition reads the fields of message/disposition-notification (RFC 8098 3.2).
func readDisposition(out *Parsed, body []byte) *Disposition {
	d := &Disposition{}
	var about RecipientStatus
	eachGroup(body, func(h mail.Header) {
		for f := range h.Fields() {
			value := unfolded(f)
			switch name := strings.ToLower(f.Name()); name {
			case "reporting-ua":
				set(&d.UserAgent, value)
			case "original-recipient", "final-recipient":
				recipientFields[name](&about, value)
			case "original-message-id":
				if out.Original == nil {
					out.Original = &Original{}
				}
				set(&out.Original.MessageID, unbracket(value))
			case "disposition":
				d.disposition(value)
			case "error", "failure":
				if len(d.Errors) < maxNotice {
					d.Errors = append(d.Errors, value)
				}
			default:
				messageField(out, name, value)
			}
		}
	})
	if !about.Final.IsZero() || !about.Original.IsZero() {
		out.Recipients = append(out.Recipients, about)
	}
	return d
}

// disposition reads "manual-action/MDN-sent-manually; displayed/error,warning".
func (d *Disposition) disposition(value string) {
	if d.Type != "" {
		return
	}
	mode, what, _ := strings.Cut(strings.ToLower(value), ";")
	action, sent, _ := strings.Cut(mode, "/")
	d.Manual = strings.TrimSpace(action) == "manual-action"
	d.Consented = strings.TrimSpace(sent) == "mdn-sent-manually"
	kind, modifiers, _ := strings.Cut(what, "/")
	d.Type = strings.TrimSpace(kind)
	for m := range strings.SplitSeq(modifiers, ",") {
		if m = strings.TrimSpace(m); m != "" && len(d.Modifiers) < maxNotice {
			d.Modifiers = append(d.Modifiers, m)
		}
	}
}
