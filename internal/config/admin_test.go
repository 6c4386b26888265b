package config

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holub-mail/holub/transport"
)

func TestControlSocket(t *testing.T) {
	for _, c := range []struct {
		dataDir, socket, path string
		mode                  fs.FileMode
	}{
		{"", "", "holub-data/control.sock", 0o600},
		{"/var/lib/holub/", "", "/var/lib/holub/control.sock", 0o600},
		{"/var/lib/ho?l%ub", "", "/var/lib/ho?l%ub/control.sock", 0o600},
		{"@data", "", "./@data/control.sock", 0o600}, // a folder, not a name outside of the file system
		{"/data", "run/holub.sock", "run/holub.sock", 0o600},
		{"/data", "./@holub", "./@holub", 0o600},
		{"/data", "/run/a%3Fb%25.sock?mode=660", "/run/a?b%.sock", 0o660},
		{"/data", "{data_dir}/../{data_dir}.sock?mode=0666", "/data.sock", 0o666},
		{"/data", "/" + strings.Repeat("x", maxSocketPath-1), "/" + strings.Repeat("x", maxSocketPath-1), 0o600},
	} {
		text := ""
		if c.dataDir != "" {
			text += "data_dir = " + quote(c.dataDir) + "\n"
		}
		if c.socket != "" {
			text += "admin.socket = " + quote(c.socket) + "\n"
		}
		cfg, err := Parse("holub.toml", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		e, err := cfg.ControlSocket()
		if err != nil || e.Kind != transport.Unix || filepath.ToSlash(e.Path) != c.path || e.Mode != c.mode {
			t.Errorf("%q: the socket is %+v, %v; want %s with %o", text, e, err, c.path, c.mode)
		}
		e.Mode = 0
		if err := e.CanDial(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestControlSocketElsewhere moves the data folder of a good configuration, as a flag or a test does.
func TestControlSocketElsewhere(t *testing.T) {
	c := Default()
	c.DataDir = "/moved"
	if e, err := c.ControlSocket(); err != nil || filepath.ToSlash(e.Path) != "/moved/control.sock" {
		t.Errorf("in /moved the socket is %+v, %v", e, err)
	}
	for dir, want := range map[string]string{
		"/" + strings.Repeat("x", 90): "has 104 octets, and a Unix socket at most 103",
		"a\x00b":                      "control characters",
	} {
		c.DataDir = dir
		if e, err := c.ControlSocket(); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "admin.socket") {
			t.Errorf("in %q the socket is %+v, %v; want an error with %q", dir, e, err, want)
		}
	}
	c = Default()
	c.Admin.Socket = ""
	if e, err := c.ControlSocket(); err == nil {
		t.Errorf("an empty path is %+v", e)
	}
}
