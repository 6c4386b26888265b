// Package dsn writes and reads delivery status notifications: the mail that tells a sender that a message could not be
// delivered or is late, and the postmaster that a message could be neither delivered nor returned. A report has the
// three parts of RFC 3464 and RFC 6522: a text for people, fields for programs, and the original message or its header.
//
// It decides nothing and sends nothing: who is told what, and when, is settle's part, and the report is spooled like
// any message, in the commit that records why it was written. It never writes to a null reverse-path, and it never
// holds the original in memory. What a sender asked for with RFC 3461 (ENVID, ORCPT) is shown; who asked for which
// report is its caller's to know. Of a report that it reads it proves nothing: anybody can send one.
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
//		report.Original, report.EightBit, report.OriginalUTF8 = dsn.FullMessage, message.EightBit, message.Asked.UTF8
//	}
//	err := report.Write(spooled, original)
//	envelope.EightBit, envelope.UTF8 = report.NeedsEightBit(), report.NeedsUTF8()
//
// and send it with MAIL FROM:<> (RFC 3464 2). If the original can't be read any more, write the report anew without it:
// a nil original leaves the third part out.
//
// What hosts said is shown as they said it, within bounds: 20 lines and 2048 octets of a reply. Text from elsewhere
// can't break the format: control characters become "?", and the fields for programs are ASCII, or UTF-8 where that is
// asked for.
//
// # Reports about mail with SMTPUTF8
//
// Such a report has two forms, and which of them can travel is decided by the hosts on the way to the sender (RFC 6533
// 4.5), of which nothing is known yet when it is written. Report.UTF8 chooses:
//
//   - false, for any host. The fields are message/delivery-status, addresses in them as utf-8-addr-xtext
//     (utf-8; j\x{F6}rg@example.org), names of hosts and domains of otherwise plain addresses as A-labels, other UTF-8 as
//     "?"; the original is message/global in base64, its header message/global-headers in quoted-printable. The text for
//     people shows everything as it is.
//   - true, for hosts with SMTPUTF8. The fields are message/global-delivery-status with the addresses as they are; the
//     original is message/global, its header message/global-headers, both as 8bit.
//
// A sender whose local part is not ASCII can be reached with SMTPUTF8 alone and gets the second form whatever UTF8
// says. To write the first form for everybody else loses nothing and arrives everywhere.
//
// # Reading
//
// To see what a report says, of whatever server:
//
//	parsed, err := dsn.Parse(message)
//	if errors.Is(err, dsn.ErrNoReport) { ... } // some other mail
//	for _, rcpt := range parsed.Recipients {
//		if rcpt.Action == dsn.Failed { ... }   // rcpt.Final, rcpt.Status, rcpt.Diagnostic
//	}
//
// Parsed.Kind tells reports of failure, delay and success from complaints (ARF) and disposition notifications (MDN).
package dsn
