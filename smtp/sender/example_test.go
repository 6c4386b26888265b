package sender_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

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
