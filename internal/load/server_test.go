package load

import (
	"fmt"
	"strings"
	"testing"
)

// dialogueOf feeds a sink's session in pieces of so many octets, and gives all it said after the greeting.
func dialogueOf(s *Sink, in string, piece int) (said string, last action) {
	v := newServer(s)
	v.out = outbox{}
	var buf []byte
	for len(in) > 0 && last == goOn {
		n := min(piece, len(in))
		buf = append(buf, in[:n]...)
		in = in[n:]
		var rest []byte
		for last = pause; last == pause; { // as the driver does
			rest, last = v.feed(buf)
			buf = append([]byte(nil), rest...)
			said += string(v.out.own)
			v.out = outbox{}
		}
	}
	return said, last
}

// codes are the codes of replies, those of more lines once.
func codes(said string) string {
	var all []string
	for line := range strings.Lines(said) {
		if line[3] == ' ' {
			all = append(all, line[:3])
		}
	}
	return strings.Join(all, " ")
}

// TestSinkDialogues: the same is said and counted however the octets are cut.
func TestSinkDialogues(t *testing.T) {
	const id = "Message-ID: <%010d.abc@load.invalid>\r\n"
	mail := "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	for _, tt := range []struct {
		name, in, codes string
		last            action
		octets          string // of the messages
		lost, repeated  int
		foreign         int
	}{
		{name: "one mail", in: mail + "DATA\r\nA: b\r\n\r\nhello\r\n.\r\nQUIT\r\n", codes: "250 250 250 354 250 221", last: hangUp, octets: "1: 15", foreign: 1},
		{name: "no content", in: mail + "DATA\r\n.\r\nNOOP\r\n", codes: "250 250 250 354 250 250", octets: "1: 0", foreign: 1},
		{name: "dots", in: mail + "DATA\r\n..\r\n.x\r\n\r\n..\r\n.\r\n", codes: "250 250 250 354 250", octets: "1: 14", foreign: 1},
		{name: "no end", in: mail + "DATA\r\na\n.\nb\n.\r\nc\r.\rd\r\n.\nRSET\r\n.\r\n", codes: "250 250 250 354 250", octets: "1: 24", foreign: 1},
		{name: "numbers", in: mail + "DATA\r\nReceived: x\r\n" + fmt.Sprintf(id, 0) + "\r\n.\r\n" +
			"MAIL FROM:<>\r\nRCPT TO:<c>\r\nDATA\r\n" + fmt.Sprintf(id, 2) + "\r\n.\r\n" +
			"mail from:<>\r\nrcpt to:<c>\r\ndata\r\n" + fmt.Sprintf(id, 2) + "\r\n" + fmt.Sprintf(id, 7) + "\r\n.\r\n" +
			"MAIL FROM:<>\r\nRCPT TO:<c>\r\nDATA\r\nMessage-ID: <12345678901@x>\r\n\r\n.\r\n",
			codes: "250 250 250 354 250 250 250 354 250 250 250 354 250 250 250 354 250", octets: "4: 224", lost: 1, repeated: 1, foreign: 1},
		{name: "order", in: "MAIL FROM:<a>\r\nHELO a\r\nRCPT TO:<a>\r\nDATA\r\nMAIL TO:<a>\r\nMAIL FROM:<a>\r\nMAIL FROM:<a>\r\nDATA\r\nRCPT <a>\r\nRSET\r\nRCPT TO:<a>\r\n",
			codes: "503 250 503 503 501 250 503 554 501 250 503", octets: "0: 0"},
		{name: "unknown", in: "EHLO a\r\nDATAX\r\nFOO\r\n\r\nSTARTTLS\r\nSTARTTLSX\r\nVRFY a\r\nbare\nNOOP\r\n", codes: "250 500 500 500 503 500 252 500 250", octets: "0: 0"},
		{name: "BDAT", in: mail + "BDAT 5\r\n.\r\n.\rBDAT 0\r\nRCPT TO:<x>\r\nDATA\r\nBDAT 4 LAST\r\n\nabcNOOP\r\n",
			codes: "250 250 250 250 250 503 503 250 250", octets: "1: 9", foreign: 1},
		{name: "BDAT of nobody", in: "EHLO a\r\nMAIL FROM:<a>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", codes: "250 250 503 250", octets: "0: 0"},
		{name: "BDAT with number", in: mail + fmt.Sprintf("BDAT %d LAST\r\nA: b\r\n"+id, 49, 0) + "NOOP\r\n", codes: "250 250 250 250 250", octets: "1: 49"},
		{name: "BDAT without size", in: mail + "BDAT x LAST\r\n", codes: "250 250 250 501", last: hangUp, octets: "0: 0"},
		{name: "long line", in: strings.Repeat("x", 2*maxCarry) + "\r\nNOOP\r\n", codes: "500", last: hangUp, octets: "0: 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, 5, 7, 64, 1000, len(tt.in)} {
				s := &Sink{Chunking: true, IDs: true}
				said, last := dialogueOf(s, tt.in, piece)
				if got := codes(said); got != tt.codes || last != tt.last {
					t.Errorf("in pieces of %d: %s, action %d; want %s, action %d", piece, got, last, tt.codes, tt.last)
				}
				c := s.Counts()
				if got := fmt.Sprintf("%d: %d", c.Messages, c.Octets); got != tt.octets {
					t.Errorf("in pieces of %d: messages and octets %s, want %s", piece, got, tt.octets)
				}
				if c.Lost != tt.lost || c.Repeated != tt.repeated || c.Foreign != tt.foreign {
					t.Errorf("in pieces of %d: %d lost, %d repeated, %d foreign", piece, c.Lost, c.Repeated, c.Foreign)
				}
			}
		})
	}
}

// TestSinkOffers: EHLO says what is there and no more.
func TestSinkOffers(t *testing.T) {
	said, _ := dialogueOf(&Sink{}, "EHLO a\r\n", 100)
	if said != "250-sink.load.invalid\r\n250-PIPELINING\r\n250 8BITMIME\r\n" {
		t.Errorf("%q", said)
	}
	said, _ = dialogueOf(&Sink{Hello: "x", NoPipelining: true, Chunking: true}, "EHLO a\r\n", 100)
	if said != "250-x\r\n250-CHUNKING\r\n250 8BITMIME\r\n" {
		t.Errorf("%q", said)
	}
	said, _ = dialogueOf(&Sink{}, "EHLO a\r\nBDAT 1\r\n", 100)
	if codes(said) != "250 500" {
		t.Errorf("BDAT that is not offered: %q", said)
	}
}
