// Package peer installs mail servers and runs them for a comparison: Debian's Postfix, Exim and OpenSMTPD, each in a root
// of its own, Haraka from npm, and holub. Each is configured to do the same work: to take mail from the loopback address
// without asking who sends it, to have it on disk before it answers 250, and to carry it on to the hops it is given or to keep it.
// Where a server does not promise its disk as much as that, its Config says so.
//
// Nothing is installed outside of one cache folder, and a server's files (configuration, queue, logs) live in the folder of
// its run. Debian's servers need Linux and root; each run then has its own mounts and process ids, so it leaves nothing behind.
//
// It never measures speed and never sends mail: bench does.
//
//	for _, s := range peer.All("") {
//		version, err := s.Install(ctx)
//		r, err := s.Start(ctx, peer.Setup{Dir: dir, Addr: "127.0.0.1:2525", Hops: map[string]string{"": "127.0.0.1:2526"}, Sessions: 20})
//		before, err := r.Usage()
//		... send mail to r.Addr ...
//		after, err := r.Usage()
//		err = r.Stop()
//	}
package peer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"runtime"
	"slices"
	"strings"
)

// A Server is one mail server that can be installed and run.
type Server interface {
	// Name is short and stands in tables: "postfix".
	Name() string
	// Install fetches and unpacks what Start needs, and does nothing where that is there already. It gives the version as
	// the server calls it: "3.7.11".
	Install(ctx context.Context) (version string, err error)
	// Durability says where a server promises its disk less than the others, in a few words; "" where it does not.
	Durability() string
	// Config gives the configuration that Start would write for a setup, as it is shown to readers: all files, each
	// below a line with its name.
	Config(Setup) string
	// Start runs the server and returns when it answers with 220. It runs until Stop, or until ctx ends. The error is
	// ErrCannot where the server is not able to serve such a setup.
	Start(ctx context.Context, s Setup) (*Running, error)
}

// A Setup is what a server is to do in one run.
type Setup struct {
	Dir  string // empty folder of this run, for its configuration, queue and logs
	Addr string // where it listens: an IPv4 address and a port, "127.0.0.1:2525"
	// Hops says where mail goes, by domain: "d1.example" to "127.0.0.1:2526". Mail to a domain that is not named here
	// goes to the hop of "". Empty for a server that only accepts: mail is kept on disk, in the way that costs this
	// server least.
	Hops     map[string]string
	Sessions int  // the most sessions at once that it must serve; 0: 100
	TLS      *TLS // STARTTLS offered, and used towards the hops; nil for none

	Cores int    // it runs on the first so many cores that this process may use; 0: on all
	Trace string // a file in which strace notes each sync; empty: no strace. Traced servers are slow: count, don't time
}

// TLS are the files of a certificate for STARTTLS, in PEM. Names are verified by none of the servers.
type TLS struct {
	Cert, Key string // of the server
	CA        string // that the hops' certificates come from; no server reads it, as none verifies
}

// ErrCannot is the error of Start for a setup that a server is unable to serve, whatever its configuration. What it wraps says
// why; it stands in the table in place of a number.
var ErrCannot = errors.New("this server can't do that")

// greeting is the name by which every server calls itself.
const greeting = "mx.bench.example"

// largest is the size of the largest message that every server takes, in octets.
const largest = 50 << 20

// All gives the servers that can be compared. Their files lie in a cache folder; "" is holub-bench in that of the user.
func All(cache string) []Server {
	c := &store{base: cache}
	return []Server{newHolub(c), newPostfix(c), newExim(c), newOpenSMTPD(c), newHaraka(c)}
}

// ByName gives the servers with these names, in the order of the names. An unknown name is an error that tells the known
// ones.
func ByName(cache string, names ...string) ([]Server, error) {
	all, found := All(cache), []Server(nil)
	for _, name := range names {
		i := slices.IndexFunc(all, func(s Server) bool { return s.Name() == name })
		if i < 0 {
			var known []string
			for _, s := range all {
				known = append(known, s.Name())
			}
			return nil, fmt.Errorf("there is no server %q; there are %s", name, strings.Join(known, ", "))
		}
		found = append(found, all[i])
	}
	return found, nil
}

// A file is one that a server reads, by its path below Setup.Dir.
type file struct {
	name, text string
}

// A plan is how one server is run for a setup. Paths in it are as the server sees them.
type plan struct {
	files   []file
	folders []string // made below Setup.Dir
	store   *store
	root    string // of a server that runs in one; "" for the machine's
	binds   []bind
	prepare string   // shell commands that run before the server, in its root
	args    []string // the server, which stays in the foreground
	env     []string
	queued  func(context.Context) (int, error)
}

// A bind shows a folder below Setup.Dir at another place of the root.
type bind struct{ from, to string }

// seenDir is where a server with a root of its own sees Setup.Dir.
const seenDir = "/srv/bench"

// text shows the files.
func (p plan) text() string {
	var b strings.Builder
	for i, f := range p.files {
		if i > 0 {
			b.WriteByte('\n')
		}
		mark := "#"
		if path.Ext(f.name) == ".js" {
			mark = "//"
		}
		fmt.Fprintf(&b, "%s --- %s\n%s", mark, f.name, f.text)
	}
	command := strings.Join(slices.Concat(p.env, p.args), " ")
	if base, err := p.store.folder(""); err == nil { // where the cache of this machine is, is nothing to show
		command = strings.ReplaceAll(command, base, "CACHE/")
	}
	fmt.Fprintf(&b, "\n# --- run as\n%s\n", command)
	return b.String()
}

// check says what is wrong with a setup.
func (s Setup) check() error {
	if _, err := splitIPv4(s.Addr); err != nil {
		return fmt.Errorf("the address to listen at: %w", err)
	}
	for domain, hop := range s.Hops {
		if _, err := splitIPv4(hop); err != nil {
			return fmt.Errorf("the hop of %q: %w", domain, err)
		}
	}
	if s.Dir == "" {
		return errors.New("a run needs a folder")
	}
	if s.Cores < 0 || s.Cores > runtime.NumCPU() {
		return fmt.Errorf("%d cores are asked for and there are %d", s.Cores, runtime.NumCPU())
	}
	return nil
}

// sessions is the number of sessions to be ready for, at least 100.
func (s Setup) sessions() int { return max(s.Sessions, 100) }

// keeps tells that mail is only accepted.
func (s Setup) keeps() bool { return len(s.Hops) == 0 }

// domains are the domains with a hop of their own, in order.
func (s Setup) domains() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Hops)), func(d string) bool { return d == "" })
}

// each writes a line for each domain with a hop, then one for the others. The line is a format for the domain, the host
// and the port.
func (s Setup) each(line, others string) string {
	var b strings.Builder
	for _, d := range s.domains() {
		hop := mustSplit(s.Hops[d])
		fmt.Fprintf(&b, line, d, hop.host, hop.port)
	}
	if to, ok := s.Hops[""]; ok && others != "" {
		hop := mustSplit(to)
		fmt.Fprintf(&b, others, hop.host, hop.port)
	}
	return b.String()
}

// An endpoint is an address of the wire in two parts.
type endpoint struct{ host, port string }

// mustSplit splits an address that check has seen, and gives what there is of any other one.
func mustSplit(addr string) endpoint {
	e, _ := splitIPv4(addr) // only Config gets here without check, and shows it as it is
	return e
}

func splitIPv4(addr string) (endpoint, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return endpoint{addr, ""}, err
	}
	if ip := net.ParseIP(host); ip == nil || ip.To4() == nil {
		return endpoint{host, port}, fmt.Errorf("%q is no IPv4 address and port", addr)
	}
	return endpoint{host, port}, nil
}

// unless gives the text where a condition does not hold.
func unless(condition bool, text string) string {
	if condition {
		return ""
	}
	return text
}
