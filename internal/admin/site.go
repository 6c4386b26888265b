package admin

import (
	"net/netip"
	"strings"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/smtp"
)

// defaultManner is how a lane is spoken to where the configuration says nothing.
const defaultManner = " tls=opportunistic"

// ShortSite writes the name of a site or lane for people: without the TLS that mail goes with anyhow. Two lanes never become
// one by that, for all other manners stay.
func ShortSite(name string) string {
	if head, tail, ok := strings.Cut(name, defaultManner); ok && (tail == "" || tail[0] == ' ') {
		return head + tail
	}
	return name
}

// SiteNames gives all that an operator may call a place, in lower case: the name of its site, each of that site's hosts with
// and without "mx:", its lane with and without its manner (" tls=..."), and the lane's domain or host. site may be "" or the
// lane itself: where mail leads is looked up when its time has come.
func SiteNames(lane, site string) []string {
	var names []string
	for _, name := range []string{site, lane} {
		name = strings.ToLower(name)
		names = append(names, name, ShortSite(name))
		if name, _, _ = strings.Cut(name, " tls="); name == "" {
			continue
		}
		names = append(names, name)
		if hosts, ok := strings.CutPrefix(name, "mx:"); ok {
			for host := range strings.SplitSeq(hosts, ",") {
				names = append(names, host, "mx:"+host, strings.Trim(host, "[]"))
			}
		} else if _, hop, ok := strings.Cut(name, "://"); ok {
			names = append(names, hop)
			if at := strings.LastIndexByte(hop, ':'); at > 0 {
				names = append(names, hop[:at], strings.Trim(hop[:at], "[]"))
			}
		}
	}
	return names
}

// siteMatch is what Selector.Site means. It belongs to one goroutine.
type siteMatch struct {
	wanted []string           // forms of one name, in lower case; none: every site
	known  map[[2]string]bool // answers, by lane and site: a spool has few of these, and many recipients
}

func parseSiteMatch(s string) siteMatch {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" {
		return siteMatch{}
	}
	m := siteMatch{wanted: []string{s}, known: map[[2]string]bool{}}
	scheme, name, found := strings.Cut(s, ":")
	switch d, err := smtp.ParseDomain(s); {
	case err == nil:
		m.wanted = append(m.wanted, d.Key())
	case found && scheme == "mx":
		if d, err := smtp.ParseDomain(name); err == nil {
			m.wanted = append(m.wanted, "mx:"+d.Key())
		}
	case strings.Contains(s, "://"):
		if target, err := config.ParseTarget(s); err == nil {
			m.wanted = append(m.wanted, target.String()) // with its port
		}
	default:
		if a, err := netip.ParseAddr(s); err == nil {
			m.wanted = append(m.wanted, smtp.AddressLiteral(a).Key())
		}
	}
	for i := range m.wanted {
		m.wanted[i] = strings.ToLower(m.wanted[i])
	}
	return m
}

func (m siteMatch) matches(lane, site string) bool {
	if len(m.wanted) == 0 {
		return true
	}
	key := [2]string{lane, site}
	fits, asked := m.known[key]
	if !asked {
		for _, name := range SiteNames(lane, site) {
			for _, wanted := range m.wanted {
				fits = fits || globMatches(wanted, name)
			}
		}
		m.known[key] = fits
	}
	return fits
}

// globMatches compares a name with a pattern in which each "*" stands for any text, dots too. Empty names match nothing.
func globMatches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 || name == "" {
		return pattern == name && name != ""
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok || !strings.HasSuffix(rest, parts[last]) {
		return false
	}
	rest = rest[:len(rest)-len(parts[last])]
	for _, part := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return true
}
