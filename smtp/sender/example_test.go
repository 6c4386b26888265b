package sender_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/holub-mail/holub/sasl"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
)

// One message for two recipients, of whom the server knows only one.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	from, _ := smtp.ParsePath("<anna@example.org>")
	bela, _ := smtp.ParsePath("<bela@example.net>")
	cyril, _ := smtp.ParsePath("<cyril@example.net>")
	name, _ := smtp.ParseDomain("client.example.org")

	client, err := sender.Dial(ctx, "mx.example.net:25", sender.Options{Hello: name, Dialer: demoServer})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	content := "From: anna@example.org\r\nSubject: lunch\r\n\r\nAt noon?\r\n"
	env := sender.Envelope{From: from, To: []smtp.Path{bela, cyril}, Size: int64(len(content))}
	result, err := client.Send(ctx, env, strings.NewReader(content))
	for i, outcome := range result.Outcomes {
		fmt.Println(env.To[i], outcome.Stage, outcome.Reply.Text())
	}
	if err != nil { // the session broke; recipients without a reply are undecided
		fmt.Println(err)
		return
	}
	if err := client.Quit(ctx); err != nil {
		fmt.Println(err)
	}

	// Output:
	// <bela@example.net> the content 250 2.0.0 taken
	// <cyril@example.net> RCPT 550 5.1.1 no such user
}

// A client in ten lines: STARTTLS where it is offered, pipelining, and every refusal by its recipient's name.
func ExampleSendMail() {
	msg := strings.NewReader("From: anna@example.org\r\nSubject: lunch\r\n\r\nAt noon?\r\n")
	to := []string{"bela@example.net", "cyril@example.net"}
	err := sender.SendMail(context.Background(), "mx.example.net:25", "anna@example.org", to, msg,
		sender.Options{Dialer: demoServer})
	var refused *sender.RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Recipients {
			fmt.Println(r.To, r.Outcome.Reply.Text())
		}
	}

	// Output:
	// <cyril@example.net> 550 5.1.1 no such user
}

// Passwords by SCRAM where the server has it, else by PLAIN, and only over TLS that was checked.
func ExampleOptions_auth() {
	login := sasl.Credentials{User: "anna", Password: "secret"}
	_, err := sender.Dial(context.Background(), "mx.example.net:587", sender.Options{
		TLS: sender.TLSRequired,
		Auth: func(offered []string, state *tls.ConnectionState) (sender.Mechanism, error) {
			return login.Choose(offered, sasl.ClientChannel(*state))
		},
		Dialer: demoServer, // which offers no TLS
	})
	fmt.Println(errors.Is(err, sender.ErrTLS))

	// Output:
	// true
}

// demoServer stands in for the network: leave Options.Dialer out to dial for real.
func demoServer(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		fmt.Fprint(server, "220 mx.example.net\r\n")
		content := false
		for in := bufio.NewScanner(server); in.Scan(); {
			reply := "250 2.0.0 ok"
			switch line := in.Text(); {
			case content && line != ".":
				continue
			case content:
				content, reply = false, "250 2.0.0 taken"
			case strings.HasPrefix(line, "EHLO"):
				reply = "250-mx.example.net\r\n250 PIPELINING"
			case strings.Contains(line, "cyril"):
				reply = "550 5.1.1 no such user"
			case line == "DATA":
				content, reply = true, "354 go on"
			case line == "QUIT":
				reply = "221 2.0.0 bye"
			}
			fmt.Fprintf(server, "%s\r\n", reply)
		}
	}()
	return client, nil
}
