package smtp_test

import (
	"testing"

	"github.com/holub-mail/holub/smtp"
)

// What a client says for one message, as it is parsed: the line, then its argument.
const (
	mailLine = "MAIL FROM:<alice.liddell@wonderland.example.org> SIZE=4096 BODY=8BITMIME"
	rcptLine = "RCPT TO:<bob@example.net> NOTIFY=FAILURE ORCPT=rfc822;bob@example.net"
)

func BenchmarkParseCommand(b *testing.B) {
	line := []byte(mailLine)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := smtp.ParseCommand(line); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseArguments reads the commands that have more than a verb, from the line on.
func BenchmarkParseArguments(b *testing.B) {
	for _, c := range []struct {
		name, line string
		parse      func(arg string) error
	}{
		{"MAIL", "MAIL FROM:<alice@example.org>", parseMail},
		{"MAIL with parameters", mailLine, parseMail},
		{"RCPT", "RCPT TO:<bob@example.net>", parseRcpt},
		{"RCPT with parameters", rcptLine, parseRcpt},
		{"BDAT", "BDAT 4096 LAST", func(arg string) error { _, err := smtp.ParseBdat(arg); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			line := []byte(c.line)
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				command, err := smtp.ParseCommand(line)
				if err == nil {
					err = c.parse(command.Arg)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func parseMail(arg string) error { _, err := smtp.ParseMail(arg); return err }
func parseRcpt(arg string) error { _, err := smtp.ParseRcpt(arg); return err }

func BenchmarkParsePath(b *testing.B) {
	for name, path := range map[string]string{
		"plain": "<alice.liddell@wonderland.example.org>", "quoted": `<"alice liddell"@example.org>`,
		"literal": "<alice@[192.0.2.1]>", "international": "<älice@bücher.example>",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(path)))
			for b.Loop() {
				if _, err := smtp.ParsePath(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReply writes a reply as the server does, and reads it as the client does.
func BenchmarkReply(b *testing.B) {
	reply := smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Ok: queued as 0198c5k2p0001a7fq3xe")
	wire := reply.Append(nil)
	b.Run("write", func(b *testing.B) {
		var dst []byte
		b.ReportAllocs()
		b.SetBytes(int64(len(wire)))
		for b.Loop() {
			dst = reply.Append(dst[:0])
		}
	})
	b.Run("read", func(b *testing.B) {
		line := wire[:len(wire)-len("\r\n")]
		b.ReportAllocs()
		b.SetBytes(int64(len(wire)))
		for b.Loop() {
			var r smtp.Reply
			if last, err := r.AddLine(line); !last || err != nil {
				b.Fatal(last, err)
			}
		}
	})
}
