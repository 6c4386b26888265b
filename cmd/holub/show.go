package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/spool"
)

func showCommand(flags *deskFlags) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show all there is to know of one message in the queue",
		Long: "Show one message of the queue: who sent it, each recipient with its state, the trail of its attempts with every\n" +
			"reply verbatim, and what happens next. For a message that is gone, or for more of its past, see holub trace. Exit code 69: it is not there.",
		Example: "  holub queue show 06f3q8k2c9d1e4r7t0wx\n  holub queue show 06f3q8k2c9d1e4r7t0wx --watch",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one queue id; holub queue list prints them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := spool.ParseID(strings.ToLower(args[0]))
			if err != nil {
				return exit(exUsage, fmt.Errorf("%w: %.40q", spool.ErrID, args[0]))
			}
			return withDesk(cmd, flags, &out, func(ctx context.Context, desk admin.Desk, w io.Writer) error {
				m, err := desk.Show(ctx, id)
				if errors.Is(err, spool.ErrNotFound) {
					return fmt.Errorf("%w; if it is gone, holub trace %s may tell", err, id)
				}
				if err != nil {
					return err
				}
				if out.json {
					return printJSON(w, m)
				}
				return showMessage(m, time.Now(), w)
			})
		},
	}
	out.add(cmd, true)
	return cmd
}

// story writes lines of a text for people; what comes from elsewhere can't steer the terminal.
type story struct {
	w   io.Writer
	err error
}

func (s *story) line(indent int, format string, args ...any) {
	text := printable([]byte(fmt.Sprintf(format, args...)))
	if _, err := fmt.Fprintln(s.w, strings.Repeat(" ", indent)+text); err != nil {
		s.err = errors.Join(s.err, err)
	}
}

// field is a line with a name; an empty one is left out.
func (s *story) field(name, value string) {
	if value != "" {
		s.line(2, "%-10s %s", name, value)
	}
}

func showMessage(m *admin.Shown, now time.Time, w io.Writer) error {
	s := story{w: w}
	s.line(0, "Message %s", m.ID)
	if m.Kind != spool.Mail.String() {
		s.field("Kind", m.Kind+" report")
	}
	s.field("About", m.Cause)
	s.field("Sender", "<"+m.Sender+">")
	s.field("Arrived", fmt.Sprintf("%s, %s ago", moment(m.Arrived), shortDuration(now.Sub(m.Arrived))))
	s.field("Client", m.Client)
	s.field("Size", fmt.Sprintf("%d octets", m.Size))
	s.field("ENVID", m.EnvelopeID)
	s.field("Asked for", strings.Join(m.Asked, "; "))
	for i := range m.Recipients {
		s.line(0, "")
		s.recipient(&m.Recipients[i], now)
	}
	return s.err
}

func (s *story) recipient(r *admin.ShownRecipient, now time.Time) {
	s.line(0, "Recipient <%s>", r.Recipient)
	state := r.State
	if r.State == spool.Waiting.String() || r.State == spool.Held.String() {
		state += " (" + r.Reason + ")"
	}
	s.field("State", state)
	s.field("Next", r.Future)
	if !r.GiveUp.IsZero() {
		s.field("Returned", fmt.Sprintf("at %s (%s) if nothing succeeds", moment(r.GiveUp), until(r.GiveUp, now)))
	}
	if r.Warned {
		s.field("Warned", "its sender was told of the delay")
	}
	s.field("Site", admin.ShortSite(r.Site))
	s.field("Via", r.Via)
	if r.Class != admin.ClassNormal {
		s.field("Class", r.Class)
	}
	if r.Doubts > 0 {
		s.field("In doubt", fmt.Sprintf("it may have been delivered: %s broke after the final dot", counted(r.Doubts, "attempt")))
	}
	s.field("Attempts", fmt.Sprint(r.Attempts))
	for i, a := range r.Trail {
		if missing := r.Attempts - len(r.Trail); i == 1 && missing > 0 {
			s.line(4, "... %s ...", counted(missing, "more attempt"))
		}
		who := a.Host
		if who == "" {
			who = "this server"
		}
		if a.TLS != "" {
			who += " over " + a.TLS
		}
		if a.Reply == "" {
			a.Reply = "nothing was said"
		}
		s.line(4, "%s%s  %s: %s", moment(a.At), prefixed("  ", a.Reason), who, a.Reply)
	}
}
