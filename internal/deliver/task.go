package deliver

import (
	"context"
	"errors"
	"io"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// Task is one attempt to make: a message and those of its recipients that go to one destination.
type Task struct {
	Message    *spool.Message
	Recipients []int                                        // indices into Message.Recipients
	Open       func(context.Context) (io.ReadCloser, error) // the content from its start
}

// All gives every recipient of a task the same outcome.
func All(t Task, o spool.Outcome) []spool.Outcome {
	outcomes := make([]spool.Outcome, len(t.Recipients))
	for i, n := range t.Recipients {
		outcomes[i] = o
		outcomes[i].N = n
	}
	return outcomes
}

// Discard is the delivery that keeps nothing.
func Discard(t Task) []spool.Outcome {
	return All(t, spool.Outcome{Reply: smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Discarded, as the route says")})
}

// Reject refuses for good, with the text of the route.
func Reject(t Task, text string) []spool.Outcome {
	return All(t, spool.Outcome{Reply: smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, text)})
}

// Stopped is the outcome of an attempt that the end of this server cut short.
func Stopped(n int) spool.Outcome {
	return spool.Outcome{N: n, Reason: spool.ReasonShutdown,
		Reply: smtp.NewReply(451, smtp.EnhancedCode{4, 3, 2}, "This server stopped during the attempt")}
}

// NotRead is the outcome for content that the spool did not give. What is damaged or gone is held for an operator, never
// given up; anything else may pass.
func NotRead(ctx context.Context, n int, err error) spool.Outcome {
	if ctx.Err() != nil || errors.Is(err, spool.ErrClosed) {
		return Stopped(n)
	}
	return spool.Outcome{N: n, Reason: spool.ReasonUnreadable,
		Hold:  errors.Is(err, spool.ErrDamaged) || errors.Is(err, spool.ErrNotFound),
		Reply: smtp.Replyf(451, smtp.EnhancedCode{4, 3, 0}, "The stored message can't be read: %v", err)}
}

// attempt collects the outcomes of a task that several hosts are tried for.
type attempt struct {
	task      Task
	last      []spool.Outcome // what each recipient of the task has so far; one without a reply has nothing
	pending   []int           // recipients that the next transaction is for, as indices into last
	elsewhere []int           // recipients that this host refused for now, and another may take
	refusedBy string          // a host that need not be asked again
}

func newAttempt(t Task) attempt {
	a := attempt{task: t, last: make([]spool.Outcome, len(t.Recipients)), pending: make([]int, len(t.Recipients))}
	for i := range a.pending {
		a.pending[i] = i
	}
	return a
}

// note is the outcome of a recipient, by its index into last.
func (a *attempt) note(i int, o spool.Outcome) {
	o.N = a.task.Recipients[i]
	a.last[i] = o
}

// all notes the same outcome for every recipient that is pending; they stay so. It is about hosts, not about recipients,
// so what may pass is not replaced by what is final: a preferred host that can't be reached or looked up now is due again.
func (a *attempt) all(o spool.Outcome) {
	for _, i := range a.pending {
		if a.last[i].Reply.Temporary() && o.Reply.Permanent() {
			continue
		}
		a.note(i, o)
	}
}

// nextHost makes pending what this host did not take.
func (a *attempt) nextHost() {
	a.pending, a.elsewhere = append(a.pending, a.elsewhere...), nil
}

// outcomes lists what was found, in the order of the task.
func (a *attempt) outcomes() []spool.Outcome {
	for i := range a.last {
		if a.last[i].Reply.IsZero() {
			a.note(i, Stopped(0)) // nothing else ends an attempt before its first host
		}
	}
	return a.last
}
