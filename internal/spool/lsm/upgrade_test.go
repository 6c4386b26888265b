package lsm

import (
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// version1 is a store of format 1, key by key, as the holub that had it wrote it: one message with a recipient that was
// tried twice and a new one.
var version1 = [][2]string{
	{"v", "\x01"},
	{"m\x01\x9c\xa9?\a3\x00\x00\x00\x00\x00\t", "\x01\x00\x00\x01\x9c\xa9?\a3\x00\x00\x00\x00\x00\t\n" +
		"\xa7\U00045595g\x0f<a@example.org>#[192.0.2.1]:3456 (mail.example.org)\x02"},
	{"r\x01\x9c\xa9?\a3\x00\x00\x00\x00\x00\t\x00\x00\x00\x00", "\x01\x00\x04\x05\b\x00\x00\x11<Joe@Example.ORG>\x04" +
		"\xa7\xab\xbd\x99\x95g\x1dmx.example.org [192.0.2.7]:25\x84\a\b\x04\x02\x02\fmailbox busy\ttry later"},
	{"r\x01\x9c\xa9?\a3\x00\x00\x00\x00\x00\t\x00\x00\x00\x01", "\x01\x00\x00\b\x03\x11<kim@example.net>\x00" +
		"\xa7\U00045595g\x00\x00\x00\x00\x00\x00"},
	{"c\x01\x9c\xa9?\a3\x00\x00\x00\x00\x00\t\x00\x00\x00\x00", "hello"},
	{"p\x80\x00\x01\x9c\xa9`\xbcS\x01\x9c\xa9?\a3\x00\x00\x00\x00\x00\t\x00\x00\x00\x01",
		"\x01\x06\x03\xa7\U00045595g\x11<kim@example.net>"},
	{"p\x80\x00\x01\x9c\xa9\x97\xaa\xd3\x01\x9c\xa9?\a3\x00\x00\x00\x00\x00\t\x00\x00\x00\x00",
		"\x01\x00\xa7\xab\xbd\x99\x95g\x11<Joe@Example.ORG>"},
}

// A folder of an older holub is taken over: its messages are read, changed and ended as ever, and the older holub refuses it
// from then on.
func TestUpgrade(t *testing.T) {
	disk := writeVersion1(t)
	at := time.Date(2026, 3, 1, 12, 30, 15, 123e6, time.UTC)
	path := func(s string) smtp.Path {
		p, err := smtp.ParsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	id := spool.ID{1, 0x9c, 0xa9, 0x3f, 7, 0x33, 0, 0, 0, 0, 0, 9}
	want := &spool.Message{ID: id, From: path("<a@example.org>"), Arrived: at, Size: 5,
		Client: "[192.0.2.1]:3456 (mail.example.org)", Recipients: []spool.Recipient{
			{To: path("<Joe@Example.ORG>"), Reason: spool.ReasonRefused, Attempts: 2, Next: at.Add(time.Hour), Warned: true,
				Notify: smtp.NotifyDelay, Host: "mx.example.org [192.0.2.7]:25", Reply: smtp.Reply{Code: 450,
					Enhanced: smtp.EnhancedCode{4, 2, 1}, Lines: []string{"mailbox busy", "try later"}}},
			{To: path("<kim@example.net>"), Next: at, Priority: 3}}}

	e := openTest(t, disk)
	if v := keys(t, e, prefixVersion)["v"]; v != string([]byte{formatVersion}) {
		t.Errorf("the format is still %q", v)
	}
	m, err := e.Load(t.Context(), id)
	if err != nil || !reflect.DeepEqual(m, want) {
		t.Fatalf("got %+v, %v\nwant %+v", m, err, want)
	}
	content, err := e.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(content); err != nil || string(text) != "hello" {
		t.Errorf("content %q, %v", text, err)
	}
	pending, errs := listTest(t, e)
	if len(pending) != 2 || len(errs) != 0 || pending[0].To != want.Recipients[1].To || !pending[0].Fresh ||
		pending[0].Priority != 3 || pending[1].Fresh || !pending[1].Started.Equal(id.Time()) {
		t.Errorf("Pending: %+v, %v", pending, errs)
	}
	for n := range want.Recipients {
		r := m.Recipients[n]
		r.State = spool.Delivered
		if err := e.Apply(t.Context(), spool.Update{ID: id, Recipients: map[int]spool.Recipient{n: r}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []byte{prefixEnvelope, prefixRecipient, prefixContent, prefixIndex} {
		if left := keys(t, e, prefix); len(left) != 0 {
			t.Errorf("left of prefix %c: %q", prefix, left)
		}
	}
}

// writeVersion1 makes a folder of format 1.
func writeVersion1(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewMem()
	db, err := pebble.Open(testFolder, &pebble.Options{FS: disk, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range version1 {
		if err := db.Set([]byte(kv[0]), []byte(kv[1]), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}
