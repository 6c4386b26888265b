package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/spool"
)

// selectorFlags are the flags that say which recipients are meant.
type selectorFlags struct {
	ids          []string
	s            admin.Selector
	older, newer string
}

func (f *selectorFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.ids, "id", nil, "queue id of a message; may be given several times, or as an argument")
	flags.StringVar(&f.s.Domain, "domain", "", "domain of the recipient; *.example.org is all below it")
	flags.StringVar(&f.s.Site, "site", "", "site, as holub queue names it, one of its hosts, or a lane or its domain; * is any text")
	flags.StringVar(&f.s.Sender, "sender", "", "address of the sender, @DOMAIN, or <> for reports")
	flags.StringVar(&f.s.Recipient, "recipient", "", "address of the recipient, or @DOMAIN")
	flags.StringVar(&f.older, "older", "", "came longer ago than this, such as 90m or 3d")
	flags.StringVar(&f.newer, "newer", "", "came less long ago than this")
	flags.StringVar(&f.s.Reason, "reason", "", "why it waits: new, dns, connect, session, refused, in-doubt, local, shutdown, no-return, unreadable, operator, paused")
	flags.StringVar(&f.s.Class, "class", "", "class by its priority: urgent, normal, bulk")
	flags.StringVar(&f.s.State, "state", "", "waiting, held, in-flight")
}

// selector reads the flags, and arguments that are ids.
func (f *selectorFlags) selector(args []string) (admin.Selector, error) {
	s := f.s
	s.IDs = append(append([]string(nil), f.ids...), args...)
	for _, id := range s.IDs {
		if _, err := spool.ParseID(strings.ToLower(id)); err != nil {
			return s, exit(exUsage, fmt.Errorf("%w: %.40q", spool.ErrID, id))
		}
	}
	for _, age := range []struct {
		name, text string
		to         *time.Duration
	}{{"--older", f.older, &s.OlderThan}, {"--newer", f.newer, &s.NewerThan}} {
		if age.text == "" {
			continue
		}
		d, err := config.ParseDuration(age.text)
		if err == nil && d == 0 {
			err = errors.New("must be more than nothing")
		}
		if err != nil {
			return s, exit(exUsage, fmt.Errorf("%s: %w", age.name, err))
		}
		*age.to = d
	}
	return s, nil
}

// actVerb is a subcommand that does something with mail.
type actVerb struct {
	verb    admin.Verb
	use     string
	short   string
	long    string
	example string
	done    string // "held %s": what was done
	text    string // what --text is for; "": there is none
	skipped string // why matching recipients are left as they are
}

// actVerbs are the subcommands that act.
var actVerbs = []actVerb{
	{admin.Retry, "retry [ID...]", "Try what waits now",
		"Make what waits due now. The pauses of its sites end. What is held must be released instead.",
		"  holub queue retry 06f3q8k2c9d1e4r7t0wx\n  holub queue retry --site mx1.example.org\n  holub queue retry --all",
		"made %s due now", "", "held: holub queue release"},
	{admin.Hold, "hold [ID...]", "Keep what waits from being tried",
		"Hold what waits: it is not tried, does not grow too old, and stays until it is released, bounced or removed.",
		"  holub queue hold --sender @example.com --text 'stolen account'", "held %s", "why; it stands in the history", "held already"},
	{admin.Release, "release [ID...]", "Try what is held",
		"Let what is held be tried now, and then by its schedule.",
		"  holub queue release --sender @example.com", "released %s", "", "not held"},
	{admin.Bounce, "bounce [ID...]", "Return mail to its sender",
		"Give mail up now: its sender gets a report, as if it had been refused.",
		"  holub queue bounce --domain exmaple.org --text 'The domain is misspelt'", "returned %s", "what the sender reads, one line of ASCII", ""},
	{admin.Remove, "remove [ID...]", "Drop mail and tell nobody",
		"Drop mail: it is neither delivered nor returned. The history keeps who did it. Count with --dry-run first.",
		"  holub queue remove --sender '<>' --older 1d --dry-run", "removed %s", "why; it stands in the history", ""},
	{admin.Reroute, "reroute TARGET [ID...]", "Send mail another way than its route",
		"Send mail to a target as in a [[route]] of the configuration (smtp://HOST:PORT, lmtp://..., mx, maildir:..., discard), and\n" +
			"make it due now; what is held stays so. TARGET routes undoes that: it follows the routes again.",
		"  holub queue reroute smtp://relay.example.net --domain example.org\n  holub queue reroute routes --all", "rerouted %s", "why; it stands in the history", ""},
}

func actCommand(flags *deskFlags, v actVerb) *cobra.Command {
	var selector selectorFlags
	var out output
	a := admin.Action{Verb: v.verb}
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Example: v.example,
		Long: v.long + "\n\nMeant are the messages whose ids are given, or the recipients that match all of the flags, or all mail with --all.\n" +
			"What is being tried right now is left alone and named. The server must run.\n\n" +
			"Exit codes: 0 done, 69 nothing matches, 75 all that matches is in flight: try again; holub queue --help has all of them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.verb == admin.Reroute {
				if len(args) == 0 {
					return errors.New("name a target as in a [[route]], such as smtp://relay.example.net, or routes")
				}
				if a.To, args = args[0], args[1:]; a.To == "routes" {
					a.To = ""
				}
			}
			var err error
			if a.Selector, err = selector.selector(args); err != nil {
				return err
			}
			if a.Selector.IsEmpty() && !a.Selector.All {
				return fmt.Errorf("%s what? Name queue ids, or flags such as --domain or --site, or --all; --dry-run only counts", v.verb)
			}
			return act(cmd, flags, v, a, out.json)
		},
	}
	selector.add(cmd)
	addActFlags(cmd, &selector, &a, v)
	out.add(cmd, false)
	return cmd
}

func addActFlags(cmd *cobra.Command, selector *selectorFlags, a *admin.Action, v actVerb) {
	flags := cmd.Flags()
	flags.BoolVar(&selector.s.All, "all", false, "all mail in the queue")
	flags.BoolVar(&a.DryRun, "dry-run", false, "only count, and show the first few")
	if v.text != "" {
		flags.StringVar(&a.Text, "text", "", v.text)
	}
}

// act carries an action out and says what it did, also of one that broke off.
func act(cmd *cobra.Command, flags *deskFlags, v actVerb, a admin.Action, asJSON bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, _, err := flags.client()
	if err != nil {
		return err
	}
	defer client.Close()
	result, failed := client.Act(ctx, a)
	switch {
	case errors.Is(failed, context.Canceled):
		failed = fmt.Errorf("interrupted: a part may have been done; look with holub queue list: %w", failed)
	case errors.Is(failed, admin.ErrNotRunning):
		failed = fmt.Errorf("%w; only a running server changes its queue: start it with holub serve", failed)
	}
	if failed != nil && result.Messages == 0 {
		return deskError(failed)
	}
	if asJSON || !isNothing(result) {
		if err := sayDone(cmd.OutOrStdout(), v, a, result, asJSON); err != nil {
			return err
		}
	}
	for _, p := range result.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), "holub:", p)
	}
	if failed == nil && len(result.Problems) > 0 {
		return exit(exUnavailable, fmt.Errorf("%s could not be read", counted(len(result.Problems), "message")))
	}
	if failed == nil {
		failed = fruitless(ctx, client, a, result)
	}
	return deskError(failed)
}

// isNothing tells that an action met no recipient.
func isNothing(r admin.Result) bool { return r.Recipients+r.Busy+r.Skipped+r.Kept == 0 }

// fruitless is the error of an action that did nothing of what it was meant for. To hold what is held is none.
func fruitless(ctx context.Context, desk admin.Desk, a admin.Action, r admin.Result) error {
	switch {
	case isNothing(r):
		return exit(exUnavailable, errors.New("nothing matches; nothing was done."+siteHint(ctx, desk, a.Selector.Site)))
	case r.Recipients+r.Skipped+r.Kept == 0:
		return exit(exTempFail, errors.New("all that matches is in flight; try again in a moment"))
	case a.Verb == admin.Retry && r.Recipients+r.Busy == 0:
		return exit(exUnavailable, errors.New("all that matches is held"))
	}
	return nil
}

// sayDone prints what an action did.
func sayDone(w io.Writer, v actVerb, a admin.Action, r admin.Result, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	if _, err := fmt.Fprintln(w, doneText(v, a, r)); err != nil {
		return err
	}
	if r.DryRun && len(r.Sample) > 0 {
		t := entryTable(w)
		for _, e := range r.Sample {
			if err := t.add(entryCells(e, time.Now())...); err != nil {
				return err
			}
		}
		if err := t.flush(); err != nil {
			return err
		}
		if more := r.Recipients - len(r.Sample); more > 0 {
			fmt.Fprintf(w, "... and %d more\n", more)
		}
	}
	for _, e := range r.BusyNames {
		fmt.Fprintf(w, "in flight: %s <%s>\n", e.ID, printable([]byte(e.Recipient)))
	}
	if more := r.Busy - len(r.BusyNames); more > 0 {
		fmt.Fprintf(w, "in flight: %d more\n", more)
	}
	return nil
}

// doneText is the sentence about an action: "held 12 recipients of 9 messages; 1 is in flight and was left alone".
func doneText(v actVerb, a admin.Action, r admin.Result) string {
	is := func(n int) string {
		if n == 1 {
			return "1 is"
		}
		return fmt.Sprintf("%d are", n)
	}
	format, left := v.done, "was left alone"
	if r.Busy != 1 {
		left = "were left alone"
	}
	if r.DryRun {
		format, left = "would "+string(v.verb)+" %s", "would be left alone"
	}
	text := fmt.Sprintf(format, "nothing")
	if r.Recipients > 0 {
		text = fmt.Sprintf(format, counted(r.Recipients, "recipient")+" of "+counted(r.Messages, "message"))
	}
	if v.verb == admin.Reroute && r.Recipients > 0 {
		text += " to " + routesOr(a.To)
	}
	if r.Busy > 0 {
		text += fmt.Sprintf("; %s in flight and %s", is(r.Busy), left)
	}
	if r.Skipped > 0 {
		text += fmt.Sprintf("; %s %s", is(r.Skipped), v.skipped)
	}
	if r.Kept > 0 {
		text += fmt.Sprintf("; %s held, as there is nobody to return it to: holub queue remove", is(r.Kept))
	}
	return text
}

func routesOr(target string) string {
	if target == "" {
		return "where the routes say"
	}
	return target
}
