// Package smtp holds the words of the wire: replies, enhanced status codes, domains, mailboxes, paths, commands with
// their parameters, the EHLO keywords, and the framing of DATA. Each is a value that parses and encodes itself, and each
// pair is tested as a round trip.
//
// It never reads or writes a connection, keeps no state between calls, and knows no policy: smtp/receiver and
// smtp/sender are the two sides that speak with these words, and everything above them passes them on as typed values.
//
//	path, err := smtp.ParsePath("<Joe.Bloggs@example.org>")
//	path.Local                       // "Joe.Bloggs": case kept
//	path.Domain.Equal(other)         // compares without case
//	cmd, err := smtp.ParseCommand([]byte("MAIL FROM:<a@example.org> SIZE=1000"))
//	mail, err := smtp.ParseMail(cmd.Arg)
//
// The sections named in comments are those of RFC 5321 where no other document is named.
package smtp
