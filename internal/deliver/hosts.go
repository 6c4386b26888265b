package deliver

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// group is a set of hosts of equal preference.
type group struct {
	hosts   []string
	port    int
	relay   bool   // named by the configuration, not found by MX
	channel string // in place of hosts and port: "unix:/path" or "exec:program"
}

// exchangers finds the mail exchangers of a domain, the preferred first (RFC 5321 5.1).
func (r *Remote) exchangers(ctx context.Context, domain smtp.Domain) ([]group, *spool.Outcome) {
	if addr, ok := domain.Addr(); ok {
		return []group{{hosts: []string{addr.String()}, port: r.options.Port}}, nil
	}
	domain = domain.ASCII() // the DNS has A-labels
	records, err := r.mx.records(ctx, r.options.Resolver, domain.String())
	switch {
	case err != nil:
		return nil, lookupOutcome(ctx, "the mail exchangers of "+domain.String(), smtp.EnhancedCode{5, 1, 2}, err)
	case len(records) == 0: // the implicit MX
		records = []dns.MX{{Host: domain.String()}}
	case len(records) == 1 && records[0].Host == ".": // RFC 7505
		return nil, failed(556, smtp.EnhancedCode{5, 1, 10}, "The domain %s accepts no mail (null MX)", domain)
	}
	groups := r.rank(records)
	if len(groups) == 0 {
		return nil, loop(domain.String())
	}
	return groups, nil
}

// rank groups records by preference and drops this host with all that are not preferred to it, or it would send mail in
// a circle.
func (r *Remote) rank(records []dns.MX) []group {
	slices.SortStableFunc(records, func(a, b dns.MX) int { return cmp.Compare(a.Preference, b.Preference) })
	for _, mx := range records {
		if strings.EqualFold(strings.TrimSuffix(mx.Host, "."), r.options.Hostname) {
			records = slices.DeleteFunc(records, func(o dns.MX) bool { return o.Preference >= mx.Preference })
			break
		}
	}
	var groups []group
	for i, mx := range records {
		if i == 0 || mx.Preference != records[i-1].Preference {
			groups = append(groups, group{port: r.options.Port})
		}
		g := &groups[len(groups)-1]
		g.hosts = append(g.hosts, strings.TrimSuffix(mx.Host, "."))
	}
	for _, g := range groups {
		r.options.Shuffle(len(g.hosts), func(i, k int) { g.hosts[i], g.hosts[k] = g.hosts[k], g.hosts[i] })
	}
	return groups
}

// resolve looks up all hosts of a group. problem tells what is wrong where there is no address; with self it says that
// one of the hosts is this server.
func (r *Remote) resolve(ctx context.Context, g group) (found []host, problem *spool.Outcome, self bool) {
	if g.channel != "" {
		return []host{{channel: g.channel}}, nil, false
	}
	for _, name := range g.hosts {
		addrs, err := r.addresses(ctx, name)
		if err != nil {
			o := lookupOutcome(ctx, "the address of "+name, smtp.EnhancedCode{5, 4, 4}, err)
			if problem == nil || !o.Reply.Permanent() {
				problem = o
			}
		}
		for _, addr := range addrs {
			h := host{name: name, addr: netip.AddrPortFrom(addr, uint16(g.port))}
			if r.options.Self(h.addr) {
				return nil, loop(name), true
			}
			found = append(found, h)
		}
		if len(found) >= maxAddresses {
			break // no more are tried
		}
	}
	if len(found) > 0 {
		problem = nil
	}
	return found, problem, false
}

func (r *Remote) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return []netip.Addr{addr}, nil
	}
	return r.options.Resolver.Addrs(ctx, name)
}

// lookupOutcome is what a failed look-up of what means: final if the DNS says that there is none, else to be tried again.
func lookupOutcome(ctx context.Context, what string, missing smtp.EnhancedCode, err error) *spool.Outcome {
	if ctx.Err() != nil {
		o := Stopped(0)
		return &o
	}
	var e *dns.Error
	if errors.As(err, &e) && !e.Temporary() {
		return failed(550, missing, "The DNS does not have %s", what)
	}
	return &spool.Outcome{Reason: spool.ReasonDNS,
		Reply: smtp.Replyf(451, smtp.EnhancedCode{4, 4, 3}, "The DNS did not tell %s: %v", what, err)}
}

func loop(name string) *spool.Outcome {
	return failed(554, smtp.EnhancedCode{5, 4, 6},
		"Mail for %s leads back to this server, and no route here says where to deliver it", name)
}

// ownFault makes the problem of a relay host one that passes: the sender can't help it that the configuration of this
// server names a host that isn't there, or this server itself, and must not get mail back for it.
func ownFault(problem *spool.Outcome) *spool.Outcome {
	if problem == nil || !problem.Reply.Permanent() {
		return problem
	}
	return &spool.Outcome{Reason: spool.ReasonDNS, Reply: smtp.Replyf(451, smtp.EnhancedCode{4, 3, 5},
		"The relay host of the route can't be used; correct the configuration: %s", problem.Reply.Text())}
}

func failed(code int, enhanced smtp.EnhancedCode, format string, args ...any) *spool.Outcome {
	return &spool.Outcome{Reply: smtp.Replyf(code, enhanced, format, args...)}
}
