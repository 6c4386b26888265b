// Command fetch fills the cache of the peers that tests talk to, so that the tests find it full. It prints the folder. It
// runs no test and changes nothing outside of that folder; the test command of the repository calls it first:
//
//	go run ./internal/peers/fetch
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/holub-mail/holub/internal/peers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	root, err := peers.Fetch(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "fetch: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("the peers are in", root)
}
