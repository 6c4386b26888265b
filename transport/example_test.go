package transport_test

import (
	"context"
	"fmt"
	"io"

	"github.com/holub-mail/holub/transport"
)

// What is dialled and what is listened on is written in one way, whatever carries the octets.
func ExampleDial() {
	ctx := context.Background()
	endpoint, err := transport.ParseEndpoint("exec:cat")
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := transport.Dial(ctx, endpoint, transport.DialOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	io.WriteString(conn, "220 ready\r\n")
	line := make([]byte, len("220 ready\r\n"))
	io.ReadFull(conn, line)
	fmt.Printf("%s: %q\n", endpoint, line)
	// Output: exec:cat: "220 ready\r\n"
}
