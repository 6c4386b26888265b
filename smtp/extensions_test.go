package smtp_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
)

func TestExtensionsRoundTrip(t *testing.T) {
	for _, e := range []smtp.Extensions{
		{},
		{Pipelining: true},
		{Size: true},
		{Size: true, MaxSize: 10240000},
		{Pipelining: true, EightBitMIME: true, EnhancedCodes: true, Size: true, MaxSize: 1, Other: []string{"X-OTHER a b"}},
		{UTF8: true, Chunking: true, BinaryMIME: true, DSN: true, StartTLS: true, RequireTLS: true, ETRN: true, VRFY: true,
			EXPN: true, HELP: true},
		{Auth: []string{"LOGIN", "PLAIN", "SCRAM-SHA-256"}, XCLIENT: []string{"ADDR", "NAME"}},
		{DeliverBy: true}, {DeliverBy: true, MinDeliverBy: 240 * time.Second},
		{FutureRelease: true, MaxHold: time.Hour, MaxHoldUntil: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)},
		{Priority: true}, {Priority: true, PriorityProfile: "MIXER"},
		{Limits: &smtp.Limits{}}, {Limits: &smtp.Limits{Mails: 20, Rcpts: 100, RcptDomains: 1}},
	} {
		if got := smtp.ParseExtensions(e.Lines()); !reflect.DeepEqual(got, e) {
			t.Errorf("%+v comes back as %+v", e, got)
		}
	}
}

func TestParseExtensions(t *testing.T) {
	got := smtp.ParseExtensions([]string{"pipelining", " 8bitMime ", "Size 1000 ", "", "enhancedStatusCodes",
		"X-Other a b"})
	want := smtp.Extensions{Pipelining: true, EightBitMIME: true, EnhancedCodes: true, Size: true, MaxSize: 1000,
		Other: []string{"X-Other a b"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	e := smtp.ParseExtensions([]string{"AUTH=LOGIN PLAIN", "auth plain scram-sha-256", "limits rcptmax=5 X=1 MAILMAX=x"})
	if want := []string{"LOGIN", "PLAIN", "SCRAM-SHA-256"}; !slices.Equal(e.Auth, want) || e.Limits == nil || *e.Limits != (smtp.Limits{Rcpts: 5}) {
		t.Errorf("got %+v", e)
	}
	for _, size := range []string{"SIZE 0", "SIZE -1", "SIZE x", "SIZE 99999999999999999999", "SIZE"} {
		if e := smtp.ParseExtensions([]string{size}); !e.Size || e.MaxSize != 0 || slices.Contains(e.Other, size) {
			t.Errorf("%q is read as %+v", size, e)
		}
	}
}
