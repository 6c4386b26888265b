package sasl_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/holub-mail/holub/sasl"
)

// A server with one user, and a client that logs in. In between, a session would carry each challenge and response.
func Example() {
	salt := []byte("16 random octets")
	keys, err := sasl.DeriveScram("pencil", salt, 0) // once, when the password is set; store keys.MarshalText()
	if err != nil {
		fmt.Println(err)
		return
	}
	host := sasl.Authenticators{
		Scram: func(_ context.Context, user string) (string, sasl.ScramKeys, error) {
			if user != "joe" {
				return "", sasl.ScramKeys{}, sasl.ErrCredentials
			}
			return "joe", keys, nil
		},
		ScramSecret: []byte("random, and the same after a restart"),
	}
	channel := sasl.Channel{} // of a TLS connection: sasl.ServerChannel, sasl.ClientChannel

	offered := host.Mechanisms(channel)
	client, err := sasl.Credentials{User: "joe", Password: "pencil"}.Choose(offered, channel)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := host.NewServer(client.Mechanism(), channel)
	if err != nil {
		fmt.Println(err)
		return
	}
	initial, _, err := client.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	who, err := sasl.Run(context.Background(), server, initial, client.Next)
	fmt.Println(client.Mechanism(), who.User, err, client.Finish())
	// Output: SCRAM-SHA-256 joe <nil> <nil>
}

// One set of stored keys serves PLAIN too. The made-up keys take as long for a user who does not exist.
func ExampleScramKeys_Verify() {
	secret := []byte("random, and the same after a restart")
	keys, err := sasl.DeriveScram("pencil", []byte("16 random octets"), 4096)
	if err != nil {
		fmt.Println(err)
		return
	}
	stored := map[string]sasl.ScramKeys{"joe": keys}
	check := func(_ context.Context, user, password string) (string, error) {
		keys, found := stored[user]
		if !found {
			keys = sasl.FakeScram(secret, user, 4096)
		}
		if !keys.Verify(password) {
			return "", sasl.ErrCredentials
		}
		return user, nil
	}
	host := sasl.Authenticators{Password: check}
	for _, message := range []string{"\x00joe\x00pencil", "\x00joe\x00crayon", "\x00jim\x00pencil"} {
		server, err := host.NewServer("PLAIN", sasl.Channel{Private: true})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, done, err := server.Next(context.Background(), []byte(message))
		fmt.Println(done, server.Identity().User, errors.Is(err, sasl.ErrCredentials))
	}
	// Output:
	// true joe false
	// false  true
	// false  true
}

func ExampleCredentials_Choose() {
	joe := sasl.Credentials{User: "joe", Password: "pencil"}
	for _, channel := range []sasl.Channel{{}, {Private: true}} {
		client, err := joe.Choose([]string{"LOGIN", "PLAIN"}, channel)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(client.Mechanism())
	}
	// Output:
	// sasl: no mechanism in common: ["PLAIN" "LOGIN"] would show the secret to whoever reads along; use TLS
	// PLAIN
}
