package deliver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/smtp"
)

// Bounds of what is remembered of the DNS. It is a bridge between the question which site a domain belongs to and the attempt
// that follows, and for a burst of mail to one domain; the servers of the DNS are the real cache.
const (
	rememberMX     = 5 * time.Minute
	rememberedMost = 20000 // domains
	mostExchangers = 32    // of a domain: the preferred ones
	longestSite    = 250   // octets of a name; a longer one is told apart by its hash
)

// exchangerCache remembers the MX records of domains for a short time, answers alone, no failures.
type exchangerCache struct {
	mu      sync.Mutex
	answers map[string]mxAnswer
}

type mxAnswer struct {
	records []dns.MX
	site    string    // that they make
	until   time.Time // the DNS is asked again then; the site stays known
}

// records gives the MX records of a domain; the caller may change the list.
func (c *exchangerCache) records(ctx context.Context, resolver Resolver, domain string) ([]dns.MX, error) {
	now := time.Now()
	if a, ok := c.known(domain); ok && !now.After(a.until) {
		return slices.Clone(a.records), nil
	}
	records, err := resolver.MX(ctx, domain)
	if err != nil {
		return nil, err
	}
	records = preferred(records)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) >= rememberedMost {
		maps.DeleteFunc(c.answers, func(_ string, a mxAnswer) bool { return now.After(a.until) })
	}
	if len(c.answers) >= rememberedMost || c.answers == nil {
		c.answers = make(map[string]mxAnswer)
	}
	c.answers[strings.ToLower(domain)] = mxAnswer{slices.Clone(records), siteOf(domain, records), now.Add(rememberMX)}
	return records, nil
}

// preferred keeps the records that are tried at all: whoever writes a zone must not fill this server with names, or keep an
// attempt busy with them.
func preferred(records []dns.MX) []dns.MX {
	if len(records) <= mostExchangers {
		return records
	}
	slices.SortStableFunc(records, func(a, b dns.MX) int { return cmp.Compare(a.Preference, b.Preference) })
	return records[:mostExchangers]
}

func (c *exchangerCache) known(domain string) (mxAnswer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[strings.ToLower(domain)]
	return a, ok
}

// forget has the DNS asked again for every domain.
func (c *exchangerCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for domain, a := range c.answers {
		a.until = time.Time{}
		c.answers[domain] = a
	}
}

// Site names the set of hosts that take the mail of a domain: "mx:a.example.net,b.example.net", the same for all domains that
// have these exchangers. Where the DNS does not tell, the domain is a site of its own, and ok is false.
func (r *Remote) Site(ctx context.Context, domain smtp.Domain) (site string, ok bool) {
	if _, literal := domain.Addr(); literal {
		return "mx:" + domain.Key(), true
	}
	name := domain.ASCII().String()
	records, err := r.mx.records(ctx, r.options.Resolver, name)
	if err != nil {
		records = nil
	}
	return siteOf(name, records), err == nil
}

// KnownSite is Site without a question to the DNS, as it was when it was asked last: ok is false where that is not at hand.
func (r *Remote) KnownSite(domain smtp.Domain) (site string, ok bool) {
	if _, literal := domain.Addr(); literal {
		return "mx:" + domain.Key(), true
	}
	a, ok := r.mx.known(domain.ASCII().String())
	return a.site, ok
}

// Forget has the DNS asked again: an operator who asks for an attempt may have changed it.
func (r *Remote) Forget() { r.mx.forget() }

// siteOf names the site of the exchangers of a domain; without any it is the domain itself (the implicit MX).
func siteOf(domain string, records []dns.MX) string {
	if len(records) == 0 {
		return "mx:" + strings.ToLower(domain)
	}
	hosts := make([]string, len(records))
	for i, mx := range records {
		hosts[i] = strings.ToLower(strings.TrimSuffix(mx.Host, "."))
	}
	slices.Sort(hosts)
	name := "mx:" + strings.Join(slices.Compact(hosts), ",")
	if len(name) <= longestSite {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%s... (%d hosts, %x)", name[:longestSite-50], len(hosts), sum[:8])
}
