package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	want := &Config{
		Hostname: "mx.example.org",
		DataDir:  "holub-data",
		Listen: []Listen{{Address: "127.0.0.1:2525", Role: RoleRelay, TLS: ListenPlain, HoldMax: 168 * time.Hour,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}},
		Route: []Route{{Match: Match{Domain: []string{"localhost"}}, TLS: TLSNone, BuiltIn: true,
			To:        Target{Kind: TargetMaildir, Path: "{data_dir}/mail/{local}"},
			Retry:     []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour},
			WarnAfter: 4 * time.Hour, GiveUpAfter: 120 * time.Hour, Connections: 20}},
		Delivery: Delivery{
			Port: 25, TLS: TLSOpportunistic, WarnAfter: 4 * time.Hour, GiveUpAfter: 120 * time.Hour, ConnectionsPerSite: 20,
			Retry:          []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour},
			PauseMax:       15 * time.Minute,
			Signed:         SignedConvert,
			ConnectTimeout: 30 * time.Second, ReturnSize: 51200,
		},
		History: History{MaxAge: 720 * time.Hour, MaxSize: 2147483648},
		Admin:   Admin{Socket: "{data_dir}/control.sock"},
		Limits: Limits{MessageSize: 52428800, Recipients: 1000, Sessions: 10000, Errors: 20,
			IdleTimeout: 5 * time.Minute, MessageTimeout: time.Hour, Received: 100},
		file:    "holub.toml",
		machine: "mx.example.org",
		sources: map[string]string{},
	}
	got, err := parse("holub.toml", nil, "mx.example.org")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("an empty file: got %+v, %v\nwant %+v", got, err, want)
	}
	without := Default()
	without.Hostname, without.machine, without.sources, without.file = want.Hostname, want.machine, want.sources, want.file
	if !reflect.DeepEqual(without, want) {
		t.Errorf("Default: got %+v\nwant %+v", without, want)
	}
	for _, s := range Default().Settings() {
		if s.Source != "default" || s.Value != s.Default {
			t.Errorf("%+v of Default is no default", s)
		}
	}
}

// TestDefaultsAreOurs shows that no caller can change the defaults of another.
func TestDefaultsAreOurs(t *testing.T) {
	c := Default()
	c.Delivery.Retry[0], c.Listen[0].Networks[0] = 0, netip.Prefix{}
	if c.Route[0].Retry[0] != time.Minute {
		t.Errorf("a change in [delivery] is seen in a route: %v", c.Route[0].Retry)
	}
	if d := Default(); d.Delivery.Retry[0] != time.Minute || !d.Listen[0].Networks[0].IsValid() {
		t.Errorf("a change in one configuration is seen in the next: %+v", d)
	}
}

func TestMachineName(t *testing.T) {
	for name, want := range map[string]string{
		"mx.example.org": "mx.example.org",
		"box":            "box",
		"my_box":         "localhost",
		"mx.example.":    "localhost",
		"10.0.0.1":       "localhost",
		"[192.0.2.1]":    "localhost",
		"":               "localhost",
	} {
		if got := machineName(name, nil); got != want {
			t.Errorf("machineName(%q) = %q, want %q", name, got, want)
		}
	}
	if got := machineName("mx.example.org", errors.New("no name")); got != "localhost" {
		t.Errorf("with an error: %q, want localhost", got)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holub.toml")
	_, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) ||
		!strings.Contains(err.Error(), "create it") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "plain file") {
		t.Errorf("a folder: %v", err)
	}
	text := "\xef\xbb\xbfhostname = \"mx.example.org\"\r\ncolour = 1\r\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path)
	var all Errors
	var one *Error
	if !errors.As(err, &all) || len(all) != 1 || !errors.As(err, &one) ||
		one.File != path || one.Line != 2 || one.Column != 1 {
		t.Errorf("wrong key in line 2: %v", err)
	}
	if err := os.WriteFile(path, []byte("hostname = \"mx.example.org\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Settings()[0]; s.Key != "hostname" || s.Value != `"mx.example.org"` || s.Source != path+":1" {
		t.Errorf("first setting: %+v", s)
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("a huge file: %v", err)
	}
}

func TestListenerInFile(t *testing.T) {
	c, err := Parse("holub.toml", []byte(`
		[[listen]]
		address = "127.0.0.1:0"
		[[listen]]
		address = "127.0.0.1:0"
		role = "mx"`))
	free := Listen{Address: "127.0.0.1:0", Role: RoleRelay, TLS: ListenPlain, HoldMax: 7 * day}
	want := []Listen{free, free}
	want[1].Role = RoleMX
	if err != nil || !reflect.DeepEqual(c.Listen, want) {
		t.Errorf("got %+v, %v; want the two listeners alone, and nobody may relay", c, err)
	}
}

func TestServers(t *testing.T) {
	c, err := Parse("holub.toml", []byte(`
		dns.servers = ["192.0.2.53", "127.0.0.1:5353", "::1", "[2001:db8::53]", "[::1]:54"]`))
	want := []string{"192.0.2.53:53", "127.0.0.1:5353", "[::1]:53", "[2001:db8::53]:53", "[::1]:54"}
	if err != nil || !reflect.DeepEqual(c.DNS.Servers, want) {
		t.Errorf("got %+v, %v; want %q", c, err, want)
	}
}

// TestEverySettingIsDescribed sets each key of the schema in a file by its own default and finds it in Settings.
func TestEverySettingIsDescribed(t *testing.T) {
	c, err := Parse("holub.toml", []byte("[[route]]\nto = \"mx\""))
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]Doc{}
	for _, d := range Describe() {
		if _, twice := described[d.Key]; twice {
			t.Errorf("%s is described twice", d.Key)
		}
		described[d.Key] = d
		if !strings.HasSuffix(d.Text, ".") || len(d.Text) < 30 || d.Type == "" {
			t.Errorf("%s needs a type and a text of whole sentences: %+v", d.Key, d)
		}
	}
	shown := map[string]bool{}
	for _, s := range c.Settings() {
		key := withoutIndexes(s.Key)
		shown[key] = true
		if _, ok := described[key]; !ok {
			t.Errorf("%s is not described", s.Key)
		}
	}
	for key, d := range described {
		if isTable := d.Type == "table" || d.Type == "list of tables"; shown[key] == isTable {
			t.Errorf("%s (%s): shown by Settings: %v", key, d.Type, shown[key])
		}
	}
}

// TestEveryFieldIsSetting finds fields of Config that no setting can reach: it changes each by reflection and expects
// Settings to show it.
func TestEveryFieldIsSetting(t *testing.T) {
	c := Default()
	c.Route = []Route{{}}
	before := c.Settings()
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Type() == reflect.TypeFor[Target]() || strings.HasSuffix(path, ".BuiltIn") {
			return // one setting of several fields; what can't be written
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					walk(path+"."+f.Name, v.Field(i))
				}
			}
			return
		case reflect.Slice:
			if v.Len() > 0 && v.Index(0).Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[netip.Prefix]() {
				walk(path+"[0]", v.Index(0))
				return
			}
		}
		old := reflect.ValueOf(v.Interface())
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
		default:
			t.Errorf("%s: this test does not know the type %s", path, v.Type())
		}
		if reflect.DeepEqual(before, c.Settings()) {
			t.Errorf("%s is in no setting", path)
		}
		v.Set(old)
	}
	walk("Config", reflect.ValueOf(c).Elem())
}

// tomlOf writes the settings that differ from their default, as a file.
func tomlOf(c *Config) string {
	var top, rest strings.Builder
	table := ""
	for _, s := range c.Settings() {
		if s.Source == "default" || strings.HasSuffix(s.Source, " [delivery]") {
			continue
		}
		head, name, deep := strings.Cut(s.Key, ".")
		if !deep {
			top.WriteString(s.Key + " = " + s.Value + "\n")
			continue
		}
		if head != table {
			table = head
			if list, _, indexed := strings.Cut(head, "["); indexed {
				head = "[" + list + "]"
			}
			rest.WriteString("[" + head + "]\n")
		}
		rest.WriteString(name + " = " + s.Value + "\n")
	}
	return top.String() + rest.String()
}

// plain takes the places out of settings.
func plain(all []Setting) []Setting {
	for i := range all {
		_, rest, found := strings.Cut(all[i].Source, ":")
		all[i].Source = all[i].Source[:len(all[i].Source)-len(rest)]
		if !found {
			all[i].Source = "default"
		}
	}
	return all
}

// FuzzParse holds that no text makes Parse panic, that a refused text is refused with its lines in order, and that the
// settings of a good one, written as a file, are the same settings.
func FuzzParse(f *testing.F) {
	for _, glob := range []string{"testdata/*.toml", "testdata/wrong/*.toml"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			f.Fatal("no seeds", err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte("[[listen]]\naddress = 'systemd:'\nrole = 'lmtp'\n" +
		"tls = 'implicit'\nkey = '/dev/zero'\ncertificate = 'x\\ny'"))
	f.Add([]byte("[[route]]\nto = 'smtp+exec:\\'\ntls = 'none'\n[[route]]\nto = 'lmtp://unix:@%41?'\nseven_bit = true"))
	f.Add([]byte("delivery.tls = 'required'\n[[route]]\nto = 'mx'\n[[route]]\nto = 'smtps://[::1]'\ntls = 'opportunistic'"))
	f.Add([]byte("[[route]]\nto = 'mx'\nwarn_after = '3d'\nretry = ['1m']\n[[route]]\nto = 'discard'\n" +
		"[delivery]\nretry = ['2m']\ngive_up_after = '1d'\npause_max = '1ms'\n[history]\nmax_age = '0'\nmax_size = 0x40_0000"))
	f.Add([]byte("data_dir = '@a/../@b'\n[admin]\nsocket = '%40{data_dir}//x?mode=0777'"))
	f.Add([]byte("a.b.c = 1\n[a]\n[[a.b]]\n[a.b.c]\n"))
	f.Add([]byte("[[route]]\nto = 'reject:\\\"quoted\\\"'\n[route.match]\ndomain = [ 'EXAMPLE.org', \"[192.0.2.1]\" ]"))
	f.Add([]byte("data_dir = \"\\u0001\\u007f\\\"ž\"\nadmin.socket = '/run/a%3Fb?mode=660'\n[limits]\nmessage_size = 0x1_0000\nidle_timeout = '1d1h1m1.5s'"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("f", text, "box.example.net")
		if err != nil {
			lines := 1 + strings.Count(string(text), "\n")
			last := 0
			for _, e := range err.(Errors) {
				if e.Line < max(1, last) || e.Line > lines || e.Column < 1 || e.Text == "" || strings.Contains(e.Text, "\n") {
					t.Errorf("error %q of %q", e, text)
				}
				last = e.Line
			}
			return
		}
		again, err := parse("f", []byte(tomlOf(c)), "box.example.net")
		if err != nil {
			t.Fatalf("%q is good, but its settings are not:\n%s\n%v", text, tomlOf(c), err)
		}
		if a, b := plain(c.Settings()), plain(again.Settings()); !reflect.DeepEqual(a, b) {
			t.Errorf("%q: settings\n%v\nread again\n%v", text, a, b)
		}
	})
}

// TestDeepFiles reads texts that nest as deep as the size of a file allows.
func TestDeepFiles(t *testing.T) {
	for name, text := range map[string]string{
		"lists":   "hostname = " + strings.Repeat("[", maxFile-20),
		"closed":  "hostname = " + strings.Repeat("[", maxFile/4) + strings.Repeat("]", maxFile/4),
		"tables":  strings.Repeat("a={", maxFile/4),
		"dots":    strings.Repeat("a.", maxFile/4) + "a = 1",
		"headers": strings.Repeat("[a.b]\n", maxFile/8),
		"keys":    strings.Repeat("a=1\n", maxFile/8),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse("holub.toml", []byte(text)); err == nil {
				t.Error("no error")
			}
		})
	}
}
