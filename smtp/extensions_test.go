package smtp_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/holub-mail/holub/smtp"
)

func TestExtensionsRoundTrip(t *testing.T) {
	for _, e := range []smtp.Extensions{
		{},
		{Pipelining: true},
		{Size: true},
		{Size: true, MaxSize: 10240000},
		{Pipelining: true, EightBitMIME: true, EnhancedCodes: true, Size: true, MaxSize: 1, Other: []string{"STARTTLS",
			"AUTH PLAIN LOGIN"}},
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
	for _, size := range []string{"SIZE 0", "SIZE -1", "SIZE x", "SIZE 99999999999999999999", "SIZE"} {
		if e := smtp.ParseExtensions([]string{size}); !e.Size || e.MaxSize != 0 || slices.Contains(e.Other, size) {
			t.Errorf("%q is read as %+v", size, e)
		}
	}
}
