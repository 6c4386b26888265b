package config

import (
	"fmt"
	"strings"
)

// field is one row of the schema: a setting, a table of settings, or a list of tables. T is the struct that it fills.
type field[T any] struct {
	name     string // the last part of its key
	text     string // what it does; whole sentences
	required bool   // it has no default: every table of its kind gives it
	restart  bool   // a running server can't change it
	preset   string // the default in words, where the value differs from machine to machine

	kind     string                // type, for the documentation
	children func(preset *T) []Doc // of a table, or of the tables of a list
	read     func(r *reader, path string, to *T, e *entry)
	settings func(path string, of, preset *T, sources map[string]string) []Setting
	format   func(of *T) string // of a setting only
}

// one makes a row for a plain setting. at finds its place in the struct.
func one[T, V any](name string, c codec[V], at func(*T) *V, text string) field[T] {
	return field[T]{
		name: name, text: text, kind: c.kind,
		read: func(r *reader, path string, to *T, e *entry) {
			r.mark(path, e.pos, e.value.pos)
			if v, ok := c.parse(r, path, e.value); ok {
				*at(to) = v
			}
		},
		settings: func(path string, of, preset *T, sources map[string]string) []Setting {
			s := Setting{Key: path, Value: c.format(*at(of)), Source: source(sources, path)}
			if preset != nil {
				s.Default = c.format(*at(preset))
			}
			return []Setting{s}
		},
		format: func(of *T) string { return c.format(*at(of)) },
	}
}

// mustBeGiven makes a row one without a default.
func mustBeGiven[T any](f field[T]) field[T] {
	f.required = true
	settings := f.settings
	f.settings = func(path string, of, preset *T, sources map[string]string) []Setting {
		if of != preset { // an element that this package made is its own default
			preset = nil
		}
		return settings(path, of, preset, sources)
	}
	return f
}

// needsRestart makes a row one that a running server can't change; see Differences.
func needsRestart[T any](f field[T]) field[T] {
	f.restart = true
	settings := f.settings
	f.settings = func(path string, of, preset *T, sources map[string]string) []Setting {
		all := settings(path, of, preset, sources)
		for i := range all {
			all[i].Restart = true
		}
		return all
	}
	return f
}

// inWords makes a row one whose default depends on other settings: words tell it, and a value that is not from the file
// is its own default.
func inWords[T any](f field[T], words string) field[T] {
	f.preset = words
	settings := f.settings
	f.settings = func(path string, of, _ *T, sources map[string]string) []Setting {
		all := settings(path, of, nil, sources)
		for i := range all {
			if all[i].Source == "default" {
				all[i].Default = all[i].Value
			}
		}
		return all
	}
	return f
}

// table makes a row for a table whose settings stand in the same struct or in one inside of it.
func table[T, S any](name string, at func(*T) *S, text string, rows []field[S]) field[T] {
	return field[T]{
		name: name, text: text, kind: "table",
		children: func(preset *T) []Doc { return describe(rows, at(preset)) },
		read: func(r *reader, path string, to *T, e *entry) {
			readTable(r, rows, path, at(to), r.asTable(path, e.value))
		},
		settings: func(path string, of, preset *T, sources map[string]string) []Setting {
			if preset == nil {
				return settingsOf(rows, path, at(of), nil, sources)
			}
			return settingsOf(rows, path, at(of), at(preset), sources)
		},
	}
}

// tables makes a row for a list of tables. preset is what an element has when its keys are left out.
func tables[T, S any](name string, at func(*T) *[]S, preset S, text string, rows []field[S]) field[T] {
	return field[T]{
		name: name, text: text, kind: "list of tables",
		children: func(*T) []Doc { return describe(rows, &preset) },
		read: func(r *reader, path string, to *T, e *entry) {
			*at(to) = nil
			r.mark(path, e.pos, e.value.pos)
			if e.value.kind != kindList {
				r.wrongType(path, e.value, "list of tables", "[["+path+"]] above the keys")
				return
			}
			for i, item := range e.value.items {
				element, key := preset, fmt.Sprintf("%s[%d]", path, i)
				r.mark(key, item.pos, item.pos)
				readTable(r, rows, key, &element, r.asTable(key, item))
				*at(to) = append(*at(to), element)
			}
		},
		settings: func(path string, of, _ *T, sources map[string]string) []Setting {
			var all []Setting
			for i := range *at(of) {
				element, key := &(*at(of))[i], fmt.Sprintf("%s[%d]", path, i)
				base := &preset
				if sources[key] == "" {
					base = element // this package made it
				}
				all = append(all, settingsOf(rows, key, element, base, sources)...)
			}
			return all
		},
	}
}

// readTable reads the settings of one table of the file into a struct; n is nil when it is no table.
func readTable[T any](r *reader, rows []field[T], path string, to *T, n *node) {
	if n == nil {
		return
	}
	known := make([]string, len(rows))
	byName := map[string]field[T]{}
	for i, f := range rows {
		known[i] = f.name
		byName[f.name] = f
	}
	for _, name := range n.names {
		if f, ok := byName[name]; ok {
			f.read(r, below(path, name), to, n.table[name])
		} else {
			r.unknownKey(path, name, n.table[name].pos, known)
		}
	}
	for _, f := range rows {
		if f.required && n.table[f.name] == nil {
			r.fail(path, n.pos, "%s has no %q; every %s needs one", path, f.name, title(path))
		}
	}
}

// settingsOf lists the settings of a table; preset is nil when there are no defaults.
func settingsOf[T any](rows []field[T], path string, of, preset *T, sources map[string]string) []Setting {
	var all []Setting
	for _, f := range rows {
		all = append(all, f.settings(below(path, f.name), of, preset, sources)...)
	}
	return all
}

// describe lists rows and what is below them, with keys relative to their table.
func describe[T any](rows []field[T], preset *T) []Doc {
	var all []Doc
	for _, f := range rows {
		d := Doc{Key: f.name, Type: f.kind, Text: f.text, Restart: f.restart}
		switch {
		case f.required || f.format == nil:
		case f.preset != "":
			d.Default = f.preset
		default:
			d.Default = f.format(preset)
		}
		all = append(all, d)
		if f.children == nil {
			continue
		}
		for _, c := range f.children(preset) {
			c.Key = below(f.name, c.Key)
			all = append(all, c)
		}
	}
	return all
}

// below joins the key of a table and a name in it.
func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// title writes the header under which a table stands in a file: [delivery], [[listen]]. path may have indexes.
func title(path string) string {
	plain := withoutIndexes(path)
	switch {
	case path == "":
		return "the top of the file"
	case strings.HasSuffix(path, "]"):
		return "[[" + plain + "]]"
	default:
		return "[" + plain + "]"
	}
}

// withoutIndexes makes "listen[0].address" "listen.address".
func withoutIndexes(path string) string {
	var out strings.Builder
	for part := range strings.SplitSeq(path, "[") {
		if _, rest, indexed := strings.Cut(part, "]"); indexed {
			part = rest
		}
		out.WriteString(part)
	}
	return out.String()
}

func source(sources map[string]string, path string) string {
	if s := sources[path]; s != "" {
		return s
	}
	return "default"
}
