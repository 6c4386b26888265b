package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/spool"
)

func queueCommand() *cobra.Command {
	var flags deskFlags
	var out output
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Look at the mail that waits, and act on it",
		Long: `Show the sites that have mail waiting or in flight: those with the most of it first.

  SITE        the hosts that mail goes to; many domains may be one site
  WAITING     recipients that wait
  DUE         of these, recipients whose time has come: they wait for their turn
  IN FLIGHT   recipients that are tried right now
  OLDEST      how long ago the oldest of them came
  NEXT        when the next one is tried; "paused" is how long a site that could not be reached is left alone
  WINDOW      how many attempts may run at once now, of how many at most: it grows on success and shrinks on failure
  LAST REPLY  what the site said last

The subcommands list single recipients and act on them. When the server is down the queue can be read, but not changed.

--site takes a site as it is named here, one of its hosts, a lane (what the routes call a place: mx:example.org,
smtp://192.0.2.7:25) or the domain or host of a lane; "*" in it is any text. Where mail leads is looked up when it is due
first: until then only its lane is known.

Exit codes: 0 done, 64 wrong usage, 69 nothing matches, no such message, or the server does not run, 75 all that matches is
in flight (try again) or no answer for now, 77 not allowed, 78 the configuration is wrong.`,
		Example: `  holub queue --watch
  holub queue list --domain example.org
  holub queue show 06f3q8k2c9d1e4r7t0wx
  holub queue retry --site mx1.example.org
  holub queue hold --sender @example.com --dry-run
  holub queue bounce --older 3d --reason dns --text "No such domain"`,
		Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDesk(cmd, &flags, &out, func(ctx context.Context, desk admin.Desk, w io.Writer) error {
				return showSites(ctx, desk, out.json, w)
			})
		},
	}
	flags.add(cmd)
	out.add(cmd, true)
	cmd.AddCommand(listCommand(&flags), showCommand(&flags))
	for _, v := range actVerbs {
		cmd.AddCommand(actCommand(&flags, v))
	}
	return cmd
}

// withDesk opens a desk to look at, shows, and closes it, once or again and again.
func withDesk(cmd *cobra.Command, flags *deskFlags, out *output, show func(context.Context, admin.Desk, io.Writer) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return out.repeat(ctx, cmd.OutOrStdout(), func(w io.Writer) error {
		desk, done, err := flags.openDesk(ctx, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		defer done()
		return deskError(show(ctx, desk, w))
	})
}

// showSites prints the sites, and how the whole queue is.
func showSites(ctx context.Context, desk admin.Desk, asJSON bool, w io.Writer) error {
	sites, err := desk.Sites(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		for _, s := range sites {
			if err := printJSON(w, s); err != nil {
				return err
			}
		}
		return nil
	}
	status, err := desk.Status(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	t := newTable(w, column{name: "SITE", flex: true}, column{name: "WAITING", right: true}, column{name: "DUE", right: true, drop: 3},
		column{name: "IN FLIGHT", right: true, drop: 1}, column{name: "OLDEST", right: true}, column{name: "NEXT"},
		column{name: "WINDOW", right: true, drop: 4}, column{name: "LAST REPLY", flex: true, drop: 2})
	for _, s := range sites {
		if err := t.add(siteCells(s, now)...); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, sumOf(status))
	if status.NoRoom {
		fmt.Fprintln(w, "There is too little free space on the disk: new mail is answered 452.")
	}
	return nil
}

func siteCells(s admin.Site, now time.Time) []string {
	name, next, window, oldest := s.Name, until(s.Next, now), "", ""
	switch {
	case name == "" && len(s.Lanes) == 1:
		name = admin.ShortSite(s.Lanes[0]) + " (not looked up yet)"
	case name == "":
		name = fmt.Sprintf("(not looked up yet: %s)", counted(s.LaneCount, "place"))
	}
	name = admin.ShortSite(name)
	switch {
	case s.PausedUntil.After(now):
		next = "paused " + shortDuration(s.PausedUntil.Sub(now))
	case s.Due > 0:
		next = "now"
	}
	if s.Cap > 0 && s.Window > 0 {
		window = fmt.Sprintf("%d/%d", s.Window, s.Cap)
	}
	if !s.Oldest.IsZero() {
		oldest = shortDuration(now.Sub(s.Oldest))
	}
	return []string{name, fmt.Sprint(s.Waiting), fmt.Sprint(s.Due), fmt.Sprint(s.InFlight), oldest, next, window, s.Reply}
}

// sumOf says in one line how the queue is.
func sumOf(s admin.Status) string {
	text := "Nothing waits."
	if s.Waiting+s.InFlight > 0 {
		wait := "wait"
		if s.Waiting == 1 {
			wait = "waits"
		}
		text = fmt.Sprintf("%s %s, %d in flight, at %s.", counted(s.Waiting, "recipient"), wait, s.InFlight, counted(s.Sites, "site"))
	}
	switch {
	case s.Held < 0:
		text += " Some more may be held: holub queue list --state held"
	case s.Held == 1:
		text += " 1 is held: holub queue list --state held"
	case s.Held > 1:
		text += fmt.Sprintf(" %d are held: holub queue list --state held", s.Held)
	}
	return text
}

func listCommand(flags *deskFlags) *cobra.Command {
	var selector selectorFlags
	var out output
	var limit int
	cmd := &cobra.Command{
		Use:   "list [ID...]",
		Short: "List the recipients that wait, are held or in flight",
		Long: `List recipients that are not done, one a line, in the order in which their messages came; all of them, or those that
match all of the flags.

  ID          the queue id of the message
  STATE       waiting, held (for an operator), or in-flight (being tried right now)
  AGE         since the message came
  NEXT        when it is tried; "paused" is how long its site, which could not be reached, is left alone
  TRIES       finished attempts
  SIZE        of the message, in octets
  SENDER      the reverse-path; <> is none: a report
  RECIPIENT   the forward-path
  SITE        where it goes; "via" when an operator sent it there
  REASON      why it waits: new, dns, connect, session, refused, in-doubt, local, shutdown, no-return, unreadable, operator,
              paused. "may have been delivered": a connection broke after the final dot
  LAST REPLY  verbatim

Where a terminal is too narrow some columns are left out and texts are cut; --json has all.`,
		Example: `  holub queue list --domain example.org --state held
  holub queue list --older 1d --reason connect --limit 20
  holub queue list --sender '<>' --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := selector.selector(args)
			if err != nil {
				return err
			}
			if limit < 0 {
				return errors.New("--limit must be at least 0")
			}
			return withDesk(cmd, flags, &out, func(ctx context.Context, desk admin.Desk, w io.Writer) error {
				return showList(ctx, desk, s, limit, out.json, w, cmd.ErrOrStderr())
			})
		},
	}
	selector.add(cmd)
	out.add(cmd, true)
	cmd.Flags().IntVar(&limit, "limit", 0, "print at most so many; 0: all")
	return cmd
}

// showList prints entries as they come. Messages that can't be read are named on errOut, and are an error in the end.
func showList(ctx context.Context, desk admin.Desk, s admin.Selector, limit int, asJSON bool, w, errOut io.Writer) error {
	t := entryTable(w)
	now := time.Now()
	var unread error
	n := 0
	for e, err := range desk.List(ctx, s, limit) {
		switch {
		case errors.Is(err, spool.ErrDamaged), errors.Is(err, spool.ErrNotFound):
			fmt.Fprintln(errOut, "holub:", err)
			unread = err
			continue
		case err != nil:
			return errors.Join(t.flush(), err)
		case asJSON:
			err = printJSON(w, e)
		default:
			err = t.add(entryCells(e, now)...)
		}
		if err != nil {
			return err
		}
		n++
	}
	if err := t.flush(); err != nil {
		return err
	}
	if unread != nil {
		return fmt.Errorf("not all could be listed: %w", unread)
	}
	if !asJSON && n == 0 {
		fmt.Fprintln(w, "Nothing matches."+siteHint(ctx, desk, s.Site))
	} else if !asJSON && n == limit {
		fmt.Fprintf(w, "These are the first %d; there may be more.\n", limit)
	}
	return nil
}

func entryTable(w io.Writer) *table {
	return newTable(w, column{name: "ID"}, column{name: "STATE"}, column{name: "AGE", right: true}, column{name: "NEXT", drop: 1},
		column{name: "TRIES", right: true, drop: 3}, column{name: "SIZE", right: true, drop: 6}, column{name: "SENDER", flex: true, drop: 4},
		column{name: "RECIPIENT", flex: true}, column{name: "SITE", flex: true, drop: 7}, column{name: "REASON", flex: true, drop: 2},
		column{name: "LAST REPLY", flex: true, drop: 5})
}

func entryCells(e admin.Entry, now time.Time) []string {
	next := ""
	if e.State == spool.Waiting.String() {
		next = until(e.Next, now)
		if e.PausedUntil.After(now) {
			next = "paused " + shortDuration(e.PausedUntil.Sub(now))
		}
	}
	site := admin.ShortSite(e.Site)
	if e.Via != "" {
		site = "via " + site
	}
	reason := e.Reason
	if e.Doubts > 0 {
		reason += ", may have been delivered"
	}
	return []string{e.ID, e.State, shortDuration(now.Sub(e.Arrived)), next, fmt.Sprint(e.Attempts), shortSize(e.Size),
		"<" + e.Sender + ">", "<" + e.Recipient + ">", site, reason, e.Reply}
}
