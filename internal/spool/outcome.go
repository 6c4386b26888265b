package spool

import "github.com/holub-mail/holub/smtp"

// Outcome is what one attempt brought for one recipient. The class of the reply says what follows: 2yz it is delivered,
// 4yz it is tried again, 5yz it is given up.
type Outcome struct {
	N       int        // index into Message.Recipients
	Reply   smtp.Reply // verbatim where a host said it, our own words otherwise
	Host    string     // who said it: "mx.example.org [192.0.2.1]:25"; "" for this server
	Reason  Reason     // for 4yz: why it will wait
	Hold    bool       // not to be tried again before an operator has looked
	TLS     string     // of the session in which it was said, "TLS 1.3"; "" where there was none
	Untried bool       // nothing was sent: it only grew older, and that may be due to be told or the end
	Passed  bool       // 2yz: the host offers DSN and was told what the sender wants to hear (RFC 3461 5.2.1)
}
