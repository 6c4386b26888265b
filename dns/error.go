package dns

import "fmt"

// Kind says how a question failed.
type Kind string

// The kinds of failure.
const (
	KindNotFound  Kind = "no such domain"                          // NXDOMAIN, or a name that cannot be in the DNS
	KindNoData    Kind = "the name has no such record"             // the name exists, records of this type do not
	KindTimeout   Kind = "no answer in time"                       // no server answered within its time
	KindServFail  Kind = "the server failed"                       // SERVFAIL
	KindRefused   Kind = "the server refused"                      // REFUSED
	KindNetwork   Kind = "the server cannot be reached"            // no route, connection refused, broken connection
	KindBadAnswer Kind = "the server gave an answer of no use"     // any other rcode, or an answer that does not parse
	KindCanceled  Kind = "the question was given up by its caller" // the context ended
)

// Error is a question that has no answer.
type Error struct {
	Name   string // the name asked for, as the caller gave it
	Type   string // "MX", "A" or "AAAA"
	Server string // host:port of the server that was asked last; "" where none was
	Kind   Kind
	Err    error // what lies under it, if anything
}

// Error tells what was asked, of whom, and what came of it.
func (e *Error) Error() string {
	s := fmt.Sprintf("look up %s of %q: %s", e.Type, e.Name, e.Kind)
	if e.Server != "" {
		s += fmt.Sprintf(" (server %s)", e.Server)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the error under it, such as that of the context or of the network.
func (e *Error) Unwrap() error { return e.Err }

// NotFound tells that the name does not exist at all.
func (e *Error) NotFound() bool { return e.Kind == KindNotFound }

// NoData tells that the name exists but has no records of the type asked for. MX never returns such an error.
func (e *Error) NoData() bool { return e.Kind == KindNoData }

// Temporary tells that the same question may be answered later: everything but NotFound and NoData.
func (e *Error) Temporary() bool { return !e.NotFound() && !e.NoData() }
