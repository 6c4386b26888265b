// Package sasl holds the mechanisms with which a client proves who it is, both sides of each: EXTERNAL,
// SCRAM-SHA-256-PLUS, SCRAM-SHA-256, OAUTHBEARER, XOAUTH2, PLAIN and LOGIN. A challenge and a response are octet
// strings; whoever carries them codes them (SMTP: base64, "=" for an empty initial response, "*" to cancel).
//
// It never reads or writes a connection, keeps no users, and logs nothing. smtp/sender and smtp/receiver run an
// exchange over a session; the program that hosts a server says by Authenticators whom it believes.
//
// A client, given what the server offers and what the channel is:
//
//	c, err := sasl.Credentials{User: "joe", Password: "..."}.Choose(offered, sasl.ClientChannel(state))
//	initial, has, err := c.Start()        // send c.Mechanism() and, if has, the initial response
//	response, err := c.Next(challenge)    // for each challenge; after an error cancel the exchange
//	err = c.Finish()                      // when the server says yes: has IT proved itself?
//
// A server:
//
//	offer := auth.Mechanisms(channel)
//	s, err := auth.NewServer(mechanism, channel)
//	challenge, done, err := s.Next(ctx, response) // nil at first: the client sent no initial response
//	who := s.Identity()                           // once done is true
//
// What a server's errors mean to the client is the session's to say. In SMTP (RFC 4954 4 and 6):
//
//	ErrCredentials, ErrChannelBinding   535 5.7.8        ErrCanceled     501 5.7.0
//	ErrMechanism                        504 5.5.4        ErrTooLong      500 5.5.6
//	ErrNotPrivate                       538 5.7.11       ErrMalformed    501 5.5.2
//	ErrTemporary                        454 4.7.0
//
// User names and passwords are prepared as RFC 8265 says (UsernameCasePreserved and OpaqueString), which took the place
// of the SASLprep that the older documents name. The two differ only for compatibility characters outside of ASCII.
package sasl
