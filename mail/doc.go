// Package mail handles the octets of a message: it reads and changes headers field by field, reads and writes addresses
// and encoded words, writes trace fields, repairs what a person submits, looks at content while it streams by, walks
// through its parts, and converts it for hosts that take 7 bits or no binary.
//
// It never changes an octet that it was not asked to change, never holds a message in memory whole, and knows no
// policy: how many Received fields are a loop is decided by its caller. intake stamps, scans and, for submission alone,
// repairs what arrives, deliver converts what the next host does not take and writes the Return-Path at final delivery, settle asks what may be answered, and dsn
// builds its reports with the same fields.
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
// To read or change a header, take it apart with ParseHeader; what is not touched keeps its octets, folds and order:
//
//	h, rest := mail.ParseHeader(b)
//	from, err := h.Addresses("From")
//	subject := mail.DecodeWords(h.Get("Subject"))
//	h.AddTop("X-Note", mail.EncodeWords(note))
//	out.Write(h.Bytes())
//	out.Write(rest)
//
// A mail that its author submits goes through NewRepairReader, which puts in what is missing and takes out Bcc
// (RFC 6409 8); a mail that is relayed never does. Before a mail is answered, Header.AutoSubmitted must say no; before
// it is delivered or forwarded once more, so must Header.DeliveredTo.
//
// For a host without 8BITMIME (SevenBit) or without BINARYMIME (EightBit), Convert reads the content once to plan, and again
// while it is sent; what needs no change comes out octet for octet:
//
//	c, err := mail.Convert(open, mail.SevenBit, mail.ConvertOptions{})
//	var impossible *mail.Unconvertible
//	if errors.As(err, &impossible) { ... }  // back to the sender with 5.6.3
//	content, err := c.Open()                // of c.Size octets
//
// A Walker hands out the pieces of a message (headers, delimiters, bodies of its parts) one after the other; joined, they are
// the message. It keeps to Limits, whatever it is given:
//
//	w := mail.NewWalker(r, mail.Limits{})
//	for p, err := w.Next(); err == nil; p, err = w.Next() { ... }
//
// Here a line ends with LF, and a CR in front of it belongs to that line end; a CR elsewhere is an octet like any
// other.
package mail
