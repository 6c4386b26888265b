package config

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Setting is one setting in force.
type Setting struct {
	Key     string // as in the file, with indexes for lists of tables: "listen[0].address"
	Value   string // as TOML
	Default string // as TOML; empty when every table must give this key, or it depends on others
	Source  string // FILE:LINE, "default", or "FILE:LINE [delivery]" in a route that takes it over from that line
	Restart bool   // a running server can't change it; see Differences
}

// Settings lists every setting in force, in the order in which the documentation and an ordered file have them.
func (c *Config) Settings() []Setting {
	return settingsOf(schema(), "", c, defaults(c.machine), c.sources)
}

// Show writes the settings in force as a table for a person: key, value, where it comes from, and the default where the
// value differs from it.
func (c *Config) Show(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tSOURCE\tDEFAULT")
	for _, s := range c.Settings() {
		line := s.Key + "\t" + s.Value + "\t" + s.Source
		if s.Default != "" && s.Default != s.Value {
			line += "\t" + s.Default
		}
		fmt.Fprintln(t, line)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return nil
}

// Doc describes a setting, a table, or a list of tables.
type Doc struct {
	Key     string // "listen.address"; lists of tables have no index
	Type    string // "duration", "integer from 1 to 65535", "table", "list of tables"
	Default string // as TOML, or in words; empty for tables and for a key that must be given
	Text    string // what it does, whole sentences
	Restart bool   // a running server can't change it
}

// Describe lists every setting there is, in the order of Settings.
func Describe() []Doc {
	return describe(schema(), defaults("localhost"))
}
