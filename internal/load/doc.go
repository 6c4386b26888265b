// Package load makes mail and swallows it: a Source sends messages to an SMTP server, a Sink takes and counts them. Both
// do so little work for each message that a measurement shows the server between them and not the tools.
//
//	sink := &load.Sink{}
//	go sink.Serve(ctx, listener)
//	source := &load.Source{Addr: "127.0.0.1:2525", Sessions: 20, Messages: 5000, Size: 4096, Pipelining: true}
//	sent, err := source.Run(ctx)
//	err = sink.Await(ctx, sent.Messages)
//	counts := sink.Counts()
//
// A session of either side is a dialogue: octets in, octets out, no I/O of its own. On Linux all plain sessions of a
// Source, or of a Sink, run in one loop over epoll, as in Postfix's tools: no goroutine is woken for a reply and no read
// is tried in vain. Sessions with TLS, sinks with a delay, other listeners and other systems run in a goroutine each. All
// octets that are sent again and again are made once; a message costs no allocation.
//
// Every message has a number in its Message-ID, so that a Sink can tell lost ones from repeated ones.
//
// AppendRate measures the disk without any mail: what a server that syncs can reach at most.
//
// It measures and does not judge: it never retries what was refused, keeps no mail, and is no client or server for real
// mail (those are smtp/sender and smtp/receiver, which are what is measured here and so are not used). The commands
// `holub bench source` and `holub bench sink`, and the comparison in bench, call it.
package load
