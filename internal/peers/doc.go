// Package peers gives tests real mail programs to talk to. As clients: swaks, curl, openssl, Python for its smtplib,
// node for nodemailer, and Postfix's smtp-source. As servers, which end with the test: Postfix's smtp-sink, a whole
// Postfix, Dovecot's LMTP server, and haproxy to stand in front. It fetches their Debian packages and unpacks them into
// a cache folder of the tests' own, holub-test/peers in the user's cache folder, from where they run.
//
// It never installs anything and reads no package list of the machine: apt keeps its state for this in the cache folder
// too. It never asks for root, but a whole Postfix runs only where the tests run as root. Servers listen on free ports
// of the loopback and keep their files in folders that end with the test; nothing is looked up by DNS. Only tests call
// it; the fetch command below it fills the cache before they start.
//
//	out, err := peers.Command(t, "swaks", "--server", addr, "--to", "a@example.org").CombinedOutput()
//	out, err := peers.Nodemailer(t, `require("nodemailer").createTransport(process.argv[1])...`, "smtp://"+addr).Output()
//	sink := peers.Sink(t)                               // host:port of a running smtp-sink
//	peers.Command(t, "smtp-source", "-m", "100", sink)
//	box := peers.Postfix(t, peers.PostfixOptions{})     // mail sent to box.Addr is in box.Mail(t, 1)
//	relay := peers.Postfix(t, peers.PostfixOptions{Transport: "smtp:[127.0.0.1]:2525"})
//	lmtp := peers.DovecotLMTP(t)                        // lmtp.Socket, lmtp.Addr, lmtp.Mail(t, "user", 1)
//
// A server is known to run by a connection to it that says nothing; where it passes connections on, as haproxy does,
// one such connection arrives behind it.
//
// Where a peer cannot be had, the test is skipped with the reason; with CI in the environment it fails.
package peers
