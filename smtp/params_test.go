package smtp_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
)

func priority(n smtp.Priority) *smtp.Priority { return &n }

// TestMailParams: each parameter is read, written and read again.
func TestMailParams(t *testing.T) {
	until := time.Date(2027, 3, 4, 5, 6, 7, 0, time.UTC)
	submitter := path(t, "<e+mc2@example.com>")
	for _, tt := range []struct {
		params string
		want   smtp.Mail
	}{
		{"BODY=BINARYMIME", smtp.Mail{Body: smtp.BodyBinaryMIME}},
		{"SMTPUTF8", smtp.Mail{UTF8: true}},
		{"RET=FULL ENVID=QQ314159", smtp.Mail{Return: smtp.ReturnFull, EnvelopeID: "QQ314159"}},
		{"RET=HDRS ENVID=a+2Bb+20c+3Dd", smtp.Mail{Return: smtp.ReturnHeaders, EnvelopeID: "a+b c=d"}},
		{"AUTH=<>", smtp.Mail{Submitter: &smtp.Path{}}},
		{"AUTH=e+2Bmc2@example.com", smtp.Mail{Submitter: &submitter}},
		{"REQUIRETLS", smtp.Mail{RequireTLS: true}},
		{"BY=120;R", smtp.Mail{DeliverBy: &smtp.DeliverBy{Within: 2 * time.Minute, Return: true}}},
		{"BY=-10;NT", smtp.Mail{DeliverBy: &smtp.DeliverBy{Within: -10 * time.Second, Trace: true}}},
		{"HOLDFOR=86400", smtp.Mail{HoldFor: 24 * time.Hour}},
		{"HOLDUNTIL=2027-03-04T05:06:07Z", smtp.Mail{HoldUntil: until}},
		{"MT-PRIORITY=-9", smtp.Mail{Priority: priority(-9)}},
		{"MT-PRIORITY=0", smtp.Mail{Priority: priority(0)}},
		{"SIZE=5 BODY=8BITMIME SMTPUTF8 RET=HDRS REQUIRETLS MT-PRIORITY=3 X-MINE=1", smtp.Mail{Size: 5, Body: smtp.Body8BitMIME,
			UTF8: true, Return: smtp.ReturnHeaders, RequireTLS: true, Priority: priority(3), Other: smtp.Params{{"X-MINE", "1"}}}},
	} {
		got, err := smtp.ParseMail("FROM:<> " + tt.params)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s is read as %+v, %v", tt.params, got, err)
			continue
		}
		line := string(got.Append(nil))
		again, err := smtp.ParseMail(strings.TrimSuffix(strings.TrimPrefix(line, "MAIL "), "\r\n"))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s is written as %q, which is read as %+v, %v", tt.params, line, again, err)
		}
	}
	for _, params := range []string{
		"SMTPUTF8=1", "RET", "RET=ALL", "ENVID", "ENVID=+", "ENVID=+0A", "ENVID=+2b", "ENVID=" + strings.Repeat("x", 101), "AUTH",
		"AUTH=joe", "AUTH=a+40@b", "REQUIRETLS=yes", "BY", "BY=5", "BY=5;", "BY=5;X", "BY=;N", "BY=0;R", "BY=-5;R",
		"BY=1234567890;N", "HOLDFOR", "HOLDFOR=0", "HOLDFOR=1234567890", "HOLDFOR=x", "HOLDUNTIL=tomorrow", "MT-PRIORITY=10",
		"MT-PRIORITY=+1", "MT-PRIORITY=--1", "MT-PRIORITY", "HOLDFOR=1 HOLDUNTIL=2027-03-04T05:06:07Z",
	} {
		if m, err := smtp.ParseMail("FROM:<> " + params); !errors.Is(err, smtp.ErrParam) {
			t.Errorf("%s is read as %+v, %v", params, m, err)
		}
	}
}

func TestRcptParams(t *testing.T) {
	for _, tt := range []struct {
		params string
		want   smtp.Rcpt
	}{
		{"NOTIFY=NEVER", smtp.Rcpt{Notify: smtp.NotifyNever}},
		{"NOTIFY=SUCCESS,FAILURE,DELAY", smtp.Rcpt{Notify: smtp.NotifySuccess | smtp.NotifyFailure | smtp.NotifyDelay}},
		{"ORCPT=rfc822;Bob+2Bx@example.com", smtp.Rcpt{Original: smtp.OriginalRecipient{Type: "rfc822", Address: "Bob+x@example.com"}}},
	} {
		tt.want.To = path(t, "<a@b>")
		got, err := smtp.ParseRcpt("TO:<a@b> " + tt.params)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s is read as %+v, %v", tt.params, got, err)
			continue
		}
		if line := string(got.Append(nil)); line != "RCPT TO:<a@b> "+tt.params+"\r\n" {
			t.Errorf("%s is written as %q", tt.params, line)
		}
	}
	for _, params := range []string{"NOTIFY", "NOTIFY=NEVER,DELAY", "NOTIFY=DELAY,DELAY", "NOTIFY=SOON", "NOTIFY=,", "ORCPT=a@b",
		"ORCPT=;a@b", "ORCPT=rfc822;", "ORCPT=rfc822;a+0D+0A", "ORCPT=a b;c", "ORCPT=rfc822;" + strings.Repeat("x", 500)} {
		if r, err := smtp.ParseRcpt("TO:<a@b> " + params); !errors.Is(err, smtp.ErrParam) {
			t.Errorf("%s is read as %+v, %v", params, r, err)
		}
	}
}

// TestUnoffered names the first parameter that a server does not offer.
func TestUnoffered(t *testing.T) {
	all := smtp.Extensions{Size: true, EightBitMIME: true, UTF8: true, Chunking: true, BinaryMIME: true, DSN: true,
		Auth: []string{"PLAIN"}, RequireTLS: true, DeliverBy: true, FutureRelease: true, Priority: true}
	for _, params := range []string{"SIZE=1", "BODY=7BIT", "BODY=8BITMIME", "BODY=BINARYMIME", "SMTPUTF8", "RET=FULL", "ENVID=1",
		"AUTH=<>", "REQUIRETLS", "BY=1;N", "HOLDFOR=1", "HOLDUNTIL=2027-03-04T05:06:07Z", "MT-PRIORITY=1", "X-A=1"} {
		m, err := smtp.ParseMail("FROM:<> " + params)
		if err != nil {
			t.Fatal(err)
		}
		keyword, _, _ := strings.Cut(params, "=")
		if got := m.Unoffered(smtp.Extensions{}); got != keyword && got != params {
			t.Errorf("%s: %q is not offered", params, got)
		}
		if got := m.Unoffered(all); got != "" && keyword != "X-A" {
			t.Errorf("%s: %q is offered", params, got)
		}
	}
	r, _ := smtp.ParseRcpt("TO:<a@b> NOTIFY=NEVER")
	if r.Unoffered(smtp.Extensions{}) != "NOTIFY" || r.Unoffered(all) != "" {
		t.Errorf("NOTIFY: %q and %q", r.Unoffered(smtp.Extensions{}), r.Unoffered(all))
	}
}

func TestBdat(t *testing.T) {
	for _, tt := range []struct {
		arg  string
		want smtp.Bdat
	}{{"0", smtp.Bdat{}}, {"86 LAST", smtp.Bdat{Size: 86, Last: true}}, {"1 last", smtp.Bdat{Size: 1, Last: true}}} {
		if got, err := smtp.ParseBdat(tt.arg); err != nil || got != tt.want {
			t.Errorf("BDAT %s is read as %+v, %v", tt.arg, got, err)
		}
	}
	for _, arg := range []string{"", "x", "-1", "+1", "1 ", "1 LAST ", "1 MORE", "LAST", "99999999999999999999", "1  LAST"} {
		if b, err := smtp.ParseBdat(arg); !errors.Is(err, smtp.ErrParam) {
			t.Errorf("BDAT %q is read as %+v, %v", arg, b, err)
		}
	}
	if got := string(smtp.Bdat{Size: 12, Last: true}.Append(nil)); got != "BDAT 12 LAST\r\n" {
		t.Errorf("written as %q", got)
	}
}

func FuzzXtext(f *testing.F) {
	for _, s := range []string{"", "a+b", "é=1", "+2B", "x\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if back, ok := smtp.DecodeXtext(smtp.EncodeXtext(s)); ok && back != s {
			t.Errorf("%q comes back as %q", s, back)
		}
		if plain, ok := smtp.DecodeXtext(s); ok {
			if again, ok := smtp.DecodeXtext(smtp.EncodeXtext(plain)); !ok || again != plain {
				t.Errorf("%q, decoded from %q, comes back as %q, %t", plain, s, again, ok)
			}
		}
	})
}
