// Package mail handles the octets of a message: it writes trace fields, and it looks at content while it streams by. It
// knows a message as lines that end with CRLF, a header that ends at the first empty line, and a body that it does not
// interpret.
//
// It never changes a message, never holds one in memory whole, parses no MIME, and knows no policy: how many Received
// fields are a loop is decided by its caller. intake stamps and scans what arrives, deliver writes the Return-Path at
// final delivery, and dsn builds its reports with the same fields.
//
// To accept a message, write the trace field and then the content through a Scanner into the store:
//
//	var scan mail.Scanner
//	out := io.MultiWriter(store, &scan)
//	out.Write(mail.Received{Hello: helo, Addr: client, By: hostname, With: "ESMTP", ID: id, Date: now}.Append(nil))
//	io.Copy(out, content)
//	if scan.Received() > maxHops { ... }  // a loop (RFC 5321 6.3)
//	envelope.EightBit = scan.EightBit()   // 8BITMIME must be asked of the next host
//
// To deliver it into a mailbox, put mail.AppendReturnPath(nil, reversePath) in front of the content. To show or return
// the header alone, take ReadHeader.
//
// Here a line ends with LF, and a CR in front of it belongs to that line end; a CR elsewhere is an octet like any
// other.
package mail
