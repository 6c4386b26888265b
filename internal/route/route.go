// Package route says how a recipient is reached: by the mail exchangers of its domain, through a relay host, in a Maildir,
// or not at all. It is pure: a Table is made from the configuration, looks nothing up and keeps nothing, and is asked anew
// at every attempt, so that a changed configuration re-routes what waits.
//
// It never connects, delivers or decides who may send; internal/mta asks it for the queue and for each attempt, and for
// the recipients that intake may accept from strangers.
//
//	table := route.New(cfg.Hostname, cfg.DataDir, cfg.Route, cfg.Delivery)
//	dest := table.Route(recipient)
//	dest.Lane                // "mx:example.org tls=opportunistic": what the configuration holds for one place
//	dest.Policy.Connections  // how many connections at once may go there
//
//	target, err := config.ParseTarget("smtp://relay.example.net")   // an operator sends what waits another way
//	dest = table.Via(recipient, target)
package route

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/smtp"
)

// Destination is how one recipient is reached; see Same to compare two.
type Destination struct {
	Kind config.TargetKind

	// Lane names the place, as far as the configuration tells: destinations with the same lane are of the same place.
	// Which hosts that is, and that two lanes lead to the same ones, is found in the DNS later.
	Lane string

	MX       smtp.Domain   // TargetMX: the domain, or the literal, whose hosts take the mail
	Hop      config.Target // TargetSMTP: the next hop and how it is spoken to
	TLS      config.TLS    // TargetMX, TargetSMTP: how much TLS the delivery needs
	SevenBit bool          // TargetMX, TargetSMTP: the channel carries 7 bits only
	Dir      string        // TargetMaildir: the folder
	Text     string        // TargetReject: what the sender is told

	Policy *Policy // how often and how long it is tried; never nil, shared, not to be changed
}

// Policy is what the queue needs to know of a destination at each attempt. Two routes to the same place may have different
// ones; the lane is the same, and each recipient follows the policy of its own route.
type Policy struct {
	Retry       []time.Duration // time between attempts; the last one repeats; never empty
	WarnAfter   time.Duration   // age at which the sender is told of the delay
	GiveUpAfter time.Duration   // age at which the message is returned
	Connections int             // at once to one place, or deliveries into one Maildir
}

// Same tells destinations that can be served in one transaction and tried again together, also those of two Tables. It is
// not ==, which tells "EXAMPLE.org" and "example.org" apart.
func (d Destination) Same(o Destination) bool {
	return d.Lane == o.Lane && (d.Policy == o.Policy || d.Policy.equal(o.Policy))
}

func (p *Policy) equal(o *Policy) bool {
	return p != nil && o != nil && p.WarnAfter == o.WarnAfter && p.GiveUpAfter == o.GiveUpAfter &&
		p.Connections == o.Connections && slices.Equal(p.Retry, o.Retry)
}

// Table is an ordered list of rules; the first that matches counts, and without one the domain's MX records do.
type Table struct {
	hostname smtp.Domain
	dataDir  string
	rules    []rule
	byMX     rule // where no rule matches
	here     rule // the Maildirs of this server
}

type rule struct {
	domains  []string // lower case; empty matches everything
	target   config.Target
	tls      config.TLS
	sevenBit bool
	policy   *Policy
	manner   string // how its places are spoken to, as lanes end with it
	lane     string // of every recipient alike; "": it depends on the recipient
}

// newRule makes a rule for all domains.
func newRule(target config.Target, tls config.TLS, sevenBit bool, policy *Policy) rule {
	r := rule{target: target, tls: tls, sevenBit: sevenBit, policy: policy, manner: manner(tls, sevenBit)}
	switch target.Kind {
	case config.TargetMX, config.TargetMaildir:
	case config.TargetSMTP:
		r.lane = target.String() + r.manner
	default:
		r.lane = target.String()
	}
	return r
}

// New makes the table of a configuration. A recipient without a domain (<postmaster>) counts as one of hostname. delivery
// says how mail is carried on where no rule says.
func New(hostname, dataDir string, routes []config.Route, delivery config.Delivery) *Table {
	t := &Table{dataDir: dataDir}
	policy := &Policy{delivery.Retry, delivery.WarnAfter, delivery.GiveUpAfter, delivery.ConnectionsPerSite}
	t.byMX = newRule(config.Target{Kind: config.TargetMX}, delivery.TLS, false, policy)
	t.here = newRule(config.Target{Kind: config.TargetMaildir, Path: "{data_dir}/mail/{local}"}, "", false, policy)
	t.hostname, _ = smtp.ParseDomain(hostname)
	for _, r := range routes {
		made := newRule(r.To, r.TLS, r.SevenBit, &Policy{r.Retry, r.WarnAfter, r.GiveUpAfter, r.Connections})
		for _, d := range r.Match.Domain {
			made.domains = append(made.domains, patternKey(d))
		}
		t.rules = append(t.rules, made)
	}
	return t
}

// patternKey writes a pattern in the form of smtp.Domain.Key, with which it is compared.
func patternKey(pattern string) string {
	if d, err := smtp.ParseDomain(pattern); err == nil {
		return d.Key()
	}
	return strings.ToLower(pattern)
}

// Route finds the destination of a recipient.
func (t *Table) Route(to smtp.Path) Destination {
	if to.Domain.IsZero() {
		return t.postmaster()
	}
	if r := t.find(to.Domain.Key()); r != nil {
		return t.destination(r, to.Mailbox)
	}
	return t.destination(&t.byMX, to.Mailbox)
}

// For finds the destination of a recipient: by the routes, or where an operator sent it with a target in place of them. A text
// that is no target of this version counts as none.
func (t *Table) For(to smtp.Path, via string) Destination {
	if via != "" {
		if target, err := config.ParseTarget(via); err == nil {
			return t.Via(to, target)
		}
	}
	return t.Route(to)
}

// Via gives the destination of a recipient whom an operator sends to a target of his own choice: as by a route that says
// nothing more, with the TLS and the policy that hold then.
func (t *Table) Via(to smtp.Path, target config.Target) Destination {
	mailbox := to.Mailbox
	if mailbox.Domain.IsZero() {
		mailbox.Domain = t.hostname
	}
	r := newRule(target, target.DefaultTLS(t.byMX.tls), false, t.byMX.policy)
	return t.destination(&r, mailbox)
}

// Place says what a lane stands for, to those who have nothing but its name: by what name its site goes as far as the
// configuration tells, the domain whose mail exchangers make it (the zero Domain where they do not), and the policy that holds
// there. A lane that the configuration gives no longer has the default policy.
func (t *Table) Place(lane string) (site string, mx smtp.Domain, policy *Policy) {
	site, _, _ = strings.Cut(lane, " tls=")
	if name, ok := strings.CutPrefix(site, "mx:"); ok {
		if mx, err := smtp.ParseDomain(name); err == nil {
			d := t.Route(smtp.Path{Mailbox: smtp.Mailbox{Local: "postmaster", Domain: mx}})
			if d.Lane == lane {
				return site, mx, d.Policy
			}
			return site, mx, t.byMX.policy
		}
	}
	for i := range t.rules {
		if r := &t.rules[i]; r.target.Kind == config.TargetSMTP && r.lane == lane {
			return site, smtp.Domain{}, r.policy
		}
	}
	return site, smtp.Domain{}, t.byMX.policy
}

// postmaster is where <postmaster> without a domain goes: where the rules send postmaster@hostname, or, when no rule that
// takes mail names this host, into a Maildir here, so that it is always accepted and never sent in a circle (RFC 5321
// 4.5.1). It is also where mail ends that can't be returned.
func (t *Table) postmaster() Destination {
	mailbox := smtp.Mailbox{Local: "postmaster", Domain: t.hostname}
	if r := t.find(t.hostname.Key()); r != nil && r.names(t.hostname.Key()) && r.takes() {
		return t.destination(r, mailbox)
	}
	return t.destination(&t.here, mailbox)
}

// Ours tells whether mail for a recipient is taken from anyone: a rule names its domain and does more than repeat the MX
// default. A rule for every domain ("*", or no match) is a way out, not a welcome.
func (t *Table) Ours(to smtp.Path) bool {
	if to.Domain.IsZero() {
		return true
	}
	key := to.Domain.Key()
	r := t.find(key)
	return r != nil && r.target.Kind != config.TargetMX && r.names(key)
}

func (t *Table) find(domain string) *rule {
	for i := range t.rules {
		if r := &t.rules[i]; len(r.domains) == 0 || r.matches(domain) {
			return r
		}
	}
	return nil
}

func (r *rule) matches(domain string) bool {
	for _, pattern := range r.domains {
		if pattern == "*" || pattern == domain || below(pattern, domain) {
			return true
		}
	}
	return false
}

// names tells a match that is not for everything.
func (r *rule) names(domain string) bool {
	for _, pattern := range r.domains {
		if pattern == domain || below(pattern, domain) {
			return true
		}
	}
	return false
}

// takes tells a rule that neither refuses mail nor leads back to the DNS.
func (r *rule) takes() bool {
	return r.target.Kind != config.TargetMX && r.target.Kind != config.TargetReject
}

// below tells that domain stands under the pattern "*.parent".
func below(pattern, domain string) bool {
	parent, ok := strings.CutPrefix(pattern, "*")
	return ok && parent != "" && strings.HasSuffix(domain, parent)
}

// manner tells lanes to one place apart that are spoken to in different ways: they share no session.
func manner(tls config.TLS, sevenBit bool) string {
	s := " tls=" + string(tls)
	if sevenBit {
		s += " 7bit"
	}
	return s
}

func (t *Table) destination(r *rule, to smtp.Mailbox) Destination {
	target := r.target
	d := Destination{Kind: target.Kind, Text: target.Text, Lane: r.lane, Policy: r.policy}
	switch target.Kind {
	case config.TargetMX:
		d.MX = to.Domain
		d.TLS, d.SevenBit = r.tls, r.sevenBit
		d.Lane = "mx:" + to.Domain.Key() + r.manner
	case config.TargetSMTP:
		d.Hop = target
		d.TLS, d.SevenBit = r.tls, r.sevenBit
	case config.TargetMaildir:
		d.Dir = t.expand(target.Path, to)
		d.Lane = "maildir:" + d.Dir
	}
	return d
}

// expand fills a template for a path; what comes from the address can't leave its place in it.
func (t *Table) expand(template string, to smtp.Mailbox) string {
	return filepath.FromSlash(strings.NewReplacer(
		"{data_dir}", filepath.ToSlash(t.dataDir),
		"{local}", fileName(localName(to)),
		"{domain}", fileName(to.Domain.Key()),
	).Replace(template))
}

// localName is the local part as a mailbox is named after it: as it is, but postmaster has no case (RFC 5321 4.5.1).
func localName(to smtp.Mailbox) string {
	if (smtp.Path{Mailbox: to}).IsPostmaster() {
		return "postmaster"
	}
	return to.Local
}

const hexDigits = "0123456789ABCDEF"

// fileName makes a string safe as one name in a path: everything but letters, digits and a few signs is written %XX, and
// so is a dot in front.
func fileName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			strings.IndexByte("-_+=@", c) >= 0 || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	if b.Len() == 0 {
		return "%"
	}
	return b.String()
}
