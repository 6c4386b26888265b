package sender

import (
	"crypto/tls"

	"github.com/holub-mail/holub/sasl"
)

// Login makes an Options.Auth of credentials: the strongest mechanism that the server offers, that they fit, and that
// the channel may carry; secrets in the clear over TLS only. Without such a mechanism the opening fails.
func Login(c sasl.Credentials) func(offered []string, state *tls.ConnectionState) (Mechanism, error) {
	return func(offered []string, state *tls.ConnectionState) (Mechanism, error) {
		ch := sasl.Channel{}
		if state != nil {
			ch = sasl.ClientChannel(*state)
		}
		return c.Choose(offered, ch)
	}
}
