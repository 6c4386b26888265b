// Package transport gives everything that carries bytes both ways the shape of net.Conn and net.Listener: TCP, Unix
// sockets, TLS, sockets handed over by systemd, this process's standard input and output, the input and output of a
// program, and memory; and the PROXY protocol as a layer on a listener.
//
// It never reads or writes a word of SMTP, never logs, never reconnects, and never starts a shell. The receiver's and
// the sender's callers use it: whoever listens hands the listener to the server, whoever delivers hands the connection
// to the client.
//
//	e, err := transport.ParseEndpoint("unix:/run/holub/smtp.sock?mode=0660")
//	l, err := transport.Listen(ctx, e, transport.ListenOptions{})
//	err = server.Serve(l)
//
//	e, err := transport.ParseEndpoint("exec:ssh relay.example holub session")
//	conn, err := transport.Dial(ctx, e, transport.DialOptions{})
//
// An endpoint is written in one of these ways:
//
//	127.0.0.1:2525  [::1]:25  mx.example.org:25     TCP, to listen and to dial
//	:25                                             TCP, to listen on every address
//	unix:/run/holub/smtp.sock                       a Unix socket, to listen and to dial
//	unix:/run/holub/smtp.sock?mode=0660             the same with the mode of the socket, to listen
//	systemd:  systemd:NAME                          sockets handed over by systemd, all or those of a name, to listen
//	stdio:                                          standard input and output, to listen: one connection
//	exec:PROGRAM ARGUMENT...                        a program's input and output, to dial
//
// Every connection made here has working deadlines, CloseWrite, and an error that wraps net.ErrClosed after its own
// Close. Package transporttest is the kit of tests that holds each of them to it.
package transport
