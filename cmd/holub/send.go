package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// sendFlags are the flags of `holub send`.
type sendFlags struct {
	from    string
	to      []string
	server  string
	verbose bool
}

func sendCommand() *cobra.Command {
	var flags sendFlags
	cmd := &cobra.Command{
		Use:   "send --from A --to B [--to C] [--server HOST:PORT] FILE|-",
		Short: "Send a message to an SMTP server",
		Long: "Send a message, from a file or from standard input (-), to an SMTP server. Exit codes are those of sysexits(3):\n" +
			"0 accepted for all, 75 try again later, 67 no such mailbox, 77 not allowed, 69 refused, 68 no such host,\n" +
			"66 the file can't be read, 65 the message is at fault, 76 the server does not speak SMTP, 64 wrong usage.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one file with the message, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(cmd.Context(), flags, args[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&flags.from, "from", "", "reverse-path; <> for none")
	cmd.Flags().StringSliceVar(&flags.to, "to", nil, "recipient; may be given several times")
	cmd.Flags().StringVar(&flags.server, "server", "127.0.0.1:2525", "server, HOST:PORT")
	cmd.Flags().BoolVarP(&flags.verbose, "verbose", "v", false, "show the dialogue")
	cmd.MarkFlagRequired("from")
	cmd.MarkFlagRequired("to")
	return cmd
}

// send reads the message, sends it, and says what each recipient was answered.
func send(ctx context.Context, flags sendFlags, file string, out io.Writer) error {
	env, err := flags.envelope()
	if err != nil {
		return exit(exUsage, err)
	}
	content, err := openMessage(file)
	if err != nil {
		return exit(exNoInput, err)
	}
	defer content.Close()
	if env.EightBit, err = content.eightBit(); err != nil {
		return exit(exNoInput, err)
	}
	client, err := sender.Dial(ctx, flags.server, sender.Options{Trace: tracer(flags.verbose, out)})
	if err != nil {
		return exit(dialCode(err), fmt.Errorf("no session with %s: %w", flags.server, err))
	}
	result, err := client.Send(ctx, env, content)
	if err == nil {
		client.Quit(ctx)
	}
	client.Close()
	return report(out, flags, env, result, err)
}

// envelope reads the addresses of the flags, in brackets or without.
func (f sendFlags) envelope() (sender.Envelope, error) {
	var env sender.Envelope
	from, err := parseAddress(f.from)
	if err != nil {
		return env, fmt.Errorf("--from: %w", err)
	}
	env.From = from
	for _, s := range f.to {
		to, err := parseAddress(s)
		if err == nil && to.IsNull() {
			err = fmt.Errorf("%w: %q is no recipient", smtp.ErrMailbox, s)
		}
		if err != nil {
			return env, fmt.Errorf("--to: %w", err)
		}
		env.To = append(env.To, to)
	}
	return env, nil
}

func parseAddress(s string) (smtp.Path, error) {
	if s == "" || s[0] != '<' {
		s = "<" + s + ">"
	}
	return smtp.ParsePath(s)
}

// message is the file to send; standard input is kept in a temporary one, since it is read twice.
type message struct {
	*os.File
	temporary bool
}

func openMessage(name string) (*message, error) {
	if name != "-" {
		f, err := os.Open(name)
		return &message{File: f}, err
	}
	f, err := os.CreateTemp("", "holub-send-*")
	if err != nil {
		return nil, err
	}
	m := &message{File: f, temporary: true}
	if _, err := io.Copy(f, os.Stdin); err != nil {
		m.Close()
		return nil, fmt.Errorf("read the message from standard input: %w", err)
	}
	_, err = f.Seek(0, io.SeekStart)
	return m, err
}

// eightBit tells what the message must be declared as, and goes back to its start.
func (m *message) eightBit() (bool, error) {
	var scan mail.Scanner
	if _, err := io.Copy(&scan, m.File); err != nil {
		return false, fmt.Errorf("read the message: %w", err)
	}
	_, err := m.Seek(0, io.SeekStart)
	return scan.EightBit(), err
}

func (m *message) Close() error {
	err := m.File.Close()
	if m.temporary {
		err = errors.Join(err, os.Remove(m.Name()))
	}
	return err
}

// tracer shows the dialogue, or gives nil.
func tracer(show bool, out io.Writer) func(sender.Direction, []byte) {
	if !show {
		return nil
	}
	return func(d sender.Direction, line []byte) { fmt.Fprintf(out, "%s: %s\n", d, printable(line)) }
}

// printable keeps what a server said from steering the terminal.
func printable(line []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return unicode.ReplacementChar
	}, string(line))
}

// report says what became of each recipient, and gives the code of the worst.
func report(out io.Writer, flags sendFlags, env sender.Envelope, result sender.Result, sendErr error) error {
	code, failed := 0, 0
	for i, o := range result.Outcomes {
		reply := printable([]byte(o.Reply.Text()))
		if o.Reply.IsZero() {
			reply = "no reply"
		}
		fmt.Fprintf(out, "%s: %s\n", env.To[i], reply)
		if !o.Reply.Positive() {
			failed++
			code = max(code, replyCode(o.Reply))
		}
	}
	switch {
	case sendErr != nil:
		return exit(max(code, sessionCode(sendErr)), fmt.Errorf("the session with %s broke: %w", flags.server, sendErr))
	case failed > 0:
		return exit(code, fmt.Errorf("not accepted for %d of %d recipients", failed, len(env.To)))
	}
	return nil
}

// replyCode turns a refusal into an exit code.
func replyCode(r smtp.Reply) int {
	switch {
	case r.IsZero() || r.Temporary():
		return exTempFail
	case r.Enhanced[1] == 7:
		return exNoPerm
	case r.Enhanced[1] == 1:
		return exNoUser
	case r.Code == 552 || r.Enhanced[1] == 6 || r.Enhanced == smtp.EnhancedCode{5, 3, 4}:
		return exDataErr
	}
	return exUnavailable
}

// sessionCode turns the end of a session into an exit code.
func sessionCode(err error) int {
	if reply, ok := smtp.AsReply(err); ok {
		return replyCode(reply)
	}
	if errors.Is(err, smtp.ErrReplySyntax) {
		return exProtocol
	}
	return exTempFail
}

// dialCode turns a failed connection into an exit code.
func dialCode(err error) int {
	var unknown *net.DNSError
	var address *net.AddrError
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return exNoHost
	case errors.As(err, &address):
		return exUsage
	}
	return sessionCode(err)
}
