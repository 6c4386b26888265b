// Package peers gives tests real mail programs to talk to: Postfix's smtp-source and smtp-sink, swaks, and Python for
// its smtplib. It fetches their Debian packages and unpacks them into a cache folder of the tests' own,
// holub-test/peers in the user's cache folder, from where they run.
//
// It never installs anything, never asks for root, and reads no package list of the machine: apt keeps its state for
// this in the cache folder too. Only tests call it; the fetch command below it fills the cache before they start.
//
//	out, err := peers.Command(t, "swaks", "--server", addr, "--to", "a@example.org").CombinedOutput()
//	sink := peers.Sink(t)                               // host:port of a running smtp-sink
//	peers.Command(t, "smtp-source", "-m", "100", sink)
//
// Where a peer cannot be had, the test is skipped with the reason; with CI in the environment it fails.
package peers
