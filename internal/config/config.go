package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// maxFile is the largest configuration file that is read, in octets: a longer one is most likely not meant.
const maxFile = 1 << 20

// defaultHold is the longest hold of FUTURERELEASE that a listener offers unless it says otherwise.
const defaultHold = 7 * day

// Config holds every setting in force. Change a value only before it is handed on; it has no lock.
type Config struct {
	Hostname string   // name of this server in greetings, Received lines and bounces; a domain or an address literal
	DataDir  string   // folder of the spool; relative to the working directory unless it is absolute
	Listen   []Listen // at least one
	Route    []Route  // in order, first match wins; the last one is built in
	DNS      DNS
	Delivery Delivery
	History  History
	Limits   Limits
	Admin    Admin

	file    string            // as given to Load or Parse; empty without a file
	machine string            // the default of Hostname
	sources map[string]string // key of a setting or of an element of a list, to Setting.Source; not there: "default"
}

// Role says what a listener is for.
type Role string

// The roles that this version has.
const (
	RoleMX    Role = "mx"    // takes mail of strangers for the domains of this server
	RoleRelay Role = "relay" // takes mail for everywhere from its networks
	RoleLMTP  Role = "lmtp"  // speaks LMTP (RFC 2033) and takes mail for the domains of this server

	RoleSubmission Role = "submission" // takes mail of its authors in its networks for everywhere, and repairs its header
)

// ListenTLS says how TLS begins at a listener.
type ListenTLS string

// The ways in which TLS begins at a listener.
const (
	ListenPlain    ListenTLS = "none"     // not at all
	ListenStartTLS ListenTLS = "starttls" // when the client asks for it (RFC 3207)
	ListenImplicit ListenTLS = "implicit" // before anything else (RFC 8314)
)

// TLS says how much TLS a delivery needs.
type TLS string

// The levels of TLS of a delivery.
const (
	TLSNone          TLS = "none"          // never, even where it is offered
	TLSOpportunistic TLS = "opportunistic" // where it is offered, whatever the certificate says
	TLSRequired      TLS = "required"      // always, and the certificate must be good for the host
)

// Signed says what becomes of signed mail that the next hop takes only in another form.
type Signed string

// What may become of signed mail.
const (
	SignedConvert Signed = "convert" // it is converted, and its signature is not valid any more
	SignedReturn  Signed = "return"  // it goes back to its sender with 5.6.3
)

// Listen is one address at which holub takes mail.
type Listen struct {
	Address  string         // "127.0.0.1:2525", ":25", "unix:/run/holub.sock?mode=0660", "systemd:"; see Endpoint
	Role     Role           // RoleMX, RoleRelay, RoleLMTP or RoleSubmission
	Networks []netip.Prefix // who may relay without logging in, or who may speak LMTP, masked; empty: see Role

	TLS         ListenTLS // with a certificate unless it is ListenPlain
	Certificate string    // path of a PEM file, relative to the working directory; see LoadCertificate
	Key         string    // the same of its key

	Proxy    []netip.Prefix // who speaks the PROXY protocol; at a Unix socket any entry means everyone
	XClient  []netip.Prefix // who may use XCLIENT
	SevenBit bool           // no 8BITMIME, and no octet above 127
	HoldMax  time.Duration  // the longest hold of FUTURERELEASE, 0 or at least a second; 0: not offered
}

// Route is one rule: where the recipients that match go.
type Route struct {
	Match    Match
	To       Target
	TLS      TLS  // of the delivery to To, with all defaults worked in; TLSNone where To speaks no SMTP
	SevenBit bool // no octet above 127 is sent

	// The schedule and the cap of mail by this rule: its own or, where it leaves them out, those of [delivery]. Nothing
	// asks for them where To is TargetDiscard or TargetReject, but they are set there too.
	Retry       []time.Duration // as Delivery.Retry
	WarnAfter   time.Duration   // less than GiveUpAfter
	GiveUpAfter time.Duration
	Connections int // at once to one destination, or deliveries at once into one Maildir; at least 1

	BuiltIn bool // appended by this package, not written in the file
}

// Match says which recipients a rule is for. A Match without domains is for every recipient.
type Match struct {
	Domain []string // "example.org" (without case), "*.example.org" (every name below it), "*"; nil: every recipient
}

// DNS says whom to ask.
type DNS struct {
	Servers []string // as host:port, the host an IP address; empty: the servers of the system
}

// Delivery says how and how long mail is carried on.
type Delivery struct {
	Port               int             // of MX hosts, 1 to 65535
	TLS                TLS             // of deliveries to MX hosts that no route decides; those of routes have their own
	Retry              []time.Duration // time between attempts; the last one repeats; never empty, all above 0
	Signed             Signed          // mail that a conversion to 7 bits would make invalid
	PauseMax           time.Duration   // the longest time for which a site that can't be reached is left alone; above 0
	WarnAfter          time.Duration   // age at which the sender is told of the delay; less than GiveUpAfter
	GiveUpAfter        time.Duration   // age at which the message is returned
	ConnectionsPerSite int             // at once to one destination, at least 1
	ConnectTimeout     time.Duration   // to open a connection to one address
	ReturnSize         int64           // octets; a larger message is returned as its header only
}

// History says how much is kept of what became of messages that are gone.
type History struct {
	MaxAge  time.Duration // since the last event of a message; 0: nothing is kept
	MaxSize int64         // octets of all of it on disk, at least 1 MiB; the oldest goes first
}

// Limits says how much a client may ask of the server.
type Limits struct {
	MessageSize    int64         // octets of content, at least 64 KiB
	Recipients     int           // of one message, at least 100
	Sessions       int           // at once, at each listener
	Errors         int           // refused commands in one session before it is closed
	IdleTimeout    time.Duration // waiting for the next octets of a client
	MessageTimeout time.Duration // from the answer to DATA to the final dot
	Received       int           // Received lines in a message from which on it counts as going in a circle
}

// Default gives the configuration of a server without a file: it listens on 127.0.0.1:2525 only.
func Default() *Config {
	c := withBuiltIns(defaults(machineName(os.Hostname())))
	fillRoutes(c, newReader(""))
	return c
}

// Load reads the file at path. When the file can be read and is wrong, the error is of type Errors and has all that is
// wrong in it.
func Load(path string) (*Config, error) {
	text, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no configuration file at %q: create it there, name the right one with -c, "+
			"or leave -c out to run with the defaults: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("may not read the configuration file %q: "+
			"give this user the right to read it: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("cannot read the configuration file %q: check that -c names a plain file: %w", path, err)
	}
	return Parse(path, text)
}

// read returns the content of the file, cut off just above the limit, so that Parse refuses it there.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Parse reads the text of a configuration file; name stands for it in errors and in the sources of Settings. A text
// that is wrong gives an error of type Errors and no configuration.
func Parse(name string, text []byte) (*Config, error) {
	return parse(name, text, machineName(os.Hostname()))
}

// parse is Parse for a machine with that host name.
func parse(name string, text []byte, hostname string) (*Config, error) {
	if len(text) > maxFile {
		return nil, Errors{{File: name, Line: 1, Column: 1, Text: fmt.Sprintf(
			"the file is larger than %s; check that it is the configuration", formatSize(maxFile))}}
	}
	root, problems := parseTree(text)
	r := newReader(name)
	c := defaults(hostname)
	readTable(r, schema(), "", c, root)
	fillRoutes(withBuiltIns(c), r)
	if len(problems) == 0 { // of a text that ends too early the rest is not known
		r.checkTogether(c)
	}
	for _, p := range problems {
		if !r.wrong[p.pos] { // a number too large for TOML is too large for its key as well
			r.fail("", p.pos, "%s", p.text)
		}
	}
	if len(r.errors) > 0 {
		return nil, r.errors.sorted()
	}
	c.file, c.sources = name, r.sources
	return c, nil
}

// defaults gives every setting its default, without the built-in route.
func defaults(hostname string) *Config {
	return &Config{
		machine:  hostname,
		Hostname: hostname,
		DataDir:  "holub-data",
		Listen: []Listen{{
			Address:  "127.0.0.1:2525",
			Role:     RoleRelay,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			TLS:      ListenPlain,
			HoldMax:  defaultHold,
		}},
		Delivery: Delivery{
			Port:               25,
			TLS:                TLSOpportunistic,
			Retry:              []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour},
			PauseMax:           15 * time.Minute,
			Signed:             SignedConvert,
			WarnAfter:          4 * time.Hour,
			GiveUpAfter:        5 * day, // RFC 5321 4.5.4.1: at least 4 to 5 days
			ConnectionsPerSite: 20,
			ConnectTimeout:     30 * time.Second,
			ReturnSize:         50 << 10,
		},
		History: History{MaxAge: 30 * day, MaxSize: 2 << 30},
		Limits: Limits{
			MessageSize:    50 << 20,
			Recipients:     1000,
			Sessions:       10000,
			Errors:         20,
			IdleTimeout:    5 * time.Minute, // RFC 5321 4.5.3.2.7
			MessageTimeout: time.Hour,
			Received:       100, // RFC 5321 6.3
		},
		Admin: Admin{Socket: "{data_dir}/control.sock"},
	}
}

// withBuiltIns appends the rule that keeps mail for localhost on this machine.
func withBuiltIns(c *Config) *Config {
	c.Route = append(c.Route, Route{
		Match:   Match{Domain: []string{"localhost"}},
		To:      Target{Kind: TargetMaildir, Path: "{data_dir}/mail/{local}"},
		BuiltIn: true,
	})
	return c
}

// machineName gives the name that the system has for the machine, or "localhost" when mail can't use it.
func machineName(name string, err error) string {
	if err != nil || checkHostname(name) != nil || strings.HasPrefix(name, "[") {
		return "localhost"
	}
	return name
}

// checkHostname refuses what is no domain name and no address literal (RFC 5321 4.1.2, 4.1.3).
func checkHostname(name string) error {
	if a, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("%q is an address; write a domain name, or the literal %q", name, smtp.AddressLiteral(a).String())
	}
	if _, err := smtp.ParseDomain(name); err != nil || endsInNumber(name) {
		return fmt.Errorf("%.80q is not a domain name; write one such as \"mx.example.org\"", name)
	}
	return nil
}

// endsInNumber tells a name whose last label is all digits, such as "300.1.1.1". No top-level domain is a number
// (RFC 3696 2), so it is an address with a slip in it.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}
