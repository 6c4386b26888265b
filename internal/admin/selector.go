package admin

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// Selector says which recipients are meant: those that match all of its fields. The zero value means every recipient; an
// Action wants All to be set then.
type Selector struct {
	IDs       []string      `json:"ids,omitempty"`       // queue ids: any of them
	Domain    string        `json:"domain,omitempty"`    // of the recipient: "example.org", or "*.example.org" for all below it
	Site      string        `json:"site,omitempty"`      // what SiteNames gives of it, or a pattern of that with "*"
	Sender    string        `json:"sender,omitempty"`    // "ann@example.org", "@example.org", or "<>"
	Recipient string        `json:"recipient,omitempty"` // the same
	OlderThan time.Duration `json:"older_ns,omitempty"`  // since it arrived
	NewerThan time.Duration `json:"newer_ns,omitempty"`
	Reason    string        `json:"reason,omitempty"` // spool.ParseReason
	Class     string        `json:"class,omitempty"`  // urgent, normal, bulk
	State     string        `json:"state,omitempty"`  // waiting, held, in-flight
	All       bool          `json:"all,omitempty"`
}

// IsEmpty tells a selector that says nothing, but for All.
func (s Selector) IsEmpty() bool {
	s.All = false
	return reflect.ValueOf(s).IsZero()
}

// Classes of mail by its priority, as MT-PRIORITY (RFC 6710) gives it.
const (
	ClassUrgent = "urgent" // above 0
	ClassNormal = "normal"
	ClassBulk   = "bulk" // below 0
)

func classOf(p smtp.Priority) string {
	switch {
	case p > 0:
		return ClassUrgent
	case p < 0:
		return ClassBulk
	}
	return ClassNormal
}

// matcher is a selector that was read.
type matcher struct {
	ids       []spool.ID
	wanted    map[spool.ID]bool // the ids, where there are some
	domain    domainMatch
	sender    addressMatch
	recipient addressMatch
	site      siteMatch
	before    time.Time // arrived by then; zero: whenever
	after     time.Time
	reason    spool.Reason
	anyReason bool
	class     string
	state     string
}

// compile reads a selector. Errors wrap ErrWrong.
func (s Selector) compile(now time.Time) (*matcher, error) {
	m := &matcher{site: parseSiteMatch(s.Site), anyReason: s.Reason == "", class: s.Class, state: s.State}
	var err error
	note := func(what string, e error) {
		if e != nil && err == nil {
			err = fmt.Errorf("%w: %s: %w", ErrWrong, what, e)
		}
	}
	for _, text := range s.IDs {
		id, e := spool.ParseID(strings.ToLower(text))
		if e != nil {
			note("id", fmt.Errorf("%w: %.40q", spool.ErrID, text))
		}
		if m.wanted == nil {
			m.wanted = make(map[spool.ID]bool, len(s.IDs))
		}
		if !m.wanted[id] {
			m.wanted[id] = true
			m.ids = append(m.ids, id)
		}
	}
	var e error
	m.domain, e = parseDomainMatch(s.Domain)
	note("domain", e)
	m.sender, e = parseAddressMatch(s.Sender)
	note("sender", e)
	m.recipient, e = parseAddressMatch(s.Recipient)
	note("recipient", e)
	if s.Reason != "" {
		m.reason, e = spool.ParseReason(s.Reason)
		note("reason", e)
	}
	note("class", oneOf(s.Class, ClassUrgent, ClassNormal, ClassBulk))
	note("state", oneOf(s.State, spool.Waiting.String(), spool.Held.String(), StateInFlight))
	if s.OlderThan < 0 || s.NewerThan < 0 {
		note("age", fmt.Errorf("must not be negative"))
	}
	if s.OlderThan > 0 {
		m.before = now.Add(-s.OlderThan)
	}
	if s.NewerThan > 0 {
		m.after = now.Add(-s.NewerThan)
	}
	return m, err
}

func oneOf(s string, known ...string) error {
	if s == "" || slices.Contains(known, s) {
		return nil
	}
	return fmt.Errorf("%.40q is not known; there are %s", s, strings.Join(known, ", "))
}

// message tells whether recipients of msg can match at all.
func (m *matcher) message(msg *spool.Message) bool {
	return (m.wanted == nil || m.wanted[msg.ID]) && m.sender.matches(msg.From) &&
		(m.before.IsZero() || !msg.Arrived.After(m.before)) && (m.after.IsZero() || msg.Arrived.After(m.after))
}

// recipient tells whether a recipient matches in all that the spool knows of it: all but its site, and whether it is in
// flight.
func (m *matcher) ofSpool(r *spool.Recipient) bool {
	stateFits := m.state == "" || r.State.String() == m.state || m.state == StateInFlight && r.State == spool.Waiting
	return !r.State.Done() && stateFits && m.domain.matches(r.To.Domain) && m.recipient.matches(r.To) &&
		(m.anyReason || r.Reason == m.reason) && (m.class == "" || classOf(r.Priority) == m.class)
}

// domainMatch is a domain, or all below one.
type domainMatch struct {
	key   string
	below bool
}

func parseDomainMatch(s string) (d domainMatch, err error) {
	if s == "" {
		return d, nil
	}
	name, below := strings.CutPrefix(s, "*.")
	domain, err := parseDomain(name)
	if err != nil {
		return d, fmt.Errorf("%.80q is not a domain", s)
	}
	return domainMatch{domain.Key(), below}, nil
}

// parseDomain reads a domain or an address literal.
func parseDomain(s string) (smtp.Domain, error) {
	p, err := smtp.ParsePath("<x@" + s + ">")
	if err != nil {
		return smtp.Domain{}, err
	}
	return p.Domain, nil
}

func (d domainMatch) matches(domain smtp.Domain) bool {
	switch {
	case d.key == "":
		return true
	case domain.IsZero():
		return false
	case d.below:
		return strings.HasSuffix(domain.Key(), "."+d.key)
	}
	return domain.Key() == d.key
}

// addressMatch is an address, or all at a domain. The case of a local part counts (RFC 5321 2.4), but for postmaster.
type addressMatch struct {
	set    bool
	path   smtp.Path
	domain domainMatch
}

func parseAddressMatch(s string) (a addressMatch, err error) {
	if s == "" {
		return a, nil
	}
	a.set = true
	if name, ok := strings.CutPrefix(s, "@"); ok {
		a.domain, err = parseDomainMatch(name)
		if err == nil && a.domain.key == "" {
			err = fmt.Errorf("%.80q names no domain", s)
		}
		return a, err
	}
	text := s
	if !strings.HasPrefix(s, "<") {
		text = "<" + s + ">"
	}
	if a.path, err = smtp.ParsePath(text); err != nil {
		return a, fmt.Errorf("%.80q is neither an address nor @DOMAIN nor <>", s)
	}
	return a, nil
}

func (a addressMatch) matches(p smtp.Path) bool {
	switch {
	case !a.set:
		return true
	case a.domain.key != "":
		return a.domain.matches(p.Domain)
	case a.path.IsPostmaster() && p.IsPostmaster():
	case a.path.Local != p.Local:
		return false
	}
	return a.path.Domain.Key() == p.Domain.Key()
}
