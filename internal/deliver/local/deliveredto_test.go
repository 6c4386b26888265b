package local

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/holub-mail/holub/internal/deliver"
	"github.com/holub-mail/holub/smtp"
)

// to makes a task for one recipient.
func to(t *testing.T, recipient, content string) deliver.Task {
	t.Helper()
	mail := task(t, "<ann@example.com>", content, 1)
	mail.Message.Recipients[0].To = path(t, recipient)
	return mail
}

// only gives the only file of a Maildir.
func only(t *testing.T, dir string) string {
	t.Helper()
	all := files(t, dir)
	if len(all) != 1 {
		t.Fatalf("the folder has %d files", len(all))
	}
	for _, content := range all {
		return content
	}
	return ""
}

// TestDeliveredTo writes the recipient as the envelope has it.
func TestDeliveredTo(t *testing.T) {
	for recipient, want := range map[string]string{
		"<Joe@Example.net>":       "Joe@Example.net",
		"<postmaster>":            "postmaster@mx.example.org",
		`<"a b"@example.net>`:     `"a b"@example.net`,
		"<голуб@bücher.example>":  "голуб@bücher.example",
		"<joe@[192.0.2.1]>":       "joe@[192.0.2.1]",
		`<"<>:;,\"\\"@ex.ample>`:  `"<>:;,\"\\"@ex.ample`,
		"<a=?utf-8?q?x?=@ex.net>": "a=?utf-8?q?x?=@ex.net",
	} {
		dir := t.TempDir()
		mail := to(t, recipient, letter)
		expectReply(t, Maildir(t.Context(), dir, "mx.example.org", mail), "250 2.0.0")
		got := only(t, dir)
		if top := "Return-Path: <ann@example.com>\nDelivered-To: " + want + "\nSubject: pigeons\n"; !strings.HasPrefix(got, top) {
			t.Errorf("for %s the file is %q", recipient, got)
		}
		// What was delivered and comes back is known, be it in other case or other clothes.
		again := to(t, recipient, strings.ReplaceAll(got, "\n", "\r\n"))
		expectReply(t, Maildir(t.Context(), dir+"/again", "mx.example.org", again), "554 5.4.6")
	}
}

// TestBeenHere has mail with Delivered-To fields: that of this address alone makes a circle, and only where it stands in the
// header.
func TestBeenHere(t *testing.T) {
	long := strings.Repeat("X-Long: "+strings.Repeat("x", 70)+"\r\n", 1000) // some 80 KiB
	const field = "Delivered-To: joe@example.net\r\n"
	for name, test := range map[string]struct{ content, want string }{
		"of this address":          {field + letter, "554 5.4.6"},
		"further below":            {"Received: from a\r\n by b\r\n" + field + letter, "554 5.4.6"},
		"among others":             {"Delivered-To: ann@example.net\r\n" + field + letter, "554 5.4.6"},
		"in other case":            {"DELIVERED-TO:\r\n <JOE@EXAMPLE.NET>\r\n" + letter, "554 5.4.6"},
		"the header alone":         {field, "554 5.4.6"},
		"its line not ended":       {"Delivered-To: joe@example.net", "554 5.4.6"},
		"on top of a long header":  {field + long + letter, "554 5.4.6"},
		"below a long header":      {long + field + letter, "250 2.0.0"},
		"of another address":       {"Delivered-To: joe@example.org\r\n" + letter, "250 2.0.0"},
		"of a name that goes on":   {"Delivered-To: joe@example.net.example\r\n" + letter, "250 2.0.0"},
		"in the body":              {letter + field, "250 2.0.0"},
		"in a field of other name": {"X-Delivered-To: joe@example.net\r\n" + letter, "250 2.0.0"},
		"without an address":       {"Delivered-To: joe\r\nDelivered-To:\r\n" + letter, "250 2.0.0"},
		"none, and no header":      {"\r\n" + field, "250 2.0.0"},
		"none at all":              {"", "250 2.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			expectReply(t, Maildir(t.Context(), dir, "mx", to(t, "<joe@example.net>", test.content)), test.want)
			if strings.HasPrefix(test.want, "554") {
				if all := files(t, dir); len(all) != 0 {
					t.Errorf("the folder has %d files", len(all))
				}
				return
			}
			want := "Return-Path: <ann@example.com>\nDelivered-To: joe@example.net\n" + strings.ReplaceAll(test.content, "\r\n", "\n")
			if got := only(t, dir); got != want {
				t.Errorf("the file has %d octets, want %d: %.300q", len(got), len(want), got)
			}
		})
	}
}

// TestBeenHereForOne refuses one of three recipients of a message.
func TestBeenHereForOne(t *testing.T) {
	mail := task(t, "<ann@example.com>", "Delivered-To: joe+1@example.net\r\n"+letter, 3)
	dir := t.TempDir()
	outcomes := Maildir(t.Context(), dir, "mx", mail)
	expectReply(t, outcomes, "250 2.0.0", "554 5.4.6", "250 2.0.0")
	if all := files(t, dir); len(all) != 2 {
		t.Errorf("the folder has %d files", len(all))
	}
	if text := outcomes[1].Reply.Text(); !strings.Contains(text, "circle") {
		t.Errorf("the reply is %q", text)
	}
	// The attempt that is made again finds what the first one wrote before it looks for a circle.
	expectReply(t, Maildir(t.Context(), dir, "mx", mail), "250 2.0.0", "554 5.4.6", "250 2.0.0")
}

// oneOctet gives a message octet by octet.
type oneOctet struct{ io.Reader }

func (o oneOctet) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(len(p), 1)]) }

func (oneOctet) Close() error { return nil }

// TestBeenHerePieces loses no octet of a message that comes in small pieces.
func TestBeenHerePieces(t *testing.T) {
	content := letter + strings.Repeat("They fly.\r\n", 300)
	mail := to(t, "<joe@example.net>", content)
	mail.Open = func(context.Context) (io.ReadCloser, error) { return oneOctet{strings.NewReader(content)}, nil }
	dir := t.TempDir()
	expectReply(t, Maildir(t.Context(), dir, "mx", mail), "250 2.0.0")
	if got := only(t, dir); !strings.HasSuffix(got, "\n"+strings.ReplaceAll(content, "\r\n", "\n")) {
		t.Errorf("the file is %.300q", got)
	}
}

// TestDeliveredWithoutHost keeps a postmaster's mail where the host's name is none.
func TestDeliveredWithoutHost(t *testing.T) {
	if m := delivered(smtp.Postmaster, "not a name"); m.Local != "postmaster" {
		t.Errorf("the mailbox is %+v", m)
	}
	dir := t.TempDir()
	expectReply(t, Maildir(t.Context(), dir, "not a name", to(t, "<postmaster>", letter)), "250 2.0.0")
	if got := only(t, dir); !strings.Contains(got, "\nDelivered-To: postmaster\nSubject:") {
		t.Errorf("the file is %q", got)
	}
}
