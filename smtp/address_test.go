package smtp_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

var (
	label63   = strings.Repeat("l", 63)
	domain255 = strings.Repeat(label63+".", 3) + label63 // 4 labels: 255 octets
	local255  = strings.Repeat("x", 255)
)

func TestParseDomain(t *testing.T) {
	for _, s := range []string{
		"example.org", "EXAMPLE.org", "localhost", "a", "1", "3com.example", "xn--mller-kva.example", "a-b.c--d.example",
		label63 + ".org", domain255,
		"[192.0.2.1]", "[IPv6:2001:db8::1]", "[ipv6:::1]", "[IPv6:::ffff:192.0.2.1]", "[IPv6:1:2:3:4:5:6:7:8]",
	} {
		d, err := smtp.ParseDomain(s)
		if err != nil || d.String() != s || d.IsZero() || d.IsLiteral() != (s[0] == '[') {
			t.Errorf("ParseDomain(%q) = %+v, %v", s, d, err)
		}
		if _, err := smtp.ParseHelo(s); err != nil {
			t.Errorf("ParseHelo(%q): %v", s, err)
		}
	}
	for _, s := range []string{
		"", ".", "example.org.", ".example.org", "a..b", "-a.org", "a-.org", "a.-b", "a_b.org", "a b", "a@b",
		"mü_ller.example", "-ü.example", "ü..example", "a\xff.example", "\u2488com.example", "ü.example.", "xn--ü.example",
		label63 + "l.org", domain255 + "l", "a.b\r\n", "a\x00b", "exa(comment)mple.org",
		"[]", "[", "]", "[192.0.2.1", "192.0.2.1]", "[192.0.2]", "[192.0.2.256]", "[192.0.2.1.5]", "[2001:db8::1", "[IPv6:]",
		"[IPv6:192.0.2.1]", "[IPv6:1::2::3]", "[IPv6:1:2:3:4:5:6::8]", "[IPv6:1:2:3:4:5::192.0.2.1]", "[tag:content!]", "[IPv6:fe80::1%eth0]", "[IPv6:12345::]", "[tag:]", "[:x]", "[tag-:x]",
		"[t:a b]",
		"[t:[]", `[t:\]`, "[x]", "[192.0.2.1]x", "[tag:" + local255 + "]",
	} {
		if d, err := smtp.ParseDomain(s); !errors.Is(err, smtp.ErrDomain) || !d.IsZero() {
			t.Errorf("ParseDomain(%q) = %q, %v", s, d, err)
		}
	}
	if _, err := smtp.ParseHelo("my_pc.local"); err != nil {
		t.Errorf("ParseHelo refuses an underscore: %v", err)
	}
	for _, s := range []string{"", "_-", "a b", "my pc", "[x]", "a..b"} {
		if d, err := smtp.ParseHelo(s); err == nil {
			t.Errorf("ParseHelo(%q) = %q", s, d)
		}
	}
}

// TestInternational: RFC 6531 3.3 lets UTF-8 into local parts and U-labels into domains.
func TestInternational(t *testing.T) {
	for _, s := range []string{"<é@c.example>", "<\"é \\\"x\"@c.example>", "<用户@例子.example>", "<joe@MÜLLER.example>"} {
		p, err := smtp.ParsePath(s)
		if err != nil || p.String() != s {
			t.Errorf("ParsePath(%q) = %q, %v", s, p, err)
		}
		if p.IsASCII() {
			t.Errorf("%s counts as ASCII", p)
		}
	}
	for _, tt := range []struct{ u, a string }{
		{"müller.example", "xn--mller-kva.example"},
		{"MÜLLER.Example", "XN--MLLER-KVA.example"},
		{"例子.example", "xn--fsqu00a.example"},
	} {
		u, err := smtp.ParseDomain(tt.u)
		if err != nil {
			t.Fatalf("ParseDomain(%q): %v", tt.u, err)
		}
		a, err := smtp.ParseDomain(tt.a)
		if err != nil {
			t.Fatalf("ParseDomain(%q): %v", tt.a, err)
		}
		if !u.Equal(a) || !a.Equal(u) || u.Key() != a.Key() || u.IsASCII() || !a.IsASCII() || !u.ASCII().Equal(a) {
			t.Errorf("%s and %s: keys %q and %q", u, a, u.Key(), a.Key())
		}
	}
}

func TestDomainsCompare(t *testing.T) {
	for _, tt := range []struct {
		a, b  string
		equal bool
	}{
		{"example.org", "EXAMPLE.Org", true},
		{"example.org", "example.com", false},
		{"[IPv6:2001:db8::1]", "[ipv6:2001:DB8:0:0::1]", true},
		{"[IPv6:2001:db8::1]", "[IPv6:2001:db8::2]", false},
		{"[IPv6:::ffff:192.0.2.1]", "[192.0.2.1]", true},
		{"[192.0.2.1]", "[192.0.2.2]", false},
		{"[192.0.2.1]", "a.org", false},
	} {
		a, err1 := smtp.ParseDomain(tt.a)
		b, err2 := smtp.ParseDomain(tt.b)
		if err1 != nil || err2 != nil || a.Equal(b) != tt.equal || b.Equal(a) != tt.equal ||
			(a.Key() == b.Key()) != tt.equal {
			t.Errorf("%q and %q: %v %v, equal %v, keys %q %q", a, b, err1, err2, a.Equal(b), a.Key(), b.Key())
		}
	}
}

func TestAddressLiteral(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "[192.0.2.1]", "2001:db8::1": "[IPv6:2001:db8::1]", "::ffff:192.0.2.1": "[192.0.2.1]",
		"fe80::1%eth0": "[IPv6:fe80::1]", "::1": "[IPv6:::1]",
	} {
		d := smtp.AddressLiteral(netip.MustParseAddr(addr))
		again, err := smtp.ParseDomain(d.String())
		if d.String() != want || err != nil || again != d {
			t.Errorf("AddressLiteral(%s) = %q, read again %q, %v", addr, d, again, err)
		}
		if a, ok := d.Addr(); !ok || a != netip.MustParseAddr(addr).Unmap().WithZone("") {
			t.Errorf("Addr of %q = %v, %v", d, a, ok)
		}
	}
	d, err := smtp.ParseDomain("example.org")
	if a, ok := d.Addr(); ok || err != nil {
		t.Errorf("a name has the address %v, %v", a, err)
	}
}

func TestParseMailbox(t *testing.T) {
	for _, tt := range []struct{ text, local, domain, written string }{
		{"joe@example.org", "joe", "example.org", ""},
		{"Joe.Bloggs@Example.ORG", "Joe.Bloggs", "Example.ORG", ""},
		{"!#$%&'*+-/=?^_`{|}~@a", "!#$%&'*+-/=?^_`{|}~", "a", ""},
		{"user+tag@a.b", "user+tag", "a.b", ""},
		{"a=b%c@a.b", "a=b%c", "a.b", ""},
		{`"joe"@a`, "joe", "a", "joe@a"},
		{`"joe bloggs"@a`, "joe bloggs", "a", ""},
		{`"a@b"@c`, "a@b", "c", ""},
		{`"a>b"@c`, "a>b", "c", ""},
		{`"a\"b"@c`, `a"b`, "c", ""},
		{`"a\\b"@c`, `a\b`, "c", ""},
		{`"\a\b"@c`, "ab", "c", "ab@c"},
		{`""@c`, "", "c", ""},
		{`".a"@c`, ".a", "c", ""},
		{`"a..b"@c`, "a..b", "c", ""},
		{`"\ "@c`, " ", "c", `" "@c`},
		{"a@[192.0.2.1]", "a", "[192.0.2.1]", ""},
		{"a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]", ""},
		{local255 + "@a", local255, "a", ""},
		{`"` + local255 + `"@a`, local255, "a", local255 + "@a"},
	} {
		m, err := smtp.ParseMailbox(tt.text)
		if err != nil || m.Local != tt.local || m.Domain.String() != tt.domain {
			t.Errorf("ParseMailbox(%q) = %+v, %v", tt.text, m, err)
		}
		if tt.written == "" {
			tt.written = tt.text
		}
		if m.String() != tt.written {
			t.Errorf("%q is written as %q, want %q", tt.text, m, tt.written)
		}
		if again, err := smtp.ParseMailbox(m.String()); err != nil || again != m {
			t.Errorf("%q comes back as %+v, %v", m, again, err)
		}
	}
	for _, s := range []string{
		"", "@", "a", "a@", "@b", "a@b@c", "a b@c", " a@b", "a@b ", "a@ b", ".a@b", "a.@b", "a..b@c", "a@b.", "a@b..c",
		"a@-b",
		"a@b_c", "a(c)@b", "a,b@c", "a:b@c", "a;b@c", "<a@b>", "a@b>", `a"b"@c`, `"a"b@c`, `"a@b`, `"a"`, `"a\"@b`,
		`"a` + "\t" + `b"@c`,
		"\"a\r\nb\"@c", "\"a\x00b\"@c", "\"\\\x00\"@c", "\"\\\t\"@c", "\"\x7f\"@c", "é\xff@c", "\"\xff\"@c", "\"\\é\"@c", "é @c", "a\r\n@b",
		"a@b\r\n",
		"a@[192.0.2.1", "a@[192.0.2.1]x", "a@192.0.2.1]", "a@[]", "a@b c", local255 + "x@a", `"` + local255 + `x"@a`,
		"a@" + domain255 + "l",
	} {
		if m, err := smtp.ParseMailbox(s); err == nil || m != (smtp.Mailbox{}) {
			t.Errorf("ParseMailbox(%q) = %+v, %v", s, m, err)
		}
	}
}

func TestParsePath(t *testing.T) {
	for _, tt := range []struct{ text, written string }{
		{"<>", "<>"},
		{"<a@b>", "<a@b>"},
		{`<"a>b"@c>`, `<"a>b"@c>`},
		{"<postmaster>", "<postmaster>"},
		{"<PostMaster>", "<PostMaster>"},
		{"<postmaster@example.org>", "<postmaster@example.org>"},
		{"<@a:u@b>", "<u@b>"},
		{"<@a,@b.c:u@d>", "<u@d>"},
		{"<@[192.0.2.1],@[IPv6:::1]:u@d>", "<u@d>"},
	} {
		p, err := smtp.ParsePath(tt.text)
		if err != nil || p.String() != tt.written || p.IsNull() != (tt.text == "<>") {
			t.Errorf("ParsePath(%q) = %q, %v, want %q", tt.text, p, err, tt.written)
		}
		if want := strings.HasPrefix(strings.ToLower(tt.text), "<postmaster"); p.IsPostmaster() != want {
			t.Errorf("%q is a postmaster: %v", tt.text, !want)
		}
	}
	for _, s := range []string{
		"", "<", ">", "<<>", "<>>", "< >", "a@b", "<a@b", "a@b>", "<a@b>>", "<<a@b>>", "<a@b> ", " <a@b>", "< a@b>", "<a@b >",
		"<a>", "<postmaster", "<postmasters>", "<postmaster@>", "<hostmaster>", `<"postmaster">`, "<@a>", "<@a:>",
		"<@a,u@b>", "<@a@b:u@c>",
		"<a:u@b>", "<@:u@b>", "<@a,:u@b>", "<@a;u@b>", "<@[192.0.2.1:u@b>", "<@[192.0.2.1]>", "<@a.:u@b>", "<@>", "<@[", "<@",
		"<a@b>\r\nRCPT TO:<c@d>", "<a@b\r\n>", "<a\x00@b>",
	} {
		if p, err := smtp.ParsePath(s); err == nil || p != (smtp.Path{}) {
			t.Errorf("ParsePath(%q) = %q, %v", s, p, err)
		}
	}
	if p, err := smtp.ParsePath("<postmaster>"); err != nil || p != smtp.Postmaster {
		t.Errorf("<postmaster> = %+v, %v", p, err)
	}
}

// TestAppendAddress: the Append of an address writes behind what is there what its String gives.
func TestAppendAddress(t *testing.T) {
	for _, text := range []string{"<>", "<postmaster>", "<alice@example.org>", `<"a \"b\\c"@example.org>`, `<""@[192.0.2.1]>`,
		"<alice@[IPv6:2001:db8::1]>", "<älice@bücher.example>", "<" + strings.Repeat("a", 200) + "@example.org>"} {
		p, err := smtp.ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(p.Append([]byte("To: "))); p.String() != text || got != "To: "+text {
			t.Errorf("%q is written as %q and appended as %q", text, p, got)
		}
		if p.IsNull() {
			continue
		}
		want := strings.Trim(text, "<>")
		if got := string(p.Mailbox.Append([]byte("To: "))); p.Mailbox.String() != want || got != "To: "+want {
			t.Errorf("the mailbox %q is written as %q and appended as %q", want, p.Mailbox, got)
		}
	}
	for text, want := range map[string]string{"192.0.2.1": "[192.0.2.1]", "::ffff:192.0.2.1": "[192.0.2.1]",
		"2001:db8::1": "[IPv6:2001:db8::1]", "fe80::1%eth0": "[IPv6:fe80::1]"} {
		a := netip.MustParseAddr(text)
		if got := string(smtp.AppendAddressLiteral([]byte("("), a)); got != "("+want || smtp.AddressLiteral(a).String() != want {
			t.Errorf("the literal of %s is %q and appended %q, want %q", text, smtp.AddressLiteral(a), got, want)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<>", "<a@b>", `<"a\"b c"@d>`, "<@a,@[IPv6:::1]:u@b>", "<PostMaster>",
		`<""@[192.0.2.1]>`, "<a@[x:y]>", "<\"\xff\"@c>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := smtp.ParsePath(s)
		if err != nil {
			if p != (smtp.Path{}) {
				t.Fatalf("%q: a path beside the error %v", s, err)
			}
			return
		}
		written := p.String()
		for i := range len(written) {
			if written[i] < ' ' || written[i] > '~' {
				t.Fatalf("%q is written as %q", s, written)
			}
		}
		again, err := smtp.ParsePath(written)
		if err != nil || again != p {
			t.Fatalf("%q is written as %q and comes back as %+v, %v", s, written, again, err)
		}
		if len(p.Local) > smtp.MaxLocalPart || len(p.Domain.String()) > smtp.MaxDomain {
			t.Fatalf("%q is too long", s)
		}
		if p.IsNull() || p.Domain.IsZero() {
			return
		}
		if k, err := smtp.ParseDomain(p.Domain.Key()); err != nil || !k.Equal(p.Domain) || k.Key() != p.Domain.Key() {
			t.Fatalf("key %q of %q: %v", p.Domain.Key(), p.Domain, err)
		}
	})
}
