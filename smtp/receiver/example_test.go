package receiver_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// printer takes mail for example.org and prints it.
type printer struct{}

func (printer) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply { return smtp.Reply{} }

func (printer) Rcpt(_ context.Context, _ *receiver.Session, r smtp.Rcpt) smtp.Reply {
	if r.To.Domain.Key() != "example.org" {
		return smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, "No mail for others here")
	}
	return smtp.Reply{}
}

func (printer) Data(_ context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	b, err := io.ReadAll(content)
	if err != nil {
		return smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "Could not read the message")
	}
	fmt.Printf("from %s to %s: %q\n", s.Mail().From, s.Recipients()[0].To, b)
	return smtp.Reply{}
}

// A server that prints what it gets, and a client that sends it one message.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: printer{}}
	go srv.Serve(listener)

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	io.WriteString(conn, "EHLO client.example\r\nMAIL FROM:<alice@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"+
		"Hi Bob\r\n.\r\nQUIT\r\n")
	io.Copy(io.Discard, conn) // the server closes after QUIT
	srv.Shutdown(context.Background())
	// Output: from <alice@example.net> to <bob@example.org>: "Hi Bob\r\n"
}
