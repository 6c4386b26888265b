package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/intake"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/transport"
)

// door is one listener with the server that speaks on it and what it lets in. A new configuration may put another server
// behind the same socket.
type door struct {
	cfg      config.Listen
	socket   *handover
	listener net.Listener // the hold on the socket with the layers above it
	server   *receiver.Server
	handler  *handler          // of all servers that the socket had
	leaf     *x509.Certificate // that is shown; nil without TLS
	rules    *intake.Intake    // what handler is to be from now on; see enter
	taken    bool              // the socket was another door's before
	gone     atomic.Bool       // a newer configuration has no such listener
}

// handler is what a session may do to us. It is exchanged with the configuration, also for sessions that are open.
type handler struct{ atomic.Pointer[intake.Intake] }

func (h *handler) Mail(ctx context.Context, s *receiver.Session, c smtp.Mail) smtp.Reply {
	return h.Load().Mail(ctx, s, c)
}

func (h *handler) Rcpt(ctx context.Context, s *receiver.Session, c smtp.Rcpt) smtp.Reply {
	return h.Load().Rcpt(ctx, s, c)
}

func (h *handler) Data(ctx context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	return h.Load().Data(ctx, s, content)
}

// openDoor makes the server of a listener and its socket, or takes the one over that old has for the same address.
func (m *MTA) openDoor(l *live, cfg config.Listen, old *door) (*door, error) {
	d := &door{cfg: cfg, handler: new(handler), rules: intake.New(m.intakeOptions(l, cfg)), taken: old != nil}
	certificate, err := m.certificate(cfg)
	if err != nil {
		return nil, err
	}
	if certificate != nil {
		d.leaf = certificate.Certificates[0].Leaf
	}
	endpoint, err := cfg.Endpoint()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Address, err)
	}
	if old != nil {
		d.socket, d.handler = old.socket, old.handler
	} else if d.socket, err = openSocket(endpoint); err != nil {
		return nil, err
	}
	d.server = m.receiver(l, cfg, certificate, d.handler)
	d.listener = d.socket.hold()
	if len(cfg.Proxy) > 0 {
		d.listener = transport.ProxyListener(d.listener, transport.ProxyOptions{Trusted: cfg.Proxy, TrustUnnamed: true})
	}
	if cfg.TLS == config.ListenImplicit {
		d.listener = transport.TLSListener(d.listener, certificate, 0)
	}
	return d, nil
}

// enter puts the rules of the door in force, for the sessions that are open too.
func (d *door) enter() { d.handler.Store(d.rules) }

// openSocket listens.
func openSocket(endpoint transport.Endpoint) (*handover, error) {
	raw, err := transport.Listen(context.Background(), endpoint, transport.ListenOptions{})
	if err != nil {
		advice := ""
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, transport.ErrInUse) {
			advice = "; stop the program that has it, or give [[listen]] another address"
		}
		return nil, fmt.Errorf("[[listen]]: %w%s", err, advice)
	}
	return newHandover(raw), nil
}

// certificate loads the certificate of a listener; nil where it has none.
func (m *MTA) certificate(l config.Listen) (*tls.Config, error) {
	if l.TLS == config.ListenPlain {
		return nil, nil
	}
	pair, err := l.LoadCertificate()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
	}
	if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		m.log.Warn("the certificate of a listener has expired", "listener", l.Address, "certificate", l.Certificate, "expired", leaf.NotAfter)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// receiver is the server of a listener.
func (m *MTA) receiver(l *live, cfg config.Listen, certificate *tls.Config, h *handler) *receiver.Server {
	limits := l.cfg.Limits
	s := &receiver.Server{
		Handler:  h,
		Hostname: l.cfg.Hostname, Logger: m.log,
		MaxSize: limits.MessageSize, MaxRecipients: limits.Recipients, MaxErrors: limits.Errors,
		MaxSessions: limits.Sessions, IdleTimeout: limits.IdleTimeout, MessageTimeout: limits.MessageTimeout,
		LMTP: cfg.Role == config.RoleLMTP, XClient: cfg.XClient, SevenBit: cfg.SevenBit,
		Offer: offer(cfg),
	}
	if cfg.TLS == config.ListenStartTLS {
		s.TLS = certificate
	}
	return s
}

// offer names the extensions that this house honours.
func offer(l config.Listen) smtp.Extensions {
	e := smtp.Extensions{DSN: true, UTF8: true, BinaryMIME: true, RequireTLS: l.TLS != config.ListenPlain}
	if l.Role == config.RoleRelay || l.Role == config.RoleSubmission { // for those who hand mail in, not for strangers
		e.DeliverBy, e.Priority = true, true
		e.FutureRelease, e.MaxHold = l.HoldMax > 0, l.HoldMax
	}
	return e
}

// intakeOptions are the rules of a listener. Who can open a Unix socket is known by the rights of its file.
func (m *MTA) intakeOptions(lv *live, l config.Listen) intake.Options {
	o := intake.Options{
		Engine: m.engine, IDs: m.ids, Hostname: lv.cfg.Hostname, Logger: m.log,
		Networks: l.Networks, Room: m.room, Ours: lv.routes.Ours, Refusal: lv.refusal,
		MaxReceived: lv.cfg.Limits.Received, Accepted: m.queueAccepted,
	}
	if m.history != nil {
		o.Record = m.history.Append
	}
	local := func(a net.Addr) bool { return a != nil && a.Network() == "unix" }
	if len(l.Proxy) > 0 { // then it is the proxy that has the socket, and its client may be anyone
		local = nil
	}
	switch l.Role {
	case config.RoleMX:
		o.Strangers = true
	case config.RoleRelay, config.RoleSubmission:
		o.Trusted = local
		o.Repair = l.Role == config.RoleSubmission
	case config.RoleLMTP:
		o.Trusted = local
		o.OursAlone = true
		o.Strangers = len(l.Networks) == 0
	}
	return o
}

// refusal is what a recipient whose route rejects it is told right away.
func (l *live) refusal(to smtp.Path) smtp.Reply {
	if d := l.routes.Route(to); d.Kind == config.TargetReject {
		return smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, d.Text)
	}
	return smtp.Reply{}
}

// Session serves one session on a connection that came to this process in another way than through a listener, by the
// rules of the first listener. A trusted one may send to everyone.
func (m *MTA) Session(conn net.Conn, trusted bool) {
	l := m.live.Load()
	cfg := l.cfg.Listen[0]
	cfg.TLS = config.ListenPlain // the channel is what it is
	h := new(handler)
	s := m.receiver(l, cfg, nil, h)
	o := m.intakeOptions(l, cfg)
	o.Trusted = func(net.Addr) bool { return trusted } // a socket of this process is no listener's socket
	h.Store(intake.New(o))
	s.ServeConn(conn)
}

// serve serves the door until its server is shut down or another one has its socket.
func (d *door) serve() error {
	err := d.server.Serve(d.listener)
	switch {
	case errors.Is(err, receiver.ErrServerClosed), errors.Is(err, net.ErrClosed) && (d.gone.Load() || !d.socket.closed()):
		return nil
	}
	return fmt.Errorf("the listener %s ended: %w", d.cfg.Address, err)
}
