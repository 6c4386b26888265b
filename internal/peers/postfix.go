package peers

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PostfixOptions say what a Postfix does with the mail it takes. The zero value keeps it for PostfixServer.Mail.
type PostfixOptions struct {
	// Transport is where all mail goes, in Postfix's words: "smtp:[127.0.0.1]:2525", "lmtp:inet:127.0.0.1:2424",
	// "lmtp:unix:/path", "discard:". Empty, the mail is kept.
	Transport string
	// Main are settings of main.cf over those that are needed to run; "smtputf8_enable" is "yes" without it.
	Main map[string]string
}

// PostfixServer is a running Postfix, which takes mail from the loopback for any recipient.
type PostfixServer struct {
	Addr string // host:port of its SMTP server

	dir string
}

// Postfix starts a whole Postfix on a free port of the loopback, with folders of its own, and waits until it takes
// connections; it ends with the test. As client it retries every second. It needs root, for its daemons change their
// user; without, the test is given up. Its users are daemon, the group mail, and nobody, which every Debian has.
//
// Postfix takes mail by BDAT and with SMTPUTF8, and sends with SMTPUTF8; its client knows no CHUNKING.
func Postfix(t testing.TB, options PostfixOptions) *PostfixServer {
	t.Helper()
	if os.Geteuid() != 0 {
		giveUp(t, errors.New("postfix runs only as root"))
	}
	root, err := ready(t.Context())
	if err != nil {
		giveUp(t, err)
	}
	s := &PostfixServer{Addr: freeAddr(t), dir: openFolder(t)}
	if err := s.makeFolders(); err != nil {
		giveUp(t, fmt.Errorf("make the folders of postfix: %w", err))
	}
	for name, text := range map[string]string{"main.cf": s.mainCF(root, options), "master.cf": s.masterCF()} {
		path := filepath.Join(s.dir, "etc", name)
		old := time.Unix(1, 0) // for a new file Postfix waits: it may change yet
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, old, old)); err != nil {
			t.Fatalf("peers: %v", err)
		}
	}
	serve(t, Command(t, "postfix", "-c", filepath.Join(s.dir, "etc"), "-d"), s.Addr, s.Log)
	return s
}

// Mail waits until at least n mails were kept, one per recipient, and gives the text of all that are there, in no
// order. Line ends are LF; Return-Path, X-Original-To and Delivered-To tell the envelope.
func (s *PostfixServer) Mail(t testing.TB, n int) []string {
	t.Helper()
	return maildir(t, filepath.Join(s.dir, "mail", "box"), n, s.Log)
}

// Log is what Postfix logged so far.
func (s *PostfixServer) Log() string { return readLog(s.dir) }

// readLog gives a server's log, or why there is none.
func readLog(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// makeFolders makes what "postfix set-permissions" would: the queue belongs to the mail owner, its head to root.
func (s *PostfixServer) makeFolders() error {
	owner, err := user.Lookup("daemon")
	if err != nil {
		return err
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	group, err := user.LookupGroup("mail")
	if err != nil {
		return err
	}
	folders := []struct {
		path, uid, gid string
		mode           os.FileMode
	}{
		{"etc", "0", "0", 0o755}, {"queue", "0", "0", 0o755}, {"queue/pid", "0", "0", 0o755},
		{"data", owner.Uid, "0", 0o700}, {"mail", nobody.Uid, "0", 0o700},
		{"queue/maildrop", owner.Uid, group.Gid, 0o730}, {"queue/public", owner.Uid, group.Gid, 0o710},
	}
	for _, queue := range strings.Fields("active bounce corrupt defer deferred flush hold incoming private saved trace") {
		folders = append(folders, struct {
			path, uid, gid string
			mode           os.FileMode
		}{"queue/" + queue, owner.Uid, "0", 0o700})
	}
	for _, f := range folders {
		path := filepath.Join(s.dir, f.path)
		// Mkdir alone heeds the umask.
		err := errors.Join(os.Mkdir(path, f.mode), chown(path, f.uid, f.gid), os.Chmod(path, f.mode))
		if err != nil {
			return err
		}
	}
	return nil
}

// chown gives a file to the ids that os/user gives.
func chown(path, uid, gid string) error {
	u, uidErr := strconv.Atoi(uid)
	g, gidErr := strconv.Atoi(gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return err
	}
	return os.Chown(path, u, g)
}

// mainCF is the text of main.cf.
func (s *PostfixServer) mainCF(root string, options PostfixOptions) string {
	sbin := filepath.Join(root, "usr/lib/postfix/sbin")
	settings := map[string]string{
		"compatibility_level":   "3.6",
		"queue_directory":       filepath.Join(s.dir, "queue"),
		"data_directory":        filepath.Join(s.dir, "data"),
		"daemon_directory":      sbin,
		"command_directory":     filepath.Join(root, "usr/sbin"),
		"meta_directory":        filepath.Join(root, "etc/postfix"),
		"shlib_directory":       filepath.Dir(sbin),
		"mail_owner":            "daemon",
		"setgid_group":          "mail",
		"default_privs":         "nobody",
		"import_environment":    "LD_LIBRARY_PATH MAIL_CONFIG OPENSSL_CONF TZ=UTC LC_ALL=C",
		"maillog_file":          filepath.Join(s.dir, "log"),
		"maillog_file_prefixes": s.dir,
		"myhostname":            "postfix.example.test",
		"mydestination":         "",
		"alias_maps":            "",
		"alias_database":        "",
		"inet_interfaces":       "127.0.0.1",
		"inet_protocols":        "ipv4",
		"mynetworks":            "127.0.0.0/8",
		"notify_classes":        "",
		"smtputf8_enable":       "yes",
		// No name is looked up anywhere.
		"smtpd_peername_lookup":   "no",
		"smtp_dns_support_level":  "disabled",
		"smtp_tls_security_level": "may",
		"queue_run_delay":         "1s",
		"minimal_backoff_time":    "1s",
		"maximal_backoff_time":    "1s",
		"transport_retry_time":    "1s",
		"default_transport":       "virtual",
		"virtual_mailbox_base":    filepath.Join(s.dir, "mail"),
		"virtual_mailbox_maps":    "static:box/",
		"virtual_mailbox_domains": "",
		"virtual_uid_maps":        "static:65534",
		"virtual_gid_maps":        "static:65534",
	}
	if options.Transport != "" {
		settings["default_transport"] = options.Transport
	}
	maps.Copy(settings, options.Main)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = %s\n", name, settings[name])
	}
	return text.String()
}

// masterCF is the text of master.cf: no daemon in a chroot, and only those that a test can need.
func (s *PostfixServer) masterCF() string {
	return s.Addr + ` inet n - n - - smtpd
pickup     unix       n - n 60    1 pickup
cleanup    unix       n - n -     0 cleanup
qmgr       unix       n - n 300   1 qmgr
tlsmgr     unix       - - n 1000? 1 tlsmgr
rewrite    unix       - - n -     - trivial-rewrite
bounce     unix       - - n -     0 bounce
defer      unix       - - n -     0 bounce
trace      unix       - - n -     0 bounce
verify     unix       - - n -     1 verify
proxymap   unix       - - n -     - proxymap
smtp       unix       - - n -     - smtp
relay      unix       - - n -     - smtp
lmtp       unix       - - n -     - lmtp
error      unix       - - n -     - error
retry      unix       - - n -     - error
discard    unix       - - n -     - discard
virtual    unix       - n n -     - virtual
anvil      unix       - - n -     1 anvil
scache     unix       - - n -     1 scache
postlog    unix-dgram n - n -     1 postlogd
`
}
