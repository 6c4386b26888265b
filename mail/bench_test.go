package mail

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// BenchmarkReceived writes the trace field of a message with one recipient.
func BenchmarkReceived(b *testing.B) {
	field := Received{Hello: "client.example.org", Addr: netip.MustParseAddr("192.0.2.1"), By: "mx.example.net", With: "ESMTP",
		ID: "0198c5k2p0001a7fq3xe", For: "bob@example.net", Date: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
	dst := field.Append(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(dst)))
	for b.Loop() {
		dst = field.Append(dst[:0])
	}
}

// BenchmarkScanMessage looks at one whole message of 4 KiB, as intake does while it comes in.
func BenchmarkScanMessage(b *testing.B) {
	content := []byte("Received: from a.example (a.example [192.0.2.1]) by b.example with ESMTP id 1\r\n" +
		"\tfor <x@example>; Mon, 23 Nov 2026 15:00:00 +0000\r\nFrom: a@example.org\r\nTo: b@example.net\r\n" +
		"Message-ID: <1@a.example>\r\nSubject: x\r\n\r\n")
	content = append(content, bytes.Repeat([]byte(strings.Repeat("b", 62)+"\r\n"), 64)...)[:4096]
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		var s Scanner
		s.Write(content)
		if s.Received() != 1 || s.MessageID() == "" {
			b.Fatal("the scanner did not see the header")
		}
	}
}
