package spool

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Errors of engines, to be found with errors.Is.
var (
	ErrNotFound = errors.New("no such message in the spool")
	ErrDamaged  = errors.New("damaged entry in the spool")
	ErrClosed   = errors.New("the spool is closed")
	ErrInUse    = errors.New("the spool is in use by another process")
)

// Engine stores messages. All methods may be called from many goroutines.
//
// One owner at a time calls Apply for a given message; what is done with different messages is independent.
type Engine interface {
	// Create starts the content of a message that Apply will put. Nothing that was written counts before that; what is
	// never put is gone after Abort or at the next start.
	Create(ctx context.Context, id ID) (Content, error)

	// Apply commits all of ops durably or none. When it returns nil they survive a loss of power. A message whose last
	// recipient is done leaves the store with its content, not before the commit that says so.
	Apply(ctx context.Context, ops ...Op) error

	// ApplySoon commits all of ops or none and does not wait for the disk: they are visible when it returns, and survive a
	// loss of power or of the process from the next Apply on that begins later and returns, or some milliseconds later by
	// themselves. It is for what may be done once more after a crash and is cheap to do again. A Put makes it an Apply.
	ApplySoon(ctx context.Context, ops ...Op) error

	// Load reads a message. ErrNotFound: it left the store. ErrDamaged: it can't be read and was set aside.
	Load(ctx context.Context, id ID) (*Message, error)

	// Open reads the content of a message from its start.
	Open(ctx context.Context, id ID) (io.ReadCloser, error)

	// Pending lists every recipient that is not done, from an index that is small beside the messages, in the order of
	// their due time. It is how the owner learns of its work at the start. An entry that can't be read is set aside,
	// reported by an error that wraps ErrDamaged, and the listing goes on.
	Pending(ctx context.Context) iter.Seq2[Pending, error]

	// List reads every message with all its recipients, from the id after on in the order of ids, for operators: the zero ID
	// starts at the first. What can't be read is reported as by Pending, and the listing goes on.
	List(ctx context.Context, after ID) iter.Seq2[*Message, error]
	// Damaged lists what was set aside.
	Damaged(ctx context.Context) iter.Seq2[Damaged, error]
	// Close waits for running commits and releases the store.
	Close() error
}

// Content takes the content of one message while it arrives.
type Content interface {
	io.Writer
	// Abort drops what was written; calling it after the message was put does nothing.
	Abort()
}

// Op is one change to the store: Put or Update.
type Op interface{ op() }

// Put adds a message whose content was written through Create. Content may be nil where the message has none.
type Put struct {
	Message *Message
	Content Content
}

// Update writes the new state of some recipients of a message; the others stay as they are.
type Update struct {
	ID         ID
	Recipients map[int]Recipient // by index into Message.Recipients
}

func (Put) op()    {}
func (Update) op() {}

// Pending is a recipient that is not done, as the index knows it.
type Pending struct {
	ID       ID
	N        int // index into Message.Recipients
	To       smtp.Path
	Via      string // Recipient.Via
	Next     time.Time
	Started  time.Time // Message.Started
	By       time.Time // Message.Asked.By
	Sender   uint32    // SenderKey of Message.From
	Priority smtp.Priority
	Held     bool
	Fresh    bool // never tried
	Warned   bool
}

// Damaged is an entry that could not be read and was set aside.
type Damaged struct {
	ID   ID     // of its message; zero where not even that is known
	What string // "envelope", "recipient 3", "index entry": what it was
	Size int    // octets of what is left of it
}
