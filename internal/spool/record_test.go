package spool

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/smtp"
)

func path(t testing.TB, s string) smtp.Path {
	t.Helper()
	p, err := smtp.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sampleMessages(t testing.TB) []*Message {
	at := time.Date(2026, 3, 1, 12, 30, 15, 123e6, time.UTC)
	id := NewIDs(7).New(at)
	one := make([]Recipient, 1)
	return []*Message{
		{ID: id, Recipients: one},
		{ID: id, Kind: Mail, From: path(t, "<a@example.org>"), Arrived: at, Size: 1 << 40, EightBit: true, HighHeader: true,
			Client: "[192.0.2.1]:3456 (mail.example.org)", Recipients: make([]Recipient, 1000)},
		{ID: id, Kind: Bounce, Cause: ID{1, 2, 3}, Arrived: time.UnixMilli(-5).UTC(), Client: "\xff\x00", Recipients: one},
		{ID: id, Arrived: at, Recipients: one, Asked: Asked{UTF8: true, Binary: true, Return: smtp.ReturnHeaders,
			EnvelopeID: "a b=c", RequireTLS: true, Held: at.Add(time.Hour), By: at.Add(2 * time.Hour), ByReturn: true, ByTrace: true}},
		{ID: id, Arrived: at, Recipients: one, From: path(t, "<é@例子.example>"), Asked: Asked{By: at}},
		{ID: id, Kind: Postmaster, From: path(t, `<"a b\"c"@[IPv6:2001:db8::1]>`), Recipients: one},
	}
}

func sampleRecipients(t testing.TB) []Recipient {
	at := time.Date(2026, 3, 1, 12, 30, 15, 123e6, time.UTC)
	return []Recipient{
		{To: smtp.Postmaster},
		{To: path(t, "<Joe@Example.ORG>"), State: Waiting, Reason: ReasonRefused, Attempts: 12, Next: at, Warned: true,
			Host: "mx.example.org [192.0.2.7]:25",
			Reply: smtp.Reply{Code: 450, Enhanced: smtp.EnhancedCode{4, 2, 1},
				Lines: []string{"mailbox busy", "", "try later \xe9"}}},
		{To: path(t, "<c@example.org>"), Priority: -9, Notify: smtp.NotifyNever,
			Original: smtp.OriginalRecipient{Type: "rfc822", Address: "C+x@example.org"}},
		{To: path(t, "<b@[192.0.2.9]>"), State: Dropped, Reason: ReasonUnreadable, Attempts: -1,
			Reply: smtp.Reply{Code: 550, Lines: []string{strings.Repeat("x", 5000)}, Close: true}},
		{To: path(t, "<d@example.org>"), Doubts: 2, Via: "smtp://192.0.2.1:25", Attempts: 2, Trail: []Attempt{
			{At: at, Reason: ReasonInDoubt, Host: "mx.example.org [192.0.2.7]:25", TLS: "TLS 1.3",
				Reply: smtp.Reply{Code: 421, Enhanced: smtp.EnhancedCode{4, 3, 2}, Lines: []string{"bye"}, Close: true}},
			{At: at.Add(time.Minute), Reason: ReasonPaused}}},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for i, m := range sampleMessages(t) {
		got, n, err := DecodeMessage(AppendMessage(nil, m))
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		want := *m
		want.Recipients = nil
		if n != len(m.Recipients) || !reflect.DeepEqual(got, &want) {
			t.Errorf("message %d:\n got %+v with %d recipients\nwant %+v with %d", i, got, n, &want, len(m.Recipients))
		}
	}
}

func TestRecipientRoundTrip(t *testing.T) {
	for i, r := range sampleRecipients(t) {
		got, err := DecodeRecipient(AppendRecipient(nil, &r))
		if err != nil {
			t.Fatalf("recipient %d: %v", i, err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("recipient %d:\n got %+v\nwant %+v", i, got, r)
		}
	}
}

func TestPendingRoundTrip(t *testing.T) {
	for i, r := range sampleRecipients(t) {
		for _, m := range sampleMessages(t) {
			p := PendingOf(m, i, &r)
			got, err := DecodePending(m.ID, i, AppendPending(nil, &p))
			if err != nil || got != p {
				t.Errorf("got %+v, %v\nwant %+v", got, err, p)
			}
		}
	}
}

// Every record that is cut short, or followed by more, is damaged; so is one of a later version.
func TestRecordDamage(t *testing.T) {
	m := AppendMessage(nil, sampleMessages(t)[1])
	r := AppendRecipient(nil, &sampleRecipients(t)[1])
	p := AppendPending(nil, &Pending{To: smtp.Postmaster, Next: time.UnixMilli(1)})
	decode := []struct {
		name   string
		record []byte
		decode func([]byte) error
	}{
		{"message", m, func(b []byte) error { _, _, err := DecodeMessage(b); return err }},
		{"recipient", r, func(b []byte) error { _, err := DecodeRecipient(b); return err }},
		{"pending", p, func(b []byte) error { _, err := DecodePending(ID{1}, 0, b); return err }},
	}
	for _, c := range decode {
		for n := range c.record {
			if err := c.decode(c.record[:n]); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s cut to %d of %d octets: %v", c.name, n, len(c.record), err)
			}
		}
		if err := c.decode(append(bytes.Clone(c.record), 0)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s with an octet more: %v", c.name, err)
		}
		later := bytes.Clone(c.record)
		later[0]++
		if err := c.decode(later); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "version 3") {
			t.Errorf("%s of a later version: %v", c.name, err)
		}
	}
}

// A record that asks for a billion lines is refused before they are allocated.
func TestRecordAllocation(t *testing.T) {
	r := AppendRecipient(nil, &Recipient{To: smtp.Postmaster})
	r = append(r[:len(r)-1], 0xff, 0xff, 0xff, 0xff, 0x0f)
	allocs := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeRecipient(r); !errors.Is(err, ErrDamaged) {
				b.Fatal(err)
			}
		}
	})
	if allocs.AllocedBytesPerOp() > 4096 {
		t.Errorf("%d octets allocated for a record of %d", allocs.AllocedBytesPerOp(), len(r))
	}
}

func TestCheckMessage(t *testing.T) {
	good := func() *Message {
		return &Message{ID: ID{1}, From: path(t, "<a@example.org>"), Recipients: []Recipient{{To: path(t, "<b@example.org>")}}}
	}
	if err := CheckMessage(good()); err != nil {
		t.Fatal(err)
	}
	helo, err := smtp.ParseHelo("under_score.example.org")
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]func(*Message){
		"no id":                func(m *Message) { m.ID = ID{} },
		"no recipients":        func(m *Message) { m.Recipients = nil },
		"negative size":        func(m *Message) { m.Size = -1 },
		"null forward-path":    func(m *Message) { m.Recipients[0].To = smtp.Path{} },
		"no domain":            func(m *Message) { m.Recipients[0].To.Domain = smtp.Domain{} },
		"control character":    func(m *Message) { m.From.Local = "a\r\nb" },
		"underscore in domain": func(m *Message) { m.From.Domain = helo },
	}
	for name, spoil := range bad {
		m := good()
		spoil(m)
		if err := CheckMessage(m); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range sampleMessages(f) {
		f.Add(AppendMessage(nil, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := DecodeMessage(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v does not wrap ErrDamaged", err)
			}
			return
		}
		if n > 1<<16 {
			return // a sound record may name many recipients; the test need not make them
		}
		again := *m
		again.Recipients = make([]Recipient, n)
		got, gotN, err := DecodeMessage(AppendMessage(nil, &again))
		if err != nil || gotN != n || !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v %d %v, want %+v %d", got, gotN, err, m, n)
		}
	})
}

func FuzzDecodeRecipient(f *testing.F) {
	for _, r := range sampleRecipients(f) {
		f.Add(AppendRecipient(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecipient(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v does not wrap ErrDamaged", err)
			}
			return
		}
		if got, err := DecodeRecipient(AppendRecipient(nil, &r)); err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("got %+v %v, want %+v", got, err, r)
		}
	})
}

func FuzzDecodePending(f *testing.F) {
	for _, r := range sampleRecipients(f) {
		p := PendingOf(sampleMessages(f)[4], 0, &r)
		f.Add(AppendPending(nil, &p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePending(ID{1}, 0, b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v does not wrap ErrDamaged", err)
			}
			return
		}
		if got, err := DecodePending(ID{1}, 0, AppendPending(nil, &p)); err != nil || got != p {
			t.Fatalf("got %+v %v, want %+v", got, err, p)
		}
	})
}
