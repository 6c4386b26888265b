package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/admin"
)

func reloadCommand() *cobra.Command {
	var flags deskFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running server read its configuration again",
		Long: "Have the running server read its configuration file again, as SIGHUP does. It is taken as a whole, and what waits\n" +
			"follows the new routes and schedules; or it is refused as a whole, with the reason, and the old one stays in force.\n\n" +
			"Exit codes: 0 done, 69 no server listens at its control socket, 78 refused.",
		Example: "  holub reload -c /etc/holub.toml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := flags.reloadClient()
			if err != nil {
				return err
			}
			defer client.Close()
			done, err := client.Reload(cmd.Context())
			if errors.Is(err, admin.ErrRefused) {
				return exit(exConfig, err)
			}
			if errors.Is(err, admin.ErrNotRunning) && flags.socket == "" {
				err = fmt.Errorf("%w; the socket was looked for where the file puts it now: if data_dir or the control socket of it "+
					"was changed, name the one in use with --socket", err)
			}
			if err != nil {
				return deskError(err)
			}
			for _, change := range done.Changes {
				fmt.Fprintln(cmd.OutOrStdout(), printable([]byte(change)))
			}
			if len(done.Changes) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "Nothing has changed.")
			}
			return nil
		},
	}
	flags.add(cmd)
	return cmd
}

// reloadClient finds the server by its socket. The new file may be wrong, which is for the server to say; but without
// --socket it must be good enough to name the socket.
func (f *deskFlags) reloadClient() (*admin.Client, error) {
	if f.socket != "" {
		return admin.NewClient(f.socket), nil
	}
	client, _, err := f.client()
	return client, err
}
