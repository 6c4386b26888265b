package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/holub-mail/holub/transport"
)

// Admin says how an operator speaks with the running server.
type Admin struct {
	Socket string // as in the file, with the placeholder {data_dir} not filled in; see Config.ControlSocket
}

// controlMode is who may open the control socket unless its setting says otherwise: the user of the server.
const controlMode = 0o600

// maxSocketPath is the longest path of a Unix socket that every system takes, in octets: the BSDs and macOS have room
// for 104 with the closing NUL, Linux for 108.
const maxSocketPath = 103

func adminRows() []field[Admin] {
	return []field[Admin]{
		needsRestart(one("socket", text("path", "/run/holub/control.sock", checkControlSocket),
			func(a *Admin) *string { return &a.Socket },
			"The Unix socket at which the running server takes the commands `holub queue`, `holub trace` and `holub reload`. "+
				"Only the user of the server may open it, and root; `?mode=0660` behind the path lets its group in too, and "+
				"who may open it rules the queue. `{data_dir}` stands for that setting; a relative path is relative to the "+
				"working directory of holub. The whole path has at most 103 octets; a `%` in it is written `%25`, a `?` `%3F`. "+
				"A server always has one: to leave it out is to take the default.")),
	}
}

// ControlSocket is where the running server takes its operator's commands: a Unix endpoint with {data_dir} filled in and
// the mode, for transport.Listen; to dial it, set Mode to 0. A Config from this package gives no error unless DataDir
// or Admin were changed to what makes a path that no socket can have.
func (c *Config) ControlSocket() (transport.Endpoint, error) {
	e, err := parseControlSocket(c.Admin.Socket)
	if err != nil {
		return e, fmt.Errorf("admin.socket: %w", err)
	}
	e.Path = filepath.Clean(strings.ReplaceAll(e.Path, "{data_dir}", c.DataDir))
	if strings.HasPrefix(e.Path, "@") { // a file, not a name outside of the file system
		e.Path = "./" + e.Path
	}
	if n := len(e.Path); n > maxSocketPath {
		return e, fmt.Errorf("admin.socket: the path %s has %d octets, and a Unix socket at most %d; "+
			"write a shorter one, such as \"/run/holub/control.sock\", as socket in [admin]",
			quoteShort(e.Path), n, maxSocketPath)
	}
	if err := e.CanListen(); err != nil {
		return e, fmt.Errorf("admin.socket: %s: %w", quoteShort(e.Path), reason(err))
	}
	return e, nil
}

// checkControlSocket refuses what can't be the path of the control socket, whatever the data folder is.
func checkControlSocket(s string) error {
	_, err := parseControlSocket(s)
	return err
}

// parseControlSocket reads the path with its mode; the placeholder stays in it.
func parseControlSocket(s string) (transport.Endpoint, error) {
	path, _, _ := strings.Cut(s, "?")
	switch {
	case path == "":
		return transport.Endpoint{}, fmt.Errorf("%s is not a path; write one such as \"/run/holub/control.sock\", "+
			"or leave socket out for the one in data_dir", quoteShort(s))
	case strings.HasPrefix(path, "unix:"):
		return transport.Endpoint{}, fmt.Errorf("%s: it is always a Unix socket; write %s", quoteShort(s),
			quoteShort(strings.TrimPrefix(s, "unix:")))
	case strings.HasPrefix(path, "@"):
		return transport.Endpoint{}, fmt.Errorf("%s is a name outside of the file system, where no mode keeps others out; "+
			"write a path such as \"/run/holub/control.sock\"", quoteShort(s))
	}
	e, err := transport.ParseEndpoint("unix:" + s)
	if err != nil {
		return e, fmt.Errorf("%s: %w", quoteShort(s), reason(err))
	}
	if e.Mode == 0 {
		e.Mode = controlMode
	}
	return e, checkPlaceholders(s, e.Path, []string{"data_dir"})
}

// checkControlSocket looks at the path of the control socket in full, and at the listeners that want the same one.
func (r *reader) checkControlSocket(c *Config) {
	if r.bad["admin.socket"] || r.bad["data_dir"] {
		return
	}
	e, err := c.ControlSocket()
	if err != nil {
		r.fail("", r.firstPlace("admin.socket", "data_dir"), "%v", err)
		return
	}
	for i, l := range c.Listen {
		address := fmt.Sprintf("listen[%d].address", i)
		there, err := l.Endpoint()
		if err != nil || !r.given(address) || there.Kind != transport.Unix ||
			filepath.Clean(there.Path) != filepath.Clean(e.Path) {
			continue
		}
		r.fail(address, r.at[address], "%s: %s is the control socket of the server, admin.socket; write another path",
			address, quoteShort(l.Address))
	}
}
