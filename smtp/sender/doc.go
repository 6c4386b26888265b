// Package sender is the client side of one SMTP session over any net.Conn: greeting, EHLO or HELO, mail transactions
// one after the other, QUIT. It says per recipient which reply settled it and which command gave that reply.
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
// Where the server offers PIPELINING, the whole envelope leaves in one write. Content is streamed and never held whole;
// a session between two calls holds no buffers.
//
// The package never looks anything up, never chooses a host, never retries, and never judges whether a refusal is
// final: its callers do, first of all those that deliver from a queue or submit from a command line. It never
// completes a message whose content it could not read to the end.
//
// The sections named in comments are those of RFC 5321 where no other document is named.
package sender
