package config

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// go-toml's own decoder stops at the first wrong value, so it can't report all errors of a file. Its parser gives every
// key and value with its place instead; from these the tree below is built. The decoder still has the last word on what
// is TOML (see parseTree).

// position is a place in the text, both from 1.
type position struct{ line, column int }

// problem is a place where the text is not TOML.
type problem struct {
	pos  position
	text string
}

// kind is the TOML type of a node, in the words of an error.
type kind string

const (
	kindTable   kind = "table"
	kindList    kind = "list"
	kindString  kind = "string"
	kindInteger kind = "integer"
	kindBoolean kind = "boolean"
	kindFloat   kind = "float"
	kindTime    kind = "date or time"
)

// node is one value of the file.
type node struct {
	kind   kind
	pos    position
	text   string            // a string's value; an integer, float, boolean or time as written
	items  []*node           // of a list
	names  []string          // of a table's entries, in their order
	table  map[string]*entry // of a table
	header bool              // a table that has a [header] of its own
	closed bool              // an inline table or a list in brackets: nothing can be added to it
}

// entry is one key of a table with its value.
type entry struct {
	pos   position // of the key
	value *node
}

func newTable(pos position) *node {
	return &node{kind: kindTable, pos: pos, table: map[string]*entry{}}
}

func (n *node) add(name string, pos position, value *node) {
	n.names = append(n.names, name)
	n.table[name] = &entry{pos: pos, value: value}
}

// String tells what a value is, for errors.
func (n *node) String() string {
	switch n.kind {
	case kindTable, kindList:
		return "a " + string(n.kind)
	case kindString:
		return "the string " + quoteShort(n.text)
	default:
		return fmt.Sprintf("the %s %.40s", n.kind, n.text)
	}
}

// name is one part of a key with its place.
type name struct {
	text string
	pos  position
}

// builder puts the expressions of the parser together to a tree.
type builder struct {
	text     []byte
	parser   unstable.Parser
	starts   []int // offset of each line
	last     int   // the offset for which position was asked last, and its column
	column   int
	problems []problem
}

// parseTree reads TOML. It returns what could be read, and the places that are not TOML; the tree ends at the first
// error of syntax and leaves out keys that are set twice.
func parseTree(text []byte) (*node, []problem) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // some editors put a byte order mark there
	b := &builder{text: text, starts: []int{0}, column: 1}
	for i, c := range text {
		if c == '\n' {
			b.starts = append(b.starts, i+1)
		}
	}
	b.parser.Reset(text)
	root := newTable(position{1, 1})
	current := root
	for b.parser.NextExpression() {
		e := b.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			current = b.openTable(root, b.names(e))
		case unstable.ArrayTable:
			current = b.openElement(root, b.names(e))
		case unstable.KeyValue:
			b.put(current, e)
		}
	}
	if err := b.parser.Error(); err != nil {
		b.problem(b.errorPosition(err), "not TOML: %s", explain(err.Error()))
		return root, b.problems
	}
	b.lastWord()
	return root, b.problems
}

// lastWord asks the decoder whether the text is TOML, for the rules that the builder does not know.
func (b *builder) lastWord() {
	var whole map[string]any
	err := toml.Unmarshal(b.text, &whole)
	if err == nil {
		return
	}
	pos := position{1, 1}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		line, octet := decode.Position()
		pos = b.position(min(b.starts[line-1]+octet-1, len(b.text)))
	}
	for _, p := range b.problems {
		if p.pos.line == pos.line {
			return
		}
	}
	b.problem(pos, "not TOML: %s", explain(strings.TrimPrefix(err.Error(), "toml: ")))
}

// explain adds to a message of the parser what is most often behind it.
func explain(message string) string {
	if strings.HasSuffix(message, "at start of value") {
		message += "; a text stands in quotes"
	}
	return message
}

func (b *builder) problem(pos position, format string, args ...any) {
	b.problems = append(b.problems, problem{pos, fmt.Sprintf(format, args...)})
}

// openTable goes to the table of a [header].
func (b *builder) openTable(root *node, names []name) *node {
	parent, last := b.descend(root, names[:len(names)-1]), names[len(names)-1]
	old := parent.table[last.text]
	switch {
	case old == nil:
		t := newTable(last.pos)
		t.header = true
		parent.add(last.text, last.pos, t)
		return t
	case old.value.kind == kindTable && !old.value.closed:
		if old.value.header {
			b.problem(last.pos, "table [%s] is there twice, first at line %d; put its keys together there",
				join(names), old.value.pos.line)
		}
		old.value.header = true
		return old.value
	}
	b.collision(names, old)
	return newTable(last.pos)
}

// openElement adds an element to the list of a [[header]].
func (b *builder) openElement(root *node, names []name) *node {
	parent, last := b.descend(root, names[:len(names)-1]), names[len(names)-1]
	t := newTable(last.pos)
	t.header = true
	old := parent.table[last.text]
	switch {
	case old == nil:
		parent.add(last.text, last.pos, &node{kind: kindList, pos: last.pos, items: []*node{t}})
	case old.value.kind == kindList && !old.value.closed:
		old.value.items = append(old.value.items, t)
	default:
		b.collision(names, old)
	}
	return t
}

// put adds a key and its value to a table.
func (b *builder) put(table *node, e *unstable.Node) {
	names := b.names(e)
	parent, last := b.descend(table, names[:len(names)-1]), names[len(names)-1]
	value := b.value(e.Value(), last.pos)
	if old := parent.table[last.text]; old != nil {
		b.problem(last.pos, "key %q is set twice, first at line %d; leave one of them out", join(names), old.pos.line)
		return
	}
	parent.add(last.text, last.pos, value)
}

// descend goes down the leading names of a key and makes the tables that are not there yet.
func (b *builder) descend(n *node, names []name) *node {
	for i, part := range names {
		old := n.table[part.text]
		switch {
		case old == nil:
			t := newTable(part.pos)
			n.add(part.text, part.pos, t)
			n = t
		case old.value.kind == kindList && !old.value.closed:
			n = old.value.items[len(old.value.items)-1]
		case old.value.kind == kindTable && !old.value.closed:
			n = old.value
		default:
			b.collision(names[:i+1], old)
			return newTable(part.pos)
		}
	}
	return n
}

func (b *builder) collision(names []name, old *entry) {
	what := "a " + string(old.value.kind)
	if old.value.kind == kindInteger {
		what = "an integer"
	}
	b.problem(names[len(names)-1].pos, "%q is already %s, from line %d", join(names), what, old.pos.line)
}

// value copies a value out of the parser, which uses its memory again for the next expression.
func (b *builder) value(v *unstable.Node, key position) *node {
	n := &node{pos: key, text: string(v.Data)}
	if v.Raw.Length > 0 {
		n.pos = b.position(int(v.Raw.Offset))
	}
	switch v.Kind {
	case unstable.String:
		n.kind = kindString
	case unstable.Integer:
		n.kind = kindInteger
	case unstable.Bool:
		n.kind = kindBoolean
	case unstable.Float:
		n.kind = kindFloat
	case unstable.Array:
		n.kind, n.closed = kindList, true
		for it := v.Children(); it.Next(); {
			n.items = append(n.items, b.value(it.Node(), n.pos))
		}
	case unstable.InlineTable:
		n.kind, n.table = kindTable, map[string]*entry{}
		for it := v.Children(); it.Next(); {
			b.put(n, it.Node())
		}
		n.closed = true
	default:
		n.kind = kindTime
	}
	return n
}

// names gives the parts of a key or of a header.
func (b *builder) names(e *unstable.Node) []name {
	var names []name
	for it := e.Key(); it.Next(); {
		k := it.Node()
		names = append(names, name{string(k.Data), b.position(int(k.Raw.Offset))})
	}
	return names
}

// errorPosition gives the place of an error of syntax: the end of the text when the parser does not say.
func (b *builder) errorPosition(err error) position {
	var syntax *unstable.ParserError
	if errors.As(err, &syntax) && len(syntax.Highlight) > 0 {
		return b.position(int(b.parser.Range(syntax.Highlight).Offset))
	}
	return b.position(len(b.text))
}

// position gives the line and column of an offset. It counts on from the place before, or long lines would take the
// square of their length.
func (b *builder) position(offset int) position {
	line := sort.SearchInts(b.starts, offset+1)
	if start := b.starts[line-1]; b.last < start || b.last > offset {
		b.last, b.column = start, 1
	}
	b.column += utf8.RuneCount(b.text[b.last:offset])
	b.last = offset
	return position{line, b.column}
}

// join writes a key as in the file.
func join(names []name) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = n.text
	}
	return strings.Join(parts, ".")
}
