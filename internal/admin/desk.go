package admin

import (
	"context"
	"iter"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Desk is what an operator can see and do. All methods may be called from many goroutines.
type Desk interface {
	// Status says how the server is.
	Status(ctx context.Context) (Status, error)
	// Sites lists the places that have mail waiting or in flight, those with the most of it first.
	Sites(ctx context.Context) ([]Site, error)
	// List gives the recipients that match and are not done, in the order of ids; limit 0: all of them. An error that
	// wraps spool.ErrDamaged or spool.ErrNotFound is about one message, and the listing goes on.
	List(ctx context.Context, s Selector, limit int) iter.Seq2[Entry, error]
	// Show gives all there is to know of one message in the spool. spool.ErrNotFound: it is not there, or no more.
	Show(ctx context.Context, id spool.ID) (*Shown, error)
	// Act does something with the recipients that match. On an error the Result says what had been done by then; nothing
	// is ever half done or forgotten. ErrWrong: nothing was tried.
	Act(ctx context.Context, a Action) (Result, error)
	// Trace gives the lives of the messages that have to do with what: a queue id, a message-id, an address or
	// "@domain". At most limit of them, the latest ones.
	Trace(ctx context.Context, what string, limit int) ([]Life, error)
	// Reload has the server read its configuration again. ErrRefused: it is wrong or needs a restart, and the old one
	// stays in force as a whole.
	Reload(ctx context.Context) (Reloaded, error)
}

// Status is how a server is.
type Status struct {
	Running  bool      `json:"running"` // false: this was read from the folder of a server that is down
	Version  string    `json:"version,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Waiting  int       `json:"waiting"`   // recipients
	InFlight int       `json:"in_flight"` // recipients
	Held     int       `json:"held"`      // recipients that wait for an operator; -1: there was no time to count them
	Sites    int       `json:"sites"`
	Heap     uint64    `json:"heap_octets,omitempty"` // of memory in use, at the last time it was cleaned up
	NoRoom   bool      `json:"no_room"`               // too little free space: new mail is answered 452
}

// Site is one place that mail goes to.
type Site struct {
	Name        string    `json:"site"`            // "": where it leads was not looked up yet
	Lanes       []string  `json:"lanes,omitempty"` // what the routes call it, where that is not its name; 10 at most
	LaneCount   int       `json:"lane_count,omitempty"`
	Waiting     int       `json:"waiting"`
	Due         int       `json:"due"`              // of Waiting: those whose time has come
	InFlight    int       `json:"in_flight"`        // recipients
	Window      int       `json:"window,omitempty"` // how many attempts may run at once now
	Cap         int       `json:"cap,omitempty"`    // how far the window may grow
	Failures    int       `json:"failures,omitempty"`
	Oldest      time.Time `json:"oldest,omitzero"` // since when the oldest waits or is in flight
	Next        time.Time `json:"next,omitzero"`   // of what is not due: when the first of it is
	PausedUntil time.Time `json:"paused_until,omitzero"`
	Reply       string    `json:"reply,omitempty"` // the last one
	ReplyAt     time.Time `json:"reply_at,omitzero"`
}

// StateInFlight is the state of an Entry that is tried right now, beside those of the spool.
const StateInFlight = "in-flight"

// Entry is one recipient of one message. Addresses stand without angle brackets; a null reverse-path is "".
type Entry struct {
	ID        string    `json:"id"`
	N         int       `json:"n"` // which recipient of the message
	Kind      string    `json:"kind"`
	Sender    string    `json:"sender"`
	Recipient string    `json:"recipient"`
	Site      string    `json:"site"`
	Via       string    `json:"via,omitempty"`    // where an operator sends it in place of the routes
	State     string    `json:"state"`            // waiting, held, in-flight; by Show also delivered, bounced, dropped
	Reason    string    `json:"reason,omitempty"` // "" of what was delivered
	Class     string    `json:"class"`            // urgent, normal, bulk
	Attempts  int       `json:"attempts"`
	Doubts    int       `json:"doubts"` // attempts after which it may have been delivered
	Arrived   time.Time `json:"arrived"`
	Next      time.Time `json:"next,omitzero"`
	// PausedUntil is until when its site is left alone, where that is longer than Next.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	Size        int64     `json:"size"`
	Host        string    `json:"host,omitempty"` // who gave Reply; "" is this server
	Reply       string    `json:"reply,omitempty"`
}

// Shown is a message with all there is to know about it.
type Shown struct {
	ID         string           `json:"id"`
	Kind       string           `json:"kind"`
	Sender     string           `json:"sender"`
	Arrived    time.Time        `json:"arrived"`
	Size       int64            `json:"size"`
	Client     string           `json:"client,omitempty"`
	Cause      string           `json:"cause,omitempty"` // the message a report is about
	EnvelopeID string           `json:"envelope_id,omitempty"`
	Asked      []string         `json:"asked,omitempty"` // what the client asked for, in words
	Recipients []ShownRecipient `json:"recipients"`
}

// ShownRecipient is a recipient with its trail and its future.
type ShownRecipient struct {
	Entry
	Trail  []Attempt `json:"trail,omitempty"`  // the first finished attempt and the last ones
	GiveUp time.Time `json:"give_up,omitzero"` // when it is returned if nothing succeeds
	Future string    `json:"future,omitempty"` // what happens next, in words
	Warned bool      `json:"warned,omitempty"` // the sender was told of the delay
}

// Attempt is one finished attempt.
type Attempt struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"` // why it was no success; "" of one that was
	Host   string    `json:"host,omitempty"`
	TLS    string    `json:"tls,omitempty"`
	Reply  string    `json:"reply,omitempty"` // "": nothing was said
}

// Life is what is known of a message: what happened to it, and what is still owed.
type Life struct {
	ID      string           `json:"id"`
	Events  []Event          `json:"events,omitempty"`
	Waiting []ShownRecipient `json:"waiting,omitempty"`
}

// Event is one thing that happened to a message, as in the history.
type Event struct {
	At        time.Time `json:"at"`
	ID        string    `json:"id,omitempty"` // of a report about the message: the report's own
	Kind      string    `json:"kind"`
	From      string    `json:"from,omitempty"`
	To        []string  `json:"to,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	Client    string    `json:"client,omitempty"`
	Hello     string    `json:"hello,omitempty"`
	TLS       string    `json:"tls,omitempty"`
	Size      int64     `json:"size,omitempty"`
	Host      string    `json:"host,omitempty"`
	Reply     string    `json:"reply,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	Next      time.Time `json:"next,omitzero"`
	Site      string    `json:"site,omitempty"`
	Cause     string    `json:"cause,omitempty"`
	Report    string    `json:"report,omitempty"`
	Note      string    `json:"note,omitempty"`
}

// Verb is what is done with recipients.
type Verb string

// The verbs.
const (
	Retry   Verb = "retry"   // what waits is tried now, and the pauses of its sites end
	Hold    Verb = "hold"    // what waits is not tried before it is released
	Release Verb = "release" // what is held is tried now
	Bounce  Verb = "bounce"  // it goes back to its sender
	Remove  Verb = "remove"  // it is dropped, and nobody is told
	Reroute Verb = "reroute" // it goes to another target than its route's
)

// Action is what an operator asks for.
type Action struct {
	Verb     Verb     `json:"verb"`
	Selector Selector `json:"selector"`
	DryRun   bool     `json:"dry_run,omitempty"` // only count
	To       string   `json:"to,omitempty"`      // Reroute: the target as in a [[route]]; "": back to the routes
	Text     string   `json:"text,omitempty"`    // why; with Bounce the sender reads it
	Who      string   `json:"-"`                 // "uid 1000"; the Server knows it from its socket
}

// Result is what an Action did, or would do. A recipient is counted once.
type Result struct {
	Recipients int      `json:"recipients"` // changed
	Messages   int      `json:"messages"`   // of which Recipients are
	Busy       int      `json:"busy"`       // in flight, and left alone
	BusyNames  []Entry  `json:"busy_entries,omitempty"`
	Skipped    int      `json:"skipped"` // matching, but in a state that the verb is not for (retry of what is held)
	Kept       int      `json:"kept"`    // Bounce: there is nobody to tell, so they are held
	Sample     []Entry  `json:"sample,omitempty"`
	Problems   []string `json:"problems,omitempty"` // messages that could not be read
	DryRun     bool     `json:"dry_run,omitempty"`
}

// Reloaded is what a Reload did.
type Reloaded struct {
	Changes []string `json:"changes"` // a line for each setting that changed
}

// Bounds of the lists in a Result.
const (
	maxNames    = 100 // busy ones
	maxSample   = 10
	maxProblems = 20
)
