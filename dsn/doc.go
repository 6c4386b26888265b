// Package dsn writes delivery status notifications: the mail that tells a sender that a message could not be delivered
// or is late, and the postmaster that a message could be neither delivered nor returned. A report has the three parts
// of RFC 3464 and RFC 6522: a text for people, fields for programs, and the original message or its header.
//
// It decides nothing and sends nothing: who is told what, and when, is settle's part, and the report is spooled like
// any message, in the commit that records why it was written. It never writes to a null reverse-path, and it never
// holds the original in memory. What a sender asked for with RFC 3461 (ENVID, ORCPT) is shown; who asked for which report
// is its caller's to know. It doesn't read reports yet.
//
// To return a message:
//
//	report := dsn.Report{
//		Kind:       dsn.Failure,
//		MessageID:  "<" + newID + "@mx.example.com>",
//		Date:       now,
//		From:       "mx.example.com",
//		To:         message.From, // never null
//		QueueID:    message.ID.String(),
//		Arrived:    message.Arrived,
//		Sender:     message.From,
//		Recipients: []dsn.Recipient{{Final: rcpt.To, Reply: rcpt.Reply, Host: rcpt.Host, LastAttempt: now}},
//	}
//	if message.Size <= maxReturned {
//		report.Original, report.EightBit = dsn.FullMessage, message.EightBit
//	}
//	err := report.Write(spooled, original)
//	envelope.EightBit = report.NeedsEightBit()
//
// and send it with MAIL FROM:<> (RFC 3464 2). If the original can't be read any more, write the report anew without it:
// a nil original leaves the third part out.
//
// What hosts said is shown as they said it, within bounds: 20 lines and 2048 octets of a reply. Text from elsewhere
// can't break the format: control characters become "?", and the fields for programs are ASCII.
package dsn
