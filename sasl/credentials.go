package sasl

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
)

// Credentials are what a client has to show. They print without their secrets.
type Credentials struct {
	User     string
	Password string // for SCRAM, PLAIN and LOGIN
	Token    string // an OAuth 2 access token, for OAUTHBEARER and XOAUTH2
	Authzid  string // the user to act as; empty: User itself

	External bool // the server knows this client by its TLS certificate or socket

	// Host and Port are those dialled; OAUTHBEARER tells them to the server. They may be left out.
	Host string
	Port int
}

// Choose picks the strongest mechanism that the server offers, that the credentials fit and that this channel may
// carry, and starts its client side. Offered is the server's list, in any case and order. It returns ErrNoMechanism
// where there is none, with the reason.
func (c Credentials) Choose(offered []string, ch Channel) (Client, error) {
	names := make([]string, len(offered))
	for i, name := range offered {
		names[i] = upper(name)
	}
	var open []string
	for _, m := range mechanisms {
		if !slices.Contains(names, m.name) {
			continue
		}
		client := c.client(m.name, ch, names)
		switch {
		case client == nil:
		case m.secret && !ch.Private:
			open = append(open, m.name)
		default:
			return client, nil
		}
	}
	if len(open) > 0 {
		return nil, fmt.Errorf("%w: %q would show the secret to whoever reads along; use TLS", ErrNoMechanism, open)
	}
	return nil, fmt.Errorf("%w: the server offers %.200q; the credentials are %v", ErrNoMechanism, offered, c)
}

// client starts a mechanism if the credentials fit it, and else gives nil.
func (c Credentials) client(name string, ch Channel, offered []string) Client {
	password := c.User != "" && c.Password != ""
	switch {
	case name == NameExternal && c.External:
		return External(c.Authzid)
	case name == NameScramSHA256Plus && password && len(ch.Bindings) > 0:
		return ScramSHA256Plus(c.Authzid, c.User, c.Password, ch.Bindings[0])
	case name == NameScramSHA256 && password:
		if len(ch.Bindings) > 0 && !slices.Contains(offered, NameScramSHA256Plus) {
			return scramUnoffered(c.Authzid, c.User, c.Password)
		}
		return ScramSHA256(c.Authzid, c.User, c.Password)
	case name == NameOAuthBearer && c.Token != "":
		return OAuthBearer(c.actsAs(), c.Host, c.Port, c.Token)
	case name == NameXOAuth2 && c.Token != "" && c.actsAs() != "":
		return XOAuth2(c.actsAs(), c.Token)
	case name == NamePlain && password:
		return Plain(c.Authzid, c.User, c.Password)
	case name == NameLogin && password && c.Authzid == "": // it has no place for an authzid
		return Login(c.User, c.Password)
	}
	return nil
}

// actsAs is the one name that the mechanisms with a token have room for.
func (c Credentials) actsAs() string {
	if c.Authzid != "" {
		return c.Authzid
	}
	return c.User
}

// Format implements fmt.Formatter for every verb.
func (c Credentials) Format(f fmt.State, _ rune) {
	io.WriteString(f, c.summary())
}

// LogValue implements slog.LogValuer.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.summary()) }

// summary tells which secrets there are.
func (c Credentials) summary() string {
	var kinds []string
	for _, k := range []struct {
		name string
		has  bool
	}{{"password", c.Password != ""}, {"token", c.Token != ""}, {"certificate or socket", c.External}} {
		if k.has {
			kinds = append(kinds, k.name)
		}
	}
	return fmt.Sprintf("%q with %q", c.User, kinds)
}
