package mta

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/intake"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/transport"
)

// door is one listener with the server that speaks on it and what it lets in.
type door struct {
	cfg      config.Listen
	listener net.Listener
	server   *receiver.Server
}

// openDoor listens as the configuration says.
func (m *MTA) openDoor(l config.Listen) (*door, error) {
	d := &door{cfg: l}
	var certificate *tls.Config
	if l.TLS != config.ListenPlain {
		pair, err := l.LoadCertificate()
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
		}
		if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
			m.log.Warn("the certificate of a listener has expired", "listener", l.Address, "certificate", l.Certificate, "expired", leaf.NotAfter)
		}
		certificate = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	d.server = m.receiver(l, certificate)
	endpoint, err := l.Endpoint()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
	}
	options := transport.ListenOptions{}
	if l.TLS == config.ListenImplicit {
		options.TLS = certificate
	}
	if len(l.Proxy) > 0 {
		options.Proxy = &transport.ProxyOptions{Trusted: l.Proxy, TrustUnnamed: true}
	}
	if d.listener, err = transport.Listen(context.Background(), endpoint, options); err != nil {
		advice := ""
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, transport.ErrInUse) {
			advice = "; stop the program that has it, or give [[listen]] another address"
		}
		return nil, fmt.Errorf("[[listen]]: %w%s", err, advice)
	}
	return d, nil
}

// receiver is the server of a listener.
func (m *MTA) receiver(l config.Listen, certificate *tls.Config) *receiver.Server {
	limits := m.cfg.Limits
	s := &receiver.Server{
		Handler:  intake.New(m.intakeOptions(l)),
		Hostname: m.cfg.Hostname, Logger: m.log,
		MaxSize: limits.MessageSize, MaxRecipients: limits.Recipients, MaxErrors: limits.Errors,
		MaxSessions: limits.Sessions, IdleTimeout: limits.IdleTimeout, MessageTimeout: limits.MessageTimeout,
		LMTP: l.Role == config.RoleLMTP, XClient: l.XClient, SevenBit: l.SevenBit,
		Offer: offer(l),
	}
	if l.TLS == config.ListenStartTLS {
		s.TLS = certificate
	}
	return s
}

// offer names the extensions that this house honours. BINARYMIME is not among them: what a client hands in as binary could
// not go on to a host without it.
func offer(l config.Listen) smtp.Extensions {
	e := smtp.Extensions{DSN: true, UTF8: true, RequireTLS: l.TLS != config.ListenPlain}
	if l.Role == config.RoleRelay { // for those who hand mail in, not for strangers
		e.DeliverBy, e.Priority = true, true
		e.FutureRelease, e.MaxHold = l.HoldMax > 0, l.HoldMax
	}
	return e
}

// intakeOptions are the rules of a listener. Who can open a Unix socket is known by the rights of its file.
func (m *MTA) intakeOptions(l config.Listen) intake.Options {
	o := intake.Options{
		Engine: m.engine, IDs: m.ids, Hostname: m.cfg.Hostname, Logger: m.log,
		Networks: l.Networks, Room: m.room, Ours: m.routes.Ours, Refusal: m.refusal,
		MaxReceived: m.cfg.Limits.Received, Accepted: m.accepted,
	}
	local := func(a net.Addr) bool { return a != nil && a.Network() == "unix" }
	if len(l.Proxy) > 0 { // then it is the proxy that has the socket, and its client may be anyone
		local = nil
	}
	switch l.Role {
	case config.RoleMX:
		o.Strangers = true
	case config.RoleRelay:
		o.Trusted = local
	case config.RoleLMTP:
		o.Trusted = local
		o.OursAlone = true
		o.Strangers = len(l.Networks) == 0
	}
	return o
}

// Session serves one session on a connection that came to this process in another way than through a listener, by the
// rules of the first listener. A trusted one may send to everyone.
func (m *MTA) Session(conn net.Conn, trusted bool) {
	l := m.cfg.Listen[0]
	l.TLS = config.ListenPlain // the channel is what it is
	s := m.receiver(l, nil)
	o := m.intakeOptions(l)
	o.Trusted = func(net.Addr) bool { return trusted } // a socket of this process is no listener's socket
	s.Handler = intake.New(o)
	s.ServeConn(conn)
}

// serve serves the door until its server is shut down.
func (d *door) serve() error {
	if err := d.server.Serve(d.listener); !errors.Is(err, receiver.ErrServerClosed) {
		return fmt.Errorf("the listener %s ended: %w", d.cfg.Address, err)
	}
	return nil
}
