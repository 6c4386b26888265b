package mail

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

// listOf writes addresses as "group/name/mailbox", or "group/name/?spec" of one that is no mailbox.
func listOf(list []Address) []string {
	var all []string
	for _, a := range list {
		spec := "?" + a.Spec
		if (a.Mailbox != smtp.Mailbox{}) {
			spec = a.Mailbox.String()
		}
		all = append(all, a.Group+"/"+a.Name+"/"+spec)
	}
	return all
}

func TestParseAddressList(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
		fault    string // part of the error's text
	}{
		{"empty", "", nil, ""},
		{"bare", "joe@example.org", []string{"//joe@example.org"}, ""},
		{"name", "Joe Q. Public <joe@example.org>", []string{"/Joe Q. Public/joe@example.org"}, ""},
		{"quoted name", `"Bloggs, \"Joe\"  " <joe@x.org>`, []string{`/Bloggs, "Joe"/joe@x.org`}, ""},
		{"list", "a@b, <c@d>,E <f@g>", []string{"//a@b", "//c@d", "/E/f@g"}, ""},
		{"empty elements", ",a@b, ,c@d,(x),", []string{"//a@b", "//c@d"}, ""},
		// RFC 5322 A.1.2, A.1.3, A.5, A.6.1
		{"A.1.2", `"Giant; \"Big\" Box" <sysservices@example.net>, "Joe Q. Public" <john.q.public@example.com>`,
			[]string{`/Giant; "Big" Box/sysservices@example.net`, "/Joe Q. Public/john.q.public@example.com"}, ""},
		{"A.1.3", "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
			[]string{"A Group/Ed Jones/c@a.test", "A Group//joe@where.test", "A Group/John/jdoe@one.test"}, ""},
		{"empty group", "Undisclosed recipients:;", []string{"Undisclosed recipients//?"}, ""},
		{"A.5 from", `Pete(A nice \) chap) <pete(his account)@silly.test(his host)>`,
			[]string{"/Pete/pete@silly.test"}, ""},
		{"A.5 to", "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n" +
			"         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
			[]string{"A Group/Chris Jones/c@public.example", "A Group//joe@example.org", "A Group/John/jdoe@one.test"}, ""},
		{"A.5 cc", "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", []string{"Hidden recipients//?"}, ""},
		{"A.6.1", `Mary Smith <@node.test,@b.test:mary@example.net>, , jdoe@test  . example`,
			[]string{"/Mary Smith/mary@example.net", "//jdoe@test.example"}, ""},
		{"group without an end", "g: a@b", []string{"g//a@b"}, ""},
		{"groups", "g:; a@b, h: c@d;, i@j", []string{"g//?", "//a@b", "h//c@d", "//i@j"}, ""},
		{"group in a group", "g: a@b, h: c@d;", []string{"g//a@b"}, "unexpected :"},
		{"group without a name", ": a@b, c@d", []string{"//c@d"}, "without a name"},
		{"comment as a name", "joe@x.org (Joe \\(B\\) (x))", []string{"/Joe (B) (x)/joe@x.org"}, ""},
		{"name before comment", "J <joe@x.org> (Joe)", []string{"/J/joe@x.org"}, ""},
		{"quoted local part", `"joe bloggs"@x.org, "a@b"@c`, []string{`//"joe bloggs"@x.org`, `//"a@b"@c`}, ""},
		{"local part of words", `"a".b . "c"@x`, []string{"//a.b.c@x"}, ""},
		{"odd dots", "a..b@x, .c.@y", []string{`//"a..b"@x`, `//".c."@y`}, ""},
		{"address as a name", "joe@x.org <joe@x.org>", []string{"/joe@x.org/joe@x.org"}, ""},
		{"semicolons", "a@b; c@d;", []string{"//a@b", "//c@d"}, ""},
		{"literal", "a@[192.0.2.1], b@[IPv6:2001:db8::1]", []string{"//a@[192.0.2.1]", "//b@[IPv6:2001:db8::1]"}, ""},
		{"no mailbox of SMTP", "root, a@my_host, b@[x y], c@d.",
			[]string{"//?root", "//?a@my_host", "//?b@[x y]", "//?c@d."}, ""},
		{"UTF-8", "Jos\u00e9 <jos\u00e9@b\u00fccher.example>", []string{"/Jos\u00e9/jos\u00e9@b\u00fccher.example"}, ""},
		{"latin 1", "Jos\xe9 <a@b>", []string{"/Jos\ufffd/a@b"}, ""},
		{"encoded", "=?iso-8859-1?q?Jos=E9?= =?utf-8?b?w6k=?= Ruiz <a@b>", []string{"/Jos\u00e9\u00e9 Ruiz/a@b"}, ""},
		{"encoded, with specials", "=?utf-8?q?Ruiz,_Jos=C3=A9_(x)?= <a@b>, \"=?utf-8?q?=C3=A9?=\" <c@d>",
			[]string{"/Ruiz, Jos\u00e9 (x)/a@b", "/\u00e9/c@d"}, ""},
		{"encoded line end", "=?utf-8?q?a=0D=0AB:_c?= <a@b>", []string{"/a  B: c/a@b"}, ""},
		{"tag", "[list] Joe <a@b>", []string{"/[list] Joe/a@b"}, ""},
		{"two words", "joe bloggs, a@b", []string{"//a@b"}, "no address"},
		{"two addresses", "a@b c@d, <a@b> <c@d>, e@f", []string{"//e@f"}, "no address"},
		{"null", "<>, a@b", []string{"//a@b"}, "no address"},
		{"no local part", "@b, a@, a@b@c, d@e", []string{"//d@e"}, "no address"},
		{"no end", "<a@b, c@d", []string{"//c@d"}, `without ">"`},
		{"open quote", `a@b, "c@d`, []string{"//a@b"}, "without an end"},
		{"open comment", `a@b, (c@d`, []string{"//a@b"}, "without an end"},
		{"comments in comments", "a@b, " + strings.Repeat("(", 51) + strings.Repeat(")", 51),
			[]string{"//a@b"}, "in each other"},
		{"backslash", `a\@b, c@d`, []string{"//c@d"}, "unexpected"},
		{"control", "\"a\x00\"@b, c\x7fd@e, \x80@f, g@h", []string{"//g@h"}, "no address"},
		{"text behind", "<a@b> x, c@d", []string{"//c@d"}, "unexpected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := ParseAddressList(tt.in)
			if got := listOf(list); !slices.Equal(got, tt.want) {
				t.Errorf("%q:\ngot  %q\nwant %q", tt.in, got, tt.want)
			}
			if (err != nil) != (tt.fault != "") ||
				err != nil && (!errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("%q: the error %v, want %q", tt.in, err, tt.fault)
			}
			checkList(t, tt.in)
		})
	}
}

// checkList holds the law of the list: what was read is read again from what is written of it, folded or not.
func checkList(t *testing.T, s string) {
	t.Helper()
	list, _ := ParseAddressList(s)
	text := FormatAddressList(list)
	again, err := ParseAddressList(text)
	if err != nil || !slices.Equal(again, list) {
		t.Errorf("%q:\nread    %q\nwritten %q\nagain   %q, %v", s, listOf(list), text, listOf(again), err)
	}
	for _, a := range list {
		if isASCII(a.Spec+a.Mailbox.String()) && !isASCII(a.String()) {
			t.Errorf("%q is not ASCII", a.String())
		}
	}
	if len(text) > hardLine { // longer words are cut
		return
	}
	var h Header
	h.AddTop("To", text)
	again, err = h.Addresses("to")
	if err != nil || !slices.Equal(again, list) {
		t.Errorf("%q:\nread   %q\nfolded %q\nagain  %q, %v", s, listOf(list), h.Bytes(), listOf(again), err)
	}
}

func FuzzParseAddressList(f *testing.F) {
	f.Add(`"Bloggs, \"Joe\"" <joe@example.org>, Team: a@b, =?utf-8?q?J=C3=B6?= <c@d>;, (x(y)) root`)
	f.Add(`A <@a,@b:"x y".z@[192.0.2.1]>; u:;, a..b@my_host, =?x?q?a(b?= <c@d>`)
	f.Add("g: a@b, g:;, g: \"\" <c@d> (=?utf-8?b?w6k=?=\t\x00\xff), =?a@b.=?x?q?(?=")
	f.Fuzz(func(t *testing.T, s string) { checkList(t, s) })
}

func TestFormatAddressList(t *testing.T) {
	joe := smtp.Mailbox{Local: "joe bloggs"}
	joe.Domain, _ = smtp.ParseDomain("example.org")
	tests := []struct {
		list []Address
		want string
	}{
		{nil, ""},
		{[]Address{{}}, ""},
		{[]Address{{Mailbox: joe}}, `"joe bloggs"@example.org`},
		{[]Address{{Name: "Joe Bloggs", Mailbox: joe}, {Spec: "root"}}, `Joe Bloggs <"joe bloggs"@example.org>, root`},
		{[]Address{{Name: `J. "B" \`, Spec: "r"}}, `"J. \"B\" \\" <r>`},
		{[]Address{{Name: "Jos\u00e9 Martinez", Spec: "r"}}, `=?utf-8?q?Jos=C3=A9_Martinez?= <r>`},
		{[]Address{{Name: "a\r\nBcc: x", Spec: "r"}}, `"a  Bcc: x" <r>`},
		{[]Address{{Group: "A"}, {Group: "A"}, {Group: "B", Spec: "x"}, {Group: "B", Spec: "y"}, {Group: "C", Spec: "z"},
			{Spec: "w"}}, "A:;, A:;, B: x, y;, C: z;, w"},
	}
	for _, tt := range tests {
		if got := FormatAddressList(tt.list); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

func TestHeaderAddresses(t *testing.T) {
	h, _ := ParseHeader([]byte("To: a@b, (\r\nCc: x@y\r\nTO: c@d\r\n"))
	list, err := h.Addresses("to")
	if got := listOf(list); !slices.Equal(got, []string{"//a@b", "//c@d"}) || !errors.Is(err, ErrAddress) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestHostileAddresses reads lists that cost much where an algorithm is not linear; a quadratic one needs minutes.
func TestHostileAddresses(t *testing.T) {
	for s, most := range map[string]int{
		"a@b,": maxAddresses, "a:;": maxAddresses, "(": 0, "()": 0, "\"": 0, "[": 0, "<": 0, "\\": 0, ",": 0, ".": 0,
		"@": 0, "<@a,": 0, "x ": 0,
	} {
		long := strings.Repeat(s, 1<<20/len(s))
		list, err := ParseAddressList(long)
		if len(list) > most || most > 0 && len(list) < most {
			t.Errorf("%q many times: %d addresses", s, len(list))
		}
		if most > 0 && !errors.Is(err, ErrAddress) {
			t.Errorf("%q many times: no error", s)
		}
	}
}

// lenient are the faults that ParseAddressList takes: no domain, dots and hyphens at odd places, line ends (a body
// comes unfolded), a backslash in front of UTF-8.
var lenient = []string{
	"NODOMAIN", "DOT_START", "DOT_END", "CONSECUTIVEDOTS", "DOMAINHYPHENSTART", "DOMAINHYPHENEND",
	"CR_NO_LF", "FWS_CRLF_END", "FWS_CRLF_X2", "EXPECTING_ATEXT", "EXPECTING_CTEXT", "EXPECTING_QPAIR",
}

// TestIsemailAddresses takes the addresses of the isemail project, which lie beside the checkout: what RFC 5322 allows
// must be read, obsolete syntax included.
func TestIsemailAddresses(t *testing.T) {
	text, err := os.ReadFile("../../shared/vectors/address/test/tests.xml")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the isemail vectors are not beside the checkout")
	}
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests []struct {
			ID        int    `xml:"id,attr"`
			Address   string `xml:"address"`
			Category  string `xml:"category"`
			Diagnosis string `xml:"diagnosis"`
		} `xml:"test"`
	}
	if err := xml.Unmarshal(text, &suite); err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, v := range suite.Tests {
		address := strings.Map(func(r rune) rune { // the file writes control characters as their pictures
			if r >= 0x2400 && r <= 0x247f {
				return r - 0x2400
			}
			return r
		}, v.Address)
		checkList(t, address)
		list, err := ParseAddressList(address)
		// Of what RFC 5322 allows, control characters in an address and a backslash in a literal are not read.
		want := v.Category != "ISEMAIL_ERR" && !strings.Contains(address, `-\`) &&
			(address[0] != '"' || !strings.ContainsAny(address, "\x00\a\n\x7f"))
		switch {
		case want && (err != nil || len(list) != 1):
			t.Errorf("test %d, %s, %s: %q is %q, %v", v.ID, v.Category, v.Diagnosis, address, listOf(list), err)
		case want:
			read++
		case err == nil && !slices.Contains(lenient, strings.TrimPrefix(v.Diagnosis, "ISEMAIL_ERR_")):
			t.Errorf("test %d, %s: %q is read as %q", v.ID, v.Diagnosis, address, listOf(list))
		}
	}
	if read < 50 {
		t.Errorf("only %d addresses to read", read)
	}
}

// TestAddressesOfRealMail reads all addresses of the messages beside the checkout.
func TestAddressesOfRealMail(t *testing.T) {
	all, faults := 0, 0
	eachMessage(t, func(t *testing.T, name string, msg []byte) {
		h, _ := ParseHeader(msg)
		for _, field := range []string{"From", "To", "Cc", "Reply-To", "Sender"} {
			for _, body := range h.Values(field) {
				all++
				if list, err := ParseAddressList(body); err != nil || len(list) == 0 && body != "" {
					faults++
					t.Logf("%s: %s: %q, %v", name, field, body, err)
				}
				checkList(t, body)
			}
		}
	})
	if faults*20 > all {
		t.Errorf("%d of %d fields have a fault", faults, all)
	}
}
