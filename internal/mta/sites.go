package mta

import (
	"context"
	"sync"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
)

// How long a lane keeps its place before the DNS is asked again: where it told, and where it did not.
const (
	placeFor  = 5 * time.Minute
	placeLess = 30 * time.Second
)

// place finds the site of a lane for the queue.
func (m *MTA) place(ctx context.Context, lane string) queue.Placement {
	l := m.live.Load()
	site, mx, policy := l.routes.Place(lane)
	p := queue.Placement{Site: site, Cap: policy.Connections, Pauses: l.pauses(policy)}
	if mx.IsZero() {
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	known := false
	if p.Site, known = l.remote.Site(ctx, mx); known {
		p.Expires = time.Now().Add(placeFor)
	} else {
		p.Expires = time.Now().Add(placeLess)
	}
	return p
}

// knownSite names the place of a destination without asking anyone: its site where that is at hand, else its lane.
func (l *live) knownSite(d route.Destination) string {
	if d.Kind == config.TargetMX {
		if site, ok := l.remote.KnownSite(d.MX); ok {
			return site
		}
	}
	return d.Lane
}

// learnTime is how long the DNS may take to tell which domains are one site. Those it does not tell of in time are sites of their
// own for a while: mail must not wait for it, and least the mail of others.
const learnTime = 2 * time.Second

// Bounds of the questions that messages to several domains ask before they are queued.
const (
	learningAtOnce = 128 // messages; those above are queued at once, and the queue places each domain by itself
	askingAtOnce   = 64  // questions of all of them
)

// learning is what waits for the DNS before it is queued.
type learning struct {
	sync.WaitGroup
	messages, questions chan struct{}
}

func newLearning() learning {
	return learning{messages: make(chan struct{}, learningAtOnce), questions: make(chan struct{}, askingAtOnce)}
}

// queueAccepted queues a message that was just committed. Recipients at one site are to share a transaction, so of a message
// to several domains those that the DNS has to place are placed first.
func (m *MTA) queueAccepted(msg *spool.Message) {
	l := m.live.Load()
	if len(msg.Recipients) == 1 {
		m.queue.Add(m.jobs(l, msg, []int{0})...)
		return
	}
	unknown := make(map[string]route.Destination)
	lanes := make(map[string]bool)
	for i := range msg.Recipients {
		d := l.routes.For(msg.Recipients[i].To, msg.Recipients[i].Via)
		lanes[d.Lane] = true
		if d.Kind == config.TargetMX && l.knownSite(d) == d.Lane {
			unknown[d.Lane] = d
		}
	}
	if len(unknown) == 0 || len(lanes) == 1 {
		m.queue.Add(m.jobs(l, msg, all(msg))...)
		return
	}
	select {
	case m.learning.messages <- struct{}{}:
	default:
		m.queue.Add(m.jobs(l, msg, all(msg))...)
		return
	}
	m.learning.Go(func() {
		m.learn(m.stopping, l, unknown)
		<-m.learning.messages
		m.queue.Add(m.jobs(l, msg, all(msg))...)
	})
}

// learn asks the DNS for the exchangers of destinations, so that they are at hand.
func (m *MTA) learn(ctx context.Context, l *live, unknown map[string]route.Destination) {
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	for _, d := range unknown {
		select {
		case m.learning.questions <- struct{}{}:
		case <-ctx.Done():
			return
		}
		asking.Go(func() {
			l.remote.Site(ctx, d.MX)
			<-m.learning.questions
		})
	}
}
