package dns_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/holub-mail/holub/dns"
)

// Where mail for a domain goes: its MX hosts, itself where it has none, nowhere where it says so.
func ExampleResolver_MX() {
	resolver, err := dns.New(dns.Options{Servers: []string{"127.0.0.1:53"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	hosts, err := resolver.MX(context.Background(), "mail.invalid")
	var e *dns.Error
	switch {
	case errors.As(err, &e) && e.NotFound():
		fmt.Println("there is no such domain")
	case err != nil:
		fmt.Println("try again later:", err)
	case len(hosts) == 0:
		fmt.Println("mail goes to the domain's own address")
	case hosts[0].Host == ".":
		fmt.Println("the domain takes no mail (RFC 7505)")
	default:
		fmt.Println("mail goes to", hosts[0].Host)
	}
	// Output: there is no such domain
}
