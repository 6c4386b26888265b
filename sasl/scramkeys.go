package sasl

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

const (
	// DefaultIterations is the count used where 0 is given: what RFC 7677 4 takes for a tenth of a second in 2015.
	DefaultIterations = 15000
	// SaltSize is the length of a salt in octets. All users should have salts of this length: made-up ones do.
	SaltSize = 16
)

// ScramKeys is what a server stores of a password for SCRAM-SHA-256. It is enough to check a password, and to play the
// server; it is not enough to log in, though guesses can be tried on it.
type ScramKeys struct {
	Salt       []byte // SaltSize random octets
	Iterations int    // how often the password is hashed
	StoredKey  []byte // 32 octets
	ServerKey  []byte // 32 octets
}

// DeriveScram makes the keys of a password, which it prepares itself. The salt is random and the user's own; iterations
// is 0 for DefaultIterations or from 4096 to 2,000,000, outside of which clients give up.
func DeriveScram(password string, salt []byte, iterations int) (ScramKeys, error) {
	if iterations == 0 {
		iterations = DefaultIterations
	}
	if iterations < minIterations || iterations > maxIterations {
		return ScramKeys{}, fmt.Errorf("deriving SCRAM keys: %d iterations, need %d to %d", iterations, minIterations,
			maxIterations)
	}
	keys, err := derive(password, salt, iterations)
	if err != nil {
		return ScramKeys{}, fmt.Errorf("deriving SCRAM keys: %w", err)
	}
	return keys, keys.check()
}

// derive is DeriveScram with any count.
func derive(password string, salt []byte, iterations int) (ScramKeys, error) {
	password, err := PreparePassword(password)
	if err != nil {
		return ScramKeys{}, err
	}
	c, err := scram.SHA256.NewClientUnprepped("", password, "")
	if err != nil {
		return ScramKeys{}, err
	}
	stored, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return ScramKeys{}, err
	}
	return ScramKeys{append([]byte(nil), salt...), iterations, stored.StoredKey, stored.ServerKey}, nil
}

// Verify tells whether the keys were made from this password. It costs one derivation, right or wrong. A host that has
// ScramKeys alone serves PLAIN with it, and with FakeScram's keys for users it doesn't know.
func (k ScramKeys) Verify(password string) bool {
	if k.check() != nil {
		return false
	}
	got, err := derive(password, k.Salt, k.Iterations)
	return err == nil && hmac.Equal(got.StoredKey, k.StoredKey)
}

// FakeScram makes up keys for a user who does not exist: always the same for the same secret and user, and of no
// password. Iterations is that of real users, 0 for DefaultIterations.
func FakeScram(secret []byte, user string, iterations int) ScramKeys {
	if iterations == 0 {
		iterations = DefaultIterations
	}
	part := func(what string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(what + "\x00" + user))
		return h.Sum(nil)
	}
	return ScramKeys{part("salt")[:SaltSize], iterations, part("stored key"), part("server key")}
}

// check refuses keys that no exchange can be run with.
func (k ScramKeys) check() error {
	switch {
	case len(k.Salt) == 0 || len(k.Salt) > maxName:
		return fmt.Errorf("SCRAM keys: a salt of %d octets, need 1 to %d", len(k.Salt), maxName)
	case k.Iterations < 1 || k.Iterations > maxIterations:
		return fmt.Errorf("SCRAM keys: %d iterations, need 1 to %d", k.Iterations, maxIterations)
	case len(k.StoredKey) != sha256.Size || len(k.ServerKey) != sha256.Size:
		return fmt.Errorf("SCRAM keys: of %d and %d octets, need %d", len(k.StoredKey), len(k.ServerKey), sha256.Size)
	}
	return nil
}

// MarshalText writes the keys in the form that PostgreSQL and others store, which follows RFC 5803:
//
//	SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY
func (k ScramKeys) MarshalText() ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, "%s$%d:%s$%s:%s", NameScramSHA256, k.Iterations, b64(k.Salt), b64(k.StoredKey),
		b64(k.ServerKey)), nil
}

// UnmarshalText reads what MarshalText writes. The error never holds any of it.
func (k *ScramKeys) UnmarshalText(text []byte) error {
	bad := errors.New("SCRAM keys: the text is not SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY in base64")
	parts := strings.FieldsFunc(string(text), func(r rune) bool { return r == '$' || r == ':' })
	if len(parts) != 5 || parts[0] != NameScramSHA256 {
		return bad
	}
	var got ScramKeys
	var errs [4]error
	got.Iterations, errs[0] = strconv.Atoi(parts[1])
	got.Salt, errs[1] = base64.StdEncoding.Strict().DecodeString(parts[2])
	got.StoredKey, errs[2] = base64.StdEncoding.Strict().DecodeString(parts[3])
	got.ServerKey, errs[3] = base64.StdEncoding.Strict().DecodeString(parts[4])
	if errors.Join(errs[:]...) != nil {
		return bad
	}
	if err := got.check(); err != nil {
		return err
	}
	if again, err := got.MarshalText(); err != nil || string(again) != string(text) {
		return bad // one form for one value
	}
	*k = got
	return nil
}
