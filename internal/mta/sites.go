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

// learnTime is how long a message to several domains waits for the DNS to tell which of them are one site.
const learnTime = 2 * time.Second

// learners bounds the questions that one message asks at once.
const learners = 16

// queueAccepted queues a message that was just committed. Recipients at one site are to share a transaction, so of a message
// to several domains those that the DNS has to place are placed first.
func (m *MTA) queueAccepted(msg *spool.Message) {
	l := m.live.Load()
	unknown := make(map[string]route.Destination)
	lanes := make(map[string]bool)
	for i := range msg.Recipients {
		d := l.route(msg.Recipients[i].To, msg.Recipients[i].Via)
		lanes[d.Lane] = true
		if d.Kind == config.TargetMX && l.knownSite(d) == d.Lane {
			unknown[d.Lane] = d
		}
	}
	if len(unknown) == 0 || len(lanes) == 1 {
		m.queue.Add(m.jobs(l, msg, all(msg))...)
		return
	}
	m.learning.Go(func() {
		l.learn(m.stopping, unknown)
		m.queue.Add(m.jobs(l, msg, all(msg))...)
	})
}

// learn asks the DNS for the exchangers of destinations, so that they are at hand.
func (l *live) learn(ctx context.Context, unknown map[string]route.Destination) {
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	places := make(chan struct{}, learners)
	var asking sync.WaitGroup
	for _, d := range unknown {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			asking.Wait()
			return
		}
		asking.Go(func() {
			l.remote.Site(ctx, d.MX)
			<-places
		})
	}
	asking.Wait()
}
