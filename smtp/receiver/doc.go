// Package receiver is the server side of SMTP: it speaks with one client over any connection, keeps the order and the
// syntax of commands (RFC 5321 4.1, 4.2, 4.3), and hands what it understood to a Handler, whose reply it writes.
//
// It holds no policy, stores no mail and adds no header: who may send what, where content goes and what a 250 promises is
// the Handler's. In holub that is internal/intake; tests and other programs bring their own.
//
//	srv := &receiver.Server{Hostname: "mx.example.org", Handler: myHandler}
//	listener, err := net.Listen("tcp", "127.0.0.1:2525")
//	go srv.Serve(listener)
//	...
//	srv.Shutdown(ctx)
//
// What every Handler can rely on: Mail, Rcpt and Data come in this order; Data is called once a transaction and only with
// an accepted recipient; the content it reads ends with io.EOF only if the client ended it with <CRLF>.<CRLF> or with the
// last chunk of BDAT, in strict line ends (unless it is BINARYMIME) and within the size limit. Any other error from the
// content means that the mail must not be kept.
//
// Extensions that change what a Handler has to do are off until Server.Offer, Server.TLS, Server.Auth or one of the
// optional interfaces (Verifier, Expander, Turner, EachDataHandler) switches them on. Parameters of extensions that are
// off are refused before the Handler sees them.
package receiver
