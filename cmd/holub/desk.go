package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
)

// deskFlags say which server is meant.
type deskFlags struct {
	config string
	socket string
}

func (f *deskFlags) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", "", "configuration file of the server (default: what serve runs with without one)")
	cmd.PersistentFlags().StringVar(&f.socket, "socket", "", "control socket of the server (default: that of the configuration)")
}

// client gives a desk at the control socket, whether or not anybody listens there.
func (f *deskFlags) client() (*admin.Client, *config.Config, error) {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return nil, nil, err
	}
	if f.socket != "" {
		return admin.NewClient(f.socket), cfg, nil
	}
	endpoint, err := cfg.ControlSocket()
	if err != nil {
		return nil, nil, exit(exConfig, err)
	}
	return admin.NewClient(endpoint.Path), cfg, nil
}

// openDesk gives a desk to look at: that of the running server or, when it is down, one over its data folder, which is said
// on errOut. The folder is locked while it is looked at; close ends that.
func (f *deskFlags) openDesk(ctx context.Context, errOut io.Writer) (desk admin.Desk, close func(), err error) {
	client, cfg, err := f.client()
	if err != nil {
		return nil, nil, err
	}
	if err = client.Ping(ctx); err == nil {
		return client, client.Close, nil
	}
	if !errors.Is(err, admin.ErrNotRunning) || f.socket != "" {
		return nil, nil, deskError(err)
	}
	dir := filepath.Join(cfg.DataDir, "spool")
	engine, err := lsm.Open(dir, lsm.Options{ReadOnly: true})
	switch {
	case errors.Is(err, spool.ErrInUse):
		return nil, nil, exit(exTempFail, fmt.Errorf("no server answers at its control socket, but a process has the spool: "+
			"it is starting or stopping, or its socket is another one (--socket): %w", err))
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, exit(exNoInput, fmt.Errorf("the server is not running, and there is no spool in %s: "+
			"name its configuration with -c", dir))
	case err != nil:
		return nil, nil, exit(exNoInput, fmt.Errorf("the server is not running, and its spool can't be read: %w", err))
	}
	fmt.Fprintf(errOut, "holub: the server is not running; this is what is in %s\n", cfg.DataDir)
	return offline(engine, cfg), func() { engine.Close() }, nil
}

// offline is a desk over the folder of a server that is down.
func offline(engine spool.Engine, cfg *config.Config) *admin.Reader {
	table := route.New(cfg.Hostname, cfg.DataDir, cfg.Route, cfg.Delivery)
	return &admin.Reader{Engine: engine, History: filepath.Join(cfg.DataDir, "history"), Route: func(p spool.Pending) route.Destination { return table.For(p.To, p.Via) }}
}

// deskError gives an error of a desk its exit code.
func deskError(err error) error {
	code := exTempFail
	var known exitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, admin.ErrWrong):
		code = exUsage
	case errors.Is(err, admin.ErrNotRunning), errors.Is(err, admin.ErrRefused), errors.Is(err, spool.ErrNotFound):
		code = exUnavailable
	case errors.Is(err, spool.ErrDamaged):
		code = exDataErr
	case errors.Is(err, fs.ErrPermission):
		code = exNoPerm
	}
	return exit(code, err)
}

// output is how a command shows what it found.
type output struct {
	json  bool
	watch time.Duration // 0: once
}

func (o *output) add(cmd *cobra.Command, watch bool) {
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, one object a line")
	if watch {
		cmd.Flags().DurationVar(&o.watch, "watch", 0, "print it again every 2 s, or as --watch=5s says, until interrupted")
		cmd.Flags().Lookup("watch").NoOptDefVal = "2s"
	}
}

// repeat shows once, or again and again until ctx ends. A terminal is cleared in between. show writes to w.
func (o *output) repeat(ctx context.Context, out io.Writer, show func(w io.Writer) error) error {
	if o.watch <= 0 {
		return show(out)
	}
	tick := time.NewTicker(max(o.watch, 100*time.Millisecond))
	defer tick.Stop()
	for {
		if terminalWidth(out) > 0 {
			fmt.Fprint(out, "\x1b[H\x1b[2J")
		}
		if err := show(out); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if !o.json && terminalWidth(out) == 0 {
			fmt.Fprintln(out)
		}
	}
}

// noSubcommand refuses what follows a command and is none of its subcommands.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s has no subcommand %.40q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// noArguments refuses what follows a command that has flags alone.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, and was given %.40q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// flagError says in words for people why the value of a flag can't be read.
func flagError(_ *cobra.Command, err error) error {
	var number *strconv.NumError
	var value interface {
		error
		GetValue() string
		Unwrap() error
	}
	if !errors.As(err, &value) || value.Unwrap() == nil {
		return err
	}
	cause := value.Unwrap().Error()
	text := strings.TrimSuffix(err.Error(), ": "+cause)
	switch {
	case errors.As(err, &number) && errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%s: the number is too large", text)
	case errors.As(err, &number), strings.Contains(cause, "strconv."):
		return fmt.Errorf("%s: write a whole number", text)
	case strings.HasPrefix(cause, "time: "):
		return fmt.Errorf("%s: write a duration, such as 2s or 1m", text)
	}
	return err
}

// printJSON prints one object as a line.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
