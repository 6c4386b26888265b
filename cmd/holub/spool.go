package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/archive"
	"github.com/holub-mail/holub/internal/spool/lsm"
)

func spoolCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "Check the spool, or move its mail to another machine",
		Long: "Work on the spool of a server that is stopped: the folder belongs to one process at a time. To look at mail and to act\n" +
			"on it while the server runs, see holub queue.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("say what to do: holub spool check, holub spool export FILE, or holub spool import FILE")
		},
	}
	cmd.PersistentFlags().StringVarP(&file, "config", "c", "", "configuration file (default: what serve runs with without one)")
	cmd.AddCommand(spoolCheckCommand(&file), spoolExportCommand(&file), spoolImportCommand(&file))
	return cmd
}

// withSpool opens the spool of a configuration, works on it until it is done or interrupted, and closes it.
func withSpool(cmd *cobra.Command, file string, opts lsm.Options,
	work func(ctx context.Context, e spool.Engine, dir string) error) error {
	cfg, err := loadConfig(file)
	if err != nil {
		return err
	}
	dir := filepath.Join(cfg.DataDir, "spool")
	engine, err := lsm.Open(dir, opts)
	switch {
	case errors.Is(err, spool.ErrInUse):
		return exit(exTempFail, fmt.Errorf("the server runs, or another process has its spool; stop it first: %w", err))
	case errors.Is(err, spool.ErrDamaged) && opts.ReadOnly:
		return exit(exDataErr, fmt.Errorf("the spool is damaged and can't be looked at as it is. %s. The damage: %s",
			mends(dir), oneLine(err)))
	case errors.Is(err, spool.ErrDamaged):
		return exit(exDataErr, errors.New(oneLine(err)))
	case errors.Is(err, fs.ErrNotExist):
		return exit(exNoInput, fmt.Errorf("there is no spool in %s: name the configuration of the server with -c", dir))
	case errors.Is(err, fs.ErrPermission):
		return exit(exNoPerm, fmt.Errorf("may not open the spool; do it as the user of the server, or as root: %w", err))
	case err != nil:
		return exit(exNoInput, err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return errors.Join(work(ctx, engine, dir), exit(exOSErr, engine.Close()))
}

// mends says what becomes of a damaged spool.
func mends(dir string) string {
	return "At its start `holub serve` turns back single bits that flipped and sets aside what it can't mend, with copies in " +
		filepath.Join(dir, "damaged")
}

// oneLine gives the text of an error without what the store says to itself in it.
func oneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n<corruption detail carrier>", "")
	return printable([]byte(strings.ReplaceAll(text, "\n", "; ")))
}

func spoolCheckCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read everything in the spool and say what is wrong",
		Long: "Read every message with its content and its index, and say what can't be read or does not fit together. Nothing is\n" +
			"changed: what is damaged is mended or set aside when the server starts. Exit code 65: something is damaged.",
		Example: "  holub spool check -c /etc/holub.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withSpool(cmd, *file, lsm.Options{ReadOnly: true}, func(ctx context.Context, e spool.Engine, dir string) error {
				return checkSpool(ctx, e, dir, cmd.OutOrStdout())
			})
		},
	}
}

// checkSpool prints what is wrong in a spool, what is in it, and what to do.
func checkSpool(ctx context.Context, e spool.Engine, dir string, out io.Writer) error {
	sum, err := spool.Check(ctx, e, func(f spool.Finding) { fmt.Fprintln(out, printable([]byte(f.String()))) })
	if err != nil {
		return exit(exOSErr, err)
	}
	fmt.Fprintf(out, "%s with %s (%d waiting, %d held), content of %s\n", counted(sum.Messages, "message"),
		counted(sum.Recipients, "recipient"), sum.Waiting, sum.Held, shortSize(sum.Octets))
	if sum.Damaged > 0 {
		fmt.Fprintf(out, "%s set aside, which nothing is lost with as long as the folder is kept\n", counted(sum.Damaged, "damaged record"))
	}
	if sum.Bad == 0 {
		fmt.Fprintln(out, "all that can be delivered is sound")
		return nil
	}
	fmt.Fprintln(out, mends(dir))
	return exit(exDataErr, fmt.Errorf("the spool has %s", counted(sum.Bad, "fault")))
}

func spoolExportCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "export FILE",
		Short: "Write all mail of the spool to a file",
		Long: "Write all mail that waits or is held, with the state of each recipient, to a new file, or to standard output (-). The spool\n" +
			"stays as it is: import the file elsewhere, and do not start both servers, or the mail is sent twice. Exit code 65: what is\n" +
			"named was damaged and left out; the file is good without it.",
		Example: "  holub spool export queue.holub\n  holub spool export - | ssh mx2 holub spool import -",
		Args:    oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withSpool(cmd, *file, lsm.Options{ReadOnly: true}, func(ctx context.Context, e spool.Engine, _ string) error {
				n, err := exportTo(ctx, e, args[0], cmd.OutOrStdout())
				if err != nil && !errors.Is(err, spool.ErrDamaged) {
					return exit(exOSErr, err)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "exported %s\n", counted(n, "message"))
				return exit(exDataErr, err)
			})
		},
	}
}

// exportTo writes the archive; a file appears under its name only when all of it is on disk, and never replaces another. With
// spool.ErrDamaged it is there, without the messages that the error names.
func exportTo(ctx context.Context, e spool.Engine, name string, stdout io.Writer) (n int, err error) {
	if name == "-" {
		return archive.Export(ctx, e, stdout)
	}
	if _, err := os.Lstat(name); err == nil {
		return n, fmt.Errorf("%s is there already; choose another name: %w", name, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // for its owner alone
	if err != nil {
		return n, err
	}
	defer os.Remove(f.Name())
	n, left := archive.Export(ctx, e, f)
	if !errors.Is(left, spool.ErrDamaged) {
		left, err = nil, left
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return n, fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Link(f.Name(), name); err != nil {
		return n, err
	}
	return n, left
}

func spoolImportCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Take the mail of an exported file into the spool",
		Long: "Take all mail of a file that holub spool export wrote, or of standard input (-), into the spool; it is made where there is\n" +
			"none. Messages that are there already are left as they are, so an import that broke off can be repeated. Exit code 65:\n" +
			"what is named was changed or cut since the export and left out.",
		Example: "  holub spool import queue.holub -c /etc/holub.toml",
		Args:    oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return exit(exNoInput, err)
				}
				defer f.Close()
				in = f
			}
			return withSpool(cmd, *file, lsm.Options{}, func(ctx context.Context, e spool.Engine, _ string) error {
				added, known, err := archive.Import(ctx, e, in)
				fmt.Fprintf(cmd.ErrOrStderr(), "imported %s; %d were there already\n", counted(added, "message"), known)
				return exit(importCode(err), err)
			})
		},
	}
}

// importCode tells what is wrong with the file from what is wrong with the machine.
func importCode(err error) int {
	for _, ofFile := range []error{archive.ErrEnvelope, archive.ErrCut, archive.ErrHeader, spool.ErrDamaged} {
		if errors.Is(err, ofFile) {
			return exDataErr
		}
	}
	return exOSErr
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one file, or -")
	}
	return nil
}
