// Package config reads the one TOML file of holub and knows every setting: its key, its type, its default and what it
// does. All of that stands in one table (schema.go); reading, `holub config show` and docs/configuration.md come from
// it, and a test refuses a setting without a description.
//
// The file is strict: an unknown key or word is an error that names the nearest known one. All errors of a file are
// reported together, each with its line and column.
//
//	c := config.Default()                        // serve without a file
//	c, err := config.Load("/etc/holub.toml")     // err is Errors when the file was read and something in it is wrong
//	for _, l := range c.Listen { e, err := l.Endpoint(); open(e, l.Role, l.Networks) }
//	err = c.Show(os.Stdout)                      // every setting in force and where it came from
//	e, err := c.ControlSocket()                  // where the running server takes its operator's commands
//	restart := Differences(c, next)              // empty: a running server can change from c to next
//
// It never opens a listener, looks up a name, starts a program, or creates a folder: it reads one file and the
// certificates that are named in it, asks the system for the name of the machine, and hands back values. It does not
// decide which route a recipient takes (internal/route) and it does not fill in the placeholders of a Maildir path.
// cmd/holub calls it; internal/mta is built from what it returns.
package config
