package history

import (
	"testing"

	"github.com/holub-mail/holub/smtp"
)

func TestAddress(t *testing.T) {
	for path, want := range map[string]string{
		"<>": "", "<postmaster>": "postmaster", "<Joe@Example.ORG>": "Joe@Example.ORG", `<"a b"@example.org>`: `"a b"@example.org`,
	} {
		p, err := smtp.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := Address(p); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
