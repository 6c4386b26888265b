package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

func newHolub(c *store) Server {
	return &product{
		name:    "holub",
		install: func(ctx context.Context) (string, error) { return buildHolub(ctx, c) },
		plan:    func(s Setup) (plan, error) { return planHolub(c, s) },
	}
}

// buildHolub builds the program of this module, as it is now, with the profile that its folder may have.
func buildHolub(ctx context.Context, c *store) (version string, err error) {
	if err := need("building holub", "go"); err != nil {
		return "", err
	}
	mod, err := run(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	if mod = strings.TrimSpace(mod); mod == "" || mod == os.DevNull {
		return "", errors.New("holub is built from its source: run this in its module")
	}
	dir, err := c.folder("holub")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	binary := filepath.Join(dir, "holub")
	if _, err := run(ctx, filepath.Dir(mod), "go", "build", "-trimpath", "-o", binary, "./cmd/holub"); err != nil {
		return "", err
	}
	out, err := run(ctx, "", binary, "--version")
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(strings.TrimSpace(out), "holub version "), nil
}

func planHolub(c *store, s Setup) (plan, error) {
	dir, err := c.folder("holub")
	if err != nil {
		return plan{}, err
	}
	binary, config := filepath.Join(dir, "holub"), filepath.Join(s.Dir, "holub.toml")
	return plan{
		store: c,
		files: []file{{"holub.toml", holubConfig(s)}},
		args:  []string{binary, "serve", "-c", config},
		queued: func(ctx context.Context) (int, error) {
			out, err := run(ctx, s.Dir, binary, "queue", "--json", "-c", config)
			if err != nil {
				return 0, err
			}
			return sumSites(out)
		},
	}, nil
}

// sumSites adds up the recipients that wait or are in flight at the sites of `holub queue --json`.
func sumSites(out string) (int, error) {
	n := 0
	for line := range strings.Lines(out) {
		var site struct {
			Waiting  int `json:"waiting"`
			InFlight int `json:"in_flight"`
		}
		if err := json.Unmarshal([]byte(line), &site); err != nil {
			return 0, fmt.Errorf("read %q: %w", line, err)
		}
		n += site.Waiting + site.InFlight
	}
	return n, nil
}

// holubConfig leaves nearly everything at its default. Every message is synced before its 250.
func holubConfig(s Setup) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Durable by default: a 250 is sent after the message is synced; one sync serves all sessions that wait.
hostname = %q
data_dir = %q

[[listen]]
address = %q
networks = ["127.0.0.0/8"]
`, greeting, filepath.Join(s.Dir, "data"), s.Addr)
	if s.TLS != nil {
		fmt.Fprintf(&b, "tls = \"starttls\"\ncertificate = %q\nkey = %q\n", filepath.Join(s.Dir, "tls/cert.pem"),
			filepath.Join(s.Dir, "tls/key.pem"))
	}
	tls := "tls = \"none\"\n"
	if s.TLS != nil {
		tls = "tls = \"opportunistic\"\n"
	}
	if s.keeps() {
		b.WriteString(`
# Mail is kept: nothing answers at the next hop, and after the first attempts its site is left alone for a day.
[[route]]
to = "smtp://127.0.0.1:1"
tls = "none"
retry = ["1d"]

[delivery]
pause_max = "1d"
`)
	}
	b.WriteString(s.each("\n[[route]]\nmatch = { domain = [%q] }\nto = \"smtp://%s:%s\"\n"+tls,
		"\n[[route]]\nto = \"smtp://%s:%s\"\n"+tls))
	fmt.Fprintf(&b, `
[limits]
message_size = %d
recipients = 10000
sessions = %d
`, largest, s.sessions()+100)
	return b.String()
}

// cores is how many cores a server may use.
func (s Setup) cores() string {
	if s.Cores > 0 {
		return strconv.Itoa(s.Cores)
	}
	return strconv.Itoa(runtime.NumCPU())
}
