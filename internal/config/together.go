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
	r.checkControlSocket(c)
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

// checkRoutes looks at what the target of a route allows beside it, and at its schedule.
func (r *reader) checkRoutes(all []Route) {
	for i, route := range all {
		key, kind := fmt.Sprintf("route[%d]", i), route.To.Kind
		waits := true
		if r.given(key + ".to") {
			waits = kind != TargetDiscard && kind != TargetReject
			if kind != TargetSMTP && kind != TargetMX {
				r.refuse(key, route.To, "nothing is sent over a network by %s", "tls", "seven_bit")
			} else if name := key + ".tls"; r.given(name) {
				r.checkRouteTLS(name, route)
			}
		}
		if waits {
			r.checkRouteSchedule(key, route)
		} else {
			r.refuse(key, route.To, "no mail waits for %s", "retry", "warn_after", "give_up_after", "connections")
		}
	}
}

// refuse notes an error for each of the settings of a route that its target makes useless.
func (r *reader) refuse(key string, to Target, why string, names ...string) {
	for _, name := range names {
		if path := below(key, name); r.given(path) {
			r.fail(path, r.at[path], "%s: "+why+"; leave it out", path, quoteShort(to.String()))
		}
	}
}

// checkRouteSchedule looks at the two ages that hold for a route, if one of them is its own.
func (r *reader) checkRouteSchedule(key string, route Route) {
	names := []string{"warn_after", "give_up_after"}
	own, words := 0, []string{FormatDuration(route.WarnAfter), FormatDuration(route.GiveUpAfter)}
	for i, name := range names {
		path := below(key, name)
		if r.bad[path] {
			return
		}
		if r.at[path].line > 0 {
			own++
		} else if r.bad["delivery."+name] {
			return
		} else {
			words[i] += " from [delivery]"
		}
	}
	if own == 0 || route.WarnAfter < route.GiveUpAfter {
		return
	}
	advice := ""
	if own == 1 {
		advice = "; write both here"
	}
	warn, giveUp := below(key, names[0]), below(key, names[1])
	r.fail("", r.firstPlace(warn, giveUp), "%s (%s) must be less than %s (%s), or the sender hears of the delay after the "+
		"mail has come back%s", warn, words[0], giveUp, words[1], advice)
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

// inherited are the settings of a route that hold as they are in [delivery] where it leaves them out.
var inherited = []struct {
	name, from string
	fill       func(*Route, *Delivery)
}{
	{"retry", "delivery.retry", func(r *Route, d *Delivery) { r.Retry = slices.Clone(d.Retry) }},
	{"warn_after", "delivery.warn_after", func(r *Route, d *Delivery) { r.WarnAfter = d.WarnAfter }},
	{"give_up_after", "delivery.give_up_after", func(r *Route, d *Delivery) { r.GiveUpAfter = d.GiveUpAfter }},
	{"connections", "delivery.connections_per_site", func(r *Route, d *Delivery) { r.Connections = d.ConnectionsPerSite }},
}

// fillRoutes works out what routes leave out, and notes what they have from lines of [delivery].
func fillRoutes(c *Config, r *reader) {
	for i := range c.Route {
		route, path := &c.Route[i], fmt.Sprintf("route[%d]", i)
		for _, s := range inherited {
			if r.at[below(path, s.name)].line == 0 {
				s.fill(route, &c.Delivery)
				r.takeOver(below(path, s.name), s.from)
			}
		}
		if tls := below(path, "tls"); r.at[tls].line == 0 {
			route.TLS = route.To.DefaultTLS(c.Delivery.TLS)
			if route.To.Kind == TargetMX {
				r.takeOver(tls, "delivery.tls")
			}
		}
	}
}

// takeOver notes that the value of a key comes from another one, if that is in the file.
func (r *reader) takeOver(path, from string) {
	if where := r.sources[from]; where != "" {
		r.sources[path] = where + " [delivery]"
	}
}
