// Package mta is the house: it builds the rooms a message walks through, joins them, starts them and stops them.
//
//	receiver -> intake -> (spool) -> queue -> route -> deliver -> settle -> (spool)
//
// It is the only package that knows them all, and holds no mail logic of its own: what it adds is the order. cmd/holub
// calls it for `serve`.
//
//	m, err := mta.New(cfg, logger)
//	err = m.Listen()
//	err = m.Run(ctx)     // until ctx ends, then gently to the end
package mta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/deliver"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/settle"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp"
)

// MTA is one running server.
type MTA struct {
	cfg *config.Config
	log *slog.Logger

	engine  spool.Engine
	room    func() bool
	ids     *spool.IDs
	routes  *route.Table
	queue   *queue.Queue
	remote  *deliver.Remote
	settler *settle.Settler
	open    openMessages
	doors   []*door
	self    self
}

// Grace is how long sessions and attempts may go on when the server stops. Whatever is cut then has not been answered or
// is still in the spool.
const (
	sessionGrace = 30 * time.Second
	attemptGrace = 10 * time.Second
)

// New opens the spool and builds the rooms. Nothing listens and nothing is sent before Listen and Run.
func New(cfg *config.Config, log *slog.Logger) (*MTA, error) {
	resolver, err := dns.New(dns.Options{Servers: cfg.DNS.Servers})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.DataDir, "spool")
	engine, err := lsm.Open(dir, lsm.Options{Logger: log})
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; give this user the right to write there, or set data_dir", err)
		}
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	m := &MTA{cfg: cfg, log: log, engine: engine, room: engine.Room, ids: spool.NewIDs(0)}
	m.routes = route.New(cfg.Hostname, cfg.DataDir, cfg.Route, cfg.Delivery.TLS)
	m.queue = queue.New(queue.Options{PerSite: cfg.Delivery.ConnectionsPerSite, Total: maxAttempts(), Attempt: m.attempt})
	m.remote = deliver.NewRemote(deliver.Options{
		Hostname: cfg.Hostname, Resolver: resolver, Port: cfg.Delivery.Port, ConnectTimeout: cfg.Delivery.ConnectTimeout,
		Self: m.self.is, Shuffle: rand.Shuffle,
	})
	schedule := queue.Schedule{Retry: cfg.Delivery.Retry, GiveUp: cfg.Delivery.GiveUpAfter}
	m.settler = settle.New(settle.Options{
		Engine: engine, IDs: m.ids, Hostname: cfg.Hostname, Logger: log,
		Next: func(attempts int, arrived, now time.Time) (time.Time, bool) {
			return schedule.Next(attempts, arrived, now, rand.Float64())
		},
		GiveUp: cfg.Delivery.GiveUpAfter, WarnAfter: cfg.Delivery.WarnAfter, ReturnSize: cfg.Delivery.ReturnSize,
	})
	return m, nil
}

// Bounds of the attempts that run at once. Each may have a connection, a question to the DNS and a file; sessions and the
// spool need files as well.
const (
	filesOfOthers = 128
	filesEach     = 4
	mostAttempts  = 10000
)

// maxAttempts is how many attempts may run at once, by what the system lets this process open.
func maxAttempts() int { return min(max((openFiles()-filesOfOthers)/filesEach, 16), mostAttempts) }

// Listen opens every listener of the configuration. On an error none is left open, and the spool is closed.
func (m *MTA) Listen() error {
	for _, l := range m.cfg.Listen {
		d, err := m.openDoor(l)
		if err != nil {
			for _, open := range m.doors {
				open.listener.Close()
			}
			return errors.Join(err, m.engine.Close())
		}
		m.doors = append(m.doors, d)
		m.self.add(d.listener.Addr())
	}
	return nil
}

// Addrs are the addresses that Listen opened, in the order of the configuration.
func (m *MTA) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, d := range m.doors {
		addrs = append(addrs, d.listener.Addr())
	}
	return addrs
}

// Run takes up what waits in the spool, then serves until ctx ends. It returns when sessions and attempts have ended, or
// their grace has, and the spool is closed.
func (m *MTA) Run(ctx context.Context) error {
	if err := m.takeUp(ctx); err != nil {
		return errors.Join(err, m.engine.Close())
	}
	attempts, cutAttempts := context.WithCancel(context.WithoutCancel(ctx))
	defer cutAttempts()
	stopQueue, stop := context.WithCancel(attempts)
	queueEnded := make(chan struct{})
	go func() {
		defer close(queueEnded)
		m.queue.Run(stopQueue, attempts)
	}()
	failed := make(chan error, len(m.doors))
	for _, d := range m.doors {
		go func() { failed <- d.serve() }()
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	m.closeDoors()
	stop()
	cut := time.AfterFunc(attemptGrace, cutAttempts)
	defer cut.Stop()
	<-queueEnded
	m.remote.Close()
	waiting, _ := m.queue.Counts()
	m.log.Info("stopped", "waiting", waiting, "kept_for_postmaster", m.settler.Kept())
	return errors.Join(err, m.engine.Close())
}

// Close closes the spool of an MTA that was not run.
func (m *MTA) Close() error { return m.engine.Close() }

// closeDoors ends all sessions, gently within their grace.
func (m *MTA) closeDoors() {
	sessions := 0
	for _, d := range m.doors {
		sessions += d.server.Sessions()
	}
	m.log.Info("stopping", "sessions", sessions)
	grace, cancel := context.WithTimeout(context.Background(), sessionGrace)
	defer cancel()
	var closing sync.WaitGroup
	for _, d := range m.doors {
		closing.Go(func() {
			if err := d.server.Shutdown(grace); err != nil {
				m.log.Warn("sessions were cut off", "listener", d.cfg.Address, "after", sessionGrace)
			}
		})
	}
	closing.Wait()
}

// accepted queues a message that intake has committed.
func (m *MTA) accepted(msg *spool.Message) { m.queue.Add(m.jobs(msg, all(msg))...) }

// refusal is what a recipient whose route rejects it is told right away.
func (m *MTA) refusal(to smtp.Path) smtp.Reply {
	if d := m.routes.Route(to); d.Kind == config.TargetReject {
		return smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, d.Text)
	}
	return smtp.Reply{}
}
