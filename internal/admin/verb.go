package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// verbs say for each verb what it does to a recipient, and in which states; Bounce is settled by others.
var verbs = map[Verb]struct {
	past   string // "held": what was done
	states []spool.State
	change func(r *spool.Recipient, a *Action, now time.Time)
	wakes  bool // the pauses of its sites end
}{
	Retry: {past: "made due now", states: []spool.State{spool.Waiting}, wakes: true,
		change: func(r *spool.Recipient, _ *Action, now time.Time) { dueNow(r, now) }},
	Hold: {past: "held", states: []spool.State{spool.Waiting},
		change: func(r *spool.Recipient, _ *Action, _ time.Time) { r.State, r.Reason = spool.Held, spool.ReasonOperator }},
	Release: {past: "released", states: []spool.State{spool.Held},
		change: func(r *spool.Recipient, _ *Action, now time.Time) {
			r.State = spool.Waiting
			dueNow(r, now)
		}},
	Bounce: {past: "returned to the sender", states: []spool.State{spool.Waiting, spool.Held}},
	Remove: {past: "removed", states: []spool.State{spool.Waiting, spool.Held},
		change: func(r *spool.Recipient, _ *Action, _ time.Time) {
			r.State, r.Reason = spool.Dropped, spool.ReasonOperator
		}},
	Reroute: {past: "rerouted", states: []spool.State{spool.Waiting, spool.Held},
		change: func(r *spool.Recipient, a *Action, now time.Time) {
			r.Via = a.To
			if r.State == spool.Waiting { // what is held stays so
				dueNow(r, now)
			}
		}},
}

// dueNow makes a recipient due. Why it waited so far is told by its trail.
func dueNow(r *spool.Recipient, now time.Time) { r.Next, r.Reason = now, spool.ReasonOperator }

// Past says what the verb has done: "held", "returned to the sender".
func (v Verb) Past() string { return verbs[v].past }

// maxOperatorText keeps what an operator writes within one line of a reply (RFC 5321 4.5.3.1.5).
const maxOperatorText = 300

// check reads an action and gives it in the form in which it is carried out. Errors wrap ErrWrong.
func (l *Live) check(a Action) (Action, error) {
	wrong := func(format string, args ...any) (Action, error) {
		return a, fmt.Errorf("%w: %w", ErrWrong, fmt.Errorf(format, args...))
	}
	if _, ok := verbs[a.Verb]; !ok {
		return wrong("%.40q is nothing that can be done with mail", string(a.Verb))
	}
	switch empty := a.Selector.IsEmpty(); {
	case empty && !a.Selector.All:
		return wrong("%s what? Name queue ids or a selector, or say that all mail is meant", a.Verb)
	case !empty && a.Selector.All:
		return wrong("either all mail is meant or what a selector says, not both")
	}
	if a.To != "" && a.Verb != Reroute {
		return wrong("a target has no meaning for %s", a.Verb)
	}
	if a.To != "" {
		target, err := config.ParseTarget(a.To)
		if err == nil {
			a.To = target.String()
			err = l.o.CheckTarget(a.To)
		}
		if err != nil {
			return wrong("target: %w", err)
		}
	}
	a.Text = strings.TrimSpace(a.Text)
	if len(a.Text) > maxOperatorText {
		return wrong("the text has %d octets; write at most %d", len(a.Text), maxOperatorText)
	}
	for _, c := range a.Text {
		if c < ' ' || c == 0x7f || c > 0x7e && a.Verb == Bounce {
			return wrong("the text may have printable ASCII only, in one line, as it becomes part of a reply: %q", a.Text)
		}
	}
	return a, nil
}

// bounceReply is what the sender reads.
func bounceReply(text string) smtp.Reply {
	if text != "" {
		text = ": " + text
	}
	return smtp.NewReply(550, smtp.EnhancedCode{5, 7, 0}, "Returned by the operator of this server"+text)
}

// note is what the history says of an action.
func (a *Action) note() string {
	s := a.Verb.Past()
	switch {
	case a.Verb == Reroute && a.To != "":
		s += " to " + a.To
	case a.Verb == Reroute:
		s += " back to the routes"
	}
	if a.Who != "" {
		s += " by " + a.Who
	}
	if a.Text != "" {
		s += ": " + a.Text
	}
	return s
}

// Note takes apart what the history says of an action: what was done ("held"), how ("to smtp://relay.example.net:25"), and by
// whom and why ("uid 0: stolen account"). What it does not know is done as a whole.
func Note(note string) (done, how, by string) {
	for _, v := range verbs {
		rest, ok := strings.CutPrefix(note, v.past)
		if !ok || rest != "" && rest[0] != ' ' && rest[0] != ':' || len(v.past) < len(done) {
			continue
		}
		done = v.past
		why := strings.Index(rest, ": ")
		if who := strings.Index(rest, " by "); who >= 0 && (why < 0 || who < why) {
			how, by = rest[:who], rest[who+len(" by "):]
		} else if how = rest; why >= 0 {
			how, by = rest[:why], rest[why+len(": "):]
		}
		how = strings.TrimSpace(how)
	}
	if done == "" {
		return note, "", ""
	}
	return done, how, by
}
