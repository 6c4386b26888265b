package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/smtp"
)

// zone is a DNS that counts the questions for MX records.
type zone struct {
	mx    map[string][]dns.MX
	asked map[string]int
}

func (z *zone) MX(_ context.Context, domain string) ([]dns.MX, error) {
	z.asked[domain]++
	if records, ok := z.mx[strings.ToLower(domain)]; ok {
		return records, nil
	}
	return nil, errors.New("SERVFAIL")
}

func (z *zone) Addrs(context.Context, string) ([]netip.Addr, error) {
	return nil, errors.New("SERVFAIL")
}

// Domains with the same hosts are one site, in whatever order and case the DNS names them; the DNS is asked once a minute.
func TestSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{asked: map[string]int{}, mx: map[string][]dns.MX{
			"one.example":           {{Preference: 10, Host: "a.mx.example."}, {Preference: 20, Host: "B.mx.example."}},
			"two.example":           {{Preference: 5, Host: "b.mx.example"}, {Preference: 5, Host: "A.MX.example"}, {Preference: 9, Host: "a.mx.example."}},
			"xn--bcher-kva.example": {{Preference: 5, Host: "mx.xn--bcher-kva.example."}},
			"implicit.example":      {},
			"null.example":          {{Host: "."}},
		}}
		r := NewRemote(Options{Hostname: "here.example", Resolver: z})
		for _, c := range []struct {
			domain, site string
			ok           bool
		}{
			{"one.example", "mx:a.mx.example,b.mx.example", true},
			{"TWO.example", "mx:a.mx.example,b.mx.example", true},
			{"b\u00fccher.example", "mx:mx.xn--bcher-kva.example", true},
			{"Implicit.example", "mx:implicit.example", true},
			{"null.example", "mx:", true},
			{"Broken.example", "mx:broken.example", false},
			{"[192.0.2.1]", "mx:[192.0.2.1]", true},
		} {
			domain, err := smtp.ParseDomain(c.domain)
			if err != nil {
				t.Fatal(err)
			}
			before, known := r.KnownSite(domain)
			if _, literal := domain.Addr(); known && !literal && before != c.site {
				t.Errorf("%s is known to be of %q before it was asked for", c.domain, before)
			}
			for range 3 {
				if site, ok := r.Site(t.Context(), domain); site != c.site || ok != c.ok {
					t.Errorf("%s is of site %q (%v), want %q", c.domain, site, ok, c.site)
				}
			}
			if site, known := r.KnownSite(domain); known != c.ok || known && site != c.site {
				t.Errorf("%s is then known to be of %q (%v)", c.domain, site, known)
			}
		}
		if z.asked["one.example"] != 1 || z.asked["Broken.example"] != 3 {
			t.Errorf("the DNS was asked %v", z.asked)
		}
		one, _ := smtp.ParseDomain("one.example")
		time.Sleep(rememberMX + time.Second)
		r.Site(t.Context(), one)
		r.Forget()
		r.Site(t.Context(), one)
		if site, known := r.KnownSite(one); !known || site != "mx:a.mx.example,b.mx.example" || z.asked["one.example"] != 3 {
			t.Errorf("after its time and Forget: %q, known %v, asked %d times, want 3", site, known, z.asked["one.example"])
		}
	})
}

// TestManyExchangers: whoever writes a zone with thousands of exchangers gets the preferred ones tried, and no more memory than
// others.
func TestManyExchangers(t *testing.T) {
	var records []dns.MX
	for i := range 3000 {
		records = append(records, dns.MX{Preference: uint16(3000 - i), Host: fmt.Sprintf("h%04d.mx.example.", i)})
	}
	z := &zone{asked: map[string]int{}, mx: map[string][]dns.MX{"many.example": records}}
	r := NewRemote(Options{Hostname: "here.example", Resolver: z})
	many, _ := smtp.ParseDomain("many.example")
	site, ok := r.Site(t.Context(), many)
	if again, known := r.KnownSite(many); !ok || !known || len(site) > longestSite || again != site {
		t.Errorf("site %q, then %q", site, again)
	}
	kept, err := r.mx.records(t.Context(), z, "many.example")
	if err != nil || len(kept) != mostExchangers || kept[0].Host != "h2999.mx.example." {
		t.Errorf("%d records are kept, first %v: %v", len(kept), kept[:1], err)
	}
}
