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
	"github.com/holub-mail/holub/internal/history"
)

func traceCommand() *cobra.Command {
	var flags deskFlags
	var out output
	var limit int
	cmd := &cobra.Command{
		Use:   "trace WHAT",
		Short: "Tell the life of a message, also after it is gone",
		Long: `Tell what became of messages, from the connection on which they came to the last reply, and what happens next to what
still waits. WHAT is a queue id, a message-id, the address of a sender or recipient, or @DOMAIN. Of several messages
the latest are told, the newest first. How long the past is kept is set by [history] of the configuration.

Exit code 69: nothing is known of it.`,
		Example: "  holub trace 06f3q8k2c9d1e4r7t0wx\n  holub trace ann@example.org --limit 3\n" +
			"  holub trace '<20260301.1@example.org>'\n  holub trace @example.org --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one thing: a queue id, a message-id, an address or @DOMAIN")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return errors.New("--limit must be at least 1")
			}
			return withDesk(cmd, &flags, &out, func(ctx context.Context, desk admin.Desk, w io.Writer) error {
				return trace(ctx, desk, args[0], limit, out.json, w)
			})
		},
	}
	flags.add(cmd)
	out.add(cmd, false)
	cmd.Flags().IntVar(&limit, "limit", 20, "tell of at most so many messages")
	return cmd
}

func trace(ctx context.Context, desk admin.Desk, what string, limit int, asJSON bool, w io.Writer) error {
	lives, failed := desk.Trace(ctx, what, limit+1) // one more, to know whether there are others
	more := len(lives) > limit
	lives = lives[:min(len(lives), limit)]
	for i := range lives {
		var err error
		if asJSON {
			err = printJSON(w, &lives[i])
		} else {
			if i > 0 {
				fmt.Fprintln(w)
			}
			err = tell(&lives[i], time.Now(), w)
		}
		if err != nil {
			return err
		}
	}
	if failed == nil && len(lives) == 0 {
		return exit(exUnavailable, fmt.Errorf("nothing is known of %s: it never came here, or longer ago than [history] keeps",
			printable([]byte(what))))
	}
	if more && !asJSON {
		fmt.Fprintf(w, "\nThere are more than the latest %d: --limit\n", limit)
	}
	return failed
}

// tell writes a life as a story.
func tell(l *admin.Life, now time.Time, w io.Writer) error {
	s := story{w: w}
	if l.ID == "" {
		s.line(0, "Not taken")
	} else {
		s.line(0, "Message %s", l.ID)
	}
	for i := range l.Events {
		e := &l.Events[i]
		report := ""
		if e.ID != "" && e.ID != l.ID {
			report = "[report " + e.ID + "] "
		}
		s.line(2, "%s  %s%s", moment(e.At), report, headline(e))
		for _, detail := range details(e) {
			s.line(24, "%s", detail)
		}
	}
	for i := range l.Waiting {
		r := &l.Waiting[i]
		if i == 0 {
			s.line(2, "What happens next")
		}
		report := ""
		if r.ID != l.ID {
			report = "[report " + r.ID + "] "
		}
		s.line(4, "%s%s: %s", report, brackets([]string{r.Recipient}), r.Future)
		if r.Doubts > 0 {
			s.line(6, "it may have been delivered: %s broke after the final dot", counted(r.Doubts, "attempt"))
		}
		if !r.GiveUp.IsZero() {
			s.line(6, "if nothing succeeds it is returned at %s (%s)", moment(r.GiveUp), until(r.GiveUp, now))
		}
	}
	return s.err
}

// headline says in one line what happened.
func headline(e *admin.Event) string {
	to := brackets(e.To)
	switch history.Kind(e.Kind) {
	case history.Accepted:
		return fmt.Sprintf("accepted from <%s> for %s", e.From, to)
	case history.Refused:
		return strings.TrimSpace("refused " + to)
	case history.Delivered:
		return "delivered to " + to
	case history.Deferred:
		return "deferred for " + to
	case history.Bounced:
		return "given up for " + to
	case history.Dropped:
		return "dropped for " + to
	case history.Held:
		return "held for " + to
	case history.Reported:
		return "a report was written: " + e.Report
	case history.Operator:
		done, how, by := admin.Note(e.Note)
		if by != "" {
			by = " (" + by + ")"
		}
		return "an operator: " + done + prefixed(" ", to) + prefixed(" ", how) + by
	}
	return strings.TrimSpace(e.Kind + " " + to)
}

// details are the lines below a headline.
func details(e *admin.Event) []string {
	var all []string
	add := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(e.Client != "", "client %s%s", e.Client, prefixed(" as ", e.Hello))
	add(e.TLS != "", "%s", e.TLS)
	add(e.MessageID != "", "message-id %s", e.MessageID)
	add(e.Size > 0, "%d octets", e.Size)
	host := e.Host
	if host == "" {
		host = "this server"
	}
	add(e.Reply != "", "%s said: %s", host, strings.ReplaceAll(e.Reply, "\n", " | "))
	add(e.Reply == "" && e.Attempt > 0, "nothing was said")
	add(e.Attempt > 0 || e.Reason != "", "%s", strings.TrimPrefix(prefixed("attempt ", attemptNumber(e.Attempt))+prefixed(", ", e.Reason), ", "))
	add(!e.Next.IsZero(), "next attempt at %s", moment(e.Next))
	add(e.Site != "", "site %s", admin.ShortSite(e.Site))
	add(e.Cause != "", "about message %s", e.Cause)
	add(e.Report != "" && history.Kind(e.Kind) != history.Reported, "report %s", e.Report)
	add(e.Note != "" && history.Kind(e.Kind) != history.Operator, "%s", e.Note)
	return all
}

// prefixed gives "" for "".
func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// attemptNumber gives "" for 0.
func attemptNumber(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// brackets writes addresses, the first few of many.
func brackets(addresses []string) string {
	const most = 20
	var b strings.Builder
	for i, a := range addresses {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == most {
			fmt.Fprintf(&b, "and %d more", len(addresses)-most)
			break
		}
		b.WriteString("<" + a + ">")
	}
	return b.String()
}
