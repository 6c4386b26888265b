package config

import (
	"fmt"
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
	if nearest(name, known) == "" {
		if places := placesOf(name, withoutIndexes(path)); places != "" {
			r.fail(path, pos, "unknown key %s%s; it belongs %s", quoteShort(name), where, places)
			return
		}
	}
	r.fail(path, pos, "unknown key %s%s; %s", quoteShort(name), where, instead(name, known))
}

// placesOf tells where a key that is wrong in one table is right, if that is anywhere.
func placesOf(name, wrong string) string {
	var places []string
	for _, d := range Describe() {
		table, last := "", d.Key
		if i := strings.LastIndexByte(d.Key, '.'); i >= 0 {
			table, last = d.Key[:i], d.Key[i+1:]
		}
		if last == name && table != wrong {
			places = append(places, placeOf(table))
		}
	}
	return strings.Join(places, " or ")
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
