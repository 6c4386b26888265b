package transport

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Endpoint
		text string // "" is in
	}{
		{"127.0.0.1:2525", Endpoint{Kind: TCP, Host: "127.0.0.1", Port: 2525}, ""},
		{"[::1]:25", Endpoint{Kind: TCP, Host: "::1", Port: 25}, ""},
		{"[2001:DB8:0::1]:25", Endpoint{Kind: TCP, Host: "2001:db8::1", Port: 25}, "[2001:db8::1]:25"},
		{"[fe80::1%Eth0]:25", Endpoint{Kind: TCP, Host: "fe80::1%Eth0", Port: 25}, ""},
		{":25", Endpoint{Kind: TCP, Port: 25}, ""},
		{"127.0.0.1:0", Endpoint{Kind: TCP, Host: "127.0.0.1"}, ""},
		{"MX.Example.org.:25", Endpoint{Kind: TCP, Host: "mx.example.org.", Port: 25}, "mx.example.org.:25"},
		{"my_host:65535", Endpoint{Kind: TCP, Host: "my_host", Port: 65535}, ""},
		{"unix.:25", Endpoint{Kind: TCP, Host: "unix.", Port: 25}, ""},
		{"unix:/run/holub/smtp.sock", Endpoint{Kind: Unix, Path: "/run/holub/smtp.sock"}, ""},
		{"unix:/p?mode=0660", Endpoint{Kind: Unix, Path: "/p", Mode: 0o660}, ""},
		{"unix:/p?mode=660", Endpoint{Kind: Unix, Path: "/p", Mode: 0o660}, "unix:/p?mode=0660"},
		{"unix:/a%3fb%25 c", Endpoint{Kind: Unix, Path: "/a?b% c"}, "unix:/a%3Fb%25 c"},
		{"unix:@holub", Endpoint{Kind: Unix, Path: "@holub"}, ""},
		{"unix:25", Endpoint{Kind: Unix, Path: "25"}, ""},
		{"systemd:", Endpoint{Kind: Systemd}, ""},
		{"systemd:smtp.socket", Endpoint{Kind: Systemd, Name: "smtp.socket"}, ""},
		{"stdio:", Endpoint{Kind: StdioKind}, ""},
		{"exec:ssh relay.example holub session",
			Endpoint{Kind: Exec, Args: []string{"ssh", "relay.example", "holub", "session"}}, ""},
		{`exec:  /bin/a   "b \"c\" \d"  'e\f'g\ h ''`,
			Endpoint{Kind: Exec, Args: []string{"/bin/a", `b "c" \d`, `e\fg h`, ""}}, `exec:/bin/a 'b "c" \d' 'e\fg h' ''`},
		{`exec:a 'it'\''s' $HOME *`, Endpoint{Kind: Exec, Args: []string{"a", "it's", "$HOME", "*"}},
			`exec:a 'it'\''s' '$HOME' '*'`},
	} {
		got, err := ParseEndpoint(tt.in)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %+v, %v; want %+v", tt.in, got, err, tt.want)
			continue
		}
		want := tt.text
		if want == "" {
			want = tt.in
		}
		if got.String() != want {
			t.Errorf("%q is written %q, want %q", tt.in, got.String(), want)
		}
	}
}

func TestParseEndpointRefuses(t *testing.T) {
	for in, reason := range map[string]string{
		"":                                    "has no port",
		"localhost":                           "has no port",
		"localhost:":                          "the port",
		"localhost:smtp":                      "the port",
		"localhost:+25":                       "the port",
		"localhost:025":                       "the port",
		"localhost:65536":                     "the port",
		"::1:25":                              "in brackets: [::1]:25",
		"[::1:25":                             "brackets",
		"[127.0.0.1]:25":                      "not an IPv6 address",
		"127.0.0.256:25":                      "looks like an IPv4 address",
		"127.1:25":                            "looks like an IPv4 address",
		"a..b:25":                             "nor a host name",
		"-a:25":                               "nor a host name",
		"a b:25":                              "nor a host name",
		"müller.example:25":                   "xn--",
		"\u212aelvin.example:25":              "xn--",
		strings.Repeat("a", 64) + ":25":       "nor a host name",
		strings.Repeat("a.", 127) + "b:25":    "at most 253",
		"unix:":                               "needs a path",
		"unix:/a\x00b":                        "control",
		"unix:/a%00b":                         "control",
		"unix:/a%2":                           "%25",
		"unix:/a%+1":                          "%25",
		"unix:/a?user=b":                      `only option`,
		"unix:/a?":                            `only option`,
		"unix:/a?mode=0680":                   "octal",
		"unix:/a?mode=0":                      "octal",
		"unix:/a?mode=4755":                   "octal",
		"unix:/a?mode=00660":                  "octal",
		"unix:@a?mode=0600":                   "no mode",
		"unix:@":                              "empty",
		"systemd:a b":                         "colon",
		"systemd:a:b":                         "colon",
		"systemd:" + strings.Repeat("a", 256): "255",
		"stdio:x":                             "nothing may follow",
		"exec:":                               "needs a program",
		"exec:  ":                             "needs a program",
		"exec:'' a":                           "needs a program",
		"exec:a 'b":                           "not closed",
		`exec:a "b\"`:                         "not closed",
		`exec:a \`:                            "backslash",
		"exec:a b\nc":                         "control",
	} {
		e, err := ParseEndpoint(in)
		if !errors.Is(err, ErrEndpoint) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: got %+v, %v; want an error with %q", in, e, err, reason)
		}
	}
}

func TestEndpointSides(t *testing.T) {
	for _, tt := range []struct {
		in           string
		listen, dial bool
	}{
		{"127.0.0.1:0", true, false}, {":25", true, false}, {"a.example:25", true, true},
		{"unix:/a", true, true}, {"unix:/a?mode=0600", true, false},
		{"systemd:", true, false}, {"stdio:", true, false}, {"exec:cat", false, true},
	} {
		e := endpoint(t, tt.in)
		for what, err := range map[string]error{"listen": e.CanListen(), "dial": e.CanDial()} {
			want := map[string]bool{"listen": tt.listen, "dial": tt.dial}[what]
			if want != (err == nil) || !want && !errors.Is(err, ErrEndpoint) {
				t.Errorf("%s %s: %v, allowed: %v", what, tt.in, err, want)
			}
		}
	}
	if _, err := Listen(t.Context(), endpoint(t, "exec:cat"), ListenOptions{}); !errors.Is(err, ErrEndpoint) {
		t.Errorf("listening on a program gives %v", err)
	}
	if _, err := Dial(t.Context(), endpoint(t, "stdio:"), DialOptions{}); !errors.Is(err, ErrEndpoint) {
		t.Errorf("dialing stdio gives %v", err)
	}
}

// TestEndpointFields: what was put together wrongly is not written down as if it were right.
func TestEndpointFields(t *testing.T) {
	for _, e := range []Endpoint{
		{}, {Kind: "udp"}, {Kind: TCP, Host: "unix", Port: 25}, {Kind: TCP, Host: "::0:1", Port: 25},
		{Kind: TCP, Host: "A.example", Port: 25}, {Kind: Unix, Path: "/a", Mode: 0o1777},
		{Kind: Exec, Args: []string{"a\n"}},
	} {
		if text, err := e.MarshalText(); !errors.Is(err, ErrEndpoint) {
			t.Errorf("%+v is written %q, %v", e, text, err)
		}
	}
	var e Endpoint
	if err := e.UnmarshalText([]byte("unix:/a?mode=0600")); err != nil || e.Mode != 0o600 {
		t.Errorf("got %+v, %v", e, err)
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"127.0.0.1:2525", "[fe80::1%eth0]:25", ":25", "unix:/a%3Fb?mode=0660", "unix:@x",
		"systemd:a", "stdio:", `exec:a "b\"" 'c' \d`, "mx.example.:25", "[::ffff:1.2.3.4]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEndpoint(s)
		if err != nil {
			if !errors.Is(err, ErrEndpoint) {
				t.Fatalf("%q: the error %v is not ErrEndpoint", s, err)
			}
			return
		}
		text, err := e.MarshalText()
		if err != nil {
			t.Fatalf("%q: %+v cannot be written: %v", s, e, err)
		}
		again, err := ParseEndpoint(string(text))
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%q is written %q and read as %+v, %v; want %+v", s, text, again, err, e)
		}
	})
}

func FuzzArgs(f *testing.F) {
	f.Add("a", "b c", `'"\`)
	f.Add("", "$x", "\t")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		args := []string{a, b, c}
		got, err := splitArgs(joinArgs(args))
		if err != nil || !slices.Equal(got, args) {
			t.Fatalf("%q is written %q and cut into %q, %v", args, joinArgs(args), got, err)
		}
	})
}
