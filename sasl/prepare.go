package sasl

import (
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// PrepareUser brings a user name into the form in which names are compared (RFC 8265 3.4, UsernameCasePreserved; case
// is kept). Printable ASCII is left as it is, with its spaces: RFC 8265 3.5 leaves those to the application. Hosts
// store names in this form. The error never holds the name.
func PrepareUser(name string) (string, error) {
	if err := checkText("user name", name); err != nil {
		return "", err
	}
	if printable(name) {
		return name, nil
	}
	prepared, err := precis.UsernameCasePreserved.String(name)
	if err != nil || prepared == "" {
		return "", fmt.Errorf("%w: the user name holds characters that RFC 8265 forbids", ErrMalformed)
	}
	return prepared, nil
}

// PreparePassword brings a password into the form in which passwords are compared (RFC 8265 4.2, OpaqueString). The
// error never holds the password.
func PreparePassword(password string) (string, error) {
	if err := checkText("password", password); err != nil {
		return "", err
	}
	if printable(password) {
		return password, nil
	}
	prepared, err := precis.OpaqueString.String(password)
	if err != nil || prepared == "" {
		return "", fmt.Errorf("%w: the password holds characters that RFC 8265 forbids", ErrMalformed)
	}
	return prepared, nil
}

// prepareAuthzid prepares the name of the user to act as; empty means none.
func prepareAuthzid(authzid string) (string, error) {
	if authzid == "" {
		return "", nil
	}
	return PrepareUser(authzid)
}

// checkText refuses what is empty, too long or not UTF-8.
func checkText(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: the %s is empty", ErrMalformed, what)
	case len(s) > maxName:
		return fmt.Errorf("%w: the %s has %d octets, at most %d", ErrTooLong, what, len(s), maxName)
	case !utf8.ValidString(s): // precis would take it, with U+FFFD for what is broken
		return fmt.Errorf("%w: the %s is not UTF-8", ErrMalformed, what)
	}
	return nil
}

// printable tells that all of s is printable ASCII or space, which no preparation changes.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
