// Package holub holds the tests that keep the house in order: which package stands on which floor and what it may
// import, one doc comment for each package, and the sizes of functions and files. The plan they keep is told in
// docs/flow.md.
package holub

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/holub-mail/holub"

// floors says on which floor a package stands; "x/..." is every folder below x that has no row of its own. A package
// imports only from floors below its own. A package that is not here fails the test: give it its floor first.
var floors = map[string]int{
	"bench":     9,
	"bench/...": 8,

	"cmd/holub":     7,
	"cmd/holub/...": 7,

	"internal/mta": 6,

	"internal/intake": 5,

	"internal/policy":     4,
	"internal/policy/...": 4,
	"internal/settle":     4,
	"internal/admin":      4,
	"internal/admin/...":  4,

	"internal/route":       3,
	"internal/queue":       3,
	"internal/history":     3,
	"internal/deliver":     3,
	"internal/deliver/...": 3,
	"internal/spool/...":   3,
	"internal/load":        3,
	"mailauth":             3,
	"mailauth/...":         3,
	"dsn":                  3,
	"smtptest":             3,

	"smtp/receiver":  2,
	"smtp/sender":    2,
	"mail":           2,
	"internal/spool": 2,
	"milter":         2,
	"tlspolicy":      2,
	"internal/users": 2,

	"smtp":            1,
	"sasl":            1,
	"dns":             1,
	"transport":       1,
	"event":           1,
	"internal/config": 1,
}

// neighbours are the imports allowed within one floor, each with its reason. A room and the folders below it are one
// room and need no row.
var neighbours = map[[2]string]string{
	{"internal/config", "smtp"}:      "the configuration holds domains, paths and replies as the types of the wire",
	{"internal/config", "transport"}: "addresses and next hops are read by the one parser of endpoints",
}

// stages are the steps of a message's trip: none imports another, whatever its floor; internal/mta joins them.
var stages = []string{"internal/intake", "internal/route", "internal/queue", "internal/deliver", "internal/settle"}

// helpers are packages for tests; only tests and other helpers import them.
var helpers = []string{
	"internal/peers", "internal/peers/fetch", "internal/dnstest", "internal/certtest", "internal/spool/spooltest",
	"transport/transporttest", // the kit of tests of a connection and of a listener; it imports "testing"
}

// public packages may be imported by anyone: they import the standard library and each other, and no more.
var public = []string{
	"smtp", "smtp/receiver", "smtp/sender", "transport", "mail", "dsn", "mailauth", "milter", "tlspolicy", "sasl",
	"dns", "event", "smtptest",
}

// inside are the modules that a public package may use as long as none of their types shows in its API.
var inside = map[[2]string]string{
	{"dns", "github.com/miekg/dns"}:             "the wire format of DNS is not our work",
	{"smtp", "golang.org/x/net/idna"}:           "which U-label is which A-label (RFC 5891) is a matter of Unicode tables",
	{"sasl", "github.com/xdg-go/scram"}:         "the messages and proofs of SCRAM are not our work",
	{"sasl", "golang.org/x/text/secure/precis"}: "which names and passwords are equal (RFC 8265) is a matter of Unicode tables",
}

// forbidden are imports that code may not have; tests may.
var forbidden = map[string]string{
	"net/textproto":               "its dot reader ends DATA at a bare LF (smtp smuggling)",
	"net/smtp":                    "SMTP is what this project is for: smtp/sender",
	"github.com/emersion/go-smtp": "SMTP is what this project is for: smtp/sender, smtp/receiver",
	"log":                         "log/slog is the one way to log",
	"math/rand":                   "math/rand/v2, handed in",
	"C":                           "one static binary without cgo",
}

const (
	maxFunctionLines = 70
	maxFileLines     = 700
)

// longFunctions are tables and flat switches that may be longer, as "folder: function".
var longFunctions = map[string]string{}

// source is one Go file of the module.
type source struct {
	file string // with slashes, from the root of the module
	dir  string // the package's path in the module; "." is its root
	test bool
	ast  *ast.File
}

// house parses every Go file of the module.
func house(t *testing.T) ([]source, *token.FileSet) {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") ||
			strings.HasPrefix(base, "_")) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		name = filepath.ToSlash(name)
		all = append(all, source{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("only %d Go files found; does the test run in the root of the module?", len(all))
	}
	return all, fset
}

// imports gives the import paths of a file, those of the module without its name.
func (s source) imports() (own, others []string) {
	for _, spec := range s.ast.Imports {
		p := strings.Trim(spec.Path.Value, `"`)
		if rest, ok := strings.CutPrefix(p, module+"/"); ok {
			own = append(own, rest)
		} else {
			others = append(others, p)
		}
	}
	return own, others
}

// floorOf looks a package up in the table.
func floorOf(pkg string) (floor int, ok bool) {
	if floor, ok = floors[pkg]; ok {
		return floor, true
	}
	for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
		if floor, ok = floors[dir+"/..."]; ok {
			return floor, true
		}
	}
	return 0, false
}

// sameRoom tells that one package lies in a folder below the other.
func sameRoom(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}

// stageOf gives the stage a package belongs to, or "".
func stageOf(pkg string) string {
	for _, s := range stages {
		if pkg == s || strings.HasPrefix(pkg, s+"/") {
			return s
		}
	}
	return ""
}

// whyNot gives the reason for which code of one package may not import the other, or "".
func whyNot(from, to string) string {
	if slices.Contains(helpers, to) {
		if slices.Contains(helpers, from) {
			return ""
		}
		return "only tests may import a test helper"
	}
	if slices.Contains(helpers, from) {
		return ""
	}
	ff, ok1 := floorOf(from)
	tf, ok2 := floorOf(to)
	a, b := stageOf(from), stageOf(to)
	switch {
	case !ok1 || !ok2:
		return "one of them has no row in the table of floors"
	case a != "" && b != "" && a != b:
		return "no stage imports another; internal/mta joins them"
	case tf > ff:
		return "that is up the floors"
	case tf == ff && !sameRoom(from, to) && neighbours[[2]string{from, to}] == "":
		return "that is on the same floor"
	case slices.Contains(public, from) && !slices.Contains(public, to):
		return "a public package imports public packages only"
	}
	return ""
}

func TestFloors(t *testing.T) {
	files, _ := house(t)
	for _, s := range files {
		if _, ok := floorOf(s.dir); !ok && s.dir != "." && !slices.Contains(helpers, s.dir) {
			t.Errorf("%s: give package %s its row in the table of floors", s.file, s.dir)
			continue
		}
		own, _ := s.imports()
		for _, to := range own {
			if why := whyNot(s.dir, to); why != "" && !s.test {
				t.Errorf("%s imports %s: %s", s.file, to, why)
			}
		}
	}
}

// TestFloorsRule tries the rule itself, for a rule that forbids nothing passes too.
func TestFloorsRule(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		allowed  bool
	}{
		{"internal/mta", "internal/queue", true},
		{"internal/queue", "internal/mta", false},
		{"internal/intake", "internal/queue", false},
		{"internal/settle", "internal/route", false},
		{"internal/deliver/local", "internal/route", false},
		{"internal/deliver", "internal/deliver/local", true},
		{"internal/spool/lsm", "internal/spool", true},
		{"internal/spool", "internal/spool/lsm", false},
		{"internal/spool/lsm", "internal/dnstest", false},
		{"internal/spool/spooltest", "internal/spool", true},
		{"internal/config", "smtp", true},
		{"smtp", "internal/config", false},
		{"dns", "smtp", false},
		{"dsn", "mail", true},
		{"dsn", "internal/spool", false},
		{"smtp/receiver", "smtp", true},
		{"smtp/receiver", "smtp/sender", false},
		{"internal/unknown", "smtp", false},
	} {
		if why := whyNot(tt.from, tt.to); (why == "") != tt.allowed {
			t.Errorf("%s imports %s: allowed %v, want %v: %s", tt.from, tt.to, why == "", tt.allowed, why)
		}
	}
}

// TestForeignImports: what comes from outside the module.
func TestForeignImports(t *testing.T) {
	files, _ := house(t)
	for _, s := range files {
		if s.test {
			continue
		}
		_, others := s.imports()
		for _, p := range others {
			if why, ok := forbidden[p]; ok {
				t.Errorf("%s imports %s: %s", s.file, p, why)
			}
			first, _, _ := strings.Cut(p, "/")
			if strings.Contains(first, ".") && slices.Contains(public, s.dir) && inside[[2]string{s.dir, p}] == "" {
				t.Errorf("%s imports %s: a public package uses the standard library only", s.file, p)
			}
		}
	}
}

// TestPublicTypes: the API of a public package shows no type of another module and none that is internal.
func TestPublicTypes(t *testing.T) {
	files, fset := house(t)
	for _, s := range files {
		if s.test || !slices.Contains(public, s.dir) {
			continue
		}
		foreign := map[string]string{}
		for _, spec := range s.ast.Imports {
			p := strings.Trim(spec.Path.Value, `"`)
			first, _, _ := strings.Cut(p, "/")
			name := path.Base(p)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			if strings.Contains(first, ".") && (!strings.HasPrefix(p, module+"/") || strings.Contains(p, "/internal/")) {
				foreign[name] = p
			}
		}
		if len(foreign) == 0 || !ast.FileExports(s.ast) {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if _, ok := n.(*ast.BlockStmt); ok {
				return false
			}
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && foreign[x.Name] != "" {
					t.Errorf("%v: the API shows %s.%s of %s", fset.Position(n.Pos()), x.Name, sel.Sel.Name, foreign[x.Name])
				}
			}
			return true
		})
	}
}

func TestPackageDocs(t *testing.T) {
	files, _ := house(t)
	docs := map[string][]string{}
	for _, s := range files {
		if s.test {
			continue
		}
		docs[s.dir] = append(docs[s.dir], "")
		if s.ast.Doc == nil {
			continue
		}
		docs[s.dir][len(docs[s.dir])-1] = s.file
		want := "Package " + s.ast.Name.Name + " "
		if s.ast.Name.Name == "main" {
			want = "Command " + path.Base(s.dir) + " "
		}
		if text := s.ast.Doc.Text(); !strings.HasPrefix(text, want) {
			t.Errorf("%s: the doc comment starts %.40q, want %q", s.file, text, want)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		with := slices.DeleteFunc(docs[dir], func(f string) bool { return f == "" })
		if len(with) != 1 {
			t.Errorf("package %s has %d doc comments, want one: %v", dir, len(with), with)
		}
	}
}

// TestSizes: a function does one thing at one level, a file has one noun.
func TestSizes(t *testing.T) {
	files, fset := house(t)
	unused := maps.Clone(longFunctions)
	for _, s := range files {
		if s.test {
			continue
		}
		if n := fset.File(s.ast.Pos()).LineCount(); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d: which two nouns are in it?", s.file, n, maxFileLines)
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
			key := s.dir + ": " + f.Name.Name
			if n <= maxFunctionLines {
				continue
			}
			delete(unused, key)
			if longFunctions[key] == "" {
				t.Errorf("%v: %s has %d lines, at most %d", fset.Position(f.Pos()), f.Name.Name, n, maxFunctionLines)
			}
		}
	}
	for key, why := range unused {
		t.Errorf("longFunctions has %q (%s), which is not too long or not there", key, why)
	}
}

// TestLaws: what the house forbids inside functions.
func TestLaws(t *testing.T) {
	files, fset := house(t)
	for _, s := range files {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%v: no init()", fset.Position(n.Pos()))
				}
			case *ast.SelectorExpr:
				if isName(n, "time", "Sleep") && s.test {
					t.Errorf("%v: no time.Sleep in tests; wait for what happens, or use testing/synctest", fset.Position(n.Pos()))
				}
			case *ast.CallExpr: // in a bubble a sleep takes no time
				f, ok := n.Fun.(*ast.SelectorExpr)
				return !ok || !isName(f, "synctest", "Test")
			}
			return true
		})
	}
}

// isName tells the selector pkg.name.
func isName(s *ast.SelectorExpr, pkg, name string) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && s.Sel.Name == name
}
