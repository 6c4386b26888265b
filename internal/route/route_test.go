package route

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/smtp"
)

// rules makes a table for mx.example.net from lines such as "example.org *.example.org -> maildir:/m"; no pattern matches
// everything. A pattern and a target must be such that the configuration takes them.
func rules(t testing.TB, lines ...string) *Table {
	t.Helper()
	var routes []config.Route
	for _, line := range lines {
		patterns, to, ok := strings.Cut(line, "-> ")
		target, err := config.ParseTarget(to)
		if err != nil || !ok {
			t.Fatalf("rule %q: %v", line, err)
		}
		routes = append(routes, config.Route{Match: config.Match{Domain: strings.Fields(patterns)}, To: target})
	}
	return New("mx.example.net", filepath.FromSlash("/data"), routes, config.Delivery{TLS: config.TLSOpportunistic})
}

func path(t testing.TB, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// word says a destination in a word.
func word(d Destination) string {
	switch d.Kind {
	case config.TargetMX:
		return "mx " + d.MX.String()
	case config.TargetSMTP:
		return fmt.Sprintf("host %s port %d", d.Hop.Host, d.Hop.Port)
	case config.TargetMaildir:
		return "maildir " + filepath.ToSlash(d.Dir)
	case config.TargetReject:
		return "reject " + d.Text
	}
	return string(d.Kind)
}

func TestRoute(t *testing.T) {
	table := rules(t,
		"example.org -> maildir:/mail/{local}",
		"Big.Example *.BIG.example -> smtp://relay.example.org:2525",
		"example.org -> discard", // never reached
		"spam.example *.spam.example -> reject:no thanks",
		"host.big2.example -> mx",
		"*.big2.example -> discard",
		"[192.0.2.7] [IPv6:2001:DB8:0::7] -> maildir:/literal/{domain}/{local}",
		"v6.example -> smtp://[2001:db8::1]:26",
	)
	for _, test := range []struct{ to, want string }{
		{"<joe@example.org>", "maildir /mail/joe"},
		{"<Joe@EXAMPLE.org>", "maildir /mail/Joe"}, // the case of a local part is its owner's
		{"<joe@sub.example.org>", "mx sub.example.org"},
		{"<joe@notexample.org>", "mx notexample.org"},
		{"<joe@example.org.uk>", "mx example.org.uk"},
		{"<a@big.example>", "host relay.example.org port 2525"},
		{"<a@x.big.example>", "host relay.example.org port 2525"},
		{"<a@X.y.Big.Example>", "host relay.example.org port 2525"},
		{"<a@bigbig.example>", "mx bigbig.example"},
		{"<a@spam.example>", "reject no thanks"},
		{"<a@x.spam.example>", "reject no thanks"},
		{"<a@host.big2.example>", "mx host.big2.example"}, // the first match wins
		{"<a@other.big2.example>", "discard"},
		{"<a@big2.example>", "mx big2.example"}, // *.x is what is below x, not x
		{"<a@[192.0.2.7]>", "maildir /literal/%5B192.0.2.7%5D/a"},
		{"<a@[IPv6:2001:db8::7]>", "maildir /literal/%5BIPv6%3A2001%3Adb8%3A%3A7%5D/a"},
		{"<a@[ipv6:2001:db8:0:0::7]>", "maildir /literal/%5BIPv6%3A2001%3Adb8%3A%3A7%5D/a"},
		{"<a@[192.0.2.8]>", "mx [192.0.2.8]"},
		{"<a@v6.example>", "host 2001:db8::1 port 26"},
		{"<a@elsewhere.example>", "mx elsewhere.example"},
		{"<postmaster@example.org>", "maildir /mail/postmaster"},
		{"<PostMaster@example.org>", "maildir /mail/postmaster"},
	} {
		if got := word(table.Route(path(t, test.to))); got != test.want {
			t.Errorf("%s goes to %s, want %s", test.to, got, test.want)
		}
	}
}

// TestLanes has recipients that the configuration sends to one place, and such that it does not.
func TestLanes(t *testing.T) {
	table := rules(t, "a.example b.example -> smtp://relay.example.org:2525", "c.example -> smtp://relay.example.org",
		"here.example -> maildir:/mail/{local}", "x.example -> discard")
	same := func(want bool, a, b string) {
		t.Helper()
		sa, sb := table.Route(path(t, a)).Lane, table.Route(path(t, b)).Lane
		if sa == "" || sb == "" || (sa == sb) != want {
			t.Errorf("lanes of %s and %s: %q, %q", a, b, sa, sb)
		}
	}
	same(true, "<u@out.example>", "<v@OUT.example>")
	same(false, "<u@out.example>", "<u@sub.out.example>")
	same(true, "<u@a.example>", "<u@b.example>")
	same(false, "<u@a.example>", "<u@c.example>") // another port
	same(false, "<u@here.example>", "<v@here.example>")
	same(true, "<u@[192.0.2.1]>", "<v@[192.0.2.1]>")
	same(false, "<u@x.example>", "<u@out.example>")
}

// TestOurs is the law against the open relay: what strangers may send to is what a rule names, never what is left over.
func TestOurs(t *testing.T) {
	for _, test := range []struct {
		rules []string
		to    string
		want  bool
	}{
		{nil, "<a@example.org>", false},
		{nil, "<postmaster>", true}, // RFC 5321 4.5.1
		{nil, "<POSTMASTER>", true},
		{nil, "<postmaster@example.org>", false},
		{[]string{"example.org -> maildir:/m"}, "<a@example.org>", true},
		{[]string{"example.org -> maildir:/m"}, "<a@EXAMPLE.ORG>", true},
		{[]string{"example.org -> maildir:/m"}, "<a@sub.example.org>", false},
		{[]string{"example.org -> maildir:/m"}, `<"a@example.org"@elsewhere.example>`, false},
		{[]string{"example.org -> maildir:/m"}, "<a%example.org@elsewhere.example>", false},
		{[]string{"example.org -> maildir:/m"}, "<@example.org:a@elsewhere.example>", false},
		{[]string{"example.org -> smtp://inner.example:25"}, "<a@example.org>", true},
		{[]string{"example.org -> discard"}, "<a@example.org>", true},
		{[]string{"example.org -> reject:no"}, "<a@example.org>", true}, // it is refused with its own words
		{[]string{"example.org -> mx"}, "<a@example.org>", false},
		{[]string{"*.example.org -> smtp://inner.example:25"}, "<a@x.example.org>", true},
		{[]string{"*.example.org -> smtp://inner.example:25"}, "<a@example.org>", false},
		{[]string{"-> smtp://smarthost.example:25"}, "<a@example.org>", false},
		{[]string{"* -> smtp://smarthost.example:25"}, "<a@example.org>", false},
		{[]string{"* -> maildir:/catch-all"}, "<a@example.org>", false},
		{[]string{"-> discard"}, "<a@[192.0.2.1]>", false},
		{[]string{"* example.org -> smtp://inner.example:25"}, "<a@example.org>", true},
		{[]string{"* example.org -> smtp://inner.example:25"}, "<a@elsewhere.example>", false},
		{[]string{"example.org -> maildir:/m", "-> smtp://smarthost.example:25"}, "<a@example.org>", true},
		{[]string{"example.org -> maildir:/m", "-> smtp://smarthost.example:25"}, "<a@elsewhere.example>", false},
		{[]string{"-> smtp://smarthost.example:25", "example.org -> maildir:/m"}, "<a@example.org>", false},
		{[]string{"[192.0.2.1] -> maildir:/m"}, "<a@[192.0.2.1]>", true},
		{[]string{"[IPv6:2001:DB8::1] -> maildir:/m"}, "<a@[IPv6:2001:db8:0::1]>", true},
		{[]string{"[192.0.2.1] -> maildir:/m"}, "<a@[192.0.2.2]>", false},
	} {
		if got := rules(t, test.rules...).Ours(path(t, test.to)); got != test.want {
			t.Errorf("with %q, Ours(%s) is %v", test.rules, test.to, got)
		}
	}
}

// TestPostmaster has <postmaster> without a domain, which must be taken and must end somewhere (RFC 5321 4.5.1).
func TestPostmaster(t *testing.T) {
	const here = "maildir /data/mail/postmaster"
	for _, test := range []struct {
		rules []string
		want  string
	}{
		{nil, here},
		{[]string{"mx.example.net -> maildir:/m/{domain}/{local}"}, "maildir /m/mx.example.net/postmaster"},
		{[]string{"*.example.net -> smtp://inner.example:25"}, "host inner.example port 25"},
		{[]string{"example.net -> smtp://inner.example:25"}, here},
		{[]string{"-> smtp://smarthost.example:25"}, here},
		{[]string{"* -> smtp://smarthost.example:25"}, here},
		{[]string{"-> smtp://smarthost.example:25", "mx.example.net -> discard"}, here},
		{[]string{"*.example.net -> mx"}, here},             // it would lead back to this host
		{[]string{"mx.example.net -> reject:nobody"}, here}, // and this would leave nobody to be told
	} {
		table := rules(t, test.rules...)
		for _, to := range []string{"<postmaster>", "<PostMaster>"} {
			if got := word(table.Route(path(t, to))); got != test.want {
				t.Errorf("with %q, %s goes to %s, want %s", test.rules, to, got, test.want)
			}
		}
	}
}

// nasty are local parts that try to be more than a name.
var nasty = []string{"", ".", "..", "../..", "/", "/etc", "a/b", "a\\b", "\\", "\x00", "a\x00", "%", "%2E", "%2e", ".a", "a.", "~",
	"-", "a b", "{domain}", "{local}", "{data_dir}", "CON", "a:b", "\xff", "é", "a", "A", "new", "tmp", "*", "|id", "$(id)",
	"\r\n", `"`, "%00", "a%2Fb", "..%2f", strings.Repeat("a", 255), strings.Repeat("/", 255), strings.Repeat(".", 64)}

// TestMaildirStaysInPlace tries all of them, and two beside each other.
func TestMaildirStaysInPlace(t *testing.T) {
	dirs := map[string]string{}
	for _, local := range nasty {
		checkMaildir(t, local, "example.org")
		dir := rules(t, "-> maildir:/base/{local}/box").Route(smtp.Path{Mailbox: mailbox(local, "example.org")}).Dir
		if other, taken := dirs[dir]; taken {
			t.Errorf("%q and %q share %s", local, other, dir)
		}
		dirs[dir] = local
	}
}

// FuzzMaildir tries what else there is.
func FuzzMaildir(f *testing.F) {
	for _, local := range nasty {
		f.Add(local, "example.org")
	}
	f.Add("a", "[IPv6:2001:db8::1]")
	f.Add("a", "[x:/../..]")
	f.Fuzz(func(t *testing.T, local, domain string) {
		checkMaildir(t, local, domain)
		other := local + "x"
		if fileName(local) == fileName(other) {
			t.Errorf("%q and %q share a name", local, other)
		}
		if back := unescape(t, fileName(local)); back != local {
			t.Errorf("%q is named %q, which is read back as %q", local, fileName(local), back)
		}
	})
}

func mailbox(local, domain string) smtp.Mailbox {
	d, err := smtp.ParseDomain(domain)
	if err != nil {
		d = smtp.AddressLiteral(netip.MustParseAddr("192.0.2.1"))
	}
	return smtp.Mailbox{Local: local, Domain: d}
}

// checkMaildir wants each placeholder to be one plain name, whatever it stands for.
func checkMaildir(t *testing.T, local, domain string) {
	t.Helper()
	table := rules(t, "-> maildir:/base/{domain}/{local}/box")
	dir := filepath.ToSlash(table.Route(smtp.Path{Mailbox: mailbox(local, domain)}).Dir)
	if filepath.ToSlash(filepath.Clean(dir)) != dir {
		t.Errorf("%q at %q: the folder %q has parts that lead elsewhere", local, domain, dir)
	}
	parts := strings.Split(dir, "/")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "base" || parts[4] != "box" {
		t.Fatalf("%q at %q: the folder is %q", local, domain, dir)
	}
	for _, name := range parts[2:4] {
		if name == "" || name[0] == '.' {
			t.Errorf("%q at %q: a part of %q is empty or hidden", local, domain, dir)
		}
		for i := range len(name) {
			if c := name[i]; c <= ' ' || c > '~' || strings.IndexByte(`/\:*?"<>|`, c) >= 0 {
				t.Errorf("%q at %q: the folder %q has the octet %#x", local, domain, dir, c)
			}
		}
	}
}

// unescape reads what fileName wrote: that it can be read proves that no two names collide.
func unescape(t *testing.T, name string) string {
	t.Helper()
	if name == "%" {
		return ""
	}
	var b []byte
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b = append(b, name[i])
			continue
		}
		var c byte
		if _, err := fmt.Sscanf(name[i+1:i+3], "%02X", &c); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		b = append(b, c)
		i += 2
	}
	return string(b)
}
