package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/smtp"
)

func retryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry",
		Short: "Show when mail is tried again",
		Args:  noSubcommand,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("say what to do: holub retry simulate; to try waiting mail now: holub queue retry")
		},
	}
	cmd.AddCommand(simulateCommand())
	return cmd
}

func simulateCommand() *cobra.Command {
	var file string
	var out output
	var limit int
	cmd := &cobra.Command{
		Use:   "simulate [ADDRESS]",
		Short: "Print the plan of attempts for mail that keeps failing",
		Long: `Print when mail to ADDRESS is tried if every attempt fails for now: by the route of that address, or by [delivery] where
no address is given. Nothing is sent, and no server is asked.

  ATTEMPT   its number
  AGE       of the message
  EARLIEST  and LATEST: each pause is made up to a tenth shorter or longer by chance, so that what failed together does not
            come back together

While a site can't be reached at all it is left alone, and its mail may be tried later than planned here, never earlier.`,
		Example: "  holub retry simulate -c /etc/holub.toml\n  holub retry simulate ann@example.org",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("name one address, or none for the plan of [delivery]")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			p, err := planFor(cfg, args)
			if err != nil {
				return err
			}
			if limit < 1 {
				return errors.New("--limit must be at least 1")
			}
			return p.show(limit, out.json, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file (default: what serve runs with without one)")
	cmd.Flags().IntVar(&limit, "limit", 15, "print the first so many attempts, and the last")
	out.add(cmd, false)
	return cmd
}

// retryPlan is the schedule of one address.
type retryPlan struct {
	what   string
	lane   string
	policy route.Policy
	never  string // why there are no attempts; "": there are
}

// planFor finds the schedule that an address would have.
func planFor(cfg *config.Config, args []string) (retryPlan, error) {
	if len(args) == 0 {
		d := cfg.Delivery
		return retryPlan{what: "mail that no [[route]] says otherwise for", policy: route.Policy{Retry: d.Retry, WarnAfter: d.WarnAfter,
			GiveUpAfter: d.GiveUpAfter, Connections: d.ConnectionsPerSite}}, nil
	}
	to, err := parseAddress(args[0])
	if err != nil {
		err = fmt.Errorf("%w: %.80q", smtp.ErrMailbox, args[0]) // as typed
	} else if to.IsNull() {
		err = fmt.Errorf("%w: %q is no recipient", smtp.ErrMailbox, args[0])
	}
	if err != nil {
		return retryPlan{}, exit(exUsage, err)
	}
	d := route.New(cfg.Hostname, cfg.DataDir, cfg.Route, cfg.Delivery).Route(to)
	p := retryPlan{what: "mail to " + to.String(), lane: d.Lane, policy: *d.Policy}
	switch d.Kind {
	case config.TargetDiscard:
		p.never = "It is discarded at its first attempt."
	case config.TargetReject:
		p.never = "It is refused: " + d.Text
	}
	return p, nil
}

// plannedRow is a row of the plan as JSON; times are in seconds of the age of the message.
type plannedRow struct {
	Event    string  `json:"event"` // attempt, warning, return
	Attempt  int     `json:"attempt,omitempty"`
	Age      float64 `json:"age"`
	Earliest float64 `json:"earliest"`
	Latest   float64 `json:"latest"`
}

func (p retryPlan) show(limit int, asJSON bool, w io.Writer) error {
	if p.never != "" {
		if asJSON {
			return nil
		}
		_, err := fmt.Fprintln(w, p.never)
		return err
	}
	schedule := queue.Schedule{Retry: p.policy.Retry, GiveUp: p.policy.GiveUpAfter}
	rows, more := schedule.Simulate(p.policy.WarnAfter, limit)
	if asJSON {
		for _, r := range rows {
			row := plannedRow{"attempt", r.Attempt, r.At.Seconds(), r.Min.Seconds(), r.Max.Seconds()}
			if r.Attempt == 0 {
				row.Event = "warning"
			} else if r.Last {
				row.Event = "return"
			}
			if err := printJSON(w, row); err != nil {
				return err
			}
		}
		return nil
	}
	var pauses []string
	for _, d := range p.policy.Retry {
		pauses = append(pauses, config.FormatDuration(d))
	}
	fmt.Fprintf(w, "The plan for %s", p.what)
	if p.lane != "" {
		fmt.Fprintf(w, ", which goes to %s", printable([]byte(admin.ShortSite(p.lane))))
	}
	fmt.Fprintf(w, ":\npauses of %s, then the last one again; warning after %s, returned after %s.\n\n", strings.Join(pauses, ", "),
		config.FormatDuration(p.policy.WarnAfter), config.FormatDuration(p.policy.GiveUpAfter))
	return p.table(rows, more, w)
}

func (p retryPlan) table(rows []queue.Planned, more int, w io.Writer) error {
	t := newTable(w, column{name: "ATTEMPT", right: true}, column{name: "AGE"}, column{name: "EARLIEST"}, column{name: "LATEST"}, column{name: "WHAT"})
	for _, r := range rows {
		number, what := fmt.Sprint(r.Attempt), "tried"
		switch {
		case r.Attempt == 0:
			number, what = "", "the sender is told of the delay"
		case r.Last:
			what = "tried, and if that fails returned to the sender"
		}
		if r.Last && more > 0 {
			if err := t.add("...", "", "", "", counted(more, "more attempt")); err != nil {
				return err
			}
		}
		age := config.FormatDuration
		if err := t.add(number, age(r.At), age(r.Min), age(r.Max), what); err != nil {
			return err
		}
	}
	return t.flush()
}
