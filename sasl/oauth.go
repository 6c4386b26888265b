package sasl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// oauthClient is a client that sends a token and may get the reason for a refusal as a challenge.
type oauthClient struct {
	single
	dummy   []byte // what answers the refusal
	refused error
}

// OAuthBearer is the client side of OAUTHBEARER (RFC 7628): it shows the access token to the server. User is the name
// to act as, empty for the token's own; host and port are those dialled, left out if empty or 0.
func OAuthBearer(user, host string, port int, token string) Client {
	return &oauthClient{dummy: []byte{1}, single: single{mechanism: NameOAuthBearer, message: func() ([]byte, error) {
		user, err := prepareAuthzid(user)
		if err != nil {
			return nil, err
		}
		if err := checkToken(token); err != nil {
			return nil, err
		}
		if !printable(host) || len(host) > maxName {
			return nil, fmt.Errorf("%w: the host is not printable ASCII of at most %d octets", ErrMalformed, maxName)
		}
		m := "n," // RFC 7628 3.1: a GS2 header without channel binding
		if user != "" {
			m += "a=" + escapeName(user)
		}
		m += ",\x01"
		if host != "" {
			m += "host=" + host + "\x01"
		}
		if port != 0 {
			m += "port=" + strconv.Itoa(port) + "\x01"
		}
		return []byte(m + "auth=Bearer " + token + "\x01\x01"), nil
	}}}
}

// XOAuth2 is the client side of XOAUTH2, the older form of OAUTHBEARER that Google and Microsoft speak: it shows the
// access token to the server.
func XOAuth2(user, token string) Client {
	return &oauthClient{dummy: []byte{}, single: single{mechanism: NameXOAuth2, message: func() ([]byte, error) {
		user, err := PrepareUser(user)
		if err != nil {
			return nil, err
		}
		if err := checkToken(token); err != nil {
			return nil, err
		}
		return []byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01"), nil
	}}}
}

// Next implements Client: the only challenge is the reason for a refusal. It is answered with a dummy, after which the
// server ends the exchange (RFC 7628 3.2.3).
func (c *oauthClient) Next(challenge []byte) ([]byte, error) {
	switch {
	case !c.sent || c.refused != nil:
		return nil, fmt.Errorf("%s: %w: a challenge out of turn", c.mechanism, ErrMalformed)
	case len(challenge) > MaxMessage:
		return nil, fmt.Errorf("%s: %w: a challenge of %d octets", c.mechanism, ErrTooLong, len(challenge))
	}
	var reason struct {
		Status string `json:"status"`
		Scope  string `json:"scope"`
	}
	if json.Unmarshal(challenge, &reason) != nil {
		reason.Status = "unknown"
	}
	c.refused = fmt.Errorf("%s: %w: the server refused the token: status %.100q, scope it asks for %.200q", c.mechanism,
		ErrCredentials, reason.Status, reason.Scope)
	return c.dummy, nil
}

// Finish implements Client.
func (c *oauthClient) Finish() error {
	if c.refused != nil {
		return c.refused
	}
	return c.single.Finish()
}

// oauthBearer is the server side of OAUTHBEARER: a GS2 header and pairs of key and value (RFC 7628 3.1).
func (s *server) oauthBearer(ctx context.Context, response []byte) ([]byte, step, error) {
	malformed := fmt.Errorf("%w: OAUTHBEARER is n,a=USER, and then auth=Bearer TOKEN between octets 01", ErrMalformed)
	header, rest, ok := strings.Cut(string(response), "\x01")
	gs2 := strings.Split(header, ",")
	if !ok || len(gs2) != 3 || gs2[2] != "" || !utf8.Valid(response) {
		return nil, nil, malformed
	}
	if gs2[0] != "n" && gs2[0] != "y" { // no binding is defined for it
		return nil, nil, malformed
	}
	var user string
	if gs2[1] != "" {
		name, ok := strings.CutPrefix(gs2[1], "a=")
		if user, ok = unescapeName(name, ok); !ok || user == "" {
			return nil, nil, malformed
		}
	}
	pairs, ok := parsePairs(rest)
	if !ok {
		return nil, nil, malformed
	}
	return s.token(ctx, user, pairs["auth"], `{"status":"invalid_token"}`)
}

// xoauth2 is the server side of XOAUTH2.
func (s *server) xoauth2(ctx context.Context, response []byte) ([]byte, step, error) {
	pairs, ok := parsePairs(string(response))
	if !ok || pairs["user"] == "" || !utf8.Valid(response) {
		return nil, nil, fmt.Errorf("%w: XOAUTH2 is user=USER and auth=Bearer TOKEN, each ended by an octet 01, "+
			"and one more", ErrMalformed)
	}
	return s.token(ctx, pairs["user"], pairs["auth"], `{"status":"401","schemes":"bearer"}`)
}

// token puts a token to the host. A refusal is a challenge first, whose answer, whatever it is, ends the exchange.
func (s *server) token(ctx context.Context, user, auth, refusal string) ([]byte, step, error) {
	err := s.checkAuth(ctx, user, auth)
	if err == nil || !errors.Is(err, ErrCredentials) {
		return nil, nil, err
	}
	return []byte(refusal), func(context.Context, []byte) ([]byte, step, error) { return nil, nil, err }, nil
}

// checkAuth takes the value of auth apart: a scheme, of which only Bearer is known, and the token. A client may leave
// it empty to learn what the server asks for (RFC 7628 4.3); that is a refusal.
func (s *server) checkAuth(ctx context.Context, user, auth string) error {
	scheme, token, _ := strings.Cut(auth, " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || checkToken(token) != nil {
		return fmt.Errorf("%w: no bearer token", ErrCredentials)
	}
	user, err := prepareAuthzid(user)
	if err != nil {
		return noMatch(err)
	}
	account, err := s.auth.Token(ctx, user, token)
	return s.admit(ctx, account, "", user, err)
}

// checkToken refuses what can't be a token (RFC 6750 2.1), among it what would end its field early.
func checkToken(token string) error {
	if token == "" || !printable(token) || strings.Contains(token, " ") {
		return fmt.Errorf("%w: the token is empty or not printable ASCII without spaces", ErrMalformed)
	}
	if len(token) > MaxMessage-3*maxName {
		return fmt.Errorf("%w: the token has %d octets, at most %d", ErrTooLong, len(token), MaxMessage-3*maxName)
	}
	return nil
}

// parsePairs reads key=value pairs, each ended by an octet 01, and the 01 that ends them all. A key that comes twice is
// refused: two readers could disagree on which one counts.
func parsePairs(s string) (map[string]string, bool) {
	body, ok := strings.CutSuffix(s, "\x01\x01")
	if !ok || strings.Count(body, "\x01") > 16 {
		return nil, false
	}
	pairs := map[string]string{}
	for pair := range strings.SplitSeq(body, "\x01") {
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := pairs[key]; !ok || key == "" || twice || strings.ContainsRune(value, 0) {
			return nil, false
		}
		pairs[key] = value
	}
	return pairs, true
}

// escapeName writes a name into a GS2 header (RFC 5801 4).
func escapeName(name string) string { return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name) }

// unescapeName reads what escapeName wrote; ok is handed through.
func unescapeName(s string, ok bool) (string, bool) {
	var b strings.Builder
	for ok {
		before, after, found := strings.Cut(s, "=")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), true
		case strings.HasPrefix(after, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		s = after[2:]
	}
	return "", false
}
