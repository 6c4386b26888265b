package settle

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/spool"
)

// parsed is a report as a mail program sees it.
type parsed struct {
	header   netmail.Header
	text     string
	message  textproto.MIMEHeader   // the fields about the message
	groups   []textproto.MIMEHeader // those about each recipient
	original string                 // the third part
	kind     string                 // and its type
}

// parse reads a report with the tools of the standard library.
func (h *house) parse(report *spool.Message) parsed {
	h.t.Helper()
	fatal := func(err error) {
		if err != nil {
			h.t.Helper()
			h.t.Fatalf("%v in:\n%s", err, h.content(report.ID))
		}
	}
	m, err := netmail.ReadMessage(strings.NewReader(h.content(report.ID)))
	fatal(err)
	mediaType, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	fatal(err)
	if mediaType != "multipart/report" || params["report-type"] != "delivery-status" { // RFC 3464 2
		h.t.Errorf("the type is %s with %v", mediaType, params)
	}
	p := parsed{header: m.Header}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i := 0; ; i++ {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			if i != 3 {
				h.t.Errorf("the report has %d parts", i)
			}
			return p
		}
		fatal(err)
		body, err := io.ReadAll(part)
		fatal(err)
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		fatal(err)
		switch i {
		case 0:
			p.text = string(body)
		case 1:
			if kind != "message/delivery-status" {
				h.t.Errorf("the second part is %s", kind)
			}
			p.message, p.groups = fieldGroups(h.t, string(body))
		case 2:
			p.original, p.kind = string(body), kind
		}
	}
}

// fieldGroups reads the status part: groups of fields with empty lines between them (RFC 3464 2.1).
func fieldGroups(t *testing.T, status string) (message textproto.MIMEHeader, recipients []textproto.MIMEHeader) {
	t.Helper()
	for i, group := range strings.Split(strings.TrimSuffix(status, "\r\n"), "\r\n\r\n") {
		m, err := netmail.ReadMessage(strings.NewReader(strings.TrimSuffix(group, "\r\n") + "\r\n\r\n"))
		if err != nil {
			t.Fatalf("group %d of %q: %v", i, status, err)
		}
		if i == 0 {
			message = textproto.MIMEHeader(m.Header)
		} else {
			recipients = append(recipients, textproto.MIMEHeader(m.Header))
		}
	}
	return message, recipients
}

func same(t *testing.T, field, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %q, want %q", field, got, want)
	}
}

// TestBounceIsRead reads a bounce about two of three recipients back.
func TestBounceIsRead(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<a@example.org>", "<b@example.org>", "<c@example.org>")
	reports := h.settle(m, 0, said(0, unknown), said(1, fine), said(2, unknown))
	if got := describe(reports); got != "bounce to <ann@example.com>" {
		t.Fatalf("reports %q", got)
	}
	p := h.parse(reports[0])
	same(t, "To", p.header.Get("To"), "<ann@example.com>")
	same(t, "Message-ID", p.header.Get("Message-ID"), "<"+reports[0].ID.String()+"@mx.example.net>")
	same(t, "Reporting-MTA", p.message.Get("Reporting-Mta"), "dns; mx.example.net")
	same(t, "X-Holub-Queue-ID", p.message.Get("X-Holub-Queue-Id"), m.ID.String())
	if len(p.groups) != 2 {
		t.Fatalf("%d recipients, want the two that failed", len(p.groups))
	}
	for i, to := range []string{"a@example.org", "c@example.org"} {
		g := p.groups[i]
		same(t, "Final-Recipient", g.Get("Final-Recipient"), "rfc822; "+to)
		same(t, "Action", g.Get("Action"), "failed")
		same(t, "Status", g.Get("Status"), "5.1.1")
		same(t, "Remote-MTA", g.Get("Remote-Mta"), "dns; mx.example.org")
		if d := g.Get("Diagnostic-Code"); !strings.HasPrefix(d, "smtp; 550 5.1.1 No such user") {
			t.Errorf("Diagnostic-Code is %q", d)
		}
		if !strings.Contains(p.text, to) {
			t.Errorf("the text for people does not name %s:\n%s", to, p.text)
		}
	}
	if strings.Contains(h.content(reports[0].ID), "b@example.org") {
		t.Error("the bounce names the recipient that has the mail")
	}
	same(t, "third part", p.kind, "message/rfc822")
	if strings.TrimRight(p.original, "\r\n") != strings.TrimRight(shortMail, "\r\n") {
		t.Errorf("the original came back as %q", p.original)
	}
}

// TestTwoKindsInOneAttempt has one recipient refused and one late: two reports, one commit, each about its own.
func TestTwoKindsInOneAttempt(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<a@example.org>", "<b@example.org>")
	reports := h.settle(m, warnAge, said(0, unknown), said(1, busy))
	if got := describe(reports); got != "delay to <ann@example.com>, bounce to <ann@example.com>" {
		t.Fatalf("reports %q", got)
	}
	checkStored(t, h, m, reports)
	delay, bounce := h.parse(reports[0]), h.parse(reports[1])
	if len(delay.groups) != 1 || len(bounce.groups) != 1 {
		t.Fatalf("%d and %d recipients", len(delay.groups), len(bounce.groups))
	}
	same(t, "Final-Recipient", delay.groups[0].Get("Final-Recipient"), "rfc822; b@example.org")
	same(t, "Action", delay.groups[0].Get("Action"), "delayed")
	until, err := netmail.ParseDate(delay.groups[0].Get("Will-Retry-Until"))
	if err != nil || !until.Equal(arrived.Add(giveUpAge)) {
		t.Errorf("Will-Retry-Until is %v, %v", until, err)
	}
	same(t, "third part", delay.kind, "text/rfc822-headers")
	same(t, "Final-Recipient", bounce.groups[0].Get("Final-Recipient"), "rfc822; a@example.org")
	same(t, "third part", bounce.kind, "message/rfc822")
}

// TestReturnSize has messages of the limit and one octet above it.
func TestReturnSize(t *testing.T) {
	for size, want := range map[int]string{limit - 1: "message/rfc822", limit: "message/rfc822", limit + 1: "text/rfc822-headers"} {
		h := newHouse(t)
		head := "Subject: long\r\n\r\n"
		content := head + strings.Repeat("x", size-len(head)-2) + "\r\n"
		m := h.accept(spool.Mail, "<ann@example.com>", content, "<a@example.org>", "<b@example.org>")
		p := h.parse(h.settle(m, 0, said(0, unknown))[0])
		if p.kind != want {
			t.Errorf("of %d octets %s is returned, want %s", size, p.kind, want)
		}
		if whole := strings.Contains(p.original, "xxx"); whole != (want == "message/rfc822") {
			t.Errorf("of %d octets the body is returned: %v", size, whole)
		}
	}
}

// TestKeptIsWhole has mail without a reverse-path kept whole for the postmaster, however large.
func TestKeptIsWhole(t *testing.T) {
	h := newHouse(t)
	content := "Subject: long\r\n\r\n" + strings.Repeat("pigeon\r\n", 10*limit) + "the end\r\n"
	m := h.accept(spool.Mail, "<>", content, "<a@example.org>", "<b@example.org>")
	p := h.parse(h.settle(m, 0, said(0, unknown))[0])
	if !strings.Contains(p.original, "the end") {
		t.Errorf("%d octets of %d were kept", len(p.original), len(content))
	}
	if p.header.Get("To") != "<postmaster@mx.example.net>" {
		t.Errorf("it is for %q", p.header.Get("To"))
	}
}

// TestEightBit has a report know what it carries: the next host must be told (RFC 6152).
func TestEightBit(t *testing.T) {
	h := newHouse(t)
	m := h.accept(spool.Mail, "<ann@example.com>", "Subject: p\r\n\r\nžluťoučký kůň\r\n", "<a@example.org>", "<b@example.org>")
	reports := h.settle(m, warnAge, said(0, unknown), said(1, busy))
	if reports[0].EightBit || !reports[1].EightBit {
		t.Errorf("the note with the header is 8-bit: %v, the bounce with the message: %v", reports[0].EightBit, reports[1].EightBit)
	}
}

// TestUnreadableOriginal has a recipient end although its content is damaged: the report is whole but for the original.
func TestUnreadableOriginal(t *testing.T) {
	for name, breakIt := range map[string]func(*house){
		"from its start": func(h *house) { h.failOpen = spool.ErrDamaged },
		"in the middle":  func(h *house) { h.damaged = len("Subject: pigeons\r\nFrom:") },
		"not there":      func(h *house) { h.failOpen = errors.Join(errors.New("open"), spool.ErrNotFound) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			m := h.accept(spool.Mail, "<ann@example.com>", shortMail, "<a@example.org>", "<b@example.org>")
			breakIt(h)
			reports := h.settle(m, warnAge, said(0, unknown), said(1, busy))
			if len(reports) != 2 {
				t.Fatalf("reports %q", describe(reports))
			}
			for _, r := range reports {
				p := h.parse(r)
				if len(p.groups) != 1 || strings.Contains(p.original, "They fly") {
					t.Errorf("%d recipients, the original is %q", len(p.groups), p.original)
				}
			}
			if !strings.Contains(h.logs.String(), "cut short") {
				t.Errorf("the log says nothing of it:\n%s", h.logs)
			}
		})
	}
}
