// Command bench holds holub beside other mail servers on this machine, in one sitting: it installs the others into a cache
// folder of its own, runs all servers in turn with the same source and sink, one at a time and each with an empty queue on
// the real disk, and prints medians, spread, ratios and what the work cost.
//
//	go run ./bench                                          # everything; an hour or so
//	go run ./bench --works relay,accept --servers holub,postfix --rounds 3
//	go run ./bench --json bench.json --svg docs/performance/table.svg --markdown table.md
//	go run ./bench show bench.json --markdown table.md      # the same results again, without measuring
//	go run ./bench config --servers postfix                 # the configuration that a server runs with
//	go run ./bench curves --quick                           # how the cost of a message grows, in some ten minutes
//	go run ./bench help
//
// Run it as root on Debian: Postfix, Exim and OpenSMTPD need both. The queues lie in a new folder below --dir, which is removed
// at the end; nothing else there is touched.
//
// Source and sink are processes of their own, so that their processor time is known and is not the server's: Postfix's
// smtp-source and smtp-sink where they can do the work, else those of internal/load.
//
// It never changes a server to make it look better or worse: package bench/peer configures them, and config shows how. It
// measures no server on another machine, and keeps nothing of a run but its numbers.
package main
