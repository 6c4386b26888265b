package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// reader collects what is met while the tree is read: errors, and where each setting stands.
type reader struct {
	file    string
	errors  Errors
	sources map[string]string   // key to FILE:LINE
	at      map[string]position // key to the place of its value
	bad     map[string]bool     // keys with an error in their value
	wrong   map[position]bool   // places with an error
}

func newReader(file string) *reader {
	return &reader{
		file:    file,
		sources: map[string]string{},
		at:      map[string]position{},
		bad:     map[string]bool{},
		wrong:   map[position]bool{},
	}
}

// mark notes where a setting or an element of a list stands: its key and its value.
func (r *reader) mark(path string, key, value position) {
	r.sources[path] = fmt.Sprintf("%s:%d", r.file, key.line)
	r.at[path] = value
}

// fail notes an error in the value of a key.
func (r *reader) fail(path string, pos position, format string, args ...any) {
	r.bad[path], r.wrong[pos] = true, true
	r.errors = append(r.errors, &Error{r.file, pos.line, pos.column, fmt.Sprintf(format, args...)})
}

// wrongType notes that a value is of another type than its key wants.
func (r *reader) wrongType(path string, n *node, want, example string) {
	r.fail(path, n.pos, "%s must be %s, such as %s, but is %s", path, withArticle(want), example, n)
}

// asTable gives a node back if it is a table, else nil, with an error noted.
func (r *reader) asTable(path string, n *node) *node {
	if n.kind != kindTable {
		r.wrongType(path, n, "table", title(path)+" above the keys")
		return nil
	}
	return n
}

// unknownKey says what to write instead: a near key of the same table, or the table in which the key belongs.
func (r *reader) unknownKey(path, name string, pos position, known []string) {
	where := ""
	if path != "" {
		where = " in " + title(path)
	}
	near := nearest(name, known)
	if near == "" {
		for _, d := range Describe() {
			table, last := "", d.Key
			if i := strings.LastIndexByte(d.Key, '.'); i >= 0 {
				table, last = d.Key[:i], d.Key[i+1:]
			}
			if last == name && table != withoutIndexes(path) {
				r.fail(path, pos, "unknown key %s%s; it belongs %s", quoteShort(name), where, placeOf(table))
				return
			}
		}
	}
	r.fail(path, pos, "unknown key %s%s; %s", quoteShort(name), where, instead(name, known))
}

// placeOf tells where the keys of a table are written.
func placeOf(table string) string {
	switch table {
	case "":
		return "at the top of the file, above the first [table]"
	case "listen", "route":
		return "in [[" + table + "]]"
	case "route.match":
		return "in the match of a [[route]]"
	default:
		return "in [" + table + "]"
	}
}

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
}

// checkListeners refuses two listeners at one address.
func (r *reader) checkListeners(all []Listen) {
	first := map[netip.AddrPort]string{}
	for i, l := range all {
		key := fmt.Sprintf("listen[%d].address", i)
		where, err := parseListenAddress(l.Address)
		if err != nil || where.Port() == 0 { // noted already, or any free port
			continue
		}
		if old, there := first[where]; there {
			r.fail(key, r.at[key], "%s: %q is the same address as %s at line %d; each listener needs its own",
				key, l.Address, old, r.at[old].line)
			continue
		}
		first[where] = key
	}
}

// firstPlace gives the place of the first of the keys that is in the file.
func (r *reader) firstPlace(keys ...string) position {
	i := slices.IndexFunc(keys, func(k string) bool { return r.at[k].line > 0 })
	if i < 0 {
		return position{1, 1}
	}
	return r.at[keys[i]]
}
