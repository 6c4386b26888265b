package queue

import (
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Job is the recipients of one message that go to one lane and are due together.
type Job struct {
	ID         spool.ID
	Lane       string    // where the route sends it, "mx:example.org tls=opportunistic"; means nothing here
	Recipients []int     // indices into the message's recipients; a job without any is nothing
	Due        time.Time // not before this; zero: now
	// Notice is when the message must be looked at although its site takes no attempts (a warning, the end of its time);
	// zero: never. It is kept to the second. One that has passed when the job comes in counts half a minute from then.
	Notice   time.Time
	Priority int    // above 0: urgent; 0: ordinary; below 0: bulk. Kept within -128 and 127
	Sender   uint32 // a hash of the sender, for fair turns inside a site
	Fresh    bool   // never tried
}

// Work is what an attempt is made of.
type Work struct {
	Job
	Site  string // where it goes; "" when Pause is set and the lane was never placed
	Pause *Pause // not nil: nothing may be sent, only what is due by age is to be settled

	site   *site
	record uint32
}

// Pause says why a job is handed out that may not be sent: its time has come while its site takes no attempts.
type Pause struct {
	Since, Until time.Time // of the site's pause; zero: the site is not paused, its line is long or its place unknown
	Said         string    // the last words of the site
}

// Signal is what an attempt tells of the site.
type Signal uint8

const (
	Neutral Signal = iota // nothing: a recipient was refused, the message had moved, nothing was sent
	Worked                // it took or answered a transaction
	Failed                // no session could be had, or it broke, or the site refused the session
)

// Result is what came of an attempt.
type Result struct {
	Owed   []Job  // what waits again
	Signal Signal // ignored where Work.Pause was set
	Said   string // the last reply or error, for people; "": nothing new
}

// Placement says where a lane leads.
type Placement struct {
	Site    string          // "": the lane is a site of its own, of the lane's name
	Cap     int             // connections at once; at least 1
	Pauses  []time.Duration // how long a dead site is left alone, the first time, the second, ...; the last repeats; none: never
	Expires time.Time       // when Resolve is asked again, at least 5 s from now; zero: never
}

// classes are the levels of priority that are told apart: above, at and below ordinary.
const classes = 3

// class is the line of a priority.
func class(priority int8) int {
	switch {
	case priority > 0:
		return 0
	case priority == 0:
		return 1
	}
	return 2
}
