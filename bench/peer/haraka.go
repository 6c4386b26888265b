package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// harakaVersion is the one that is installed: the last one that was tried here.
const harakaVersion = "3.3.4"

func newHaraka(c *store) Server {
	return &product{
		name:    "haraka",
		durable: "syncs the file of a message and not its folder",
		install: func(ctx context.Context) (string, error) { return installHaraka(ctx, c) },
		plan: func(s Setup) (plan, error) {
			dir, err := c.folder("haraka-" + harakaVersion)
			if err != nil {
				return plan{}, err
			}
			return planHaraka(c, s, dir), nil
		},
	}
}

// installHaraka takes Haraka without its optional plugins, which nothing here uses; so nothing needs to be compiled.
func installHaraka(ctx context.Context, c *store) (string, error) {
	if err := need("Haraka", "node"); err != nil {
		return "", err
	}
	dir, err := c.once("haraka-"+harakaVersion, func(dir string) error {
		if err := need("installing Haraka", "npm"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, installTime)
		defer cancel()
		_, err := run(ctx, dir, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--omit=optional",
			"--ignore-scripts", "Haraka@"+harakaVersion)
		return err
	})
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "node_modules/Haraka/package.json"))
	if err != nil {
		return "", err
	}
	var about struct {
		Version string `json:"version"`
	}
	err = json.Unmarshal(text, &about)
	return about.Version, err
}

func planHaraka(c *store, s Setup, dir string) plan {
	plugins := "bench\n"
	files := []file{
		{"config/smtp.ini", fmt.Sprintf("listen=%s\nnodes=%s\n", s.Addr, s.cores())},
		{"config/connection.ini", harakaConnection()},
		{"config/outbound.ini", harakaOutbound(s)},
		{"config/log.ini", "[main]\nlevel=notice\ntimestamps=true\n"},
		{"config/me", greeting + "\n"},
		{"plugins/bench.js", harakaPlugin(s)},
	}
	if s.TLS != nil {
		plugins = "tls\n" + plugins
		files = append(files, file{"config/tls.ini", fmt.Sprintf(`key=%[1]s/tls/key.pem
cert=%[1]s/tls/cert.pem
dhparam=dhparams.pem
requestCert=false
rejectUnauthorized=false
[outbound]
rejectUnauthorized=false
`, s.Dir)}, file{"config/dhparams.pem", ffdhe2048})
	}
	files = append(files, file{"config/plugins", plugins})
	return plan{
		store:   c,
		files:   files,
		folders: []string{"queue"},
		// Its file operations run on threads of a pool, and each sync holds one of the four that it has by default.
		env:  []string{"UV_THREADPOOL_SIZE=64"},
		args: []string{"node", filepath.Join(dir, "node_modules/Haraka/bin/haraka"), "-c", s.Dir},
		queued: func(ctx context.Context) (int, error) {
			return countFiles(ctx, filepath.Join(s.Dir, "queue"), func(path string) bool {
				return !strings.HasPrefix(filepath.Base(path), ".")
			})
		},
	}
}

// ffdhe2048 is the group of RFC 7919 A.1. Without a file Haraka would look for a prime of its own while it serves.
const ffdhe2048 = `-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
`

// harakaConnection raises the limits. Haraka breaks where a section of this file is missing.
func harakaConnection() string {
	return fmt.Sprintf(`[max]
bytes=%d
mime_parts=1000
line_length=2048
data_line_length=992
[headers]
max_lines=1000
max_received=100
[haproxy]
enabled=false
[message]
helo=Hello.
close=Goodbye.
[uuid]
banner_chars=6
deny_chars=0
`, largest)
}

// harakaOutbound says how mail leaves.
func harakaOutbound(s Setup) string {
	return fmt.Sprintf(`; Haraka syncs a queue file before its 250 and renames it after; it does not sync the folder. It has a queue file per
; domain of a message, and opens a connection for each.
concurrency_max=200
enable_tls=%t
temp_fail_intervals=1m*100
`, s.TLS != nil)
}

// harakaPlugin takes mail from everyone who can connect, and names the hops or keeps the mail.
func harakaPlugin(s Setup) string {
	var b strings.Builder
	b.WriteString(`'use strict'
// Whoever can connect may relay.
exports.hook_connect = (next, connection) => {
    connection.relaying = true
    next()
}
// No look-ups of clients.
exports.hook_lookup_rdns = (next) => next(OK, 'localhost')
`)
	if s.keeps() {
		b.WriteString(`// Mail is kept: it is queued, and its first attempt is put off for a day.
exports.hook_send_email = (next) => next(DELAY, 86400)
`)
		return b.String()
	}
	hops := map[string]any{}
	for d, to := range s.Hops {
		hop := mustSplit(to)
		hops[d] = map[string]any{"priority": 0, "exchange": hop.host, "port": hop.port}
	}
	table, err := json.MarshalIndent(hops, "", "  ")
	if err != nil { // maps of strings always have a JSON form
		table = []byte("{}")
	}
	fmt.Fprintf(&b, `const hops = %s
exports.hook_get_mx = (next, hmail, domain) => {
    const hop = hops[domain] || hops['']
    if (!hop) return next(DENY, 'no hop for this domain')
    next(OK, hop)
}
`, table)
	return b.String()
}
