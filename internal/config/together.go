package config

import (
	"fmt"
	"slices"
)

// checkTogether looks at settings that are right alone and wrong beside each other.
func (r *reader) checkTogether(c *Config) {
	d := c.Delivery
	if !r.bad["delivery.warn_after"] && !r.bad["delivery.give_up_after"] && d.WarnAfter >= d.GiveUpAfter {
		r.fail("", r.firstPlace("delivery.warn_after", "delivery.give_up_after"),
			"delivery.warn_after (%s) must be less than delivery.give_up_after (%s), "+
				"or the sender hears of the delay after the mail has come back",
			FormatDuration(d.WarnAfter), FormatDuration(d.GiveUpAfter))
	}
	if len(c.Listen) == 0 && !r.bad["listen"] {
		r.fail("listen", r.at["listen"], "listen is an empty list; leave it out to listen on 127.0.0.1:2525")
	}
	r.checkListeners(c.Listen)
	r.checkRoutes(c.Route)
}

// firstPlace gives the place of the first of the keys that is in the file.
func (r *reader) firstPlace(keys ...string) position {
	i := slices.IndexFunc(keys, func(k string) bool { return r.at[k].line > 0 })
	if i < 0 {
		return position{1, 1}
	}
	return r.at[keys[i]]
}

// given tells that a key stands in the file and its value is good alone.
func (r *reader) given(key string) bool {
	return r.at[key].line > 0 && !r.bad[key]
}

// checkRoutes looks at what the target of a route allows beside it.
func (r *reader) checkRoutes(all []Route) {
	for i, route := range all {
		key := fmt.Sprintf("route[%d]", i)
		if !r.given(key + ".to") {
			continue
		}
		if route.To.Kind != TargetSMTP && route.To.Kind != TargetMX {
			for _, name := range []string{key + ".tls", key + ".seven_bit"} {
				if r.given(name) {
					r.fail(name, r.at[name], "%s: nothing is sent over a network by %s; leave it out", name,
						quoteShort(route.To.String()))
				}
			}
			continue
		}
		if name := key + ".tls"; r.given(name) {
			r.checkRouteTLS(name, route)
		}
	}
}

func (r *reader) checkRouteTLS(name string, route Route) {
	to := route.To
	switch {
	case to.ImplicitTLS && route.TLS == TLSNone:
		r.fail(name, r.at[name], "%s: smtps:// is TLS from the first octet; write smtp:// to have none", name)
	case route.TLS == TLSRequired && to.Kind == TargetSMTP && to.Host == "":
		r.fail(name, r.at[name], "%s: %s has no name that a certificate could be good for; "+
			"write \"opportunistic\" or \"none\"", name, quoteShort(to.String()))
	}
}

// fillRoutes works out the TLS of routes that leave it out.
func fillRoutes(c *Config, at map[string]position) {
	for i := range c.Route {
		route := &c.Route[i]
		if at[fmt.Sprintf("route[%d].tls", i)].line > 0 {
			continue
		}
		switch {
		case route.To.Kind == TargetMX:
			route.TLS = c.Delivery.TLS
		case route.To.Kind != TargetSMTP:
			route.TLS = TLSNone
		case route.To.ImplicitTLS: // who writes smtps:// wants to know with whom
			route.TLS = TLSRequired
		default:
			route.TLS = TLSOpportunistic
		}
	}
}
