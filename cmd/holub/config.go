package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or show the configuration"}
	var file string
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration file",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				file = args[0]
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
			if len(args) == 1 {
				file = args[0]
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
