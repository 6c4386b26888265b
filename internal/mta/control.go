package mta

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/holub-mail/holub/internal/admin"
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/queue"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
)

// control is the socket at which operators speak with this server.
type control struct {
	listener net.Listener
	server   *admin.Server
}

// openControl opens the socket. Nobody is answered there before serve.
func (m *MTA) openControl(cfg *config.Config) error {
	endpoint, err := cfg.ControlSocket()
	if err != nil {
		return err
	}
	l, err := admin.Listen(context.Background(), endpoint.Path, endpoint.Mode)
	if err != nil {
		return fmt.Errorf("%w; another path for it is socket in [admin]", err)
	}
	m.control = control{listener: l, server: admin.NewServer(m.desk(cfg), m.log)}
	return nil
}

// desk is what an operator can see and do here.
func (m *MTA) desk(cfg *config.Config) admin.Desk {
	o := admin.LiveOptions{
		Engine: m.engine, Queue: deskQueue{m.queue, m},
		Route:  func(p spool.Pending) route.Destination { return m.live.Load().routes.For(p.To, p.Via) },
		Jobs:   func(msg *spool.Message, ns []int) []queue.Job { return m.jobs(m.live.Load(), msg, ns) },
		End:    m.end,
		Forget: m.open.forget,
		Reload: m.Reload,
		Room:   m.room,

		Version: m.version, PID: os.Getpid(), Started: time.Now(), Logger: m.log,
	}
	if m.history != nil {
		o.History, o.Record, o.Flush = historyDir(cfg.DataDir), m.history.Append, m.history.Flush
	}
	return admin.NewLive(o)
}

// end settles outcomes that an operator decided on.
func (m *MTA) end(ctx context.Context, msg *spool.Message, outcomes []spool.Outcome) error {
	l := m.live.Load()
	reports, err := l.settler.Settle(ctx, msg, outcomes, time.Now())
	if err != nil {
		return err
	}
	for _, r := range reports {
		m.queue.Add(m.jobs(l, r, all(r))...)
	}
	return nil
}

// deskQueue is the queue as an operator has it.
type deskQueue struct {
	*queue.Queue
	m *MTA
}

// Take lets nothing be changed before all that waited at the start is in the queue: what was changed first would come into it
// twice.
func (q deskQueue) Take(match func(spool.ID, int) bool) []queue.Job {
	<-q.m.takenUp
	return q.Queue.Take(match)
}

// Wake forgets what the DNS said, too: an operator who wants an attempt may have changed it.
func (q deskQueue) Wake(match func(site string) bool) {
	q.m.live.Load().remote.Forget()
	q.Queue.Wake(match)
}

// SiteOf knows the lanes too that wait in a job of another one, as they lead to the same hosts.
func (q deskQueue) SiteOf(lane string) (site string, ok bool) {
	if site, ok = q.Queue.SiteOf(lane); ok {
		return site, true
	}
	l := q.m.live.Load()
	site, mx, _ := l.routes.Place(lane)
	if mx.IsZero() {
		return site, true
	}
	return l.remote.KnownSite(mx)
}

func (c *control) serve() { go c.server.Serve(c.listener) }

// controlGrace is how long what an operator asked for may go on when the server stops.
const controlGrace = 5 * time.Second

func (c *control) close() {
	if c.listener == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), controlGrace)
	defer cancel()
	c.listener.Close()
	c.server.Close(ctx)
}
