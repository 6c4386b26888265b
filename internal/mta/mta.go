// Package mta is the house: it builds the rooms a message walks through, joins them, starts them and stops them.
//
//	receiver -> intake -> (spool) -> queue -> route -> deliver -> settle -> (spool)
//
// It is the only package that knows them all, and holds no mail logic of its own: what it adds is the order. What a
// configuration makes is in one value, live, that a new configuration replaces while mail waits (Reload). cmd/holub calls it
// for `serve`.
//
//	m, err := mta.New(mta.Options{Config: cfg, Logger: logger})
//	err = m.Listen()
//	err = m.Run(ctx)     // until ctx ends, then gently to the end
package mta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
	"github.com/holub-mail/holub/smtp/receiver"
)

// Options of an MTA. Config and Logger are needed.
type Options struct {
	Config *config.Config
	Logger *slog.Logger
	// Version is what this program calls itself, for operators.
	Version string
	// Load reads the configuration again, for Reload. nil: there is none to read.
	Load func() (*config.Config, error)
}

// MTA is one running server.
type MTA struct {
	log     *slog.Logger
	version string
	load    func() (*config.Config, error)

	engine  spool.Engine
	room    func() bool
	history *history.Journal // nil: none is kept
	ids     *spool.IDs
	queue   *queue.Queue
	open    openMessages
	live    atomic.Pointer[live]
	self    self

	stopping context.Context // ends when the server begins to stop
	stop     context.CancelFunc
	learning learning
	started  chan struct{} // closed when what waited is known and the doors are open
	takenUp  chan struct{} // closed when all that waited at the start is queued

	doors   doors
	control control
	kept    atomic.Int64 // for the postmaster, by settlers of earlier configurations
}

// doors are the listeners, and the servers that had one before and still have sessions.
type doors struct {
	reloading sync.Mutex // held while the configuration changes
	closing   bool       // guarded by reloading
	mu        sync.Mutex
	open      []*door
	retired   []*receiver.Server
	failed    chan error
}

// Grace is how long sessions and attempts may go on when the server stops. Whatever is cut then has not been answered or
// is still in the spool.
const (
	sessionGrace = 30 * time.Second
	attemptGrace = 10 * time.Second
)

// New opens the spool and builds the rooms. Nothing listens and nothing is sent before Listen and Run.
func New(o Options) (*MTA, error) {
	dir := filepath.Join(o.Config.DataDir, "spool")
	engine, err := lsm.Open(dir, lsm.Options{Logger: o.Logger})
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; give this user the right to write there, or set data_dir", err)
		}
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	m := &MTA{log: o.Logger, version: o.Version, load: o.Load, engine: engine, room: engine.Room, ids: spool.NewIDs(0), takenUp: make(chan struct{}), started: make(chan struct{}), learning: newLearning()}
	m.doors.failed = make(chan error, 1)
	m.stopping, m.stop = context.WithCancel(context.Background())
	m.queue = queue.New(queue.Options{Total: maxAttempts(), Attempt: m.attempt, Resolve: m.place})
	l, err := m.newLive(o.Config)
	if err == nil {
		err = m.openHistory(o.Config)
	}
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	m.live.Store(l)
	return m, nil
}

// historyDir is where the history of a data folder is.
func historyDir(dataDir string) string { return filepath.Join(dataDir, "history") }

func (m *MTA) openHistory(cfg *config.Config) error {
	if cfg.History.MaxAge == 0 {
		return nil
	}
	var err error
	m.history, err = history.Open(historyDir(cfg.DataDir), history.Options{
		MaxAge: cfg.History.MaxAge, MaxSize: cfg.History.MaxSize, Logger: m.log})
	if err != nil {
		return fmt.Errorf("open the history: %w", err)
	}
	return nil
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

// Listen opens every listener of the configuration and the control socket. On an error none is left open, and the spool is
// closed.
func (m *MTA) Listen() error {
	l := m.live.Load()
	err := m.openControl(l.cfg)
	for _, cfg := range l.cfg.Listen {
		if err != nil {
			break
		}
		var d *door
		if d, err = m.openDoor(l, cfg, nil); err == nil {
			d.enter()
			m.doors.open = append(m.doors.open, d)
		}
	}
	if err != nil {
		for _, d := range m.doors.open {
			d.socket.close()
		}
		m.control.close()
		return errors.Join(err, m.Close())
	}
	m.self.set(m.Addrs())
	return nil
}

// Addrs are the addresses that are listened on, in the order of the configuration.
func (m *MTA) Addrs() []net.Addr {
	m.doors.mu.Lock()
	defer m.doors.mu.Unlock()
	var addrs []net.Addr
	for _, d := range m.doors.open {
		addrs = append(addrs, d.listener.Addr())
	}
	return addrs
}

// Run takes up what waits in the spool and serves until ctx ends. It returns when sessions and attempts have ended, or
// their grace has, and the spool is closed.
func (m *MTA) Run(ctx context.Context) error {
	attempts, cutAttempts := context.WithCancel(context.WithoutCancel(ctx))
	defer cutAttempts()
	next, stopPulling := pull(m.stopping, m.engine) // before the first new message comes
	rooms := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { m.queue.Run(m.stopping, attempts) })
	running.Go(func() {
		defer stopPulling()
		err := m.takeUp(m.stopping, next)
		close(m.takenUp)
		rooms <- err
	})
	m.serve(m.doors.open)
	m.control.serve()
	close(m.started) // from here on the configuration may change

	err := m.wait(ctx, rooms)
	m.control.close()
	m.closeDoors()
	m.stop()
	cut := time.AfterFunc(attemptGrace, cutAttempts)
	defer cut.Stop()
	running.Wait()
	m.learning.Wait()
	l := m.live.Load()
	l.remote.Close()
	waiting, _ := m.queue.Counts()
	m.log.Info("stopped", "waiting", waiting, "kept_for_postmaster", m.kept.Load()+l.settler.Kept())
	return errors.Join(err, m.Close())
}

// wait waits for the end: that of ctx, or of a room that failed.
func (m *MTA) wait(ctx context.Context, takenUp <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-m.doors.failed:
			return err
		case err := <-takenUp:
			if err != nil {
				return err
			}
			takenUp = nil
		}
	}
}

// serve serves doors until they close; the first that fails ends the server.
func (m *MTA) serve(open []*door) {
	for _, d := range open {
		go func() {
			if err := d.serve(); err != nil {
				select {
				case m.doors.failed <- err:
				default:
				}
			}
		}()
	}
}

// Close closes the spool and the history of an MTA that is not running.
func (m *MTA) Close() error {
	m.stop()
	var err error
	if m.history != nil {
		err = m.history.Close()
	}
	return errors.Join(err, m.engine.Close())
}

// stopReloading waits for a change of the configuration that is under way, and lets none begin any more.
func (m *MTA) stopReloading() {
	m.doors.reloading.Lock()
	defer m.doors.reloading.Unlock()
	m.doors.closing = true
}

// closeDoors ends all sessions, gently within their grace.
func (m *MTA) closeDoors() {
	m.stopReloading()
	m.doors.mu.Lock()
	servers := m.doors.retired
	for _, d := range m.doors.open {
		servers = append(servers, d.server)
		d.socket.close()
	}
	m.doors.mu.Unlock()
	sessions := 0
	for _, s := range servers {
		sessions += s.Sessions()
	}
	m.log.Info("stopping", "sessions", sessions)
	grace, cancel := context.WithTimeout(context.Background(), sessionGrace)
	defer cancel()
	var closing sync.WaitGroup
	for _, s := range servers {
		closing.Go(func() {
			if err := s.Shutdown(grace); err != nil {
				m.log.Warn("sessions were cut off", "after", sessionGrace)
			}
		})
	}
	closing.Wait()
}
