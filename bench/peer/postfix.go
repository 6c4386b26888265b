package peer

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

func newPostfix(c *store) Server {
	return &product{
		name: "postfix",
		install: func(ctx context.Context) (string, error) {
			root, err := debian(ctx, c, "postfix")
			if err != nil {
				return "", err
			}
			out, err := run(ctx, "", append(inRoot(root), "postconf", "-dh", "mail_version")...)
			return strings.TrimSpace(out), err
		},
		plan: func(s Setup) (plan, error) {
			dir, err := c.folder("postfix")
			if err != nil {
				return plan{}, err
			}
			return planPostfix(c, s, filepath.Join(dir, "root")), nil
		},
	}
}

func planPostfix(c *store, s Setup, root string) plan {
	files := []file{{"etc/main.cf", postfixMain(s)}, {"etc/master.cf", postfixMaster(s)}}
	if !s.keeps() {
		files = append(files, file{"etc/transport", s.each("%s smtp:[%s]:%s\n", "* smtp:[%s]:%s\n")})
	}
	return plan{
		store:   c,
		root:    root,
		files:   files,
		folders: []string{"queue", "data"},
		prepare: "chown postfix " + seenDir + "/data\npostfix -c " + seenDir + "/etc check\n",
		args:    []string{"/usr/lib/postfix/sbin/master", "-c", seenDir + "/etc"},
		queued: func(ctx context.Context) (int, error) {
			return countFiles(ctx, filepath.Join(s.Dir, "queue"), func(path string) bool {
				rel, err := filepath.Rel(filepath.Join(s.Dir, "queue"), path)
				top, _, _ := strings.Cut(rel, string(filepath.Separator))
				return err == nil && slices.Contains([]string{"incoming", "active", "deferred", "hold", "maildrop"}, top)
			})
		},
	}
}

// postfixMain keeps what Postfix does for its queue, which syncs each message before its 250, and takes away what would hold
// it back: limits per client and destination, look-ups of names, the pause of in_flow_delay.
func postfixMain(s Setup) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Durable by default: cleanup syncs the queue file before smtpd answers 250.
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log/maillog
maillog_file_prefixes = %[1]s
myhostname = %[2]s
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = %[3]s
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
message_size_limit = %[4]d
mailbox_size_limit = 0
smtpd_recipient_limit = 10000
# No look-ups of clients and hops.
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
# Nothing is held back: as many processes as sessions, no limits per client, no pause when mail comes faster than it leaves.
default_process_limit = %[5]d
max_use = 1000
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
qmgr_message_active_limit = 50000
qmgr_message_recipient_limit = 50000
initial_destination_concurrency = 50
default_destination_concurrency_limit = 50
smtp_connection_cache_on_demand = yes
`, seenDir, greeting, mustSplit(s.Addr).host, largest, s.sessions()+50)
	if s.keeps() {
		b.WriteString("# Mail is kept: it goes from the client into the hold queue, past the queue manager.\n" +
			"smtpd_data_restrictions = check_client_access static:HOLD\n")
	} else {
		fmt.Fprintf(&b, "transport_maps = texthash:%s/etc/transport\n", seenDir)
	}
	if s.TLS == nil {
		b.WriteString("smtpd_tls_security_level = none\nsmtp_tls_security_level = none\n")
	} else {
		fmt.Fprintf(&b, `smtpd_tls_security_level = may
smtpd_tls_chain_files = %[1]s/tls/key.pem, %[1]s/tls/cert.pem
smtp_tls_security_level = may
smtp_tls_session_cache_database = btree:%[1]s/data/smtp_scache
# Sessions with TLS are kept for the next message too.
smtp_tls_connection_reuse = yes
`, seenDir)
	}
	return b.String()
}

// postfixMaster is Debian's list of services without those that nothing uses here, without chroot.
func postfixMaster(s Setup) string {
	return fmt.Sprintf(`# service          type  private unpriv chroot wakeup maxproc command
%-18s inet  n       -      n      -      %d      smtpd
cleanup            unix  n       -      n      -      0       cleanup
qmgr               unix  n       -      n      300    1       qmgr
tlsmgr             unix  -       -      n      1000?  1       tlsmgr
rewrite            unix  -       -      n      -      -       trivial-rewrite
bounce             unix  -       -      n      -      0       bounce
defer              unix  -       -      n      -      0       bounce
trace              unix  -       -      n      -      0       bounce
proxymap           unix  -       -      n      -      -       proxymap
proxywrite         unix  -       -      n      -      1       proxymap
smtp               unix  -       -      n      -      200     smtp
showq              unix  n       -      n      -      -       showq
error              unix  -       -      n      -      -       error
retry              unix  -       -      n      -      -       error
scache             unix  -       -      n      -      1       scache
tlsproxy           unix  -       -      n      -      0       tlsproxy
postlog            unix-dgram n  -      n      -      1       postlogd
`, s.Addr, s.sessions()+20)
}
