package load

import (
	"fmt"
	"time"
)

// maxRefusals is how many different texts of refusals are kept.
const maxRefusals = 100

// tally counts what one worker did: a loop, or a session in a goroutine of its own.
type tally struct {
	sent    Sent
	latency latencies
}

func (t *tally) accepted(recipients int, took time.Duration) {
	t.sent.Messages++
	t.sent.Recipients += recipients
	t.latency.add(took)
}

// refused notes a reply with 4yz or 5yz.
func (t *tally) refused(text string, times int) {
	if t.sent.Refused == nil {
		t.sent.Refused = map[string]int{}
	}
	if _, known := t.sent.Refused[text]; !known && len(t.sent.Refused) >= maxRefusals-1 {
		text = "(other texts)"
	}
	t.sent.Refused[text] += times
}

// failed notes why a session ended too early.
func (t *tally) failed(err error) {
	if t.sent.FirstError == nil {
		t.sent.FirstError = err
	}
}

// merge adds all of another tally.
func (t *tally) merge(other *tally) {
	a, b := &t.sent, &other.sent
	a.Messages += b.Messages
	a.Recipients += b.Recipients
	a.Failed += b.Failed
	a.Sessions += b.Sessions
	a.Reconnects += b.Reconnects
	a.Doubtful += b.Doubtful
	for text, n := range b.Refused {
		t.refused(text, n)
	}
	if b.FirstError != nil {
		t.failed(b.FirstError)
	}
	t.latency.merge(&other.latency)
}

// refusal is a reply as an error.
func refusal(command string, reply []byte) error { return fmt.Errorf("%s: %s", command, reply) }
