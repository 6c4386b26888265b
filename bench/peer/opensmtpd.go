package peer

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

func newOpenSMTPD(c *store) Server {
	return &product{
		name:    "opensmtpd",
		durable: "syncs nothing: not durable",
		install: func(ctx context.Context) (string, error) {
			root, err := debian(ctx, c, "opensmtpd")
			if err != nil {
				return "", err
			}
			return installedVersion(root, "opensmtpd")
		},
		plan: func(s Setup) (plan, error) {
			dir, err := c.folder("opensmtpd")
			if err != nil {
				return plan{}, err
			}
			root := filepath.Join(dir, "root")
			if version, err := installedVersion(root, "opensmtpd"); err == nil && s.TLS != nil && strings.HasPrefix(version, "6.") {
				return plan{}, fmt.Errorf("%w: OpenSMTPD %s can't sign with its key when it is built with OpenSSL 3, so each STARTTLS "+
					"fails (its issues 1171 and 1239)", ErrCannot, version)
			}
			return planOpenSMTPD(c, s, root), nil
		},
	}
}

func planOpenSMTPD(c *store, s Setup, root string) plan {
	args := []string{"/usr/sbin/smtpd", "-d", "-f", seenDir + "/etc/smtpd.conf"}
	if s.keeps() {
		args = append(args, "-P", "mta") // mail is kept: deliveries to other hosts are paused from the start
	}
	return plan{
		store:   c,
		root:    root,
		files:   []file{{"etc/smtpd.conf", opensmtpdConfig(s)}},
		folders: []string{"spool"},
		binds:   []bind{{"spool", "var/spool"}}, // its path is built in
		prepare: "mkdir -p -m 711 /var/spool/smtpd\n",
		args:    args,
		queued: func(ctx context.Context) (int, error) {
			// A message is a folder with its content in a file of this name, and a file per recipient.
			return countFiles(ctx, filepath.Join(s.Dir, "spool/smtpd/queue"), func(path string) bool {
				return filepath.Base(path) == "message"
			})
		},
	}
}

// opensmtpdConfig lifts the limits on connections to one destination, some of which stand in no manual.
func opensmtpdConfig(s Setup) string {
	at := mustSplit(s.Addr)
	var b strings.Builder
	b.WriteString("# NOT durable: OpenSMTPD answers 250 without a sync, and no setting changes that. A loss of power may take accepted mail.\n")
	scheme, offer := "smtp+notls", ""
	if s.TLS != nil {
		scheme, offer = "smtp", " tls pki "+greeting
		fmt.Fprintf(&b, "pki %[2]s cert \"%[1]s/tls/cert.pem\"\npki %[2]s key \"%[1]s/tls/key.pem\"\n", seenDir, greeting)
	}
	fmt.Fprintf(&b, `smtp max-message-size %d
smtp limit max-mails 1000000
smtp limit max-rcpt 10000
mta limit max-conn-per-host 50
mta limit max-conn-per-route 50
mta limit max-conn-per-source 1000
mta limit max-conn-per-connector 1000
mta limit max-conn-per-relay 1000
mta limit max-conn-per-domain 1000
mta limit session-mail-max 1000000
scheduler limit max-inflight 50000
scheduler limit max-schedule 1000
listen on %s port %s%s hostname %s
`, largest, at.host, at.port, offer, greeting)
	if s.keeps() {
		b.WriteString("action \"keep\" relay host \"smtp+notls://127.0.0.1:1\"\nmatch from any for any action \"keep\"\n")
		return b.String()
	}
	for i, d := range s.domains() {
		hop := mustSplit(s.Hops[d])
		fmt.Fprintf(&b, "action \"hop%d\" relay host \"%s://%s:%s\"\n", i, scheme, hop.host, hop.port)
		fmt.Fprintf(&b, "match from any for domain %q action \"hop%d\"\n", d, i)
	}
	if to, ok := s.Hops[""]; ok {
		hop := mustSplit(to)
		fmt.Fprintf(&b, "action \"others\" relay host \"%s://%s:%s\"\n", scheme, hop.host, hop.port)
		b.WriteString("match from any for any action \"others\"\n")
	}
	return b.String()
}
