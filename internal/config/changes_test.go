package config

import (
	"reflect"
	"strings"
	"testing"
)

const running = `hostname = "mx.example.org"
data_dir = "/var/lib/holub"
[[listen]]
address = "127.0.0.1:2525"
[admin]
socket = "/run/holub/control.sock"
`

func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []Change
	}{
		"nothing": {running, nil},
		"all that can change": {`hostname = "mx2.example.org"
			data_dir = "/var/lib/holub"
			[[listen]]
			address = ":25"
			role = "mx"
			[[route]]
			to = "mx"
			retry = ["1m"]
			[dns]
			servers = ["192.0.2.53"]
			[delivery]
			port = 2525
			pause_max = "1h"
			[history]
			max_age = "0"
			[limits]
			errors = 3
			[admin]
			socket = "/run/holub/control.sock"`, nil},
		"the data folder": {strings.Replace(running, "lib/holub", "spool/holub", 1), []Change{
			{"data_dir", `"/var/lib/holub"`, `"/var/spool/holub"`, "new.toml:2"}}},
		"the mode of the socket": {strings.Replace(running, "sock\"", "sock?mode=0660\"", 1), []Change{
			{"admin.socket", `"/run/holub/control.sock"`, `"/run/holub/control.sock?mode=0660"`, "new.toml:6"}}},
		"both, by leaving them out": {"", []Change{
			{"data_dir", `"/var/lib/holub"`, `"holub-data"`, "new.toml"},
			{"admin.socket", `"/run/holub/control.sock"`, `"{data_dir}/control.sock"`, "new.toml"}}},
	} {
		before, err := Parse("old.toml", []byte(running))
		if err != nil {
			t.Fatal(err)
		}
		after, err := Parse("new.toml", []byte(c.text))
		if err != nil {
			t.Fatal(name, err)
		}
		if got := Differences(before, after); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestDifferencesOfDefault compares with a server that runs without a file, and says it in words.
func TestDifferencesOfDefault(t *testing.T) {
	after, err := Parse("new.toml", []byte(running))
	if err != nil {
		t.Fatal(err)
	}
	all := Differences(Default(), after)
	const want = `new.toml:2: data_dir is "/var/lib/holub", but the running server has "holub-data" and ` +
		`can't change it; restart holub, or write the old value again`
	if len(all) != 2 || all[0].String() != want {
		t.Errorf("got %v, want %s", all, want)
	}
	if back := Differences(after, Default()); len(back) != 2 || back[0].Place != "default" {
		t.Errorf("back to no file: %v", back)
	}
}

// TestChanges tells every setting that differs, those of tables that came or went included.
func TestChanges(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse("holub.toml", []byte("hostname = \"mx.example.org\"\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := parse("[delivery]\nport = 2525\n[[route]]\nto = \"discard\"\n")
	after := parse("[delivery]\nport = 26\n")
	got := strings.Join(Changes(before, after), "\n")
	for _, want := range []string{"delivery.port = 26 (was 2525)", "is gone"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if back := strings.Join(Changes(after, before), "\n"); !strings.Contains(back, `(new)`) || !strings.Contains(back, "port = 2525 (was 26)") {
		t.Errorf("back again:\n%s", back)
	}
	if same := Changes(before, before); len(same) != 0 {
		t.Errorf("the same configuration: %q", same)
	}
}
