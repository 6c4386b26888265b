package receiver_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEveryReplyHasADialogue: each text that the source can send stands in an S line of some dialogue, or, where it takes
// TLS or a broken handler to hear it, in a test.
func TestEveryReplyHasADialogue(t *testing.T) {
	said := serverLines(t)
	tests := testSources(t)
	texts := replyTexts(t)
	if len(texts) < 30 {
		t.Fatalf("only %d texts found in the source; does the search still fit it?", len(texts))
	}
	for text, where := range texts {
		if inTests[text] {
			if !strings.Contains(tests, text) {
				t.Errorf("%s: no test shows %q", where, text)
			}
			continue
		}
		pattern := regexp.MustCompile(`%[sdq]`).ReplaceAllString(regexp.QuoteMeta(text), `.+`)
		if !regexp.MustCompile(`(?m)^S: \d{3}[ -].*` + pattern).MatchString(said) {
			t.Errorf("%s: no dialogue shows %q", where, text)
		}
	}
}

// inTests are the texts that no dialogue can show.
var inTests = map[string]bool{
	"This server takes no mail":    true, // of a server without a Handler
	"Ready for TLS":                true,
	"TLS has been started already": true,
	"STARTTLS must be the last command before TLS (RFC 3207 4)": true,
	"No STARTTLS after XCLIENT; start TLS first":                true,
}

func testSources(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range files {
		if name == "replies_test.go" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

func serverLines(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "S: ") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// replyTexts finds the string literals in calls of NewReply and Replyf, in Lines of Reply literals, and the syntaxes in
// the table of commands, each with its place.
func replyTexts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	texts := map[string]string{}
	collect := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && strings.TrimSpace(text) != "" {
					texts[text] = fset.Position(lit.Pos()).String()
				}
			}
			return true
		})
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && (sel.Sel.Name == "NewReply" || sel.Sel.Name == "Replyf") {
					collect(n.Args[2])
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "Lines" || key.Name == "syntax") {
					collect(n.Value)
				}
			}
			return true
		})
	}
	return texts
}
