package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/dsn"
	"github.com/holub-mail/holub/mail"
)

func dsnCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "dsn FILE|-",
		Short: "Say what a delivery report says",
		Long: `Read a delivery report of any mail server, from a file or from standard input (-), and say in words what it says: which
recipients it is about, what became of the message there, who said so, and what can be done. Reports by RFC 3464 are
known, the plain text that some servers send instead, complaints (ARF), and notes that a message was read (MDN).
Exit codes: 0 it is a report, 65 it is none that is known, 66 the file can't be read, 64 wrong usage.`,
		Example: "  holub dsn bounce.eml\n  holub dsn --json - < bounce.eml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one file with the report, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return showReport(args[0], asJSON, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object")
	return cmd
}

// showReport reads one report and prints it.
func showReport(name string, asJSON bool, in io.Reader, out io.Writer) error {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return exit(exNoPerm, err)
			}
			return exit(exNoInput, err)
		}
		defer f.Close()
		in = f
	}
	p, err := dsn.Parse(in)
	switch {
	case errors.Is(err, dsn.ErrNoReport):
		return exit(exDataErr, fmt.Errorf("%s: %w", name, err))
	case err != nil:
		return exit(exNoInput, fmt.Errorf("%s: %w", name, err))
	case asJSON:
		return printJSON(out, reportOf(p))
	}
	var b strings.Builder
	tellReport(&b, p)
	_, err = io.WriteString(out, b.String())
	return err
}

// tellReport says what a report says.
func tellReport(w *strings.Builder, p *dsn.Parsed) {
	by := ""
	if p.Reporter.Name != "" {
		by = " by " + printable([]byte(p.Reporter.Name))
	}
	if p.Software != "" {
		by += " (" + p.Software + ")"
	}
	switch p.Kind {
	case dsn.Complaint:
		fmt.Fprintf(w, "A complaint%s: %s\n", by, printable([]byte(p.Complaint.Type)))
		line(w, "about mail from the address", p.Complaint.SourceIP)
	case dsn.Receipt:
		who := "by itself"
		if p.Disposition.Manual {
			who = "by its user"
		}
		fmt.Fprintf(w, "A note of a mail program%s: the message was %s, %s\n", by, printable([]byte(p.Disposition.Type)), who)
		line(w, "program", p.Disposition.UserAgent)
		for _, e := range p.Disposition.Errors {
			line(w, "error", e)
		}
	default:
		fmt.Fprintf(w, "A report of %s%s\n", p.Kind, by)
	}
	tellOriginal(w, p)
	for i := range p.Recipients {
		tellRecipient(w, &p.Recipients[i])
	}
	if p.Truncated {
		fmt.Fprintln(w, "\nThe report is too large: not all of it was read.")
	}
}

// tellOriginal says which message a report is about.
func tellOriginal(w *strings.Builder, p *dsn.Parsed) {
	line(w, "envelope id", p.EnvelopeID)
	line(w, "queue id there", p.QueueID)
	line(w, "reverse-path", p.Sender)
	line(w, "arrived there", timeText(p.Arrived))
	line(w, "came there from", p.From.Name)
	o := p.Original
	if o == nil {
		return
	}
	line(w, "message-id", o.MessageID)
	line(w, "from", mail.DecodeWords(o.From))
	line(w, "to", mail.DecodeWords(o.To))
	line(w, "subject", mail.DecodeWords(o.Subject))
	line(w, "date", timeText(o.Date))
	if o.Header != nil {
		line(w, "returned", returnedWords(o))
	}
}

func returnedWords(o *dsn.Original) string {
	what := "the header"
	if o.Part == dsn.FullMessage {
		what = "the whole message"
	}
	if o.Size > 0 {
		what += fmt.Sprintf(", %d octets from octet %d of the report on", o.Size, o.Offset)
	}
	return what
}

// tellRecipient says what became of the message for one recipient.
func tellRecipient(w *strings.Builder, s *dsn.RecipientStatus) {
	name := s.Final.Text
	if name == "" {
		name = s.Original.Text
	}
	fmt.Fprintf(w, "\n%s", printable([]byte(name)))
	if s.Action != "" {
		fmt.Fprintf(w, ": %s %s", s.Action, s.Status)
	}
	fmt.Fprintln(w)
	if s.Original.Text != name {
		line(w, "the sender wrote to", s.Original.Text)
	}
	why, next := s.Reason()
	line(w, "why", why)
	switch host := printable([]byte(s.Remote.Name)); {
	case host != "":
		line(w, host+" said", s.Diagnostic.Text)
	default:
		line(w, "the reporting server said", s.Diagnostic.Text)
	}
	if s.Action == dsn.Failed {
		line(w, "what the sender can do", next)
	}
	line(w, "tried last", timeText(s.LastAttempt))
	line(w, "will be tried until", timeText(s.RetryUntil))
	line(w, "log id there", s.LogID)
}

// line prints one fact; nothing where it is not known.
func line(w *strings.Builder, name, value string) {
	if value != "" {
		fmt.Fprintf(w, "  %s: %s\n", name, printable([]byte(value)))
	}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}
