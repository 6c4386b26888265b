package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// Options of a Resolver. The zero value works.
type Options struct {
	// Servers are the recursive name servers, as host:port or as an address, whose port is then 53. Default: those of
	// /etc/resolv.conf as it reads when New is called; where it names none, 127.0.0.1:53 and [::1]:53.
	Servers []string
	// Timeout is how long one try at one server may take. Every server is tried twice. Default: 5 s.
	Timeout time.Duration
	// HostsFile is asked for addresses before any server. Default: /etc/hosts. A file that does not exist is empty.
	HostsFile string
	// CacheSize is how many answers are kept. Default: 4096. Negative: none is.
	CacheSize int
	// Now is the clock of the cache. Default: time.Now.
	Now func() time.Time
}

// Resolver asks name servers. Its methods may be called from many goroutines.
type Resolver struct {
	servers []string
	timeout time.Duration
	hosts   hosts
	cache   cache
	flights flights
}

// New makes a resolver. It asks nothing yet.
func New(o Options) (*Resolver, error) {
	servers, err := serverList(o.Servers)
	if err != nil {
		return nil, err
	}
	return &Resolver{
		servers: servers,
		timeout: cmp.Or(max(o.Timeout, 0), 5*time.Second),
		hosts:   hosts{path: cmp.Or(o.HostsFile, "/etc/hosts")},
		cache:   newCache(cmp.Or(o.CacheSize, 4096), o.Now),
		flights: flights{running: map[question]*flight{}},
	}, nil
}

// serverList completes addresses with the port, or reads them from /etc/resolv.conf.
func serverList(given []string) ([]string, error) {
	var servers []string
	for _, s := range given {
		if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			s = net.JoinHostPort(a.String(), "53")
		}
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("name server %q: write it as host:port, for example 127.0.0.1:53", s)
		}
		servers = append(servers, s)
	}
	if len(servers) > 0 {
		return servers, nil
	}
	if conf, err := mdns.ClientConfigFromFile("/etc/resolv.conf"); err == nil {
		for _, s := range conf.Servers {
			servers = append(servers, net.JoinHostPort(s, conf.Port))
		}
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53", "[::1]:53"}
	}
	return servers, nil
}

// MX is one mail exchanger of a domain.
type MX struct {
	Host       string // without the final dot; "." alone is the null MX: the domain takes no mail (RFC 7505 3)
	Preference uint16 // the smaller, the better (RFC 5321 5.1)
}

// MX gives the mail exchangers of a domain, sorted by preference; equals stay in the order in which the server gave
// them. A domain that exists and has none gives an empty slice and no error, so that the caller can fall back to the
// domain's own addresses (RFC 5321 5.1). A null MX is one MX with Host ".". Any error is an *Error.
func (r *Resolver) MX(ctx context.Context, domain string) ([]MX, error) {
	a, err := r.lookup(ctx, domain, mdns.TypeMX)
	var e *Error
	if errors.As(err, &e) && e.NoData() {
		return []MX{}, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.mx), nil
}

// Addrs gives the addresses of a host, IPv4 before IPv6, each in the order in which they came. The hosts file goes
// before the servers; "localhost" and the names below it are loopback and never asked for (RFC 6761 6.3). Where one
// family fails and the other has addresses, those are returned without an error. A host without any address is an error
// with NoData. Any error is an *Error.
func (r *Resolver) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if isLocalhost(host) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	if addrs := r.hosts.lookup(host); len(addrs) > 0 {
		return addrs, nil
	}
	type result struct {
		a   *answer
		err error
	}
	six := make(chan result, 1)
	go func() {
		a, err := r.lookup(ctx, host, mdns.TypeAAAA)
		six <- result{a, err}
	}()
	a4, err4 := r.lookup(ctx, host, mdns.TypeA)
	r6 := <-six
	var addrs []netip.Addr
	if err4 == nil {
		addrs = append(addrs, a4.addrs...)
	}
	if r6.err == nil {
		addrs = append(addrs, r6.a.addrs...)
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	return nil, worse(err4, r6.err)
}

// worse gives the error that says less about the host: what is not known yet before what the DNS denies, and the lack
// of one type before the lack of the name, for a name with a CNAME to nowhere is told both ways by some servers.
func worse(a, b error) error {
	rank := func(err error) int {
		var e *Error
		switch {
		case !errors.As(err, &e) || e.Temporary():
			return 2
		case e.NoData():
			return 1
		}
		return 0
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// question is what is asked of a server and kept in the cache. The name is in lower case, with its final dot.
type question struct {
	name string
	kind uint16
}

// lookup answers from the cache, from a query that is under way, or by a new one.
func (r *Resolver) lookup(ctx context.Context, name string, kind uint16) (*answer, error) {
	fail := func(e Error) (*answer, error) {
		e.Name, e.Type = name, mdns.TypeToString[kind]
		return nil, &e
	}
	fqdn := strings.ToLower(mdns.Fqdn(name))
	switch {
	case !isHostName(fqdn), strings.HasSuffix("."+fqdn, ".invalid."): // RFC 6761 6.4
		return fail(Error{Kind: KindNotFound})
	case isLocalhost(name): // an address is never asked for here (RFC 6761 6.3)
		return fail(Error{Kind: KindNoData})
	case ctx.Err() != nil:
		return fail(Error{Kind: KindCanceled, Err: ctx.Err()})
	}
	q := question{fqdn, kind}
	a, ok := r.cache.get(q)
	if !ok {
		a, ok = r.flights.do(ctx, q, func(ctx context.Context) *answer {
			a := r.ask(ctx, q)
			r.cache.put(q, a)
			return a
		})
	}
	if !ok {
		return fail(Error{Kind: KindCanceled, Err: ctx.Err()})
	}
	if a.fail != nil {
		return fail(*a.fail)
	}
	return a, nil
}

// isHostName tells a name of letters, digits, hyphens and underscores within the lengths of the DNS (RFC 1035 2.3.4).
// Anything else is not the name of a mail host and would need escapes on its way.
func isHostName(fqdn string) bool {
	if fqdn == "." || len(fqdn) > 254 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(fqdn, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func isLocalhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
