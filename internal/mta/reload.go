package mta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/smtp/receiver"
)

// Reload reads the configuration again and applies it while mail waits and sessions go on, or refuses it whole: then
// everything stays as it was, and the error says why. Open sessions keep what they were offered; who may send to whom is the
// new configuration's from the next command on, and every attempt asks the new routes. It returns what changed, a line each.
func (m *MTA) Reload(ctx context.Context) ([]string, error) {
	select {
	case <-m.started:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.doors.reloading.Lock()
	defer m.doors.reloading.Unlock()
	if m.doors.closing {
		return nil, errors.New("the server stops")
	}
	changed, err := m.reload(ctx)
	if err != nil {
		m.log.Error("the new configuration was refused; the old one stays in force", "error", err)
		return nil, err
	}
	m.log.Info("the configuration was read again", "changed", changed)
	return changed, nil
}

func (m *MTA) reload(ctx context.Context) ([]string, error) {
	if m.load == nil {
		return nil, errors.New("this server was started without a configuration file: there is nothing to read again")
	}
	cfg, err := m.load()
	if err != nil {
		return nil, err
	}
	old := m.live.Load()
	if fixed := config.Differences(old.cfg, cfg); len(fixed) > 0 {
		lines := make([]string, len(fixed))
		for i, c := range fixed {
			lines[i] = c.String()
		}
		return nil, errors.New(strings.Join(lines, "\n"))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := m.newLive(cfg)
	if err != nil {
		return nil, err
	}
	opened, err := m.newDoors(l)
	if err != nil {
		return nil, fmt.Errorf("%w; nothing was changed", err)
	}
	if err := m.historyOf(cfg); err != nil {
		for _, d := range opened {
			d.undo()
		}
		return nil, err
	}
	changes := append(config.Changes(old.cfg, cfg), m.renewals(opened)...)
	m.live.Store(l)
	m.changeDoors(opened)
	m.kept.Add(old.settler.Kept())
	m.queue.Replace()
	old.remote.Close()
	return changes, nil
}

// renewals names the listeners whose certificate is another one than before.
func (m *MTA) renewals(opened []*door) (lines []string) {
	for _, d := range opened {
		for _, was := range m.doors.open {
			if d.socket == was.socket && d.leaf != nil && was.leaf != nil && !d.leaf.Equal(was.leaf) {
				lines = append(lines, fmt.Sprintf("the listener %s has a new certificate, good until %s", d.cfg.Address, d.leaf.NotAfter.UTC().Format(time.DateTime)))
			}
		}
	}
	return lines
}

// historyOf applies the limits of the history.
func (m *MTA) historyOf(cfg *config.Config) error {
	switch {
	case m.history == nil && cfg.History.MaxAge > 0:
		return errors.New("history.max_age: the running server keeps no history, and begins to only with a restart")
	case m.history != nil && cfg.History.MaxAge == 0:
		return errors.New("history.max_age: the running server keeps a history, and ends it only with a restart")
	case m.history != nil:
		m.history.Limit(cfg.History.MaxAge, cfg.History.MaxSize)
	}
	return nil
}

// newDoors makes the doors of a configuration, on the sockets that are open already where the address is the same. On an
// error the sockets that it opened are closed again.
func (m *MTA) newDoors(l *live) (opened []*door, err error) {
	old := make(map[string]*door)
	for _, d := range m.doors.open { // they change in Reload alone
		old[d.cfg.Address] = d
	}
	for _, cfg := range l.cfg.Listen {
		d, err := m.openDoor(l, cfg, old[cfg.Address])
		if err != nil {
			for _, d := range opened {
				d.undo()
			}
			return nil, err
		}
		opened = append(opened, d)
	}
	return opened, nil
}

// undo lets go of what openDoor took.
func (d *door) undo() {
	d.listener.Close()
	if !d.taken {
		d.socket.close()
	}
}

// changeDoors puts the new servers behind the sockets. Those before them serve their sessions to the end, by the new rules
// where the listener is still there; sockets that no listener wants any more are closed, and their sessions with them.
func (m *MTA) changeDoors(opened []*door) {
	m.doors.mu.Lock()
	old := m.doors.open
	m.doors.open = opened
	m.doors.retired = stillServing(m.doors.retired)
	for _, was := range old {
		var now *door
		for _, d := range opened {
			if d.socket == was.socket {
				now = d
			}
		}
		if now == nil {
			was.gone.Store(true)
			was.socket.close()
			go m.sendHome(was)
			continue
		}
		was.listener.Close()
		m.doors.retired = append(m.doors.retired, was.server)
	}
	m.doors.mu.Unlock()
	for _, d := range opened {
		d.enter()
	}
	m.serve(opened)
	m.self.set(m.Addrs())
}

// stillServing drops the servers whose last session has ended.
func stillServing(all []*receiver.Server) (some []*receiver.Server) {
	for _, s := range all {
		if s.Sessions() > 0 {
			some = append(some, s)
		}
	}
	return some
}

// sendHome ends the sessions of a listener that is gone.
func (m *MTA) sendHome(d *door) {
	grace, cancel := context.WithTimeout(m.stopping, sessionGrace)
	defer cancel()
	if err := d.server.Shutdown(grace); err != nil {
		m.log.Warn("sessions of a listener that is gone were cut off", "listener", d.cfg.Address)
	}
}
