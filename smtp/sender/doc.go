// Package sender is the client side of one SMTP or LMTP session over any net.Conn: greeting, EHLO, TLS, authentication,
// mail transactions one after the other, QUIT. It says per recipient which reply settled it and which command gave that
// reply.
//
//	client, err := sender.Dial(ctx, "mx.example.net:25", sender.Options{Hello: name})
//	if err != nil {
//		return err // smtp.AsReply(err) gives the server's words, where it said any
//	}
//	defer client.Close()
//	result, err := client.Send(ctx, sender.Envelope{From: from, To: to}, content)
//	for i, outcome := range result.Outcomes { // of to[i]; a zero Reply means undecided: err says why
//		log.Print(to[i], " ", outcome.Reply.Text())
//	}
//	if !client.Broken() { // the session may carry more messages, or end politely
//		client.Quit(ctx)
//	}
//
// Each extension is used where the server offers it: the whole envelope leaves in one write with PIPELINING, and a
// short message with it where there is CHUNKING too; content is sent by BDAT or DATA, declared as 8BITMIME, BINARYMIME
// or SMTPUTF8 where it is so; DSN, DELIVERBY, FUTURERELEASE, MT-PRIORITY, REQUIRETLS and AUTH= are passed on; LIMITS
// are kept. Send tells what happens where an extension is needed and missing. Content is streamed and never held whole;
// a session between two calls holds no buffers.
//
// Options start TLS (TLSMode) and authenticate with any mechanism of package sasl; SendMail does all in one call.
//
// The package never looks anything up, never chooses a host, never retries, and never judges whether a refusal is
// final: its callers do, first of all those that deliver from a queue or submit from a command line. It never
// completes a message whose content it could not read to the end.
//
// The sections named in comments are those of RFC 5321 where no other document is named.
package sender
