package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or show the configuration",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("say what to do: holub config check, or holub config show")
		},
	}
	var file string
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration file",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := onlyFile(file, args)
			if err != nil {
				return err
			}
			if _, err := loadConfig(file); err != nil {
				return err
			}
			if file == "" {
				file = "the built-in configuration"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", file)
			return nil
		},
	}
	show := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show every effective setting, where it came from, and its default",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := onlyFile(file, args)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			return cfg.Show(cmd.OutOrStdout())
		},
	}
	cmd.PersistentFlags().StringVarP(&file, "config", "c", "", "configuration file")
	cmd.AddCommand(check, show)
	return cmd
}

// onlyFile gives the one file that was named, by -c or as an argument; "" where none was.
func onlyFile(flag string, args []string) (string, error) {
	switch {
	case len(args) == 0:
		return flag, nil
	case flag != "":
		return "", fmt.Errorf("name the file once: as -c %s or as %s", flag, args[0])
	}
	return args[0], nil
}
