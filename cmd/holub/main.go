// Command holub is a mail transfer agent: it takes mail over SMTP, writes it down before it answers, and carries it on.
//
// It only reads flags: `serve` runs the server of internal/mta, the other subcommands work alone. Exit codes are those
// of sysexits(3).
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Exit codes of sysexits(3).
const (
	exUsage       = 64 // the command was used wrongly
	exDataErr     = 65 // the message is wrong
	exNoInput     = 66 // the message can't be read
	exNoUser      = 67 // no such mailbox
	exNoHost      = 68 // no such host
	exUnavailable = 69 // refused for another reason, for good
	exSoftware    = 70 // a failure of our own
	exOSErr       = 71 // the system does not let us (a port in use)
	exTempFail    = 75 // refused for now
	exProtocol    = 76 // the server does not speak SMTP
	exNoPerm      = 77 // not allowed
	exConfig      = 78 // the configuration is wrong
)

// exitError is an error with the code to exit with.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

func exit(code int, err error) error {
	if err == nil {
		return nil
	}
	return exitError{code, err}
}

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and gives its exit code.
func run(args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "holub:", err)
	var e exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exUsage
}

// version is what the build knows of itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "holub",
		Short: "A mail transfer agent that loses nothing",
		Long: "holub takes mail over SMTP, writes it down before it answers 250, and carries it on: to the next host,\n" +
			"to a mailbox, or back to its sender with the reason.",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(serveCommand(), sendCommand(), sessionCommand(), configCommand(),
		queueCommand(), traceCommand(), reloadCommand(), retryCommand(), spoolCommand(), dsnCommand(), benchCommand())
	return root
}
