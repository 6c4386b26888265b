package mta

import (
	"math/rand/v2"
	"time"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/deliver"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/settle"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
)

// live is what a configuration makes of this server, and what a new one replaces while mail waits. Every attempt asks for it
// once and keeps to it until its end.
type live struct {
	cfg     *config.Config
	routes  *route.Table
	remote  *deliver.Remote
	settler *settle.Settler
}

func (m *MTA) newLive(cfg *config.Config) (*live, error) {
	resolver, err := dns.New(dns.Options{Servers: cfg.DNS.Servers})
	if err != nil {
		return nil, err
	}
	l := &live{cfg: cfg, routes: route.New(cfg.Hostname, cfg.DataDir, cfg.Route, cfg.Delivery)}
	l.remote = deliver.NewRemote(deliver.Options{
		Hostname: cfg.Hostname, Resolver: resolver, Port: cfg.Delivery.Port, ConnectTimeout: cfg.Delivery.ConnectTimeout,
		Self: m.self.is, Shuffle: rand.Shuffle, KeepWhole: keepWhole(cfg.Delivery.Signed),
	})
	l.settler = settle.New(settle.Options{
		Engine: m.engine, IDs: m.ids, Hostname: cfg.Hostname, Logger: m.log,
		Rules: l.rules, ReturnSize: cfg.Delivery.ReturnSize,
		Settled: m.recordOutcome, Reported: m.recordReport,
	})
	return l, nil
}

// keepWhole names the signatures that no conversion may break.
func keepWhole(s config.Signed) mail.Signature {
	if s == config.SignedReturn {
		return mail.DKIM | mail.SignedPart | mail.EncryptedPart
	}
	return 0
}

// rules are those of the route that a recipient takes now.
func (l *live) rules(r *spool.Recipient) settle.Rules {
	p := l.routes.For(r.To, r.Via).Policy
	schedule := queue.Schedule{Retry: p.Retry, GiveUp: p.GiveUpAfter}
	return settle.Rules{
		Next: func(attempts int, started, now time.Time) (time.Time, bool) {
			return schedule.Next(attempts, started, now, rand.Float64())
		},
		GiveUp: p.GiveUpAfter, WarnAfter: p.WarnAfter,
	}
}

// pauses are how long a dead site is left alone, after the first round of failures, the second, and so on: as long as the
// mail that was tried waits, up to a limit.
func (l *live) pauses(p *route.Policy) []time.Duration {
	var pauses []time.Duration
	for _, pause := range p.Retry {
		pauses = append(pauses, min(pause, l.cfg.Delivery.PauseMax))
	}
	return pauses
}
