package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// FuzzSelector has no text of a selector do harm: it is refused as wrong, or means the same after its way through the socket
// and never more than the selector without it.
func FuzzSelector(f *testing.F) {
	f.Add("example.org", "ann@example.com", "<bob@example.org>", "dns", "urgent", "held", "06h0keshbm001fx89n2g")
	f.Add("*.example.org", "<>", "@bürger.example", "", "", "in-flight", "")
	f.Add("[192.0.2.1]", `"a b"@c`, "POSTMASTER", "in-doubt", "bulk", "waiting", "x")
	f.Add("*.", "@*.", "@", "new ", "Normal", "done", strings.Repeat("0", 20))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	mailbox := func(local, domain string) smtp.Path {
		d, err := smtp.ParseDomain(domain)
		if err != nil {
			f.Fatal(err)
		}
		return smtp.Path{Mailbox: smtp.Mailbox{Local: local, Domain: d}}
	}
	m := &spool.Message{ID: spool.ID{11: 1}, Arrived: now, From: mailbox("ann", "example.com"), Recipients: []spool.Recipient{
		{To: mailbox("bob", "example.org")}, {To: smtp.Postmaster, State: spool.Held}, {To: mailbox("c", "sub.example.org"), State: spool.Delivered}}}
	f.Fuzz(func(t *testing.T, domain, sender, recipient, reason, class, state, id string) {
		s := Selector{Domain: domain, Sender: sender, Recipient: recipient, Reason: reason, Class: class, State: state}
		if id != "" {
			s.IDs = []string{id}
		}
		c, err := s.compile(now)
		if err != nil {
			if !errors.Is(err, ErrWrong) {
				t.Fatalf("error %v", err)
			}
			return
		}
		b, err := json.Marshal(s)
		var back Selector
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || !reflect.DeepEqual(s, back) {
			t.Fatalf("%+v comes back as %+v, %v", s, back, err)
		}
		for n := range m.Recipients {
			if !c.message(m) || !c.ofSpool(&m.Recipients[n]) {
				continue
			}
			if m.Recipients[n].State.Done() || domain != "" && m.Recipients[n].To.Domain.IsZero() || id != "" && id != m.ID.String() &&
				strings.ToLower(id) != m.ID.String() {
				t.Errorf("%+v matches recipient %d", s, n)
			}
		}
	})
}

// FuzzRequest has no body of a request be taken for an action that it does not spell out.
func FuzzRequest(f *testing.F) {
	f.Add(`{"verb":"hold","selector":{"all":true}}`)
	f.Add(`{"verb":"remove","selector":{"domian":"x"},"who":"me"}`)
	f.Add(`[]{"`)
	f.Fuzz(func(t *testing.T, body string) {
		var a Action
		r := httptest.NewRequest(http.MethodPost, "/v1/act", strings.NewReader(body))
		if err := read(r, &a); err != nil {
			if !errors.Is(err, ErrWrong) {
				t.Errorf("error %v", err)
			}
			return
		}
		if a.Who != "" {
			t.Errorf("a client says who it is: %q", a.Who)
		}
	})
}
