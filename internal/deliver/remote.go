package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/holub-mail/holub/dns"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/sender"
	"github.com/holub-mail/holub/transport"
)

// Resolver is what Remote asks the DNS; *dns.Resolver is one.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]dns.MX, error)
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
}

// Options of Remote. Hostname and Resolver are needed.
type Options struct {
	Hostname       string // said in EHLO; an MX record that names it is this server
	Resolver       Resolver
	Port           int                                                                  // of MX hosts; default 25
	Self           func(netip.AddrPort) bool                                            // tells an address of this server; default: none is
	Shuffle        func(n int, swap func(i, k int))                                     // the order of MX hosts of one preference; default: as they came
	Dial           func(ctx context.Context, network, address string) (net.Conn, error) // default: net.Dialer
	ConnectTimeout time.Duration                                                        // for one address; default 30 seconds
	IdleTime       time.Duration                                                        // how long an unused session is kept; default 5 seconds
	Timeouts       sender.Timeouts                                                      // zero: those of RFC 5321 4.5.3.2
	KeepWhole      mail.Signature                                                       // mail with these is returned rather than converted
	Roots          *x509.CertPool                                                       // whom certificates are verified by; default: the system's
}

// maxAddresses bounds how many addresses one attempt tries: a domain with a hundred of them must not hold a message for
// hours. RFC 5321 5.1 asks for at least two.
const maxAddresses = 8

// maxUses bounds the messages sent in one session.
const maxUses = 100

// Remote delivers by SMTP and keeps sessions for reuse by site.
type Remote struct {
	options Options
	hello   smtp.Domain
	idle    pool
	mx      exchangerCache
}

// NewRemote makes a Remote; Close ends the sessions it keeps.
func NewRemote(o Options) *Remote {
	if o.Port == 0 {
		o.Port = 25
	}
	if o.Self == nil {
		o.Self = func(netip.AddrPort) bool { return false }
	}
	if o.Shuffle == nil {
		o.Shuffle = func(int, func(int, int)) {}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 30 * time.Second
	}
	if o.IdleTime == 0 {
		o.IdleTime = 5 * time.Second
	}
	r := &Remote{options: o, idle: pool{keep: o.IdleTime}}
	r.hello, _ = smtp.ParseDomain(o.Hostname)
	return r
}

// Close ends all kept sessions.
func (r *Remote) Close() { r.idle.close() }

// ToMX delivers to the mail exchangers of a domain, or to the address of a literal (RFC 5321 5.1). Domains of one site have
// the same exchangers; sessions are kept by site.
func (r *Remote) ToMX(ctx context.Context, site string, domain smtp.Domain, manner Manner, t Task) []spool.Outcome {
	return r.deliver(ctx, site, manner, t, func() ([]group, *spool.Outcome) { return r.exchangers(ctx, domain) })
}

// ToHop delivers to a next hop that the configuration names.
func (r *Remote) ToHop(ctx context.Context, site string, hop Hop, manner Manner, t Task) []spool.Outcome {
	return r.deliver(ctx, site, manner, t, func() ([]group, *spool.Outcome) {
		return []group{{hosts: []string{hop.Host}, port: hop.Port, relay: true, channel: hop.Channel}}, nil
	})
}

// deliver uses a session that is at hand, else tries the hosts one after the other until nothing is pending.
func (r *Remote) deliver(ctx context.Context, site string, manner Manner, t Task,
	find func() ([]group, *spool.Outcome)) []spool.Outcome {
	if t.Message.Asked.RequireTLS { // RFC 8689 4.2.1; such sessions are kept apart
		manner.TLS, manner.Unproven = max(manner.TLS, sender.TLSRequired), false
	}
	v := &visit{Remote: r, place: place{site, manner, t.Message.Asked.RequireTLS}, attempt: newAttempt(t)}
	if s := r.idle.take(v.place); s != nil {
		// A kept session may have died meanwhile: what it didn't decide goes to a new one.
		v.converse(ctx, s)
		if len(v.pending) == 0 {
			return v.outcomes()
		}
		if !s.client.Broken() {
			v.refusedBy = s.host
		}
	}
	groups, problem := find()
	if problem != nil {
		v.all(*problem)
		return v.outcomes()
	}
	v.walk(ctx, groups)
	return v.outcomes()
}

// visit is one attempt on its way from host to host.
type visit struct {
	*Remote
	attempt
	place
}

// walk tries the hosts in their order of preference.
func (v *visit) walk(ctx context.Context, groups []group) {
	tried := 0
	for _, g := range groups {
		addresses, problem, self := v.resolve(ctx, g)
		if g.relay {
			problem = ownFault(problem)
		}
		if problem != nil && tried == 0 {
			v.all(*problem)
		}
		if self {
			return // RFC 5321 5.1: this host, and with it every host that is not preferred to it
		}
		for _, h := range addresses {
			if h.String() == v.refusedBy {
				continue // it has just said so, in a session that was kept
			}
			if tried++; tried > maxAddresses || ctx.Err() != nil || len(v.pending) == 0 {
				return
			}
			v.try(ctx, h)
		}
	}
}

// try opens a session with one address and sends.
func (v *visit) try(ctx context.Context, h host) {
	s, err := v.connect(ctx, h, v.manner)
	if err != nil && v.manner.TLS == sender.TLSOpportunistic && brokeInTLS(err) {
		// RFC 7435 3: TLS that does not come about is no worse than none.
		plain := v.manner
		plain.TLS = sender.TLSNone
		s, err = v.connect(ctx, h, plain)
	}
	if err != nil {
		v.all(v.connectOutcome(ctx, h, err))
		return
	}
	v.converse(ctx, s)
}

// brokeInTLS tells a session that ended between STARTTLS and the end of the handshake.
func brokeInTLS(err error) bool {
	var broken *sender.SessionError
	return errors.As(err, &broken) && broken.Stage == sender.StageTLS
}

// connect opens a session: connection, greeting, EHLO, TLS.
func (v *visit) connect(ctx context.Context, h host, manner Manner) (*session, error) {
	dialing, cancel := context.WithTimeout(ctx, v.options.ConnectTimeout)
	defer cancel()
	conn, err := v.dial(dialing, h)
	if err != nil {
		return nil, err
	}
	client, err := sender.NewClient(ctx, conn, sender.Options{Hello: v.hello, Timeouts: v.options.Timeouts, TLS: manner.TLS,
		TLSConfig: &tls.Config{ServerName: h.name, RootCAs: v.options.Roots, InsecureSkipVerify: manner.Unproven}, LMTP: manner.LMTP, SevenBit: manner.SevenBit})
	if err != nil {
		return nil, err
	}
	return &session{client: client, host: h.String(), tls: tlsVersion(client.TLS())}, nil
}

// tlsVersion names what a session is protected by, "TLS 1.3", or "" where that is nothing.
func tlsVersion(state *tls.ConnectionState) string {
	if state == nil {
		return ""
	}
	return tls.VersionName(state.Version)
}

func (v *visit) dial(ctx context.Context, h host) (net.Conn, error) {
	if h.channel == "" {
		return v.options.Dial(ctx, "tcp", h.addr.String())
	}
	endpoint, err := transport.ParseEndpoint(h.channel)
	if err != nil {
		return nil, err
	}
	return transport.Dial(ctx, endpoint, transport.DialOptions{})
}

// connectOutcome is what a host that gave no session means for the recipients. A refusal in the host's own words counts
// as it stands; everything else passes.
func (v *visit) connectOutcome(ctx context.Context, h host, err error) spool.Outcome {
	if ctx.Err() != nil {
		return Stopped(0)
	}
	if v.task.Message.Asked.RequireTLS && lacksTLS(err) {
		return spool.Outcome{Reason: spool.ReasonSession, Reply: smtp.Replyf(550, smtp.EnhancedCode{5, 7, 30},
			"REQUIRETLS was asked for, and %s has no TLS that can be trusted: %v", h, err)}
	}
	if reply, ok := smtp.AsReply(err); ok {
		o := spool.Outcome{Reply: reply, Host: h.String(), Reason: spool.ReasonSession}
		var broken *sender.SessionError
		if errors.As(err, &broken) && broken.Local {
			o.Host = ""
		}
		return o
	}
	reason, code := spool.ReasonConnect, smtp.EnhancedCode{4, 4, 1}
	var broken *sender.SessionError
	if errors.As(err, &broken) {
		reason, code = spool.ReasonSession, smtp.EnhancedCode{4, 4, 2}
	}
	return spool.Outcome{Reason: reason, Reply: smtp.Replyf(451, code, "No session with %s: %v", h, err)}
}

// lacksTLS tells a host that offers no TLS, or shows a certificate that is not its own, from one whose handshake broke off
// and may do better later.
func lacksTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var broken *sender.SessionError
	return errors.As(err, &certificate) ||
		errors.As(err, &broken) && broken.Local && errors.Is(err, sender.ErrTLS) && broken.Reply.Enhanced == smtp.EnhancedCode{4, 7, 4}
}

// converse sends the message to the pending recipients over one session, and keeps or ends the session.
func (v *visit) converse(ctx context.Context, s *session) {
	defer v.nextHost()
	for again := true; again; {
		var err error
		again, err = v.send(ctx, s)
		s.uses++
		if err != nil || s.client.Broken() {
			s.client.Close()
			return
		}
	}
	if s.uses >= maxUses || s.client.Exhausted() || ctx.Err() != nil {
		quit(s)
		return
	}
	v.idle.give(v.place, s)
}

// send makes one transaction for the pending recipients and leaves those pending that the host may take in another one
// right away: it had enough of them for this. RFC 5321 4.5.3.1.10 has it say so with 452, and knows of hosts that say 552;
// the limits it told beforehand (RFC 9422) come as 452 as well. again tells that there are such.
func (v *visit) send(ctx context.Context, s *session) (again bool, err error) {
	to := v.pending
	v.pending = nil
	env := envelope(v.task, to, s.client.Extensions(), time.Now())
	content, refusal, err := v.content(ctx, s, &env)
	switch {
	case err != nil:
		for _, i := range to {
			v.note(i, NotRead(ctx, 0, err))
		}
		return false, nil
	case !refusal.IsZero():
		v.cannotFit(to, refusal)
		return false, nil
	}
	defer content.Close()
	result, err := s.client.Send(ctx, env, content)
	dsn := s.client.Extensions().DSN
	accepted := false
	for k, i := range to {
		o := result.Outcomes[k]
		if v.last[i].Reply.Temporary() && o.Local && o.Reply.Permanent() {
			v.elsewhere = append(v.elsewhere, i) // what this host lacks a preferred one may have, when it is back
			continue
		}
		v.note(i, outcome(o, s, dsn))
		switch {
		case o.Reply.IsZero():
			v.undecided(ctx, s, i, err)
		case o.Reply.Positive():
			accepted = true
		case (o.Reply.Code == 452 || o.Reply.Code == 552 && accepted) && o.Stage == sender.StageRcpt:
			v.pending = append(v.pending, i)
		case o.Reply.Temporary(), o.Local: // what this host lacks another may have
			v.elsewhere = append(v.elsewhere, i)
		}
	}
	return accepted && len(v.pending) > 0 && err == nil, err
}

// outcome is what a reply means for a recipient.
func outcome(o sender.Outcome, s *session, dsn bool) spool.Outcome {
	host := s.host
	if o.Local {
		host = ""
	}
	return spool.Outcome{Reply: o.Reply, Host: host, TLS: s.tls, Reason: spool.ReasonRefused, Passed: dsn && o.Reply.Positive()}
}

// undecided notes the outcome of a recipient for whom no reply came. Another host is tried for it unless the message
// may have been taken, can't be read, or this server stops.
func (a *attempt) undecided(ctx context.Context, s *session, i int, err error) {
	o := spool.Outcome{TLS: s.tls, Reason: spool.ReasonSession,
		Reply: smtp.Replyf(451, smtp.EnhancedCode{4, 4, 2}, "The session with %s broke: %v", s.host, err)}
	var broken *sender.SessionError
	switch {
	case errors.As(err, &broken) && broken.InDoubt:
		o.Reason = spool.ReasonInDoubt
		o.Reply = smtp.Replyf(451, smtp.EnhancedCode{4, 4, 2},
			"The session with %s broke after the message was sent; it may have been delivered: %v", s.host, err)
	case errors.Is(err, sender.ErrContent):
		o = NotRead(ctx, 0, err)
	case ctx.Err() != nil:
		o = Stopped(0)
	default:
		a.elsewhere = append(a.elsewhere, i)
	}
	a.note(i, o)
}

// host is one address to try, with the name it was found by, or a channel that has no address.
type host struct {
	name    string
	addr    netip.AddrPort
	channel string
}

// String gives "mx.example.org [192.0.2.1]:25", or the channel.
func (h host) String() string {
	if h.channel != "" {
		return h.channel
	}
	return fmt.Sprintf("%s [%s]:%s", h.name, h.addr.Addr(), strconv.Itoa(int(h.addr.Port())))
}
