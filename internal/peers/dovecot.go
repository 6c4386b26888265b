package peers

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// Dovecot is a running Dovecot that takes mail by LMTP for every user of every domain.
type Dovecot struct {
	Addr   string // host:port of its LMTP server
	Socket string // path of the Unix socket of its LMTP server

	dir string
}

// DovecotLMTP starts Dovecot's LMTP server on a free port of the loopback and on a Unix socket, with folders of its
// own, and waits until it takes connections; it ends with the test. It needs no root. The settings are lines for the
// end of its configuration, in Dovecot's words.
func DovecotLMTP(t testing.TB, settings ...string) *Dovecot {
	t.Helper()
	root, err := ready(t.Context())
	if err != nil {
		giveUp(t, err)
	}
	version, err := Command(t, "dovecot", "--version").Output()
	if err != nil || !strings.HasPrefix(string(version), "2.3.") {
		giveUp(t, fmt.Errorf("the configuration here is for dovecot 2.3, not %s (%v)", version, err))
	}
	dir := openFolder(t)
	d := &Dovecot{Addr: freeAddr(t), Socket: filepath.Join(dir, "run", "lmtp"), dir: dir}
	config := filepath.Join(dir, "dovecot.conf")
	for _, folder := range []string{"run", "state", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatalf("peers: %v", err)
		}
	}
	text, err := d.config(root, settings)
	if err != nil {
		giveUp(t, err)
	}
	if err := os.Symlink(filepath.Join(root, "usr"), filepath.Join(dir, "run", "usr")); err != nil { // see moved
		t.Fatalf("peers: %v", err)
	}
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatalf("peers: %v", err)
	}
	server, err := programs["dovecot"].find(root)
	if err != nil {
		giveUp(t, err)
	}
	// Dovecot alone would look for doveconf in /usr/bin and run it like this.
	serve(t, Command(t, "doveconf", "-c", config, "-m", "master", "-e", server[0], "-F", "-c", config), d.Addr, d.Log)
	return d
}

// Mail waits until at least n mails are in the mailbox of a user, a local part in lower case, and gives the text of all
// that are there, in no order. Line ends are LF.
func (d *Dovecot) Mail(t testing.TB, user string, n int) []string {
	t.Helper()
	return maildir(t, filepath.Join(d.dir, "mail", user), n, d.Log)
}

// Log is what Dovecot logged so far.
func (d *Dovecot) Log() string { return readLog(d.dir) }

// config is the text of dovecot.conf. The processes run as the caller's user, who alone is sure to reach the cache
// folder. Mail is written by that user too, but for root, whom Dovecot allows none: there nobody gets the mail folder.
func (d *Dovecot) config(root string, settings []string) (string, error) {
	_, port, err := net.SplitHostPort(d.Addr)
	if err != nil {
		return "", err
	}
	me, err := user.Current()
	if err != nil {
		return "", err
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return "", err
	}
	owner := me
	if me.Uid == "0" {
		if owner, err = user.Lookup("nobody"); err != nil {
			return "", err
		}
		if err := chown(filepath.Join(d.dir, "mail"), owner.Uid, owner.Gid); err != nil {
			return "", err
		}
	}
	lib := filepath.Join(root, "usr/lib/dovecot")
	return strings.NewReplacer("@DIR@", d.dir, "@LIB@", lib, "@PORT@", port, "@USER@", me.Username,
		"@GROUP@", group.Name, "@UID@", owner.Uid, "@GID@", owner.Gid).Replace(
		`base_dir = @DIR@/run
state_dir = @DIR@/state
log_path = @DIR@/log
libexec_dir = @LIB@
mail_plugin_dir = @LIB@/modules
import_environment = LD_LIBRARY_PATH OPENSSL_CONF TZ=UTC LC_ALL=C
protocols = lmtp
ssl = no
default_internal_user = @USER@
default_internal_group = @GROUP@
default_login_user = @USER@
first_valid_uid = 0
first_valid_gid = 0
auth_username_format = %Ln
mail_location = maildir:@DIR@/mail/%n
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=@UID@ gid=@GID@ home=@DIR@/mail/%n allow_all_users=yes
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = @PORT@
  }
}
`) + strings.Join(settings, "\n") + "\n", nil
}
