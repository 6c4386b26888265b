package admin

import (
	"errors"

	"github.com/holub-mail/holub/internal/spool"
)

// Errors of desks, to be found with errors.Is on both sides of the socket.
var (
	ErrNotRunning = errors.New("the server is not running")
	ErrWrong      = errors.New("wrong request") // a selector, verb, target or text that can't be used
	ErrRefused    = errors.New("refused")       // the server would not do it, and said why
	ErrBusy       = errors.New("the server is busy")
)

// failures are the errors that keep what they are on their way through the socket, each with its word there and the
// status of HTTP.
var failures = []struct {
	word   string
	status int
	err    error
}{
	{"not-found", 404, spool.ErrNotFound},
	{"damaged", 500, spool.ErrDamaged},
	{"closed", 503, spool.ErrClosed},
	{"wrong", 400, ErrWrong},
	{"refused", 409, ErrRefused},
	{"busy", 503, ErrBusy},
	{"not-running", 503, ErrNotRunning},
}

// failure is an error as it goes through the socket.
type failure struct {
	Word string `json:"kind"` // of failures; "" for all others
	Text string `json:"text"`
}

func newFailure(err error) (f failure, status int) {
	for _, known := range failures {
		if errors.Is(err, known.err) {
			return failure{known.word, err.Error()}, known.status
		}
	}
	return failure{"", err.Error()}, 500
}

// err gives the error back, with its text as it was.
func (f failure) err() error {
	for _, known := range failures {
		if f.Word == known.word {
			return farError{f.Text, known.err}
		}
	}
	return errors.New(f.Text)
}

// farError is an error of the other side of the socket.
type farError struct {
	text string
	is   error
}

func (e farError) Error() string { return e.text }
func (e farError) Unwrap() error { return e.is }
