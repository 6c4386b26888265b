package config

import "fmt"

// Change is a setting that differs between two configurations.
type Change struct {
	Key   string // as in Setting
	Old   string // as TOML
	New   string // as TOML
	Place string // FILE:LINE in the new file, or FILE where it leaves the setting out; "default" without a file
}

// String says in one line what can't be done and what to do instead.
func (c Change) String() string {
	return fmt.Sprintf("%s: %s is %s, but the running server has %s and can't change it; "+
		"restart holub, or write the old value again", c.Place, c.Key, c.New, c.Old)
}

// Differences lists what stands between a running server with the configuration old and the new one: the settings that
// only a restart can change, in the order of Settings. Empty: everything that differs can be changed while it runs.
func Differences(old, new *Config) []Change {
	before := map[string]string{}
	for _, s := range old.Settings() {
		if s.Restart {
			before[s.Key] = s.Value
		}
	}
	var all []Change
	for _, s := range new.Settings() {
		if !s.Restart || s.Value == before[s.Key] {
			continue
		}
		place := s.Source
		if place == "default" && new.file != "" {
			place = new.file
		}
		all = append(all, Change{Key: s.Key, Old: before[s.Key], New: s.Value, Place: place})
	}
	return all
}

// Changes lists what differs between two configurations, a line for each setting, in the order of Settings: for whoever
// applied the new one and wants to see what that meant.
func Changes(old, new *Config) []string {
	before, after := map[string]string{}, map[string]string{}
	for _, s := range old.Settings() {
		before[s.Key] = s.Value
	}
	var lines []string
	for _, s := range new.Settings() {
		after[s.Key] = s.Value
		was, there := before[s.Key]
		switch {
		case !there:
			lines = append(lines, fmt.Sprintf("%s = %s (new)", s.Key, s.Value))
		case was != s.Value:
			lines = append(lines, fmt.Sprintf("%s = %s (was %s)", s.Key, s.Value, was))
		}
	}
	for _, s := range old.Settings() {
		if _, there := after[s.Key]; !there {
			lines = append(lines, fmt.Sprintf("%s is gone (was %s)", s.Key, s.Value))
		}
	}
	return lines
}
