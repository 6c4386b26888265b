package peer

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

func newExim(c *store) Server {
	const pkg = "exim4-daemon-light"
	return &product{
		name: "exim",
		install: func(ctx context.Context) (string, error) {
			root, err := debian(ctx, c, pkg)
			if err != nil {
				return "", err
			}
			out, err := run(ctx, "", append(inRoot(root), "exim4", "-bV")...)
			if err != nil {
				return "", err
			}
			words := strings.Fields(out) // Exim version 4.96 ...
			if len(words) < 3 {
				return "", fmt.Errorf("exim4 -bV says %q", out)
			}
			return words[2], nil
		},
		plan: func(s Setup) (plan, error) {
			dir, err := c.folder(pkg)
			if err != nil {
				return plan{}, err
			}
			return planExim(c, s, filepath.Join(dir, "root")), nil
		},
	}
}

func planExim(c *store, s Setup, root string) plan {
	files := []file{{"etc/exim4.conf", eximConfig(s)}}
	args := []string{"/usr/sbin/exim4", "-bdf"}
	if !s.keeps() {
		files = append(files, file{"etc/hops", s.each("%s: %s::%s\n", "*: %s::%s\n")})
		args = append(args, "-q1m")
	}
	return plan{
		store:   c,
		root:    root,
		files:   files,
		folders: []string{"spool"},
		// Exim trusts only its built-in path: with another one, its deliveries would lose their rights.
		binds:   []bind{{"etc", "etc/exim4"}},
		prepare: fmt.Sprintf("cd %s\nchown -R Debian-exim:Debian-exim spool log tls\n", seenDir),
		args:    args,
		queued: func(ctx context.Context) (int, error) {
			return countFiles(ctx, filepath.Join(s.Dir, "spool", "input"), func(path string) bool {
				return strings.HasSuffix(path, "-H")
			})
		},
	}
}

// eximConfig has one router and one transport, and takes away what would hold Exim back: limits, look-ups of clients, a log
// file for each message.
func eximConfig(s Setup) string {
	var b strings.Builder
	at := mustSplit(s.Addr)
	fmt.Fprintf(&b, `# Durable by default: Exim syncs both spool files of a message, and their folder, before its 250.
primary_hostname = %[2]s
local_interfaces = %[3]s
daemon_smtp_ports = %[4]s
spool_directory = %[1]s/spool
log_file_path = %[1]s/log/%%slog
keep_environment =
acl_smtp_rcpt = rcpt
message_size_limit = %[5]d
recipients_max = 10000
# No look-ups of clients.
host_lookup =
rfc1413_hosts =
# Nothing is held back; a folder per hash of the spool, no log file per message.
smtp_accept_max = %[6]d
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 4096
smtp_check_spool_space = false
check_spool_space = 0
check_spool_inodes = 0
check_log_space = 0
check_log_inodes = 0
split_spool_directory = true
message_logs = false
remote_max_parallel = 20
queue_run_max = 10
`, seenDir, greeting, at.host, at.port, largest, s.sessions()+20)
	if s.TLS == nil {
		b.WriteString("tls_advertise_hosts =\n")
	} else {
		fmt.Fprintf(&b, "tls_advertise_hosts = *\ntls_certificate = %[1]s/tls/cert.pem\ntls_privatekey = %[1]s/tls/key.pem\n", seenDir)
	}
	if s.keeps() {
		b.WriteString("# Mail is kept: it is spooled and no delivery is started.\nqueue_only = true\n")
	}
	b.WriteString(`
begin acl

rcpt:
  accept
    hosts = 127.0.0.0/8
    control = dkim_disable_verify
`)
	if !s.keeps() {
		b.WriteString(eximRouting(s))
	}
	return b.String()
}

// eximRouting looks the hop of a domain up in a file.
func eximRouting(s Setup) string {
	return fmt.Sprintf(`
begin routers

hops:
  driver = manualroute
  route_data = ${lookup{$domain}lsearch*{/etc/exim4/hops}}
  transport = hop
  self = send
  no_more

begin transports

hop:
  driver = smtp
  connection_max_messages = 0
  hosts_try_fastopen =
  hosts_try_dane =
  tls_verify_hosts =
  tls_try_verify_hosts =
%s
begin retry

* * F,5d,1m
`, unless(s.TLS != nil, "  hosts_avoid_tls = *\n"))
}
