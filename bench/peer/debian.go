package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// installTime is how long one server may take to be fetched and unpacked.
const installTime = 15 * time.Minute

// debian gives the root in which a package of Debian is installed, which it makes where it is missing.
func debian(ctx context.Context, c *store, pkg string) (root string, err error) {
	if os.Geteuid() != 0 {
		return "", errors.New("only root can make the root of its own that a server of Debian lives in: run this as root")
	}
	dir, err := c.once(pkg, func(dir string) error {
		ctx, cancel := context.WithTimeout(ctx, installTime)
		defer cancel()
		return bootstrap(ctx, c, pkg, filepath.Join(dir, "root"))
	})
	return filepath.Join(dir, "root"), err
}

// bootstrap installs a package with the smallest Debian around it, of the release and from the mirror of this machine.
func bootstrap(ctx context.Context, c *store, pkg, root string) error {
	err := need("installing a Debian package into a root of its own", "apt-get", "dpkg-deb", "unshare", "mount", "chroot")
	if err != nil {
		return err
	}
	release, err := codename()
	if err != nil {
		return err
	}
	mirror, err := mirrorOf(ctx, release)
	if err != nil {
		return err
	}
	tool, err := debootstrap(ctx, c)
	if err != nil {
		return err
	}
	// In namespaces of its own, so that no mount and no daemon that a package starts outlives it.
	args := append([]string{"unshare", "--mount", "--pid", "--fork", "--kill-child"}, tool...)
	args = append(args, "--variant=minbase", "--include="+pkg, release, root, mirror)
	if _, err := run(ctx, "", args...); err != nil {
		log, _ := os.ReadFile(filepath.Join(root, "debootstrap/debootstrap.log")) // there only after some failures
		return fmt.Errorf("%w\n%s", err, tail(string(log)))
	}
	return furnish(root)
}

// furnish writes what the servers look up in their root, so that none asks a DNS server: the names of the loopback
// addresses that hops have. A resolver that is asked all the same is refused at once.
func furnish(root string) error {
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost hop1.bench.example\n")
	for i := 2; i <= 254; i++ {
		fmt.Fprintf(&hosts, "127.0.0.%d hop%d.bench.example\n", i, i)
	}
	if err := os.MkdirAll(filepath.Join(root, seenDir), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"etc/hosts":       hosts.String(),
		"etc/mailname":    greeting + "\n",
		"etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// inRoot gives the words in front of a command that runs in a root, with the paths of Debian whatever they are outside.
func inRoot(root string) []string {
	return []string{"chroot", root, "/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
}

// installedVersion gives the version of a package in a root, without the part of Debian: "6.8.0p2".
func installedVersion(root, pkg string) (string, error) {
	status, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		return "", err
	}
	for entry := range strings.SplitSeq(string(status), "\n\n") {
		if !strings.HasPrefix(entry, "Package: "+pkg+"\n") {
			continue
		}
		for line := range strings.Lines(entry) {
			if v, ok := strings.CutPrefix(line, "Version: "); ok {
				v, _, _ = strings.Cut(strings.TrimSpace(v), "-")
				return v, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed in %s", pkg, root)
}

// codename is that of the machine's release.
func codename() (string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("learn the release of this machine: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", errors.New("/etc/os-release names no VERSION_CODENAME: debootstrap does not know what to install")
}

// mirrorOf gives the archive from which apt takes a release on this machine.
func mirrorOf(ctx context.Context, release string) (string, error) {
	out, err := run(ctx, "", "apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == release && f[1] == "main" {
			return f[2], nil
		}
	}
	return "", fmt.Errorf("apt knows no archive for %s main: run apt-get update first", release)
}

// debootstrap gives the command, with the program from its package where the machine has none.
func debootstrap(ctx context.Context, c *store) ([]string, error) {
	if need("", "debootstrap") == nil {
		return []string{"debootstrap"}, nil
	}
	dir, err := unpacked(ctx, c, "debootstrap")
	if err != nil {
		return nil, err
	}
	return []string{"env", "DEBOOTSTRAP_DIR=" + filepath.Join(dir, "usr/share/debootstrap"), "sh", filepath.Join(dir,
		"usr/sbin/debootstrap")}, nil
}

// unpacked gives the folder with the files of packages; none of their scripts runs. The first names the folder.
func unpacked(ctx context.Context, c *store, packages ...string) (string, error) {
	return c.once("unpacked-"+packages[0], func(dir string) error {
		if err := need("fetching "+packages[0], "apt-get", "dpkg-deb"); err != nil {
			return err
		}
		args := append([]string{"apt-get", "-o", "APT::Sandbox::User=", "download"}, packages...)
		if _, err := run(ctx, dir, args...); err != nil {
			return err
		}
		debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil || len(debs) == 0 {
			return errors.Join(errors.New("apt-get downloaded nothing"), err)
		}
		for _, deb := range debs {
			if _, err := run(ctx, dir, "dpkg-deb", "-x", deb, dir); err != nil {
				return err
			}
		}
		return nil
	})
}
