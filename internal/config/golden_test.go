package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected texts and docs/configuration.md")

// golden compares a text with a file, or writes the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test ./internal/config -update writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test ./internal/config -update rewrites it\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// TestWrongFiles compares all that is said about each wrong file with the text beside it.
func TestWrongFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no wrong files", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse("holub.toml", text)
			if err == nil || c != nil {
				t.Fatalf("got configuration %v and error %v; want an error alone", c, err)
			}
			golden(t, strings.TrimSuffix(path, ".toml")+".txt", err.Error()+"\n")
		})
	}
}

func TestExample(t *testing.T) {
	text, err := os.ReadFile("testdata/example.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse("holub.toml", text, "box.example.net")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Show(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/example.show", out.String())
}

func TestDocumentation(t *testing.T) {
	example, err := os.ReadFile("testdata/example.toml")
	if err != nil {
		t.Fatal(err)
	}
	wire, err := os.ReadFile("testdata/wire.toml")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.FromSlash("../../docs/configuration.md"), markdown(string(example), string(wire)))
}

// markdown writes docs/configuration.md.
func markdown(example, wire string) string {
	var out strings.Builder
	out.WriteString(strings.ReplaceAll(docHead, "'", "`"))
	out.WriteString("```toml\n" + example + "```\n\nTLS, sockets, and other ways to the next hop:\n\n")
	out.WriteString("```toml\n" + wire + "```\n\n## All settings\n\n" + strings.ReplaceAll(docValues, "'", "`"))
	for _, d := range Describe() {
		table, name := "", d.Key
		if i := strings.LastIndexByte(d.Key, '.'); i >= 0 {
			table, name = d.Key[:i], d.Key[i+1:]
		}
		switch {
		case d.Type == "table" && table == "":
			out.WriteString("\n### `[" + name + "]`\n\n" + d.Text + "\n\n")
			continue
		case d.Type == "list of tables":
			out.WriteString("\n### `[[" + name + "]]`\n\n" + d.Text + "\n\n")
			continue
		}
		if _, inner, deep := strings.Cut(d.Key, "."); deep {
			name = inner
		}
		out.WriteString("- **`" + name + "`** (" + d.Type)
		switch {
		case d.Type == "table":
		case d.Default == "":
			out.WriteString("; must be given")
		case strings.HasPrefix(d.Default, "the "):
			out.WriteString("; default: " + d.Default)
		default:
			out.WriteString("; default `" + d.Default + "`")
		}
		if d.Restart {
			out.WriteString("; changed by a restart only")
		}
		out.WriteString("). " + d.Text + "\n")
	}
	return out.String()
}

// The texts of the page, with ' for the backquote.
const docHead = `# Configuration

<!-- Written by: go test ./internal/config -update. Change the texts in internal/config/schema.go. -->

holub reads one TOML file: 'holub serve -c holub.toml'. Without a file it listens on 127.0.0.1:2525, keeps its data in
'./holub-data', and every setting has its default.

The file is strict. An unknown key or word is an error that names the nearest known one, and all errors of a file are
reported together, each with its line: 'holub config check -c holub.toml'. To see every setting in force, its
default and the line it comes from: 'holub config show -c holub.toml'.

## An example

`

const docValues = `A **duration** is a text with units, such as '"90s"', '"1h30m"', '"5d"' or '"1d12h"'; a day is 24 hours.
A **size** is a number of octets, or a text with KiB, MiB or GiB, such as '"50MiB"'. A **network** is written with its length:
'"192.0.2.0/24"', '"192.0.2.1/32"', '"2001:db8::/32"'.

### At the top of the file

`
